"""report.html is there for every reader: all of it shows, at any width, in the dark, on paper, without JavaScript."""

import re
from itertools import pairwise

import pytest

from browser.chromium import expect
from browser.guard import watched
from browser.report_page import SECTIONS, ReportPage
from browser.reports import HOSTILE, SIZES

WITHOUT_POSITIONS = {"plain", "one step"}


@pytest.mark.parametrize("name", [*SIZES, "hostile", "planted"])
def test_every_section_shows(visit, report, name):
    page = visit(report(name))
    seen = ReportPage(page)
    expected = set(SECTIONS) - (set() if name == "planted" else {"How much of the score is convention?"})
    expected -= {"How does it know which word is next?"} if name in WITHOUT_POSITIONS else set()
    assert set(seen.headings.all_inner_texts()) == expected
    for heading in expected:
        box = seen.section(heading).bounding_box()
        assert box["width"] > 300, heading
        assert box["height"] > 100, heading
    things = page.locator("svg, table, figure, h3, h4, dl:not(details *)").locator("visible=true")
    assert things.count() > 30
    assert page.locator("svg, table, figure, h3, h4").locator("visible=false").evaluate_all(SHUT_OUT) == []


SHUT_OUT = "all => all.filter(e => !e.closest('details:not([open])')).map(e => e.outerHTML.slice(0, 120))"
"""What does not show, though it is not in something that is to be opened first."""


