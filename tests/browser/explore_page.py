"""The explorer as a visitor finds it: by roles, names and texts. Every selector of its tests stands here."""

import re


class ExplorePage:
    """One open page of `cutaway circuits explore`."""

    def __init__(self, page):
        self.page = page
        self.phrase = page.get_by_label(re.compile("^(Phrase|Prompt)$"))
        self.phrases = page.get_by_label("or one of the run’s").first
        self.answer = page.get_by_label("Answer, if not the model’s own")
        self.second = page.get_by_label(re.compile("^Second (phrase|prompt)$"))
        self.tokens = page.get_by_role("group", name="Tokens of the phrase")
        self.second_tokens = page.get_by_role("group", name="Tokens of the second phrase")
        self.written = page.locator(".says .written")
        self.live = page.locator("#live")
        self.steps = page.locator("#steps .step")
        self.notes = page.locator("#notes")
        self.trouble = page.get_by_role("alert")
        self.grid = page.get_by_role("grid", name="Heads")
        self.ablation = page.get_by_label("an ablated head gets")
        self.patch_kind = page.get_by_label("of", exact=True)
        self.patch_layer = page.get_by_label(re.compile("^layer"))
        self.patch_at = page.get_by_label("at", exact=True)
        self.maps = page.get_by_role("grid", name=re.compile("^Effect of patching"))
        self.patterns = page.get_by_role("grid", name=re.compile("^Attention of head"))

    def head(self, site: str):
        return self.grid.get_by_role("gridcell", name=re.compile(rf"^Head {re.escape(site)}[,:]"))

    def state(self, site: str) -> str:
        return self.head(site).get_attribute("aria-label").rpartition(": ")[2]

    def button(self, name: str):
        return self.page.get_by_role("button", name=name, exact=True)

    def before(self) -> str:
        return self.written.locator(".run").first.inner_text()

    def after(self) -> str:
        return self.written.locator(".run").last.inner_text()
