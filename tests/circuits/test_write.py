"""A search written down and read back: edges, attention patterns, letters and prompts are those of the model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import cutaway
from cutaway import CutawayError, Site
from cutaway.circuits.behavior import Prompts
from cutaway.circuits.behaviors.acronyms import Acronyms
from cutaway.circuits.behaviors.acronyms import build as acronyms
from cutaway.circuits.behaviors.induction import Induction
from cutaway.circuits.behaviors.induction import build as induction
from cutaway.circuits.config import Find
from cutaway.circuits.explain import attention as attention_file
from cutaway.circuits.explain.attention import kept
from cutaway.circuits.find import Findings, find
from cutaway.circuits.graph import heads_of, parse_edge
from cutaway.circuits.read import Record, read
from cutaway.circuits.write import write
from cutaway.core.runs import Run
from cutaway.decoder.planted import truth

NAME = "planted:acronyms@1"
FEW = Find(n_sweep=2, n_search=5, n_verify=4, n_random=1, n_paths=2)


def scene(name: str = NAME, config: Find = FEW):
    model = cutaway.load(name)
    if "induction" in name:
        return model, induction(model.tokenizer, Induction(n=config.n_prompts))
    return model, acronyms(model.tokenizer, Acronyms(n=config.n_prompts))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Findings, Record]:
    model, behavior = scene()
    folder = tmp_path_factory.mktemp("run")
    findings = find(model, behavior, FEW)
    write(findings, Run(folder), model.tokenizer)
    return findings, read(folder)


def mistaken(record: Record) -> float:
    """Largest difference of the patterns in the folder from those of the prompts in the folder, each run on its own."""
    model, worst = cutaway.load(NAME), 0.0
    sites = [Site(layer, "pattern") for layer in range(model.config.n_layers)]
    for pattern, prompt in zip(record.patterns, record.prompts, strict=False):
        ids = [token["id"] for token in prompt["tokens"]]
        seen = model.run(torch.tensor([ids]), capture=sites).sites
        alone = np.stack([seen[site][0].numpy() for site in sites])
        whole = np.zeros(pattern.shape)
        whole[:, :, : len(ids), : len(ids)] = alone
        worst = max(worst, float(np.abs(pattern - whole).max()))
    return worst


def test_the_patterns_are_those_of_the_first_prompts_in_the_folder(run):
    _, record = run
    assert len(record.patterns) == FEW.n_search
    lengths = {len(prompt["tokens"]) for prompt in record.prompts[: FEW.n_search]}
    assert len(lengths) > 1, "the prompts must differ in length for this to say something"
    assert record.patterns.shape[-1] == max(lengths)
    assert record.patterns.dtype == np.float16
    assert mistaken(record) < 1e-3
    assert mistaken(replace(record, patterns=record.patterns[::-1])) > 0.1
    assert mistaken(replace(record, patterns=record.patterns.swapaxes(3, 4))) > 0.1


def test_padding_that_is_not_zero_is_noticed(run):
    """A query on padding attends to the prompt before it; its row must not be kept."""
    model, behavior = scene()
    prompts = behavior.clean.take(slice(0, FEW.n_search))
    pattern = attention_file.patterns(model, prompts)
    _, record = run
    assert mistaken(replace(record, patterns=kept(pattern, prompts).numpy())) < 1e-3
    blind = Prompts(prompts.tokens, prompts.slots.clamp(min=0), prompts.steps)
    wide = kept(pattern, blind).numpy()[..., : record.patterns.shape[-1], : record.patterns.shape[-1]]
    assert mistaken(replace(record, patterns=wide)) > 0.1


def test_as_many_patterns_are_kept_as_there_is_room_for(monkeypatch):
    slots = torch.arange(6).expand(30, 6).clone()
    slots[:2, 4:] = -1  # two short prompts, and then longer ones
    prompts = Prompts(torch.zeros_like(slots), slots, torch.zeros(30, 1, dtype=torch.long))
    pattern = torch.rand(3, 30, 2, 6, 6)
    assert kept(pattern, prompts).shape == (attention_file.N_PATTERNS, 3, 2, 6, 6)
    monkeypatch.setattr(attention_file, "MAX_BYTES", 2 * (3 * 2 * 4 * 4) * 2)
    assert kept(pattern, prompts).shape == (2, 3, 2, 4, 4)
    monkeypatch.setattr(attention_file, "MAX_BYTES", 10)
    assert len(kept(pattern, prompts)) == 0


def test_the_edges_are_those_among_the_heads_found(run):
    findings, record = run
    edges = [parse_edge(edge) for edge in record.paths.edges]
    inside, config = findings.circuit.sites, cutaway.load(NAME).config
    assert {edge.sender for edge in edges} == {"embed", *inside}
    assert all(edge.receiver == "logits" or heads_of(edge.receiver, config) & inside for edge in edges)
    assert record.paths.convention["n"] == FEW.n_paths
    assert record.paths.convention["corruption"] == findings.behavior.reference
    for i, edge in enumerate(findings.paths.edges):
        for s, step in enumerate(record.steps):
            mean, low, high = record.paths.of(str(edge), step)
            assert mean == pytest.approx(findings.paths.values[i, :, s].mean().item(), abs=1e-6)
            assert low <= mean <= high
    assert "patch the edges of the circuit" in record.seconds
    # what the movers write reaches the answer by itself
    movers = [site for site, role in truth(NAME).items() if role == "letter mover"]
    assert all(min(record.paths.of(f"{mover}→logits", step)[0] for step in record.steps) < -0.5 for mover in movers)


def test_the_letters_of_every_head_are_written(run):
    _, record = run
    for head, quadrants in record.letters.items():
        if head == "movers":
            continue
        layer, number = map(int, head.split("."))
        matrix = record.ov[layer, number]
        for q, quadrant in enumerate(quadrants.values()):
            part = matrix[26 * (q // 2) :, 26 * (q % 2) :][:26, :26]
            np.testing.assert_allclose(part.astype(float), quadrant["matrix"], atol=5e-3)
        assert record.copying_of_all[layer, number].tolist() == pytest.approx(list(record.copying[head].values()))
    assert record.ov.dtype == np.float16
    assert record.copying_of_all.dtype == np.float32


def test_attention_is_written_for_every_head(run):
    findings, record = run
    assert {head for head, _ in record.attention} == set(record.every_head)
    for (head, step), roles in record.attention.items():
        layer, number = map(int, head.split("."))
        expected = findings.attention.of(Site(layer, "z", number), record.steps.index(step))
        assert roles == pytest.approx(expected, abs=1e-6)


def test_prompts_say_where_the_answer_is_predicted(run):
    findings, record = run
    for prompt in record.prompts:
        names = [prompt["tokens"][at]["role"] for at in prompt["scored"]]
        assert names == ["(", "A1", "A2"]
        shared = {tuple(token["id"] for token in p["tokens"][: prompt["shared"]]) for p in record.prompts}
        assert len(shared) == 1
        assert prompt["shared"] == findings.behavior.shared


def test_without_prompts_for_edges_there_are_none(tmp_path):
    model, behavior = scene()
    write(find(model, behavior, replace(FEW, n_paths=0)), Run(tmp_path), model.tokenizer)
    assert not list(tmp_path.glob("paths.*"))
    assert read(tmp_path).paths is None
    assert "patch the edges of the circuit" not in json.loads((tmp_path / "seconds.json").read_text())
    with pytest.raises(CutawayError, match="n_paths is -1"):
        find(model, behavior, replace(FEW, n_paths=-1))


def test_a_behaviour_without_letters_has_no_file_of_them(tmp_path):
    model, behavior = scene("planted:induction@0")
    write(find(model, behavior, FEW), Run(tmp_path), model.tokenizer)
    record = read(tmp_path)
    assert not (tmp_path / "letters.safetensors").exists()
    assert (record.ov, record.copying_of_all) == (None, None)
    assert record.paths is not None
    assert len(record.patterns) == FEW.n_search


def test_the_letters_are_written_even_where_no_head_moves_them(tmp_path, run):
    findings, _ = run
    model = cutaway.load(NAME)
    heads = tuple(replace(head, role="other") for head in findings.circuit.heads)
    none = replace(findings, circuit=replace(findings.circuit, heads=heads), letters={}, copying={})
    write(none, Run(tmp_path), model.tokenizer)
    record = read(tmp_path)
    assert record.letters == {}
    assert record.ov is not None
