"""report.html answers to pointer and keyboard: a choice changes the right thing, and shows what the run's files say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from browser.chromium import expect
from browser.report_page import ReportPage
from circuits.run_folders import PIECES, Size

WEAKEST = 0.04
"""Edges below this share of the strongest are not drawn."""


@pytest.fixture
def small(visit, report) -> ReportPage:
    return ReportPage(visit(report("small")))


@pytest.fixture
def files(report):
    """`files(name)` reads a file of the small run."""

    def read(name: str):
        path: Path = report("small").parent / name
        if path.suffix == ".safetensors":
            return load_file(path)
        return json.loads(path.read_text()) if path.suffix == ".json" else path.read_text()

    return read


@pytest.fixture
def sites(files) -> list[str]:
    return [head["site"] for head in files("circuit.json")["heads"]]


def only(seen: ReportPage, site: str) -> None:
    """The panel of this head is open, and no other; it and nothing else is marked in the drawing."""
    expect(seen.panels).to_have_count(1)
    expect(seen.panel(site)).to_be_visible()
    marked = seen.drawing.locator("[aria-current=true]").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    assert all(label.startswith(f"Head {site},") for label in marked), marked


# --- heads ---------------------------------------------------------------------------------------------------------


def test_the_strongest_head_is_shown_first(small, sites, files):
    totals = dict.fromkeys(sites, 0.0)
    for name in ("current-word", "previous-letters"):
        for row in files(f"effects/heads-{name}.json")["effects"]:
            if row["site"] in totals:
                totals[row["site"]] += abs(row["effect"])
    only(small, max(totals, key=totals.get))


def test_a_node_of_the_drawing_opens_its_panel_and_no_other(small, sites):
    for site in sites:
        small.node(site).click()
        only(small, site)
        assert small.drawing.locator("[aria-current=true]").count() == 1
        expect(small.heading(site)).to_be_focused()


def test_a_dot_of_the_drawing_opens_the_panel_of_a_head_outside_the_circuit(small, sites):
    said = {small.dots.nth(i).locator("title").text_content().split(":")[0]: i for i in range(small.dots.count())}
    assert len(said) == 4 * 7 - len(sites)
    for site, i in list(said.items())[::6]:
        small.dots.nth(i).click()
        only(small, site)
        expect(small.panel(site)).to_contain_text("not in the circuit")
        assert small.drawing.locator("[aria-current=true]").count() == 0


def test_the_table_and_the_list_of_heads_open_panels_too(small, sites):
    for site in sites:
        small.table_of_heads.get_by_role("link", name=site, exact=True).click()
        only(small, site)
    small.another_head.select_option("2.2")
    only(small, "2.2")
    expect(small.another_head).to_be_focused()
    assert small.another_head.locator("option").count() == 4 * 7


def test_an_address_can_name_a_head(visit, report):
    only(ReportPage(visit(report("small").as_uri() + "#head-2.3")), "2.3")


def test_any_cell_of_a_heat_map_opens_the_panel_of_that_head_beside_its_map(small):
    heat_map = small.head_maps.nth(1)
    for head in range(0, 7, 2):
        for layer in range(4):
            small.choose_cell(heat_map, str(head), str(layer))
            only(small, f"{layer}.{head}")
    group = small.page.locator(".group", has=heat_map)
    assert group.locator(small.heading("3.6")).count() == 1
    small.choose_cell(small.map("Effect of the residual stream on letter 2, current word"), "C2", "1")
    only(small, "3.6")


def test_a_cell_says_its_value(small, files):
    heat_map = small.map("Effect of heads on letter 2, current word")
    rows = files("effects/heads-current-word.json")["effects"]
    for row in [row for row in rows if row["step"] == "letter 2"][::5]:
        layer, head = row["site"].split(".")
        heat_map.hover(position=small.place(heat_map, head, layer))
        mean, low, high = (
            f"{row[name]:.2f}".replace("-", "−").replace("−0.00", "0.00") for name in ("effect", "low", "high")
        )
        assert small.tip.inner_text() in (f"{row['site']}: {mean} [{low}, {high}]", f"{row['site']}: {mean}")
    small.page.mouse.move(1, 1)
    expect(small.tip).to_be_hidden()


def test_the_panel_says_what_the_files_say(small, sites, files):
    head = files("circuit.json")["heads"][0]
    small.node(head["site"]).click()
    panel = small.panel(head["site"])
    rows = files("effects/heads-current-word.json")["effects"]
    patched = [row["effect"] for row in rows if row["site"] == head["site"]]
    for name, values, write in (
        ("Patched: current word", patched, "{:.2f}"),
        ("Dropped from the circuit", [100 * mean for mean, _, _ in head["dropped"]], "{:.0f}%"),
    ):
        cells = (
            panel.get_by_role("row", name=re.compile("^" + name)).get_by_role("cell").locator(".v").all_inner_texts()
        )
        assert cells == [write.format(value).replace("-", "−") for value in values]
    expect(panel).to_contain_text(head["role"])


# --- keyboard ------------------------------------------------------------------------------------------------------


def tab_to(page, locator, most: int = 80) -> None:
    """Presses Tab until the element has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if locator.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not lead to {locator}")


