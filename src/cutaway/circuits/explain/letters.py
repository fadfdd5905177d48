"""The OV circuit on the alphabet: does a head turn "I attend to letter X" into "write X"? (García-Carrasco et al. §5.1)

Row x, column y of a matrix: what attending to letter x alone adds to the logit of letter y, W_E[x]·W_V·W_O·W_U, with the
weights of the norms folded in and everything that writes to the stream centred, as the paper's figures have it.

`ov_letters` and `copying_score` ask it of some heads, `alphabet` of every head of the model, a layer at a time.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behaviors.acronyms import LETTERS, letter_ids
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Site
from cutaway.decoder.model import Layer

PORTION = 2048
"""Tokens of the vocabulary whose logits are looked at together."""

QUADRANTS = ("|X| → |X|", "|X| → |_X|", "|_X| → |X|", "|_X| → |_X|")
"""Source and target letter, without and with their leading space."""


@dataclass(frozen=True)
class LetterMatrix:
    """One 26×26 matrix: mean on and off the diagonal, and the share of letters whose own column is the row's largest."""

    matrix: Float[Tensor, "26 26"]

    @property
    def diagonal(self) -> float:
        return self.matrix.diagonal().mean().item()

    @property
    def off_diagonal(self) -> float:
        return ((self.matrix.sum() - self.matrix.diagonal().sum()) / (26 * 25)).item()

    @property
    def row_max(self) -> float:
        return (self.matrix.argmax(1) == torch.arange(26, device=self.matrix.device)).float().mean().item()

    def to_dict(self) -> dict:
        return {
            "diagonal": self.diagonal,
            "off_diagonal": self.off_diagonal,
            "row_max": self.row_max,
            "matrix": [[round(x, 4) for x in row] for row in self.matrix.tolist()],
        }


def spellings(model: Decoder) -> tuple[list[int], list[int]]:
    """Token ids of the letters without and with a leading space; raises `CutawayError` where they are not single tokens."""
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise CutawayError(f"{model.source} has no tokenizer: letters have no tokens")
    bare = [letter_ids(tokenizer)[letter] for letter in LETTERS]
    spaced = [tokenizer.encode(f" {letter}") for letter in LETTERS]
    if any(len(ids) != 1 for ids in spaced):
        raise CutawayError("the tokenizer has no single tokens for letters with a leading space: no OV letter matrix")
    return bare, [ids[0] for ids in spaced]


@dataclass(frozen=True)
class Alphabet:
    """What every head does to the alphabet.

    `ov` holds the four quadrants of each head's matrix as one (26 bare letters, then 26 with a leading space; rows are
    attended to, columns written; logits), `copying` its copying scores for |X| and |_X| as targets.
    """

    ov: Float[Tensor, "layer head 52 52"]
    copying: Float[Tensor, "layer head 2"]


def ov_letters(model: Decoder, heads: list[Site]) -> dict[str, LetterMatrix]:
    """The four quadrants, summed over the heads given."""
    both = [i for spelling in spellings(model) for i in spelling]
    with torch.inference_mode():
        embedding = _embedding(model, both)
        total = torch.stack([_head_ov(model, site, embedding) for site in heads]).sum(0)
        full = _to_letters(model, total, both)
    parts = (full[:26, :26], full[:26, 26:], full[26:, :26], full[26:, 26:])
    return {name: LetterMatrix(part) for name, part in zip(QUADRANTS, parts, strict=True)}


def copying_score(model: Decoder, head: Site, *, top: int = 5) -> dict[str, float]:
    """Share of letters that a head's OV brings into the `top` logits of the whole vocabulary, starting from |_X| as it
    stands after the first MLP: W_E, + MLP₀(norm(W_E)), W_V·W_O, final norm, W_U. One score for each spelling of the target.
    """
    bare, spaced = spellings(model)
    with torch.inference_mode():
        x, block = _after_first_mlp(model, spaced), model.layers[head.layer]
        written = _values(model, head, block.norm1(block.here(x)))
        shares = _copied(model, written[None], (bare, spaced), top)[0].tolist()
    return dict(zip(QUADRANTS[2:], shares, strict=True))


def alphabet(model: Decoder, *, top: int = 5) -> Alphabet:
    """What `ov_letters` and `copying_score` say of one head, of all heads of the model.

    Raises:
        CutawayError: the letters are not single tokens.
    """
    bare, spaced = spellings(model)
    both, ov, copying = bare + spaced, [], []
    with torch.inference_mode():
        raw, later = _embedding(model, both), _after_first_mlp(model, spaced)
        for layer in model.layers:
            ov.append(_to_letters(model, _every_value(layer, _gain(layer.norm1, layer.here(raw))), both))
            copying.append(_copied(model, _every_value(layer, layer.norm1(layer.here(later))), (bare, spaced), top))
    return Alphabet(torch.stack(ov), torch.stack(copying))


