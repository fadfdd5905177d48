"""Pages without a script, in a real browser: circuits side by side, and what a notebook shows."""

from pathlib import Path

import pytest
import torch

import cutaway
from browser.chromium import expect
from browser.reports import HOSTILE, poison
from circuits.run_folders import Size, make
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.circuit import Circuit
from cutaway.circuits.compare import compare
from cutaway.circuits.compare.page import Page, html
from cutaway.circuits.patching import sweep

WIDTHS = (360, 768, 1280)


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> dict[str, Path]:
    """Pages of comparisons: of three runs of one shape, of two shapes, of runs whose every name is hostile."""
    where = tmp_path_factory.mktemp("compared")
    three = [make(where / f"seed-{seed}", Size(seed=seed)) for seed in (0, 1, 2)]
    large = make(where / "large", Size(layers=30, heads=9, circuit=24))
    hostile = [make(where / f"hostile-{seed}", Size(seed=seed)) for seed in (0, 1)]
    for folder in hostile:
        poison(folder)
    pages = {}
    for name, runs in {"three": three, "two shapes": [three[0], large], "hostile": hostile}.items():
        pages[name] = where / f"{name}.html"
        pages[name].write_text(html(Page.of(compare(runs, cross=False), {})), encoding="utf-8")
    return pages


@pytest.mark.parametrize("name", ["three", "two shapes", "hostile"])
def test_a_comparison_fits_the_page_at_any_width(visit, compared, screenshot, name):
    for width in WIDTHS:
        page = visit(compared[name], viewport={"width": width, "height": 800})
        screenshot(page, f"compare-{name}-{width}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for section in page.locator("main > section").all():
            assert section.bounding_box()["height"] > 50
    assert page.get_by_role("table").count() > 2
    assert page.locator("script, img").count() == 0
    if name == "hostile":
        expect(page.locator("h1")).to_contain_text(HOSTILE)


@pytest.mark.parametrize(("name", "scheme"), [("three", "light"), ("two shapes", "dark"), ("hostile", "light")])
def test_a_comparison_is_accessible(visit, compared, axe, name, scheme):
    axe(visit(compared[name], color_scheme=scheme))


@pytest.fixture(scope="module")
def notebook(tmp_path_factory) -> Path:
    """A page with what a notebook would show of each kind of thing, twice."""
    where = tmp_path_factory.mktemp("notebook")
    model = cutaway.load("planted:acronyms")
    behavior = build(model.tokenizer, Acronyms(n=6))
    with torch.no_grad():
        effects = sweep(model, behavior, "current word")
    circuit = Circuit.load(make(where / "run") / "circuit.json")
    shown = "".join(f"<div>{thing._repr_html_()}</div>" for thing in (circuit, effects, behavior))
    page = where / "notebook.html"
    head = '<html lang=en><meta name=color-scheme content="light dark"><title>A notebook</title>'
    page.write_text(f"<!doctype html>{head}<main><h1>A notebook</h1>{shown}</main>")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_a_notebook_shows_is_readable(visit, notebook, axe, screenshot, scheme):
    page = visit(notebook, color_scheme=scheme)
    screenshot(page, f"notebook-{scheme}")
    assert page.locator("svg").count() > 3
    for box in (svg.bounding_box() for svg in page.locator("svg").all()):
        assert min(box["width"], box["height"]) > 5
    axe(page)