def test_the_contents_lead_to_every_section(visit, report):
    seen = ReportPage(visit(report("small")))
    headings = seen.headings.all_inner_texts()
    assert seen.contents.get_by_role("link").all_inner_texts() == [SECTIONS[heading] for heading in headings]
    for heading in headings[::-1]:
        seen.contents.get_by_text(SECTIONS[heading], exact=True).click()
        expect(seen.section(heading).locator("h2")).to_be_in_viewport()


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("name", ["smollm2", "planted", "hostile"])
def test_nothing_hangs_over_the_side_of_the_page(visit, report, screenshot, name, width):
    page = visit(report(name), viewport={"width": width, "height": 800})
    if name == "planted":
        screenshot(page, f"report-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, wider_than(page, width)


def wider_than(page, width: int) -> str:
    """Elements that stand out, and that nothing around them lets scroll."""
    return page.evaluate(
        """width => [...document.querySelectorAll("body *")].filter(element => {
          for (let around = element.parentElement; around; around = around.parentElement)
            if (getComputedStyle(around).overflowX !== "visible") return false;
          return element.getBoundingClientRect().right > width + 0.5;
        }).slice(0, 5).map(element => element.outerHTML.slice(0, 120)).join("\\n")""",
        width,
    )


@pytest.mark.parametrize(
    ("name", "scheme"), [("small", "light"), ("hostile", "light"), ("planted", "light"), ("planted", "dark")]
)
def test_the_page_is_accessible(visit, report, axe, screenshot, name, scheme):
    page = visit(report(name), color_scheme=scheme)
    if scheme == "dark":
        screenshot(page, "report-dark")
    axe(page)


def test_the_dark_page_is_dark(visit, report):
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = (visit(report("one step"), color_scheme=scheme).evaluate(colour) for scheme in ("light", "dark"))
    assert min(map(int, re.findall(r"\d+", light))) > 240
    assert max(map(int, re.findall(r"\d+", dark))) < 50


def test_nothing_glides_where_motion_is_not_wanted(visit, report):
    how = "getComputedStyle(document.documentElement).scrollBehavior"
    assert visit(report("one step"), reduced_motion="no-preference").evaluate(how) == "smooth"
    assert visit(report("one step"), reduced_motion="reduce").evaluate(how) == "auto"


def test_paper_shows_the_content_and_nothing_to_press(visit, report):
    page = visit(report("planted"), color_scheme="dark", viewport={"width": 760, "height": 1000})
    seen = ReportPage(page)
    expect(seen.contents).to_be_visible()
    seen.tokens(1).first.focus()
    expect(seen.tip).to_be_visible()
    page.emulate_media(media="print")
    for gone in (seen.contents, seen.tip, seen.saves("SVG").first, page.get_by_role("combobox").first):
        expect(gone).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for heading in SECTIONS:
        expect(seen.section(heading)).to_be_visible()
    assert page.pdf().startswith(b"%PDF-")


@pytest.fixture
def hostile(visit, report):
    """The page whose every name is hostile; the guards of `visit` notice what runs, asks or asks back."""
    return visit(report("hostile"))


def test_hostile_names_are_shown_as_text(hostile):
    clean = " ".join(HOSTILE.split())
    assert hostile.locator("script").count() == 2
    assert hostile.locator("img, iframe, object, style ~ style").count() == 0
    for place in ("h1", ".question", ".prompts", "#drawing", "#panel", "#heads", "#effects", "#performance", "#again"):
        said = hostile.locator(place).first.evaluate("element => element.textContent")
        assert clean in " ".join(said.split()), place


def test_hostile_names_stay_text_where_the_script_puts_them(hostile):
    seen = ReportPage(hostile)
    options = hostile.get_by_role("combobox", name="Prompt").locator("option")
    assert HOSTILE in options.first.text_content()
    seen.tokens(1).filter(has_text="alert(").focus()
    expect(seen.tip).to_contain_text(HOSTILE)
    seen.nodes.first.click()
    for heat_map in (seen.head_maps.first, seen.map("Attention pattern")):
        heat_map.scroll_into_view_if_needed()
        heat_map.focus()
        for key in ["ArrowRight", "ArrowDown"] * 4:
            hostile.keyboard.press(key)
        expect(seen.tip).to_be_visible()
    for kind in ("SVG", "CSV"):
        assert "alert(" in seen.saved(seen.saves(kind, "Attention pattern"))


LETTERS = """element => [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).flatMap(node =>
  Array.from(node.data, (_, i) => {
    const range = new Range();
    range.setStart(node, i);
    range.setEnd(node, i + 1);
    return range.getBoundingClientRect().toJSON();
  })).filter(box => box.width)"""
"""Where each letter of an element's own text stands; the text of elements in it does not count."""


def test_a_name_that_turns_the_direction_of_writing_does_not_turn_what_is_behind_it(hostile):
    tokens = ReportPage(hostile).panels.locator(".strip .tok")
    strip = tokens.evaluate_all("all => all.map(e => e.getBoundingClientRect().toJSON())")
    ours = [hostile.locator(place).first.evaluate(LETTERS) for place in (".question", ".legend li > span")]
    for line in (strip, *ours):
        assert len(line) > 10
        for before, after in pairwise(line):
            assert after["top"] > before["top"] + 5 or after["left"] >= before["left"]


def test_a_script_that_the_policy_does_not_name_runs_nothing_and_is_noticed(browser, report, tmp_path):
    page = report("one step").read_text()
    changed = tmp_path / "page.html"
    changed.write_text(page.replace("function openPanel(", "function openAnyPanel(", 1))
    assert changed.read_text() != page
    with pytest.raises(AssertionError, match="Content Security Policy"), watched(browser, changed) as seen:
        expect(ReportPage(seen).panels).to_be_hidden()


@pytest.mark.parametrize("name", ["small", "planted"])
def test_without_javascript_everything_but_the_panel_can_be_read(visit, report, name):
    page = visit(report(name), java_script_enabled=False)
    seen = ReportPage(page)
    for heading in seen.headings.all_inner_texts():
        expect(seen.section(heading)).to_be_visible()
    assert seen.nodes.count() == seen.table_of_heads.locator("tbody tr").count() > 3
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.get_by_text("move with the arrow keys")).to_be_hidden()
    expect(seen.panels).to_be_hidden()
    for nothing in (seen.saves("SVG"), seen.arrows_of, page.get_by_role("combobox")):
        expect(nothing).to_have_count(0)