def test_tab_reaches_a_node_enter_opens_it_and_escape_leads_back(small, sites):
    page, node = small.page, small.node(sites[2])
    tab_to(page, node)
    page.keyboard.press("Enter")
    only(small, sites[2])
    expect(small.heading(sites[2])).to_be_focused()
    page.keyboard.press("Tab")
    expect(small.another_head).to_be_focused()
    page.keyboard.press("Escape")
    expect(node).to_be_focused()


def test_arrow_keys_walk_over_a_heat_map_and_enter_opens_the_head(small):
    heat_map = small.head_maps.first
    heat_map.focus()
    for key in (
        "ArrowDown",
        "ArrowDown",
        "ArrowRight",
        "ArrowLeft",
        "ArrowLeft",
        "ArrowRight",
        "ArrowRight",
        "ArrowDown",
    ):
        small.page.keyboard.press(key)
    expect(small.tip).to_have_text(re.compile(r"^2\.2: "))
    small.page.keyboard.press("Enter")
    only(small, "2.2")
    small.page.keyboard.press("Escape")
    expect(heat_map).to_be_focused()


@pytest.mark.parametrize("prompt", [1, 6, 14])
def test_arrow_keys_walk_over_the_tokens_and_each_says_what_it_is(small, prompt):
    """Also of those to which the page must be scrolled, or that are shown on demand."""
    tokens = small.tokens(prompt)
    if prompt == 14:
        expect(tokens.first).to_be_hidden()
        small.more_prompts.press("Enter")
    tokens.first.focus()
    for i, (text, role) in enumerate(PIECES):
        expect(tokens.nth(i)).to_be_focused()
        expect(small.tip).to_be_visible()
        expect(small.tip).to_have_text(f"position {i} · role {role} · id {i} · “{text}”")
        small.page.keyboard.press("ArrowRight")
    for _ in range(3):
        small.page.keyboard.press("ArrowLeft")
    expect(tokens.nth(len(PIECES) - 4)).to_be_focused()
    small.page.keyboard.press("Escape")
    expect(small.tip).to_be_hidden()
    assert tokens.evaluate_all("all => all.filter(e => e.tabIndex === 0).length") == 1


# --- edges ---------------------------------------------------------------------------------------------------------


def shown(arrows) -> dict[str, float]:
    """The arrows that can be seen, by what they say, with their thickness."""
    return dict(
        arrows.evaluate_all(
            """all => all.filter(e => getComputedStyle(e).visibility === "visible").map(e =>
               [e.querySelector("title").textContent.split(":")[0], parseFloat(getComputedStyle(e).strokeWidth)])"""
        )
    )


def test_the_step_selector_changes_the_drawn_edges(small, files):
    rows = files("paths.json")["effects"]
    names = {"q": "queries", "k": "keys", "v": "values"}
    largest, expected = max(abs(row["effect"]) for row in rows), {}
    for row in rows:
        sender, receiver = row["edge"].replace("embed", "the words").split("→")
        head, _, channel = receiver.rpartition(".")
        name = f"{sender} → {head}, {names[channel]}" if head else f"{sender} → logits, directly"
        expected.setdefault(row["step"], {})[name] = abs(row["effect"]) / largest
    every = {name: max(of[name] for of in expected.values()) for name in expected["letter 1"]}
    pictures = []
    for choice, shares in {"the strongest of all": every, **expected}.items():
        small.arrows_of.get_by_role("radio", name=choice, exact=True).check()
        found = shown(small.arrows)
        assert set(found) == {name for name, share in shares.items() if share >= WEAKEST}, choice
        order = sorted(found, key=found.get)
        assert [shares[name] for name in order] == pytest.approx(sorted(shares[name] for name in order), abs=0.01)
        pictures.append(found)
    assert all(pictures.count(picture) == 1 for picture in pictures)


def test_the_edges_of_the_head_that_is_pointed_at_stand_out(small, sites):
    opacity = "all => all.map(e => [e.dataset.ends.split(' '), parseFloat(getComputedStyle(e).strokeOpacity)])"
    before = small.arrows.evaluate_all(opacity)
    small.node(sites[1]).hover()
    found = small.arrows.evaluate_all(opacity)
    own = [value for ends, value in found if sites[1] in ends]
    others = [value for ends, value in found if sites[1] not in ends]
    assert min(own) > 3 * max(others)
    small.page.mouse.move(1, 1)
    assert small.arrows.evaluate_all(opacity) == before


