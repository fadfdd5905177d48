"""The explorer in a real browser: what is typed and clicked changes what is shown."""

import re

import pytest

from browser.chromium import expect
from browser.explore_page import ExplorePage
from browser.explorers import EVIL, explorer, movers

WIDTHS = (400, 900, 1400)


@pytest.fixture(scope="module")
def explorers(tmp_path_factory):
    """`explorers(name)` serves one when it is first asked for: its address, and what it stands on."""
    made = {}

    def serve(name: str):
        if name not in made:
            made[name] = explorer(tmp_path_factory.mktemp(name), name)
        return made[name]

    return serve


@pytest.fixture
def setup(explorers):
    return explorers("acronyms")[1]


@pytest.fixture
def open_page(visit, explorers):
    def opened(name: str = "acronyms", **options) -> ExplorePage:
        page = ExplorePage(visit(explorers(name)[0], **options))
        expect(page.steps.first).to_be_visible()
        return page

    return opened


def initials(phrase: str) -> str:
    return "".join(word[0] for word in phrase.removeprefix("The ").split())


def test_every_part_is_there(open_page, setup):
    page = open_page()
    expect(page.steps).to_have_count(3)
    expect(page.steps.first.get_by_role("row")).to_have_count(16)
    expect(page.tokens).to_contain_text("C1")
    expect(page.tokens).to_contain_text("answer, the model’s own")
    expect(page.second_tokens).to_contain_text("T3")
    expect(page.grid.get_by_role("gridcell")).to_have_count(setup.bounds.layers * setup.bounds.heads)
    expect(page.trouble).to_have_count(0)
    assert page.before() == page.after() == initials(setup.phrases[0])
    assert page.phrase.input_value() == setup.phrases[0]


def test_a_typed_phrase_is_answered(open_page):
    page = open_page()
    page.phrase.fill("The Castle Widow")
    expect(page.steps).to_have_count(2)
    expect(page.written).to_have_text(re.compile("CW.*CW"))
    page.answer.fill("CW")
    expect(page.tokens).to_contain_text("answer given")
    page.answer.fill("XYZ")
    expect(page.steps).to_have_count(3)


def test_one_of_the_runs_phrases_can_be_chosen(open_page, setup):
    page = open_page()
    page.phrases.select_option(setup.phrases[3])
    expect(page.phrase).to_have_value(setup.phrases[3])
    expect(page.written.locator(".run").first).to_have_text(initials(setup.phrases[3]))


def test_what_cannot_be_read_is_said(open_page):
    page = open_page()
    page.phrase.fill("the castle")
    expect(page.trouble).to_contain_text("2 to 5 words")
    page.phrase.fill("The Castle Widow")
    expect(page.trouble).to_have_count(0)
    page.second.fill("nothing")
    expect(page.trouble).to_contain_text("2 to 5 words")


def test_a_click_ablates_then_patches_then_keeps(open_page, setup):
    page, (mover, *_) = open_page(), movers(setup)
    for state in ("ablated", "patched", "kept"):
        page.head(mover).click()
        assert page.state(mover) == state
        expect(page.page.get_by_text(f"1 {state}" if state != "kept" else "0 ablated")).to_be_visible()


def test_without_its_circuit_the_model_writes_something_else(open_page):
    page = open_page()
    before = page.before()
    page.button("without the circuit").click()
    expect(page.written.locator(".other").first).to_be_visible()
    assert page.before() == before != page.after()
    expect(page.live).to_contain_text("becomes")
    page.button("the circuit alone").click()
    expect(page.written.locator(".other")).to_have_count(0)
    page.ablation.select_option(label="zero")
    page.button("without the circuit").click()
    expect(page.written.locator(".other").first).to_be_visible()
    page.button("whole model").click()
    expect(page.written.locator(".other")).to_have_count(0)


def test_patching_the_movers_writes_the_second_phrase(open_page, setup):
    page = open_page()
    for mover in movers(setup):
        page.head(mover).click()
        page.head(mover).click()
    expect(page.written.locator(".run").last).to_have_text(initials(setup.second))
    page.second.fill(setup.phrases[4])
    expect(page.written.locator(".run").last).to_have_text(initials(setup.phrases[4]))


def test_a_patch_is_moved(open_page, setup):
    page = open_page()
    page.patch_kind.select_option(label="the residual stream into layer")
    page.patch_layer.fill(str(setup.bounds.layers - 1))
    page.patch_at.select_option(label="C1")
    expect(page.live).to_contain_text("becomes")
    page.patch_layer.fill("0")
    page.patch_at.select_option(label="all tokens")
    expect(page.written.locator(".run").last).to_have_text(initials(setup.second))
    page.button("reset all").click()
    expect(page.written.locator(".run").last).to_have_text(page.before())


