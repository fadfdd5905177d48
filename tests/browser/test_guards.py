"""The guards of the browser tests notice what they are for, and let an innocent page be."""

import http.server
import threading

import pytest

from browser.axe import told
from browser.chromium import executable, missing
from browser.guard import watched

START = "<!doctype html><html lang=en><title>A page</title>"
TEXT = "<main><h1>A page</h1><p>and its text</main>"
POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'">"""
AWAY = "http://example.com/away"


@pytest.fixture
def write(tmp_path):
    """Writes a page with something in it, and returns its path."""

    def written(inside: str = "", text: str = TEXT):
        path = tmp_path / "page.html"
        path.write_text(START + inside + text)
        return path

    return written


FAULTS = {
    "console.error": ("<script>console.error('it broke')</script>", "console error: it broke"),
    "console.warn": ("<script>console.warn('it may break')</script>", "console warning: it may break"),
    "throw": ("<script>throw new Error('it is thrown')</script>", "uncaught error: it is thrown"),
    "promise": ("<script>Promise.reject(new Error('it is refused'))</script>", "uncaught error: it is refused"),
    "dialog": ("<script>alert('it ran')</script>", "alert: it ran"),
    "image": (f"<img alt='' src={AWAY}>", f"request: {AWAY}"),
    "image against the policy": (f"{POLICY}<img alt='' src={AWAY}>", f"violates the(?s:.*)request: {AWAY}"),
    "another file": ("<img alt='' src=other.png>", "request: file:.*other.png"),
    "style": (f"<style>body {{ background: url({AWAY}) }}</style>", f"request: {AWAY}"),
    "fetch": (f"<script>fetch('{AWAY}').catch(() => 0)</script>", f"request: {AWAY}"),
    "beacon": (f"<script>navigator.sendBeacon('{AWAY}')</script>", f"request: {AWAY}"),
    "frame": (f"<iframe title=frame src={AWAY}></iframe>", f"request: {AWAY}"),
    "window": (f"<script>open('{AWAY}')</script>", f"request: {AWAY}"),
    "prefetch": (f"<link rel=prefetch href={AWAY}>", f"request: {AWAY}"),
    "socket": ("<script>new WebSocket('ws://example.com/away')</script>", "request: ws://example.com/away"),
    "worker": (
        f"<script>new Worker(URL.createObjectURL(new Blob([`fetch('{AWAY}')`])))</script>",
        f"request: {AWAY}",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(browser, write, fault):
    inside, said = FAULTS[fault]
    with pytest.raises(AssertionError, match=said), watched(browser, write(inside)) as page:
        page.wait_for_timeout(50)  # a worker and a window take a moment to ask


def test_a_fault_just_before_the_end_is_noticed(browser, write):
    with pytest.raises(AssertionError, match="late"), watched(browser, write()) as page:
        page.evaluate("setTimeout(() => console.error('late'))")


def test_what_a_page_makes_itself_is_allowed(visit, write):
    made = """<a download=x id=a href='#'>a</a><img alt='' src='data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg"/>'>
    <script>a.href = URL.createObjectURL(new Blob(['text'])); console.log('said in passing'); location.hash = 'a'</script>"""
    page = visit(write(made))
    with page.expect_download() as download:
        page.get_by_role("link").click()
    assert download.value.path().read_text() == "text"


@pytest.fixture
def server(tmp_path):
    """The address of a server on this machine, of which pages may load what lies there."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_page_from_a_server_may_ask_that_server_alone(browser, visit, write, server):
    write("<script>fetch('/page.html?again').then((answer) => document.title = answer.status)</script>")
    page = visit(f"{server}/page.html?token=1")
    page.wait_for_function("document.title === '200'")
    write(f"<script>fetch('{server.replace('127.0.0.1', 'localhost')}/').catch(() => 0)</script>")
    with pytest.raises(AssertionError, match="request: http://localhost"), watched(browser, f"{server}/page.html"):
        pass


# --- axe -----------------------------------------------------------------------------------------------------------

FLAWS = {
    "button-name": "<main><h1>A page</h1><button></button></main>",
    "color-contrast": "<main><h1>A page</h1><p style='color: #bbb; background: #fff'>and its text</p></main>",
    "landmark-unique": "<main><h1>A page</h1><nav>1</nav><nav>2</nav></main>",
    "heading-order": "<main><h1>A page</h1><h4>and its parts</h4></main>",
}


def test_axe_finds_nothing_in_a_good_page_whose_policy_forbids_all_scripts(visit, write, axe):
    axe(visit(write(POLICY)))


@pytest.mark.parametrize("rule", FLAWS)
def test_axe_finds_a_flaw(visit, write, axe, rule):
    page = visit(write(text=FLAWS[rule]))
    with pytest.raises(AssertionError, match=rf"is not accessible to all:\n{rule} \(\w+\): "):
        axe(page)


def test_long_markup_is_cut_short():
    node = {"html": "<p>" + "x" * 500, "any": [{"message": "too pale"}], "all": [], "none": []}
    said = told({"id": "a-rule", "impact": "serious", "help": "Do it", "helpUrl": "https://axe", "nodes": [node] * 9})
    assert said.startswith("a-rule (serious): Do it, 9 times; https://axe\n    <p>xxx")
    assert said.count("…") == said.count("too pale") == 5
    assert max(map(len, said.splitlines())) < 180


# --- where there is no browser -------------------------------------------------------------------------------------


def test_where_there_is_no_chromium_one_sentence_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv("CUTAWAY_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert executable() is None
    assert "apt-get install chromium" in missing()
    for name in ("google-chrome", "chromium"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
        assert executable() == str(tmp_path / name)
    monkeypatch.setenv("CUTAWAY_CHROMIUM", str(tmp_path / "elsewhere"))
    assert executable() is None


def test_a_screenshot_is_written(visit, write, screenshot, monkeypatch, tmp_path):
    page = visit(write(), viewport={"width": 360, "height": 500})
    monkeypatch.delenv("CUTAWAY_SCREENSHOTS", raising=False)
    assert screenshot(page, "page") == tmp_path / "page.png"
    monkeypatch.setenv("CUTAWAY_SCREENSHOTS", str(tmp_path / "kept"))
    assert screenshot(page, "page").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "kept/page.png").exists()
