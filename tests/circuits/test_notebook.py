"""What notebooks show: fragments that stand alone, hold what the object holds, and change nothing around them."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import cutaway
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.circuit import Circuit, CircuitHead
from cutaway.circuits.effects import Convention, EffectMap
from cutaway.circuits.page import notebook
from cutaway.circuits.patching import sweep
from cutaway.decoder import Site, parse_site

HOSTILE = """<script>alert("1")</script></style>{{ 7 * 7 }}"""
STEPS = ("letter 1", "letter 2", "letter 3")


class Fragment(HTMLParser):
    """Elements with attributes, text, the style sheet; whether everything is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.found, self.texts, self.open, self.style = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **wanted: str) -> list[dict]:
        return [a for name, a in self.found if name == tag and all(a.get(k) == v for k, v in wanted.items())]


def convention(**other) -> Convention:
    given = {"kind": "exact", "direction": "noising", "corruption": "current word", "metric": "logit_diff",
             "sign": "patched − clean", "model": "made:up", "n": 4, "seed": 0}  # fmt: skip
    return Convention(**(given | other))


def effect_map(sites, roles=(None,), batch: int = 4, **other) -> EffectMap:
    values = torch.randn(len(sites), len(roles), batch, len(STEPS), generator=torch.Generator().manual_seed(0))
    return EffectMap(tuple(sites), tuple(roles), STEPS, values, convention(**other))


def circuit(*heads: tuple[str, str], **other) -> Circuit:
    points = ((-1.0, -2.0, -0.5), None, (0.5, 0.25, 0.75))
    dropped = ((0.1, 0.0, 0.2), (0.3, 0.2, 0.4), (0.0, 0.0, 0.0))
    made = tuple(CircuitHead(parse_site(site), role, {"copies": 0.9}, points, dropped) for site, role in heads)
    method = {"name": "prune", "ablation": "mean", "floor": 0.9}
    given = {"model": "made:up", "behavior": "acronyms", "provenance": {"options": {"seed": 3}}}
    return Circuit(**(given | {"step_names": STEPS, "heads": made, "method": method} | other))


HEADS = [Site(layer, "z", head) for layer in range(30) for head in range(9)]
ROLES = ("C1", "T1", "C2", "T2", "C3", "T3", "(", "A1", "A2")
STREAM = [Site(layer, "resid_pre") for layer in range(30)]


@pytest.fixture(scope="module")
def behavior():
    return build(cutaway.load("planted:acronyms").tokenizer, Acronyms(n=12, example=""))


@pytest.fixture(scope="module")
def shown(behavior) -> dict[str, str]:
    made = {
        "circuit": circuit(*((str(site), ROLES[i % 9]) for i, site in enumerate(HEADS[::7]))),
        "no heads": circuit(),
        "heads": effect_map(HEADS),
        "heads by role": effect_map(HEADS, ROLES),
        "stream by role": effect_map(STREAM, ROLES),
        "mixed": effect_map([*HEADS[:9], *STREAM, *(Site(layer, "mlp_out") for layer in range(30))]),
        "behavior": behavior,
    }
    return {name: each._repr_html_() for name, each in made.items()}


KINDS = ("circuit", "no heads", "heads", "heads by role", "stream by role", "mixed", "behavior")


