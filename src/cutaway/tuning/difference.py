"""Differences beside a linear map, y = W x + ΔW x, that are never built while they learn, only when they are merged."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Beside, linear, transposed
from cutaway.tuning.places import chosen


class Difference(Beside):
    """What stands beside a linear map."""

    def difference(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """ΔW x."""
        raise NotImplementedError

    def built(self) -> Float[Tensor, "d_out d_in"]:
        """ΔW."""
        raise NotImplementedError

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self.difference(x)

    def merged(self, host: nn.Module) -> dict[str, Tensor]:
        delta = self.built()
        return {"weight": host.get_parameter("weight") + (delta.T if transposed(host) else delta)}


def low_rank(rank: int, d_in: int, d_out: int) -> tuple[nn.Parameter, nn.Parameter]:
    """A [rank, in] at random, B [out, rank] = 0, as in LoRA."""
    a = torch.empty(rank, d_in)
    nn.init.kaiming_uniform_(a, a=5**0.5)
    return nn.Parameter(a), nn.Parameter(torch.zeros(d_out, rank))


def projections(model: nn.Module, at: Sequence[str], rank: int = 1) -> Iterator[tuple[str, int, int]]:
    """Name, width in and width out of each chosen projection.

    Raises:
        CutawayError: a chosen part is no linear map, or the rank is below 1 or above the width of the narrowest.
    """
    found = [(place.name, *linear(model.get_submodule(place.name))) for place in chosen(model, at)]
    narrowest = min(min(widths) for _, *widths in found)
    if not 1 <= rank <= narrowest:
        raise CutawayError(
            f"rank is {rank}: give at least 1, at most {narrowest}, the width of the narrowest projection"
        )
    yield from found
