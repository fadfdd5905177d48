"""The OV circuit on the alphabet: does a head turn "I attend to letter X" into "write X"? (García-Carrasco et al. §5.1)

Row x, column y of a matrix: what attending to letter x alone adds to the logit of letter y, W_E[x]·W_V·W_O·W_U, with the
weights of the norms folded in and everything that writes to the stream centred, as the paper's figures have it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behaviors.acronyms import LETTERS, letter_ids
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Site

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


def ov_letters(model: Decoder, heads: list[Site]) -> dict[str, LetterMatrix]:
    """The four quadrants, summed over the heads given."""
    bare, spaced = spellings(model)
    with torch.inference_mode():
        both = torch.tensor(bare + spaced, device=model.device)
        embedding = _centred(model, model.embed.weight * model.config.embed_scale)[both]
        total = torch.stack([_head_ov(model, site, embedding) for site in heads]).sum(0)
        W_U = model.W_U[both] - (model.W_U.mean(0) if model.config.norm == "layer" else 0)
        full = _gain(model.final_norm, _centred(model, total)) @ W_U.T
    full = full.float().cpu()
    parts = (full[:26, :26], full[:26, 26:], full[26:, :26], full[26:, 26:])
    return {name: LetterMatrix(part) for name, part in zip(QUADRANTS, parts, strict=True)}


def copying_score(model: Decoder, head: Site, *, top: int = 5) -> dict[str, float]:
    """Share of letters that a head's OV brings into the `top` logits of the whole vocabulary, starting from |_X| as it
    stands after the first MLP: W_E, + MLP₀(norm(W_E)), W_V·W_O, final norm, W_U. One score for each spelling of the target.
    """
    bare, spaced = spellings(model)
    with torch.inference_mode():
        x = model.embed.weight[torch.tensor(spaced, device=model.device)] * model.config.embed_scale
        if model.config.n_layers:
            first = model.layers[0]
            nothing = torch.zeros_like(x)[:, None]
            x = first.finish(x[:, None], nothing)[:, 0]
        block = model.layers[head.layer]
        written = _values(model, head, block.norm1(block.here(x)))
        logits = model.read_out(model.final_norm(written.to(model.device)))
        best = logits.topk(top, dim=-1).indices.cpu()
    return {
        name: (best == torch.tensor(ids)[:, None]).any(-1).float().mean().item()
        for name, ids in (("|_X| → |X|", bare), ("|_X| → |_X|", spaced))
    }


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


def _centred(model: Decoder, x: Tensor) -> Tensor:
    """LayerNorm removes the mean of the stream, so what writes to it may be centred; RMSNorm does not."""
    return x - x.mean(-1, keepdim=True) if model.config.norm == "layer" else x


def _gain(norm, x: Tensor) -> Tensor:
    return x if norm.kind == "none" else x * (norm.weight + norm.offset)
