"""report.html as a reader finds it: by roles, names and texts. Every selector of the report's tests stands here."""

import re

SECTIONS = {
    "What the model reads": "Prompts",
    "How well it does": "Performance",
    "The circuit": "The circuit",
    "Where the answer is made": "Effects",
    "Is it the circuit?": "Verification",
    "How does it know which word is next?": "Positions",
    "How much of the score is convention?": "Sensitivity",
    "Conventions": "Conventions",
    "How to make it again": "Again",
}
"""Heading of each section, and what the list of contents calls it. A run need not have all of them."""


class ReportPage:
    """One open report."""

    def __init__(self, page):
        self.page = page
        self.contents = page.get_by_role("navigation", name="Contents")
        self.headings = page.locator("main > section > h2")
        self.drawing = page.get_by_role("group", name="The circuit: layers from left to right")
        self.more_prompts = page.get_by_text(re.compile(r"^\d+ more$"))
        self.nodes = self.drawing.get_by_role("link")
        self.dots = self.drawing.locator("circle.dot")
        self.arrows = self.drawing.locator("path.arrow")
        self.arrows_of = page.get_by_role("group", name="Arrows: effect on")
        self.panels = page.get_by_label("One head", exact=True)
        self.another_head = page.get_by_role("combobox", name="Another head")
        self.prompt = page.get_by_role("combobox", name="Prompt")
        self.tip = page.get_by_role("status")
        self.maps = page.get_by_role("application")
        self.head_maps = page.get_by_role("application", name=re.compile("^Effect of heads "))
        self.table_of_heads = page.get_by_role("table", name=re.compile("^The heads of the circuit"))

    def section(self, heading: str):
        """A section of the page by its heading."""
        return self.page.locator("main > section", has=self.page.locator("h2").get_by_text(heading, exact=True))

    def node(self, site: str):
        """A head of the circuit in the drawing."""
        return self.nodes.and_(self.page.get_by_role("link", name=re.compile(rf"^Head {re.escape(site)},")))

    def panel(self, site: str):
        return self.panels.filter(has=self.heading(site))

    def heading(self, site: str):
        """Of a head's panel."""
        return self.page.get_by_role("heading", name=re.compile(rf"^Head {re.escape(site)} "))

    def map(self, name: str):
        """A heat map by its name or the beginning of it."""
        return self.page.get_by_role("application", name=re.compile("^" + re.escape(name)))

    def place(self, heat_map, row: str, column: str) -> dict[str, float]:
        """The middle of a cell, seen from the corner of its map: beside the name of its row, above that of its column."""
        heat_map.scroll_into_view_if_needed()
        corner = heat_map.bounding_box()
        names = [
            heat_map.locator(kind).get_by_text(name, exact=True)
            for kind, name in (("text.row", row), ("text.col", column))
        ]
        beside, below = (name.first.bounding_box() for name in names)
        x = below["x"] + below["width"] / 2 - corner["x"]
        return {"x": x, "y": beside["y"] + beside["height"] / 2 - corner["y"]}

    def choose_cell(self, heat_map, row: str, column: str) -> None:
        heat_map.click(position=self.place(heat_map, row, column))

    def tokens(self, prompt: int):
        """Tokens of a prompt (from 1) in the section on prompts."""
        return self.page.get_by_role("toolbar", name=f"Tokens of prompt {prompt}", exact=True).get_by_role("button")

    def saves(self, kind: str, name: str = ""):
        """Buttons that save figures as `SVG` or `CSV`."""
        return self.page.get_by_role("button", name=re.compile(f"^Save as {kind}: {re.escape(name)}"))

    def saved(self, button) -> str:
        """What a button saves, as text."""
        with self.page.expect_download() as download:
            button.click()
        name = download.value.suggested_filename
        assert re.fullmatch(r"[\w.-]+\.(svg|csv)", name), f"not a name for a file everywhere: {name}"
        return download.value.path().read_text(encoding="utf-8")