@pytest.mark.parametrize("name", KINDS)
def test_a_fragment_is_one_element_without_script_and_below_200_kilobytes(shown, name):
    found = Fragment(shown[name])
    assert found.found[0] == ("div", {"class": "cutaway"})
    assert shown[name].rstrip().endswith("</div>")
    assert len(shown[name].encode()) < 200_000
    ids = [attrs["id"] for _, attrs in found.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in found.found:
        assert tag not in {"script", "link", "img", "iframe", "object", "html", "body", "meta"}
        assert not {"src", "href", "xlink:href"} & set(attrs)
        assert not [attr for attr in attrs if attr.startswith("on")]
        for attr in ("aria-labelledby", "aria-describedby"):
            assert set((attrs.get(attr) or "").split()) <= set(ids)


def test_ids_do_not_clash_with_those_of_other_fragments(shown):
    seen = [attrs["id"] for name in KINDS for _, attrs in Fragment(shown[name]).found if "id" in attrs]
    assert len(seen) == len(set(seen)) > 10


def rules(style: str) -> list[str]:
    """The selectors of a style sheet."""
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    return [part.strip() for block in re.findall(r"([^{}]+)\{[^{}]*\}", style) for part in block.split(",")]


def reaches_outside(style: str) -> list[str]:
    """Selectors that match something which is not in our class, and anything that fetches."""
    last = [selector for selector in rules(style) if not re.search(r"\.cutaway\b", selector)]
    return last + re.findall(r"@import|url\(|@font-face", style)


def test_every_rule_stays_within_our_class(shown):
    style = Fragment(shown["heads"]).style
    assert len(rules(style)) > 40
    assert reaches_outside(style) == []
    assert reaches_outside(style + "table { color: red }") == ["table"]
    assert reaches_outside(style + ".cutaway { background: url(x) }") == ["url("]
    assert not re.search(r"(?<!-)\bcolor:\s*#|background:\s*#", style)  # text and ground are the notebook's own


def test_a_circuit_shows_every_head_where_it_stands():
    found = Fragment(circuit(("1.2", "letter mover"), ("4.0", "other"))._repr_html_())
    assert "2 heads" in found.text
    assert "search prune, ablation mean, floor 0.9, seed 3" in found.text
    assert "up to layer 4 and head 2" in found.text
    assert "1.2 M letter mover −1.00 [−2.00, −0.50] – 0.50 [0.25, 0.75] 30% copies 0.90" in found.text
    marks = [a["transform"] for a in found.all("g")]
    (x0, y0), (x1, y1) = (map(float, re.match(r"translate\(([\d.]+) ([\d.]+)\)", m).groups()) for m in marks)
    assert (x1 - x0, y0 - y1) == (3 * 30, 2 * 30)
    rings = [float(a["stroke-dasharray"].split()[0]) for a in found.all("circle")]
    assert rings == [100.0, 100.0]
    assert Fragment(circuit()._repr_html_()).all("svg") == []


def test_a_circuit_that_knows_its_models_shape_is_drawn_in_it():
    made = circuit(("1.2", "letter mover"), provenance={"n_layers": 6, "n_heads": 5})
    (field,) = Fragment(made._repr_html_()).all("rect", **{"class": "field"})
    assert (float(field["width"]), float(field["height"])) == (6 * 30, 5 * 30)
    assert "the model may have more" not in Fragment(made._repr_html_()).text


def cells(fragment: Fragment) -> int:
    return sum(a.get("class") in ("neg", "pos") for a in fragment.all("rect"))


def test_effects_are_maps_by_step_with_their_convention(shown):
    found = Fragment(shown["heads"])
    assert len(found.all("svg", **{"class": "heat"})) == 3
    assert "exact noising, current word, logit_diff, patched − clean, n=4, seed 0, made:up" in found.text
    assert all(f"on {step}" in found.text for step in STEPS)
    assert cells(found) > 700
    made = effect_map(HEADS)
    mean, low, high = (x[14 * 9 + 3, 0, 1].item() for x in made.interval())
    assert f"14.3: {mean:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−") in found.text


def test_the_stream_is_roles_by_layers_and_heads_by_role_are_the_strongest_maps(shown):
    stream, heads, mixed = (Fragment(shown[name]) for name in ("stream by role", "heads by role", "mixed"))
    assert len(stream.all("svg", **{"class": "heat"})) == 3
    assert "T2, layer 7:" in stream.text
    assert len(heads.all("svg", **{"class": "heat"})) == 3
    assert "24 weaker maps are not shown" in heads.text
    assert cells(heads) <= notebook.MOST_CELLS
    assert "mlp_out and resid_pre" in mixed.text
    assert "resid_pre, layer 7:" in mixed.text


