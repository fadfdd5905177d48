"""axe-core on a page: every rule it has, and what it finds said in a few lines."""

try:
    from axe_playwright_python.sync_playwright import Axe
except ImportError:  # no browser tests then; see chromium.py
    Axe = None

SHOWN, WIDTH = 5, 160


def violations(page) -> list[str]:
    """What axe-core finds wrong with a page, one text for each rule: its name, what helps, and the elements.

    The page keeps its content security policy: a script that the debugger evaluates is not the page's own.
    """
    return [told(found) for found in Axe().run(page).response["violations"]]


def told(found: dict) -> str:
    """One broken rule; of its elements the first few, their markup cut short."""
    nodes = found["nodes"]
    lines = [f"{found['id']} ({found['impact']}): {found['help']}, {len(nodes)} times; {found['helpUrl']}"]
    for node in nodes[:SHOWN]:
        markup = " ".join(node["html"].split())
        lines.append(f"    {markup[:WIDTH]}{'…' if len(markup) > WIDTH else ''}")
        lines += [f"        {check['message']}" for kind in ("any", "all", "none") for check in node[kind]]
    return "\n".join(lines)
