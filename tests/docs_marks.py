"""What the docs show between two marks, to be held against committed results."""

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def shown(mark: str, page: str) -> str:
    """Of docs/PAGE.md, what stands between `<!-- MARK -->` and `<!-- end of MARK -->`."""
    text = (DOCS / f"{page}.md").read_text()
    return text.split(f"<!-- {mark} -->\n")[1].split(f"\n<!-- end of {mark} -->")[0]
