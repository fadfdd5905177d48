"""What is known of words, characters or affixes from the training sentences: an id for each, and one for all that is unknown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from cutaway.core.errors import CutawayError

PADDING, UNKNOWN, FIRST = 0, 1, 2
"""Ids: of what is no item at all, of an item that is not known, and of the first that is."""


@dataclass(frozen=True)
class Vocabulary:
    """Items and how often each was seen in training; item i has the id i + 2."""

    items: tuple[str, ...]
    counts: tuple[int, ...]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {item: i for i, item in enumerate(self.items, FIRST)}

    @classmethod
    def of(cls, seen: Iterable[str], least: int = 1) -> "Vocabulary":
        """Of all that is seen at least so often; the most frequent first, then by the alphabet."""
        counts = Counter(seen)
        kept = sorted((item for item, n in counts.items() if n >= least), key=lambda item: (-counts[item], item))
        return cls(tuple(kept), tuple(counts[item] for item in kept))

    def __len__(self) -> int:
        """Ids in all."""
        return FIRST + len(self.items)

    def __contains__(self, item: str) -> bool:
        return item in self._ids

    def id(self, *spellings: str) -> int:
        """That of the first spelling that is known."""
        return next((self._ids[item] for item in spellings if item in self._ids), UNKNOWN)

    def known(self) -> dict[str, Any]:
        """As plain data, from which `Vocabulary.again` makes it again."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def again(cls, known: dict[str, Any]) -> "Vocabulary":
        return cls(tuple(known["items"]), tuple(known["counts"]))

    def table(self, dim: int, spread: float | None = None) -> nn.Embedding:
        """A vector for every id, that of padding 0: uniform, with the variance 1 / dim (Ma & Hovy 2016, §3.1) or `spread`²."""
        most = 3**0.5 * (dim**-0.5 if spread is None else spread)
        table = nn.Embedding(len(self), dim, padding_idx=PADDING)
        with torch.no_grad():
            table.weight[UNKNOWN:].uniform_(-most, most)
        return table

    def forgetful(self, alpha: float) -> "Forgetful":
        return Forgetful(self.counts, alpha)


class Forgetful(nn.Module):
    """In training, takes an item for unknown with the chance α / (α + count), so that the vector of the unknown is learned from
    what is rare (Kiperwasser & Goldberg 2016, after Iyyer et al. 2015). α = 0, or evaluation, changes nothing.

    Raises:
        CutawayError: α is negative.
    """

    def __init__(self, counts: Sequence[int], alpha: float):
        super().__init__()
        if alpha < 0:
            raise CutawayError(f"the chance to forget rare items cannot be {alpha}: give 0 or more")
        self.alpha = alpha
        seen = torch.tensor([*[float("inf")] * FIRST, *counts], dtype=torch.float32)
        self.register_buffer("chance", alpha / (alpha + seen) if alpha else torch.zeros_like(seen), persistent=False)

    def forward(self, ids: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        if not (self.training and self.alpha):
            return ids
        return ids.masked_fill(torch.rand_like(self.chance[ids]) < self.chance[ids], UNKNOWN)
