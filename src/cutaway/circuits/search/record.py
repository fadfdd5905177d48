"""What a search is given, what it gives back, and what a method is: one signature for all of them.

    search(problem, options, tick) -> found

A method is one file of this folder with a `METHOD` record; it is found by discovery.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Literal

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.effects import Convention, EdgeMap, EffectMap
from cutaway.circuits.engine import TOKEN_BUDGET
from cutaway.circuits.graph import Edge
from cutaway.circuits.isolation import Ablation, Isolation
from cutaway.circuits.patching import SIGNS, sweep
from cutaway.core.discovery import discover, pick
from cutaway.core.work import Work
from cutaway.decoder import Decoder, Site

Kind = Literal["exact", "attribution", "learned"]
"""exact: forward passes with replacements; attribution: gradients; learned: gates trained by gradient descent."""

Say = Callable[[str], None]
"""Called with a line about progress."""


def silent(said: str) -> None:
    """No progress."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What a search looks at: a model, prompts, and the convention under which circuits are measured.

    `isolation` and `effects` are exact, made when first asked for, and kept. A caller that has measured the effects
    already hands them in as `measured`. Approximations use `isolation` for their last step, and never `effects`.
    """

    model: Decoder
    behavior: Behavior
    ablation: Ablation = "mean"
    direction: Literal["noising", "denoising"] = "noising"
    metric: str = "logit_diff"
    budget: int = TOKEN_BUDGET
    """Tokens in flight at once."""
    seed: int = 0
    measured: dict[str, EffectMap] | None = None
    """corruption → exact effect of every head, if already known."""
    work: Work | None = None
    """Deals measurements out to ranks and keeps them in a journal; None is one process without a journal."""

    @property
    def corruptions(self) -> list[str]:
        """What effects are measured on: every corruption but the reference, unless there is no other."""
        return corruptions(self.behavior)

    @cached_property
    def isolation(self) -> Isolation:
        """Circuits on their own, on these prompts."""
        how = {"ablation": self.ablation, "metric": self.metric, "budget": self.budget, "work": self.work}
        return Isolation(self.model, self.behavior, **how)

    @cached_property
    def effects(self) -> dict[str, EffectMap]:
        """corruption → exact effect of every head."""
        if self.measured is not None:
            return self.measured
        how = self.how | {"work": self.work}
        return {name: sweep(self.model, self.behavior, name, **how) for name in self.corruptions}

    @property
    def how(self) -> dict:
        """What every measurement of effects is told: direction, metric and budget."""
        return {"direction": self.direction, "metric": self.metric, "budget": self.budget}

    def convention(self, kind: Kind, corruption: str | None = None, ablation: str = "") -> Convention:
        """The convention of a result for this problem; about all its corruptions unless one is named."""
        return Convention(
            kind,
            self.direction,
            corruption or " + ".join(self.corruptions),
            self.metric,
            SIGNS[self.direction],
            self.model.source,
            len(self.behavior),
            self.seed,
            ablation=ablation,
        )


def corruptions(behavior: Behavior) -> list[str]:
    """Every corruption but the reference, which changes all at once; the reference if there is no other."""
    return [name for name in behavior.corruptions if name != behavior.reference] or [behavior.reference]


@dataclass(frozen=True)
class Found:
    """What a search found.

    `scores` has every head of the model: how much it matters, larger is more, on the method's own scale. `edges` are signed
    as the convention says, means over prompts summed over answer tokens and corruptions; empty for methods without edges.
    """

    heads: frozenset[Site]
    scores: dict[Site, float]
    convention: Convention
    edges: dict[Edge, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """What every method can be told. A method with more to say extends this record."""

    floor: float = 0.9
    """Faithfulness that every answer token must keep (1 is the whole model)."""


@dataclass(frozen=True)
class Method:
    """`search(problem, options, tick)` returns `Found`; `options` is its frozen dataclass.

    `estimate(problem, options)`, of methods that estimate effects, gives corruption → the estimates, `EffectMap` or `EdgeMap`,
    with the signs of exact effects: what `agreement.py` holds against these.
    """

    name: str
    search: Callable[..., Found]
    options: type[Options]
    about: str
    citation: str
    kind: Kind = "exact"
    finds: Literal["heads", "edges"] = "heads"
    estimate: Callable[..., Mapping[str, EffectMap] | Mapping[str, EdgeMap]] | None = None


@cache
def methods() -> dict[str, Method]:
    """Every method in `cutaway.circuits.search`, one file each."""
    return discover("cutaway.circuits.search", "METHOD")


def method(name: str) -> Method:
    """A search method by name; raises `CutawayError` with the nearest one."""
    return pick(methods(), name, "search method")