def test_every_head_is_patched_and_looked_at(open_page, setup):
    page, (mover, *_) = open_page(), movers(setup)
    page.button("patch every head").click()
    expect(page.maps).to_have_count(3)
    cells = page.maps.first.get_by_role("gridcell")
    expect(cells).to_have_count(setup.bounds.layers * setup.bounds.heads)
    opacity = {
        cell.get_attribute("aria-label").split()[0]: float(cell.get_attribute("fill-opacity")) for cell in cells.all()
    }
    assert max(opacity, key=opacity.get) in movers(setup)
    page.maps.first.get_by_role("gridcell", name=f"{mover} on").click()
    expect(page.patterns).to_have_count(1)
    expect(page.page.get_by_role("heading", name=f"Attention of head {mover}")).to_be_visible()
    n = page.tokens.locator(".span:not(.answer) .tok").count()
    expect(page.patterns.first.get_by_role("gridcell")).to_have_count(n * n)
    page.head(mover).click()
    page.maps.first.get_by_role("gridcell", name="0.0 on").click()
    expect(page.patterns).to_have_count(2)


def test_a_sweep_that_something_lacks_for(open_page):
    page = open_page()
    page.second.fill("")
    page.button("patch every head").click()
    expect(page.page.get_by_text("give a second phrase")).to_be_visible()


def test_the_keyboard_alone(open_page, setup):
    page = open_page()
    page.head("0.0").focus()
    keyboard = page.page.keyboard
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        keyboard.press(key)
    assert page.state("1.1") == "ablated"
    keyboard.press("Space")
    assert page.state("1.1") == "patched"
    keyboard.press("End")
    keyboard.press("Enter")
    assert page.state(f"{setup.bounds.layers - 1}.1") == "ablated"
    keyboard.press("ArrowRight")  # at the edge it stays
    keyboard.press("Enter")
    assert page.state(f"{setup.bounds.layers - 1}.1") == "patched"
    keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.id") == "second"
    keyboard.press("Shift+Tab")
    assert page.page.evaluate("document.activeElement.dataset.site") == f"{setup.bounds.layers - 1}.1"


def test_clicks_in_a_row_end_with_the_last(open_page, setup):
    """Whatever is answered late, what is shown belongs to what is chosen."""
    page = open_page()
    for site in [f"{layer}.{head}" for layer in range(setup.bounds.layers) for head in range(setup.bounds.heads)]:
        page.head(site).click()
    page.button("patch every head").click()
    expect(page.maps).to_have_count(3)
    after = page.after()
    page.page.reload()
    expect(page.steps.first).to_be_visible()
    for row in range(setup.bounds.layers):
        for head in range(setup.bounds.heads):
            page.head(f"{row}.{head}").click()
    expect(page.page.get_by_text("0 kept")).to_be_visible()
    expect(page.live).to_contain_text("becomes")
    expect(page.written.locator(".run").last).to_have_text(after)


def test_whole_prompts_of_another_behaviour(open_page, explorers):
    page, setup = open_page("induction"), explorers("induction")[1]
    assert page.phrase.input_value() == setup.phrases[0]
    expect(page.steps).to_have_count(1)
    expect(page.tokens).to_contain_text("A again")
    page.phrase.fill(EVIL)
    expect(page.tokens).to_contain_text("[UNK]")


def test_names_from_the_run_are_text(open_page):
    page = open_page("hostile")
    expect(page.page.get_by_role("heading", level=1)).to_contain_text(EVIL)
    expect(page.page.locator(".remark")).to_have_text(EVIL)
    expect(page.steps.first).to_contain_text(EVIL)
    page.phrases.select_option(EVIL)
    expect(page.phrase).to_have_value(EVIL)
    assert page.page.title().startswith(EVIL)
    expect(page.page.locator("script")).to_have_count(1)
    expect(page.page.locator("img")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_to_all(open_page, setup, axe, scheme):
    page, (mover, *_) = open_page(color_scheme=scheme), movers(setup)
    page.head(mover).click()
    page.button("patch every head").click()
    page.maps.first.get_by_role("gridcell", name=f"{mover} on").click()
    expect(page.patterns).to_have_count(2)
    axe(page.page)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_at_every_width(open_page, setup, screenshot, width, scheme):
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.button("the circuit alone").click()
    page.button("patch every head").click()
    page.maps.first.get_by_role("gridcell", name=f"{movers(setup)[0]} on").click()
    expect(page.patterns).to_have_count(2)
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    screenshot(page.page, f"explore-{scheme}-{width}")
