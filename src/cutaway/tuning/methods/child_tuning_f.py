"""Child-Tuning F: everything may learn, but in each step only a child network does, drawn anew.

Xu et al. 2021, Raise a child in large language model: towards effective and generalizable fine-tuning (EMNLP, arXiv 2109.05687),
task-free Child-Tuning. With g the gradient of a step and p the share that is kept,

    w ← w − η (g ⊙ M) / p        M ~ Bernoulli(p) for each entry, in each step

It trains all parameters in `at`. The gradients themselves are masked, so that any optimiser may be used; backward passes that are
summed for one step have the same mask, until `after_step`.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached
from cutaway.tuning.method import Method
from cutaway.tuning.places import inside


@dataclass(frozen=True)
class Options:
    """Of Child-Tuning F."""

    at: tuple[str, ...] = ()
    """Which parts learn, as roles or patterns; all, if none are named."""
    keep: float = 0.3
    """Share of the gradient's entries that is kept in a step, p."""


class Drawn(Attached):
    """Masks are not stored: each is drawn again from the numbers of the step and of the parameter."""

    masked: tuple[str, ...] = ()
    keep: float
    seed: int
    step = 0

    def mask(self, names: Iterable[str], keep: float) -> None:
        """Lets these parameters learn, in each step a share of their entries."""
        self.masked, self.keep = tuple(names), keep
        self.seed = int(torch.randint(2**31, ()))
        self.free(self.masked)
        self._listen()

    def after_step(self, step: int, total: int) -> None:
        self.step = step

    def state(self) -> dict[str, Tensor]:
        return {"seed": torch.tensor(self.seed), "step": torch.tensor(self.step)}

    def put_state(self, state: dict[str, Tensor]) -> None:
        self.seed, self.step = int(state["seed"]), int(state["step"])

    def _listen(self) -> None:
        for i, name in enumerate(self.masked):
            self.hold(self.host.get_parameter(name).register_hook(partial(self._drawn, i)))

    def _drawn(self, i: int, gradient: Tensor) -> Tensor:
        seed = self.seed + self.step * len(self.masked) + i
        draw = torch.Generator(gradient.device).manual_seed(seed)
        kept = torch.rand(gradient.shape, generator=draw, device=gradient.device) < self.keep
        return gradient * kept / self.keep

    def __deepcopy__(self, memo: dict[int, Any]) -> "Drawn":
        """Hooks of tensors are not copied with them."""
        memo[id(self)] = other = object.__new__(type(self))
        vars(other).update(copy.deepcopy({k: x for k, x in vars(self).items() if k != "_handles"}, memo))
        other._handles = []
        other._listen()
        return other


def attach(attached: Drawn, options: Options) -> None:
    if not 0 < options.keep <= 1:
        raise CutawayError(f"keep is {options.keep}: give more than 0, at most 1")
    attached.mask(inside(attached.host, options.at), options.keep)


def count(model: nn.Module, options: Options) -> int:
    return sum(model.get_parameter(name).numel() for name in inside(model, options.at))


METHOD = Method(
    name="child_tuning_f",
    kind="partial",
    about="everything, in each step a part of it drawn at random",
    citation="Xu et al. 2021, Raise a child in large language model (EMNLP, arXiv 2109.05687), Child-Tuning_F",
    options=Options,
    attach=attach,
    count=count,
    attached=Drawn,
    mergeable=True,
)
