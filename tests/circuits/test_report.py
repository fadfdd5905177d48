"""The figures and the page of a run: complete, valid, the same each time, safe to open, usable without seeing it."""

import base64
import hashlib
import json
import math
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import cutaway
from circuits.run_folders import Size, make
from cutaway import CutawayError
from cutaway.circuits import figures, report
from cutaway.circuits.behaviors.acronyms import Acronyms
from cutaway.circuits.behaviors.acronyms import build as acronyms
from cutaway.circuits.behaviors.induction import Induction
from cutaway.circuits.behaviors.induction import build as induction
from cutaway.circuits.find import Find, find
from cutaway.circuits.page.numbers import listed
from cutaway.circuits.read import read
from cutaway.circuits.write import write
from cutaway.core.runs import Run

HOSTILE = """<script>alert("1")</script> & 'quoted' $x^2$ </style>"""
VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """What a browser would find: elements with their attributes and their text."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.known = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open[-1:] == ["script"] and self.elements[-1][1].get("type") == "application/json":
            self.known += data
        elif self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **wanted: str) -> list[dict]:
        return [
            attrs for name, attrs in self.elements if name == tag and all(attrs.get(k) == v for k, v in wanted.items())
        ]


def page(folder: Path, manifest: dict | None = None) -> Page:
    return Page(report.render(folder, manifest).read_text(encoding="utf-8"))


def planted(folder: Path, name: str) -> Path:
    """A real run, as small as one can be."""
    model, config = cutaway.load(f"planted:{name}"), Find(n_sweep=3, n_search=6, n_verify=6, n_random=4)
    recipe = (
        acronyms(model.tokenizer, Acronyms(n=12)) if name == "acronyms" else induction(model.tokenizer, Induction(n=12))
    )
    write(find(model, recipe, config), Run(folder), model.tokenizer)
    return folder


SYNTHETIC = {
    "small": Size(),
    "plain": Size(letters=False, positional=False),
    "one step": Size(layers=3, heads=4, steps=1, circuit=3, letters=False, positional=False),
    "smollm2": Size(layers=30, heads=9, circuit=24, prompts=72),
    "hostile": Size(text=HOSTILE),
}


@pytest.fixture(scope="module", params=[*SYNTHETIC, "acronyms", "induction"])
def folder(request, tmp_path_factory) -> Path:
    """Made-up runs of several kinds, and real ones of planted models."""
    where = tmp_path_factory.mktemp("run")
    return make(where, SYNTHETIC[request.param]) if request.param in SYNTHETIC else planted(where, request.param)


@pytest.fixture(scope="module")
def found(folder) -> Page:
    """The page of each of them."""
    return page(folder)


@pytest.fixture
def small(tmp_path) -> Path:
    return make(tmp_path / "run")


# --- figures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """One small run with its figures, whose corruption has a name that is markup and mathematics."""
    where = make(tmp_path_factory.mktemp("drawn"))
    for path in (where / "effects").glob("*-current-word.json"):
        path.write_text(path.read_text().replace('"corruption": "current word"', '"corruption": "<b>&$x^2$"'))
    figures.draw(where)
    return where


@pytest.mark.parametrize("folder", ["one step", "smollm2", "acronyms", "induction"], indirect=True)
def test_every_figure_is_there_as_valid_svg_with_text_and_as_png(folder):
    record, written = read(folder), figures.draw(folder)
    names = {path.stem for path in written}
    assert {"attention", "buildup", "minimality"} <= names
    assert len([name for name in names if name.startswith("heads-")]) == len(record.heads)
    assert len([name for name in names if name.startswith("stream-")]) == len(record.stream)
    assert ("letters" in names) == bool(record.letters)
    assert any(name.startswith("positional-") for name in names) == bool(record.positional)
    assert sorted(path.name for path in (folder / "figures").iterdir()) == sorted(path.name for path in written)
    for path in written:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG\r\n")
            continue
        said = " ".join(ElementTree.parse(path).getroot().itertext())
        assert record.steps[-1] in said or "letters" in path.name
    attention = " ".join(ElementTree.parse(folder / "figures/attention.svg").getroot().itertext())
    for head in record.circuit.heads:
        assert f"{head.site}  {head.role}" in attention


def test_the_same_run_gives_the_same_bytes_and_changes_nothing_in_the_process(drawn, tmp_path):
    import matplotlib

    other, before = tmp_path / "elsewhere", dict(matplotlib.rcParams)
    shutil.copytree(drawn, other)
    shutil.rmtree(other / "figures")
    written = figures.draw(other)
    assert len(written) == len(list((drawn / "figures").iterdir())) > 10
    for path in written:
        assert path.read_bytes() == (drawn / "figures" / path.name).read_bytes(), path.name
    assert dict(matplotlib.rcParams) == before
    assert report.render(drawn).read_bytes() == report.render(other).read_bytes()


def test_names_that_are_markup_or_mathematics_stay_text(drawn):
    said = "".join(ElementTree.parse(drawn / "figures/heads-<b>&$x^2$.svg").getroot().itertext())
    assert "Effect of heads: <b>&$x^2$" in said


# --- the page ------------------------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_its_references_resolve(found):
    assert found.open == []
    ids = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in found.elements:
        for name in ("aria-labelledby", "aria-describedby", "aria-controls", "for"):
            assert set((attrs.get(name) or "").split()) <= set(ids), (tag, attrs)
        if "href" in attrs:
            assert attrs["href"][0] == "#", attrs
            assert attrs["href"][1:] in ids, attrs


def test_the_page_needs_nothing_from_outside(found, folder):
    for tag, attrs in found.elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "use", "image", "form"}
        assert not {"src", "srcset", "action", "xlink:href", "data"} & set(attrs)
        assert not [name for name in attrs if name.startswith("on")]
        assert "url(" not in (attrs.get("style") or "")
    text = (folder / "report.html").read_text(encoding="utf-8")
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_the_one_script_by_its_hash(found):
    assert len(found.scripts) == 1
    assert max(map(len, found.scripts[0].splitlines())) <= 160, "a script is to be read"
    digest = base64.b64encode(hashlib.sha256(found.scripts[0].encode()).digest()).decode()
    content = found.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert f"script-src 'sha256-{digest}'" in content
    assert content.startswith("default-src 'none'")


def test_every_table_has_a_caption_and_scopes_and_every_drawing_a_name(found):
    assert len(found.all("caption")) == len(found.all("table"))
    assert all(attrs.get("scope") in {"col", "row", "colgroup"} for attrs in found.all("th"))
    for attrs in found.all("svg"):
        assert attrs.get("aria-hidden") == "true" or attrs.get("aria-labelledby")
    assert len(found.all("main")) == len(found.all("h1")) == len(found.all("nav")) == 1


def test_headings_are_in_order(found):
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels


def test_every_head_is_listed_once(found, folder):
    record, text = read(folder), (folder / "report.html").read_text(encoding="utf-8")
    sites = [str(head.site) for head in record.circuit.heads]
    table = text[text.index('<table id="heads"') :]
    listing = re.findall(r'<th scope="row"><a href="#panel" data-head="[\d.]+">([\d.]+)</a>', table[: table.index("</table>")])
    assert listing == sites
    assert sorted(json.loads(found.known)["circuit"]) == sorted(sites)
    for site in sites:
        assert len(found.all("a", **{"class": "node", "data-head": site})) == 1
    assert len(found.all("circle", **{"class": "dot"})) == record.n_layers * record.n_heads - len(sites)


def test_a_large_run_stays_below_three_megabytes(tmp_path):
    where = make(tmp_path / "run", Size(layers=30, heads=9, circuit=60, prompts=72))
    assert report.render(where).stat().st_size < 3_000_000


def test_the_first_twenty_prompts_are_shown_token_by_token(tmp_path):
    small = make(tmp_path / "run", Size(prompts=23))
    found, record = page(small), read(small)
    shown = found.all("div", role="toolbar")
    assert len(shown) == 20 < len(record.prompts)
    tokens = found.all("button", **{"class": "tok"})
    assert len(tokens) == 20 * len(record.prompts[0]["tokens"])
    assert tokens[4]["title"] == "position 4 · role C1 · id 4 · “ M”"
    assert sum(token["tabindex"] == "0" for token in tokens) == 20


def test_what_is_said_is_what_the_files_say(small):
    verified = json.loads((small / "verification.json").read_text())
    kept = [f"{100 * e['mean']:.0f}%" for e in verified["faithfulness"]]
    best = [f"{100 * max(column):.0f}%" for column in zip(*verified["random_circuits"], strict=True)]
    said = page(small).text
    assert f"5 of 28 heads keep {listed(kept)} of the model’s performance on letter 1, letter 2 and letter 3" in said
    assert f"The best of 20 random circuits of the same size keeps {listed(best)}." in said


@pytest.mark.parametrize("place", ["prompt", "token", "role", "model", "corruption", "command", "evidence"])
def test_markup_in_a_run_is_shown_as_text(small, place):
    plain = read(small)
    harmless = page(small)
    encoded = json.dumps(HOSTILE)[1:-1]
    swaps = {
        "prompt": ("prompts.jsonl", json.dumps(plain.prompts[0]["text"])[1:-1]),
        "token": ("prompts.jsonl", "onder"),
        "role": ("circuit.json", "letter mover"),
        "model": ("circuit.json", "made:up"),
        "corruption": ("effects/heads-current-word.json", "current word"),
        "evidence": ("circuit.json", "copies right answer"),
    }
    if place in swaps:
        name, old = swaps[place]
        text = (small / name).read_text()
        assert old in text
        (small / name).write_text(text.replace(old, encoded))
    found = page(small, {"command": HOSTILE} if place == "command" else None)
    assert len(found.scripts) == len(found.all("script", type="module")) == 1
    assert len(found.all("script")) == 2
    assert "<" not in found.known
    json.loads(found.known)
    assert len(found.all("style")) == 1
    assert "<script>alert(\"1\")</script> & 'quoted' $x^2$" in found.text
    assert len(found.all("table")) == len(harmless.all("table"))


def test_the_manifest_may_be_given_before_it_is_written(small):
    given = {"command": "cutaway circuits find --seed 1", "made": "2026-01-02T03:04:05Z", "versions": {"torch": "9.9"}}
    said = page(small, given).text
    assert "cutaway circuits find --seed 1" in said
    assert "torch 9.9" in said
    assert "cutaway circuits find" not in page(small).text
    (small / "manifest.json").write_text(json.dumps(given))
    assert "cutaway circuits find --seed 1" in page(small).text


def test_what_was_not_measured_is_a_dash(tmp_path):
    where = make(tmp_path / "run", Size(letters=False))
    verified = json.loads((where / "verification.json").read_text())
    verified["complement"][1]["mean"] = math.nan
    (where / "verification.json").write_text(json.dumps(verified))
    found = page(where)
    assert re.search(r"Complement the model without the circuit; should be near 0% \S+ \[[^]]+\] – ", found.text)
    assert "nan" not in found.text.lower().split()
    assert len(found.all("p", **{"class": "none"})) == 2  # what "previous letters" says of letter 1: heads, stream


def test_damaged_and_missing_files_are_named_and_the_old_page_stays(small):
    before = report.render(small).read_bytes()
    verification = (small / "verification.json").read_text()
    (small / "verification.json").write_text(verification[:200])
    with pytest.raises(CutawayError, match="not a run folder"):
        report.render(small)
    (small / "verification.json").unlink()
    for make_again in (report.render, figures.draw):
        with pytest.raises(CutawayError, match=r"verification\.json does not exist"):
            make_again(small)
    assert (small / "report.html").read_bytes() == before
    assert not (small / "figures").exists()
    with pytest.raises(CutawayError, match="does not exist"):
        report.render(small / "nowhere")


def test_the_strongest_head_has_a_full_ring_and_the_first_panel(small):
    record = read(small)
    totals = {str(head.site): 0.0 for head in record.circuit.heads}
    for effects in record.heads.values():
        for (site, _, _), point in effects.points.items():
            if site in totals:
                totals[site] += abs(point[0])
    strongest = max(totals, key=totals.get)
    found = page(small)
    shares = [float(a["stroke-dasharray"].split()[0]) for a in found.all("circle", **{"class": "ring"})]
    assert shares[[str(head.site) for head in record.circuit.heads].index(strongest)] == max(shares)
    assert found.all("section", id="panel")[0]["data-first"] == strongest
