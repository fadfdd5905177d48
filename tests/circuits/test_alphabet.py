"""The letters of every head at once against those of one head at a time, and against plain products of weights."""

from itertools import product

import pytest
import torch

import cutaway
from cutaway import Site
from cutaway.circuits.explain import letters
from cutaway.circuits.explain.letters import alphabet, copying_score, ov_letters
from cutaway.circuits.variant import head_sites
from cutaway.decoder import Decoder
from cutaway.decoder.planted import truth
from decoder.decoders import CONFIGS

from .cases import build

BARE, SPACED = [(7 * i) % 37 for i in range(26)], [(11 * i + 5) % 37 for i in range(26)]
"""Tokens that stand for letters in models without a tokenizer."""


@pytest.fixture
def spelled(monkeypatch):
    """Letters are some tokens, and a vocabulary of 37 is gone through in portions."""
    monkeypatch.setattr(letters, "spellings", lambda model: (BARE, SPACED))
    monkeypatch.setattr(letters, "PORTION", 10)


def gaps(model: Decoder) -> tuple[float, float]:
    """Largest difference from `ov_letters` and `copying_score` of single heads."""
    every, worst = alphabet(model), [0.0, 0.0]
    for site in head_sites(model):
        quadrants = [q.matrix for q in ov_letters(model, [site]).values()]
        alone = torch.cat([torch.cat(quadrants[:2], 1), torch.cat(quadrants[2:], 1)])
        shares = torch.tensor(list(copying_score(model, site).values()))
        for i, (one, of) in enumerate([(alone, every.ov), (shares, every.copying)]):
            worst[i] = max(worst[i], float((of[site.layer, site.head] - one).abs().max()))
    return worst[0], worst[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_head_at_once_is_one_head_at_a_time(name, spelled):
    ov, copying = gaps(build(name))
    assert ov <= 1e-4
    assert copying <= 1e-6


def test_the_same_with_a_tokenizer():
    ov, copying = gaps(cutaway.load("planted:acronyms@3"))
    assert ov <= 1e-4
    assert copying <= 1e-6


@pytest.mark.parametrize("name", CONFIGS)
def test_copying_is_counted_over_the_whole_vocabulary(name, spelled):
    """Without portions, and with the five largest logits looked up instead of counted."""
    model = build(name)
    c, first = model.config, model.layers[0]
    with torch.inference_mode():
        x = model.embed.weight[SPACED] * c.embed_scale
        x = x + first.mlp(x)
        for site in head_sites(model):
            layer, kv = model.layers[site.layer], site.head * c.n_kv_heads // c.n_heads
            W_V, W_O = (
                layer.v.weight[kv * c.d_head :][: c.d_head],
                layer.o.weight[:, site.head * c.d_head :][:, : c.d_head],
            )
            best = model.read_out(model.final_norm(layer.norm1(x) @ W_V.T @ W_O.T)).topk(5).indices.tolist()
            expected = [sum(t in row for t, row in zip(ids, best, strict=True)) / 26 for ids in (BARE, SPACED)]
            assert list(copying_score(model, site).values()) == pytest.approx(expected)


def test_a_broken_batch_is_noticed(monkeypatch, spelled):
    """Heads that share values taken in the wrong order; a target's own logit counted against it; the first portion alone."""
    model = build("shared keys")
    assert max(gaps(model)) <= 1e-4
    with monkeypatch.context() as broken:
        broken.setattr(torch.Tensor, "repeat_interleave", lambda x, n, dim: torch.cat([x] * n, dim))
        assert gaps(model)[0] > 0.01
        assert gaps(model)[1] > 0.01
    right = alphabet(model).copying
    with monkeypatch.context() as broken:
        real = Decoder.read_out

        def partial(self, x, columns=None):
            logits = real(self, x, columns)
            return logits - 100 if isinstance(columns, slice) and columns.start else logits

        broken.setattr(Decoder, "read_out", partial)
        assert (alphabet(model).copying - right).abs().max() > 0.01


@pytest.mark.parametrize("seed", range(5))
def test_the_planted_movers_copy_and_no_other_head_does(seed):
    name = f"planted:acronyms@{seed}"
    every, roles = alphabet(cutaway.load(name)), truth(name)
    own = every.ov[..., 26:, :26].diagonal(dim1=-2, dim2=-1).mean(-1)  # |_X| → |X|
    for layer, head in product(*map(range, own.shape)):
        moves = roles.get(Site(layer, "z", head)) == "letter mover"
        assert (every.copying[layer, head, 0] == 1) == moves
        assert (own[layer, head] > 0.5) == moves