def test_edges_in_the_panel_lead_to_the_other_head(small, sites):
    small.node(sites[3]).click()
    link = small.panel(sites[3]).get_by_role("listitem").get_by_role("link").first
    other = link.inner_text()
    assert other in sites
    link.click()
    only(small, other)


# --- what a head looks at and copies --------------------------------------------------------------------------------


def pattern_at(small: ReportPage, row: int, column: int) -> float:
    """What the attention pattern says of two tokens, by their places in the prompt; rows begin behind the shared tokens."""
    heat_map = small.map("Attention pattern of head")
    heat_map.focus()
    for key, times in (("ArrowUp", 20), ("ArrowLeft", 20), ("ArrowDown", row - 3), ("ArrowRight", column)):
        for _ in range(times):
            small.page.keyboard.press(key)
    said = re.fullmatch(r"(\S+) → (\S+): about ([\d.]+)", small.tip.inner_text())
    visible = [text.replace(" ", "·") for text, _ in PIECES]
    assert said[1] == visible[row]
    assert said[2] == visible[column]
    return float(said[3])


def test_the_pattern_of_any_head_on_any_prompt_is_that_of_the_run(small, files):
    patterns = files("patterns.safetensors")["pattern"]
    for layer, head, prompt in ((3, 6, 0), (3, 6, 13), (1, 2, 13), (1, 2, 5)):
        small.another_head.select_option(f"{layer}.{head}")
        small.prompt.select_option(index=prompt)
        for row, column in ((11, 4), (13, 9)):
            exact = float(patterns[prompt, layer, head, row, column])
            assert pattern_at(small, row, column) == pytest.approx(exact, abs=0.5 / 88 + 0.006)


def test_a_token_at_the_left_shows_where_the_head_looks_for_each_answer_token(small, files):
    patterns = files("patterns.safetensors")["pattern"]
    small.another_head.select_option("2.4")
    for step in range(3):
        small.page.get_by_role("group", name="when it predicts").get_by_label(f"letter {step + 1}").check()
        shares = (
            small.panel("2.4")
            .locator(".strip .tok")
            .evaluate_all("all => all.map(e => parseFloat(e.style.getPropertyValue('--share')) / 100)")
        )
        exact = patterns[0, 2, 4, len(PIECES) - 3 + step, : len(PIECES)].astype(float)
        assert np.abs(np.array(shares) - exact).max() < 0.5 / 88 + 0.006
        expect(small.panel("2.4").locator(".strip .said")).to_have_text(f"→ {'MYN'[step]}")


def test_the_letter_matrix_of_any_head_is_that_of_the_run(small, files):
    ov = files("letters.safetensors")["ov"]
    small.another_head.select_option("1.3")
    for i, quadrant in enumerate(("|X| → |X|", "|X| → |_X|", "|_X| → |X|", "|_X| → |_X|")):
        small.page.get_by_role("group", name="letter attended to → written").get_by_label(quadrant, exact=True).check()
        heat_map = small.map(f"OV letter matrix of head 1.3, {quadrant}")
        for row, column in ((2, 2), (7, 21)):
            heat_map.hover(position=small.place(heat_map, chr(65 + row), chr(65 + column)))
            said = re.fullmatch(rf"{chr(65 + row)} → {chr(65 + column)}: about (.*)", small.tip.inner_text())
            exact = float(ov[1, 3, 26 * (i // 2) + row, 26 * (i % 2) + column])
            coarse = float(np.abs(ov[1, 3].astype(float)).max()) / 88
            assert float(said[1].replace("−", "-")) == pytest.approx(exact, abs=coarse + 0.006)


@pytest.mark.parametrize("name", ["earlier", "plain"])
def test_what_a_run_does_not_have_is_left_out(visit, report, name):
    seen = ReportPage(visit(report(name)))
    seen.another_head.select_option("1.1")
    only(seen, "1.1")
    assert seen.page.get_by_role("heading", name="What it copies").count() == 0
    assert seen.map("Attention pattern").count() == (name == "plain")
    assert seen.arrows_of.count() == (name == "plain")


def test_a_model_of_270_heads_has_room_for_every_one(visit, report):
    seen, size = ReportPage(visit(report("smollm2"))), Size(layers=30, heads=9)
    assert seen.another_head.locator("option").count() == size.layers * size.heads
    for site in ("0.0", "17.4", "29.8"):
        seen.another_head.select_option(site)
        only(seen, site)
        expect(seen.map(f"Attention pattern of head {site}, prompt 1")).to_be_visible()
    assert seen.prompt.locator("option").count() == 20
