"""What is saved from report.html: drawings that stand alone and look the same, and the numbers of the run's files."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from browser.chromium import expect
from browser.report_page import ReportPage
from browser.reports import HOSTILE
from circuits.run_folders import PIECES

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = {f"{SVG}{name}" for name in ("rect", "circle", "path", "text")}


@pytest.fixture
def small(visit, report) -> ReportPage:
    return ReportPage(visit(report("small")))


def table(text: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV text, all of one length."""
    header, *rows = csv.reader(io.StringIO(text))
    assert rows
    assert {len(row) for row in rows} == {len(header)}
    return header, rows


def figures(seen: ReportPage) -> list[str]:
    """What every figure of the page is called, those of the panel as well."""
    names = seen.saves("SVG").evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    return [name.removeprefix("Save as SVG: ") for name in names]


# --- drawings ------------------------------------------------------------------------------------------------------


def check_drawing(text: str) -> ElementTree.Element:
    """An SVG file that is whole by itself: XML, nothing that runs or is fetched, looks set on each shape."""
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    shapes = [element for element in root.iter() if element.tag in SHAPES]
    assert len(shapes) > 5
    for element in root.iter():
        assert element.tag.removeprefix(SVG) not in {"script", "style", "foreignObject", "image", "use", "iframe"}
        for name, value in element.attrib.items():
            assert not name.startswith(("on", "data-")), name
            assert name not in {"class", "style", "href", "{http://www.w3.org/1999/xlink}href", "tabindex"}, name
            assert "var(" not in value, (name, value)
            assert "url(" not in value, (name, value)
    for shape in shapes[1:]:  # the first is the paper
        assert set(shape.attrib) >= {"fill", "stroke"}, shape.attrib
    return root


def test_every_figure_of_the_page_is_saved_as_a_drawing_and_as_numbers(small):
    names = figures(small)
    assert len(names) == len(set(names)) > 20
    assert {name.split(" ")[0] for name in names} >= {"The", "Effect", "Logit", "OV", "Attention"}
    assert small.page.locator("figure svg").count() == len(names)
    buttons = {kind: small.page.locator(f"button[aria-label^='Save as {kind}: ']") for kind in ("SVG", "CSV")}
    for i, name in enumerate(names):
        if i % 5 == 4:
            small.page.wait_for_timeout(1000)  # Chromium lets a page save ten files a second
        check_drawing(small.saved(buttons["SVG"].nth(i)))
        header, _ = table(small.saved(buttons["CSV"].nth(i)))
        assert len(header) >= 3, name


@pytest.mark.parametrize("flaw", ["class", "script", "variable", "no colours"])
def test_a_drawing_that_does_not_stand_alone_would_be_noticed(flaw):
    shape = '<rect fill="rgb(1, 2, 3)" stroke="none"/>'
    flawed = {
        "class": '<rect class="pos" fill="rgb(1, 2, 3)" stroke="none"/>',
        "script": "<script>1</script>",
        "variable": '<rect fill="var(--pos)" stroke="none"/>',
        "no colours": '<rect width="1"/>',
    }
    good = f'<svg xmlns="http://www.w3.org/2000/svg">{shape * 7}</svg>'
    check_drawing(good)
    with pytest.raises(AssertionError):
        check_drawing(good.replace("</svg>", flawed[flaw] + "</svg>"))


