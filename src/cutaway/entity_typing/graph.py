"""The bipartite attribute graph: which words lead to which types (Liu et al. 2021, §3.3), as data.

The one side are *attributes* of a mention: its words, the lemmas of its sentence, and what a masked language model would write in
its place, if one is asked. The other side are the types. An attribute leads to the type whose vector is nearest to its own by
cosine, if it is near enough; all other edges are cut. So rare types are reached by words that training never showed beside them.

*Memory.* A row of similarities to all types is computed for `at_once` attributes at a time, and only the nearest of each is kept:
at_once · types floats while it is built (512 · 10,331 · 4 B = 21 MB), 12 bytes an edge afterwards. The matrix of all attributes
and types is never there. An attribute that leads to no type is left out, so that no list of function words is needed.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.entity_typing.data import Mention
from cutaway.entity_typing.lemmas import Lemmas

NEAR = 0.9
"""The published least cosine of an edge."""


class Attribute(NamedTuple):
    """A word, and where it is from: `mention`, `sentence` or `suggested`."""

    word: str
    origin: str


def attributes(mention: Mention, lemmas: Lemmas, suggested: Iterable[str] = ()) -> list[Attribute]:
    """Those of a mention, each once, with the first origin of this order: mention (words and their lemmas), suggested, sentence.

    Args:
        suggested: words that a masked language model puts in place of the mention, the likeliest first.
    """
    spans = [word.lower() for word in mention.span]
    origins = {
        "mention": [*spans, *map(lemmas, spans)],
        "suggested": [lemmas(word) for word in suggested],
        "sentence": [lemmas(word) for word in (*mention.left, *mention.right)],
    }
    found: dict[str, str] = {}
    for origin, words in origins.items():
        for word in words:
            if any(letter.isalpha() for letter in word):
                found.setdefault(word, origin)
    return [Attribute(word, origin) for word, origin in found.items()]


@dataclass(frozen=True)
class AttributeGraph:
    """Attributes with the types they lead to."""

    keys: tuple[str, ...]
    """Attributes that lead somewhere."""
    types: Int[Tensor, "attribute target"]
    """Where each leads, as places in the list of types, the nearest first; −1 for no more."""
    weights: Float[Tensor, "attribute target"]
    """Cosines; 0 for no more."""

    @cached_property
    def number(self) -> dict[str, int]:
        """The place of each attribute in `keys`."""
        return {word: i for i, word in enumerate(self.keys)}

    def numbers(self, words: Sequence[Collection[str]]) -> Int[Tensor, "mention slot"]:
        """The attributes of several mentions that are in the graph, by their places, left-aligned; −1 for no more."""
        found = [[self.number[word] for word in some if word in self.number] for some in words]
        made = torch.full((len(found), max([1, *map(len, found)])), -1)
        for row, some in zip(made, found, strict=True):
            row[: len(some)] = torch.tensor(some, dtype=torch.long)
        return made

    @property
    def size(self) -> int:
        """Bytes of the edges."""
        return self.types.nbytes + self.weights.nbytes


def link(
    words: Sequence[str],
    word_vectors: Float[Tensor, "word feature"],
    type_vectors: Float[Tensor, "type feature"],
    *,
    near: float = NEAR,
    edges: int = 1,
    at_once: int = 512,
) -> AttributeGraph:
    """The graph of some attributes, each once.

    Args:
        type_vectors: in the order of the list of types; zeros for a type that has none, to which nothing leads.
        near: the least cosine of an edge, greater than 0.
        edges: the most types that an attribute leads to; published: 1. Of types that are equally near the first in the list.
        at_once: attributes that are compared with all types at a time.

    Raises:
        CutawayError: not as many vectors as words, a word twice, vectors that are no numbers; `near` or `edges` mean nothing.
    """
    if len(words) != len(word_vectors) or len(set(words)) != len(words):
        raise CutawayError(
            f"{len(set(words))} different words of {len(words)}, {len(word_vectors)} vectors: give one for each"
        )
    if not 0 < near <= 1 or edges < 1:
        raise CutawayError(f"near is {near} and edges {edges}: give a cosine above 0, at most 1, and at least 1 edge")
    if not (word_vectors.isfinite().all() and type_vectors.isfinite().all()):
        raise CutawayError("a vector is not of finite numbers: look at the file or the encoder it is from")
    directions, targets = _unit(word_vectors), _unit(type_vectors).T
    chunks = [_nearest(some @ targets, near, min(edges, len(type_vectors))) for some in directions.split(at_once)]
    empty = torch.empty(0, edges)
    types = torch.cat([types for types, _ in chunks]) if chunks else empty.long()
    weights = torch.cat([weights for _, weights in chunks]) if chunks else empty
    led = (weights > 0).any(1)
    keys = tuple(word for word, leads in zip(words, led.tolist(), strict=True) if leads)
    return AttributeGraph(keys, types[led], weights[led])


def _nearest(
    cosines: Float[Tensor, "some type"], near: float, edges: int
) -> tuple[Int[Tensor, "some target"], Float[Tensor, "some target"]]:
    # sorting is stable where topk is not: of equal ones the first
    weights, types = cosines.sort(dim=1, descending=True, stable=True) if edges > 1 else _first(cosines)
    weights, types = weights[:, :edges].clamp(max=1), types[:, :edges]
    far = weights < near - 1e-6  # a vector and itself have a cosine of 1, but for rounding
    return types.masked_fill(far, -1), weights.masked_fill(far, 0)


def _first(cosines: Float[Tensor, "some type"]) -> tuple[Float[Tensor, "some 1"], Int[Tensor, "some 1"]]:
    weights = cosines.amax(1, keepdim=True)
    return weights, (cosines == weights).int().argmax(1, keepdim=True)


def _unit(vectors: Float[Tensor, "some feature"]) -> Float[Tensor, "some feature"]:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