# --- in ------------------------------------------------------------------------------------------------------------


def _embedding(model: Decoder, letters: list[int]) -> Float[Tensor, "letter d_model"]:
    ids = torch.tensor(letters, device=model.device)
    return _centred(model, model.embed.weight[ids] * model.config.embed_scale)


def _after_first_mlp(model: Decoder, letters: list[int]) -> Float[Tensor, "letter d_model"]:
    """Letters as they stand in the stream after the first layer, had its heads written nothing."""
    x = model.embed.weight[torch.tensor(letters, device=model.device)] * model.config.embed_scale
    if not model.config.n_layers:
        return x
    first = model.layers[0]
    return first.finish(first.here(x)[:, None], torch.zeros_like(first.here(x))[:, None])[:, 0]


# --- through heads -------------------------------------------------------------------------------------------------


def _head_ov(model: Decoder, site: Site, x: Tensor) -> Tensor:
    block = model.layers[site.layer]
    return _values(model, site, _gain(block.norm1, block.here(x))).to(x.device)


def _values(model: Decoder, site: Site, x: Float[Tensor, "letter d_model"]) -> Float[Tensor, "letter d_model"]:
    """x · W_V · W_O of one head (grouped-query heads share their W_V), without biases."""
    c, block = model.config, model.layers[site.layer]
    if site.head is None:
        raise CutawayError(f"site {site} is no head: write {site.layer}.0 for one")
    kv = site.head // (c.n_heads // c.n_kv_heads)
    W_V = block.v.weight.unflatten(0, (c.n_kv_heads, c.d_head))[kv]
    W_O = block.o.weight.unflatten(1, (c.n_heads, c.d_head))[:, site.head]
    return x @ W_V.T @ W_O.T


def _every_value(layer: Layer, x: Float[Tensor, "letter d_model"]) -> Float[Tensor, "head letter d_model"]:
    """`_values` of all heads of a layer."""
    c = layer.config
    # heads that share a W_V stand side by side
    W_V = layer.v.weight.unflatten(0, (c.n_kv_heads, c.d_head)).repeat_interleave(c.n_heads // c.n_kv_heads, dim=0)
    W_O = layer.o.weight.unflatten(1, (c.n_heads, c.d_head)).transpose(0, 1)
    return x @ W_V.mT @ W_O.mT


# --- out -----------------------------------------------------------------------------------------------------------


def _to_letters(
    model: Decoder, written: Float[Tensor, "*head letter d_model"], letters: list[int]
) -> Float[Tensor, "*head letter target"]:
    """What is written, as logits of letters."""
    W_U = model.W_U[torch.tensor(letters, device=model.device)]
    W_U = W_U - (model.W_U.mean(0) if model.config.norm == "layer" else 0)
    return (_gain(model.final_norm, _centred(model, written.to(model.device))) @ W_U.T).float().cpu()


def _copied(
    model: Decoder, written: Float[Tensor, "head letter d_model"], targets: tuple[list[int], list[int]], top: int
) -> Float[Tensor, "head 2"]:
    """Share of letters whose target comes out among the `top` tokens of the vocabulary, for both spellings of it.

    The vocabulary is gone through a portion at a time; where `top` tokens stand above both targets, which for most heads is
    so after the first portion, nothing more is asked.
    """
    x, ids = model.final_norm(written.to(model.device)), torch.tensor(targets, device=model.device).T
    own = model.read_out(x, ids.flatten()).unflatten(-1, ids.shape).diagonal(dim1=1, dim2=2).mT.flatten(0, 1)
    x, ids = x.flatten(0, 1), ids.repeat(len(x), 1)  # a row for each head and letter
    above, left = torch.zeros_like(ids), torch.arange(len(x), device=x.device)
    for columns in torch.arange(model.config.vocab, device=x.device).split(PORTION):
        logits = model.read_out(x[left], slice(int(columns[0]), int(columns[-1]) + 1))
        others = columns != ids[left, :, None]
        above[left] += ((logits[:, None] > own[left, :, None]) & others).sum(-1)
        left = left[(above[left] < top).any(-1)]
    return (above < top).unflatten(0, written.shape[:2]).float().mean(1).cpu()


def _centred(model: Decoder, x: Tensor) -> Tensor:
    """LayerNorm removes the mean of the stream, so what writes to it may be centred; RMSNorm does not."""
    return x - x.mean(-1, keepdim=True) if model.config.norm == "layer" else x


def _gain(norm, x: Tensor) -> Tensor:
    return x if norm.kind == "none" else x * (norm.weight + norm.offset)
