"""What the page's script is told: the numbers of the files, packed and unpacked without loss that anybody could see."""

import json
from dataclasses import replace

import numpy as np
import pytest

from circuits.run_folders import Size, make
from cutaway.circuits.page import edges
from cutaway.circuits.page.data import data
from cutaway.circuits.page.heads import head_maps, letters
from cutaway.circuits.page.packed import ALPHABET, LEVELS, packed, packed_signed
from cutaway.circuits.page.sections import curves
from cutaway.circuits.read import read


def unpacked(text: str) -> np.ndarray:
    """As `scripts/data.js` does it."""
    values, characters = [], iter(text)
    for character in characters:
        values += [0] * ALPHABET.index(next(characters)) if character == " " else [ALPHABET.index(character)]
    return np.array(values) / LEVELS


@pytest.fixture
def record(tmp_path):
    return read(make(tmp_path / "run", Size(layers=4, heads=6, circuit=6, prompts=9)))


def known(record) -> dict:
    maps = [m for group in head_maps(record) for m in group.maps if m]
    return json.loads(data(record, [*letters(record), *maps], curves(record)))


def test_packing_loses_less_than_a_176th():
    rng = np.random.default_rng(0)
    shares = np.where(rng.random(5000) < 0.6, 0, rng.random(5000))
    assert np.abs(unpacked(packed(shares)) - shares).max() <= 0.5 / LEVELS + 1e-9
    assert len(packed(np.zeros(1000))) < 30
    assert unpacked(packed(np.zeros(1000))).shape == (1000,)
    signed = rng.normal(size=3000)
    limit = float(np.abs(signed).max())
    back = (2 * unpacked(packed_signed(signed, limit)) - 1) * limit
    assert np.abs(back - signed).max() <= limit / LEVELS + 1e-9
    assert (2 * unpacked(packed_signed(np.zeros(3), 1.0)) - 1 == 0).all()
    assert (unpacked(packed(np.array([np.nan, -1, 2, 1]))) == [0, 0, 1, 1]).all()


def test_no_character_needs_an_escape():
    assert len(ALPHABET) == len(set(ALPHABET)) == 89
    assert json.dumps(ALPHABET) == f'"{ALPHABET}"'
    assert not set(ALPHABET) & set('<>& "\\')


def check_patterns(found: dict, record) -> None:
    assert len(found["prompts"]) == len(found["patterns"]) == len(record.patterns)
    for n, prompt in enumerate(record.prompts):
        width, shared = len(prompt["tokens"]), prompt["shared"]
        for i, site in enumerate(record.every_head):
            layer, head = map(int, site.split("."))
            values = unpacked(found["patterns"][n][i])
            rows = [record.patterns[n, layer, head, q, : q + 1] for q in range(shared, width)]
            assert np.abs(values - np.concatenate(rows)).max() < 0.006


def test_patterns_are_the_files_row_by_row(record):
    check_patterns(known(record), record)


def test_a_wrong_order_of_heads_is_noticed(record):
    turned = record.patterns.transpose(0, 2, 1, 3, 4).reshape(record.patterns.shape)
    with pytest.raises(AssertionError):
        check_patterns(known(replace(record, patterns=turned)), record)


def test_every_number_of_a_figure_is_the_files(record):
    found = known(record)
    for i, effects in enumerate(record.heads.values(), 1):
        for j, step in enumerate(record.steps, 1):
            grid = found["figures"].get(f"heads-{i}-{j}")
            assert (grid is None) == (step not in effects.steps)
            for head, row in enumerate(grid["points"] if grid else []):
                for layer, point in enumerate(row):
                    assert point == pytest.approx(effects.of(f"{layer}.{head}", step), rel=1e-3)
    assert found["figures"]["curve-1"]["table"][0][0] == "none"
    first = record.direct[record.every_head[5], record.steps[1]]["direct_logit_diff"]
    assert found["heads"]["direct"][5][1] == pytest.approx(first, rel=1e-3)


def test_letter_matrices_are_the_files(record):
    found = known(record)["letters"]
    for i, site in enumerate(record.every_head):
        limit, text = found["matrices"][site]
        matrix = record.ov[i // record.n_heads, i % record.n_heads].astype(float)
        assert np.abs((2 * unpacked(text).reshape(52, 52) - 1) * limit - matrix).max() <= limit / LEVELS + 1e-2
        assert found["copying"][i] == pytest.approx(record.copying_of_all.reshape(-1, 2)[i].tolist(), abs=1e-3)


def test_a_run_without_these_files_still_has_a_page(tmp_path):
    found = known(read(make(tmp_path / "old", Size(extras=False))))
    assert found["patterns"] == found["edges"] == []
    assert found["letters"] is None


def test_keys_that_heads_share_lead_to_each_head_of_the_circuit(record):
    """Two key-value heads for six heads: the second is read by 3, 4 and 5."""
    inside = {str(site) for site in record.circuit.sites}
    receiver = max(inside, key=lambda site: int(site.split(".")[0]))
    layer, head = map(int, receiver.split("."))
    name = f"embed→{layer}.{head // 3}.k"
    points = {(name, step): (-1.0, -2.0, 0.0) for step in record.steps}
    paths = replace(record.paths, edges=(name,), points=points)
    circuit = replace(record.circuit, provenance=record.circuit.provenance | {"n_kv_heads": 2})
    found = edges.links(replace(record, circuit=circuit, paths=paths))
    group = {f"{layer}.{head // 3 * 3 + i}" for i in range(3)}
    assert {link.receiver for link in found} == group & inside
    assert {link.channel for link in found} == {"k"}
    assert all(link.strength == 1.0 for link in found)


def test_arrows_are_as_thick_as_their_effect_and_weak_ones_are_left_out(record):
    into = [edge for edge in record.paths.edges if edge.endswith("logits") and not edge.startswith("embed")]
    strong, weak, faint = into[:3]
    values = {strong: -4.0, weak: 2.0, faint: 0.1}
    points = {(edge, step): (x, x, x) for edge, x in values.items() for step in record.steps}
    drawn = edges.arrows(replace(record, paths=replace(record.paths, edges=tuple(values), points=points)))
    assert [arrow.widths[0] for arrow in drawn] == [3.35, 6.0]
    assert drawn[-1].tip.endswith("→ logits, directly: −4.00, −4.00 and −4.00")