def unlike(ours: Path, theirs: Path) -> float:
    """Share of small squares whose colours are far from each other; where within one a line lies does not count."""
    pictures = [Image.open(path).convert("RGB") for path in (ours, theirs)]
    size = [min(sizes) // 6 * 6 - 6 for sizes in zip(*(picture.size for picture in pictures), strict=True)]
    blocks = [np.asarray(picture.crop((0, 0, *size)).reduce(6), dtype=np.int16) for picture in pictures]
    return float((np.abs(blocks[0] - blocks[1]).max(-1) > 60).mean())


LOOKS = (
    ("The circuit", "light"),
    ("The circuit", "dark"),
    ("Effect of heads on letter 2, current word", "light"),
    ("Logit difference of letter 3", "dark"),
    ("OV letter matrix", "light"),
)


@pytest.mark.parametrize(("name", "scheme"), LOOKS)
def test_a_saved_drawing_looks_as_on_the_page(visit, report, tmp_path, name, scheme):
    page = visit(report("small"), color_scheme=scheme)
    button = ReportPage(page).saves("SVG", name).first
    saved = ReportPage(page).saved(button)
    page.mouse.move(1, 1)
    page.locator("figure", has=button).locator("svg").first.screenshot(path=tmp_path / "page.png")
    for name, text in {"saved": saved, "without colours": re.sub(r'(fill|stroke)="[^"]*"', "", saved)}.items():
        (tmp_path / f"{name}.svg").write_text(text, encoding="utf-8")
        visit(tmp_path / f"{name}.svg").locator("svg").screenshot(path=tmp_path / f"{name}.png")
    assert unlike(tmp_path / "page.png", tmp_path / "saved.png") == 0
    assert unlike(tmp_path / "page.png", tmp_path / "without colours.png") > 0.02


# --- numbers -------------------------------------------------------------------------------------------------------


def near(written: str, exact: float) -> bool:
    """Four digits are kept."""
    return float(written) == pytest.approx(exact, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("grid", ["heads", "stream"])
def test_the_numbers_of_a_heat_map_are_those_of_the_run(small, report, grid):
    where = {"heads": "heads", "stream": "the residual stream"}[grid]
    text = small.saved(small.saves("CSV", f"Effect of {where} on letter 2, previous letters"))
    files = ["heads"] if grid == "heads" else ["stream", "mlps"]
    exact = {}
    for file in files:
        for row in json.loads((report("small").parent / f"effects/{file}-previous-letters.json").read_text())[
            "effects"
        ]:
            if row["step"] == "letter 2":
                layer, _, head = row["site"].removeprefix("m").partition(".")
                name = {"heads": head, "stream": row["role"], "mlps": "MLP"}[file]
                exact[name, layer] = [row[name] for name in ("effect", "low", "high")]
    header, rows = table(text)
    assert header == ["head" if grid == "heads" else "role", "layer", "mean", "low", "high"]
    assert {(row[0], row[1]) for row in rows} == set(exact)
    assert len(rows) == len(exact)
    for name, layer, *values in rows:
        assert all(map(near, values, exact[name, layer])), (name, layer)


def test_the_numbers_of_a_curve_are_those_of_the_run(small, report):
    verified = json.loads((report("small").parent / "verification.json").read_text())
    _, rows = table(small.saved(small.saves("CSV", "Logit difference of letter 3")))
    said = {row[0].lstrip("'"): row[1:] for row in rows}  # "+1.6" would be a number
    for name, points in verified["buildup"]:
        assert all(map(near, said[name], (points[2][key] for key in ("mean", "low", "high")))), name
    assert near(said["whole model"][0], verified["model"]["logit_diff"][2]["mean"])
    assert sum(name.startswith("random circuit") for name in said) == len(verified["random_circuits"]) == 20


def test_the_numbers_of_the_drawing_are_the_edges_of_the_run(small, report):
    exact = {}
    for row in json.loads((report("small").parent / "paths.json").read_text())["effects"]:
        exact.setdefault(row["edge"], []).extend(row[key] for key in ("effect", "low", "high"))
    header, rows = table(small.saved(small.saves("CSV", "The circuit")))
    assert header[:3] == ["sender", "receiver", "input"]
    assert header[3:] == [f"letter {i}{end}" for i in (1, 2, 3) for end in ("", " low", " high")]
    said = {
        f"{sender}→{receiver}{'.' if channel else ''}{channel}": values for sender, receiver, channel, *values in rows
    }
    assert set(said) == set(exact)
    for edge, values in said.items():
        assert all(map(near, values, exact[edge])), edge


def test_the_numbers_of_a_letter_matrix_are_those_of_the_run(small, report):
    movers = json.loads((report("small").parent / "letters.json").read_text())["matrices"]["movers"]
    for name in movers:
        _, rows = table(
            small.saved(small.page.get_by_role("button", name=f"Save as CSV: OV letter matrix {name}", exact=True))
        )
        said = {(row, column): value for row, column, value, *_ in rows}
        exact = np.array(movers[name]["matrix"])
        assert len(said) == exact.size
        assert all(near(value, exact[ord(row) - 65, ord(column) - 65]) for (row, column), value in said.items())


def test_the_numbers_of_the_panel_are_those_of_the_run(small, report):
    folder = report("small").parent
    small.another_head.select_option("2.5")
    small.prompt.select_option(index=3)
    header, rows = table(small.saved(small.saves("CSV", "Attention pattern of head 2.5, prompt 4")))
    assert header == ["row", "token that looks", "column", "token looked at", "attention (about)"]
    exact = load_file(folder / "patterns.safetensors")["pattern"][3, 2, 5].astype(float)
    assert len(rows) == sum(i + 1 for i in range(3, len(PIECES)))
    for row, looking, column, looked_at, share in rows:
        assert [text.replace("·", " ") for text in (looking, looked_at)] == [PIECES[int(i)][0] for i in (row, column)]
        assert abs(float(share) - exact[int(row), int(column)]) < 0.5 / 88 + 0.006
    _, rows = table(small.saved(small.saves("CSV", "OV letter matrix of head 2.5, |_X| → |X|")))
    ov = load_file(folder / "letters.safetensors")["ov"][2, 5].astype(float)
    found = np.array([[float(value) for value in row[1:]] for row in rows])
    assert np.abs(found - ov[26:, :26]).max() < np.abs(ov).max() / 88 + 0.006


def test_no_cell_is_a_formula_for_a_spreadsheet(visit, report, tmp_path):
    """A name that a spreadsheet would run is saved as text; numbers stay numbers."""
    page = report("hostile").read_text()
    data = page.replace(json.dumps(HOSTILE, ensure_ascii=False)[1:-1].replace("<", "\\u003c"), "=1+1")
    assert data.count("=1+1") > 5
    (tmp_path / "page.html").write_text(data)
    seen = ReportPage(visit(tmp_path / "page.html"))
    _, rows = table(seen.saved(seen.saves("CSV", "Attention pattern")))
    cells = {cell for row in rows for cell in row}
    assert "'=1+1" in cells
    assert "=1+1" not in cells


def test_saving_asks_for_nothing_and_leaves_the_page_as_it_was(small):
    before = small.page.content()
    small.saved(small.saves("SVG", "Effect of heads").first)
    small.page.mouse.move(1, 1)
    expect(small.tip).to_be_hidden()
    assert small.page.content() == before