def test_steps_that_were_not_measured_have_no_map():
    made = effect_map(HEADS[:18])
    made.values[..., 0] = torch.nan
    found = Fragment(made._repr_html_())
    assert "on letter 1" not in found.text
    assert len(found.all("svg", **{"class": "heat"})) == 2
    made.values[:] = torch.nan
    assert Fragment(made._repr_html_()).all("svg") == []


def test_a_behaviour_shows_texts_roles_answers_and_corruptions(behavior, shown):
    found = Fragment(shown["behavior"])
    assert f"{len(behavior)}, the first 8 below" in found.text
    assert len(found.all("li")) == 8
    assert all(" ".join(text.split()) in found.text for text in behavior.texts[:8])
    assert " ".join(behavior.texts[8].split()) not in found.text
    for corruption in behavior.corruptions.values():
        assert f"corruption {corruption.name!r} {corruption.about}" in found.text
    ids = " ".join(map(str, behavior.answers[0].tolist()))
    first = [behavior.slots[slot][0] for slot in behavior.clean.slots[0].tolist() if slot >= 0]
    assert f"answer {ids}" in found.text
    roles = list(dict.fromkeys(first))
    tokens = behavior.clean.tokens[0].tolist()
    spans = [f"{role} {' '.join(str(t) for t, r in zip(tokens, first, strict=False) if r == role)}" for role in roles]
    assert " ".join(spans) in found.text


def test_what_all_prompts_share_and_what_is_long_is_cut():
    tokenizer = cutaway.load("planted:acronyms").tokenizer
    made, long = build(tokenizer, Acronyms(n=12, example="")), "x" * 1000
    made = replace(made, texts=(long, *made.texts[1:]), slots=tuple(("all", i) for i, _ in enumerate(made.slots)))
    assert "tokens, the same in all" not in Fragment(made._repr_html_()).text
    found = Fragment(replace(made, shared=made.clean.tokens.shape[1])._repr_html_())
    assert long not in found.text
    assert "…" + "x" * notebook.LONGEST in found.text
    assert f"all {made.clean.mask[0].sum()} tokens, the same in all" in found.text


@pytest.mark.parametrize("place", ["role", "model", "evidence", "step", "corruption", "text", "about", "site role"])
def test_markup_is_shown_as_text(place, behavior):
    if place in ("text", "about"):
        changed = {"texts": (HOSTILE, *behavior.texts[1:])} if place == "text" else {"about": HOSTILE}
        made = replace(behavior, **changed)
    elif place == "corruption":
        made = effect_map(HEADS[:9], corruption=HOSTILE)
    elif place == "site role":
        made = effect_map(STREAM[:3], (HOSTILE, "C1"))
    else:
        head = circuit(("0.0", HOSTILE if place == "role" else "other")).heads[0]
        if place == "evidence":
            object.__setattr__(head, "evidence", {HOSTILE: 1.0})
        other = {"model": {"model": HOSTILE}, "step": {"step_names": (HOSTILE, *STEPS[1:])}}.get(place, {})
        made = circuit(**({"heads": (head,)} | other))
    found = Fragment(made._repr_html_())
    assert found.all("script") == []
    assert len(found.all("style")) == 1
    assert " ".join(HOSTILE.split()) in found.text
    assert reaches_outside(found.style) == []


def test_a_sweep_of_a_real_model_is_shown():
    model = cutaway.load("planted:acronyms")
    made = build(model.tokenizer, Acronyms(n=4, example=""))
    found = Fragment(sweep(model, made, "current word")._repr_html_())
    assert "planted:acronyms" in found.text
    assert len(found.all("svg", **{"class": "heat"})) == 3


def test_objects_do_not_import_the_page_before_they_are_shown():
    for name in ("circuit", "effects", "behavior"):
        source = Path(cutaway.__file__).parent / "circuits" / f"{name}.py"
        assert not re.search(r"^from cutaway\.circuits\.page", source.read_text(), re.MULTILINE)
