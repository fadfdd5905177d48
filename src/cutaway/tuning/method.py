"""What a tuning method is. Each is one file in `methods/`: a record, options, and a function that attaches it to a model."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from torch import nn

from cutaway.core.discovery import discover, pick
from cutaway.tuning.attach import Attached

Kind = Literal["additive", "partial", "reparameterised", "hybrid", "unified"]
"""The five classes of the review (§3)."""


@dataclass(frozen=True)
class Method:
    """One method."""

    name: str
    kind: Kind
    about: str
    citation: str
    options: type
    """A frozen dataclass of what can be set; everything has a default, `at` (where it acts) among them if it can be moved."""
    attach: Callable[[Any, Any], None]
    """Given an `attached` on a model whose parameters are frozen, and the options: puts the method's parts where they belong."""
    count: Callable[[nn.Module, Any], int]
    """How many parameters it trains on this model, by the formula of its docstring: told before anything is attached."""
    attached: type[Attached] = Attached
    """For methods that add to the loss, or do something after each step."""
    mergeable: bool = False
    """Can what it has learned be put into the model's own weights, so that nothing is left beside them?"""
    starts_unchanged: bool = True
    """Does a model that was just tuned say what it said before?"""
    needs_data: bool = False
    """Has `Tuned.prepare` to be called once before training?"""


@cache
def methods() -> dict[str, Method]:
    """All of them, by name."""
    return discover("cutaway.tuning.methods", "METHOD")


def method(name: str) -> Method:
    """One by name; raises `CutawayError` with the nearest names if there is none such."""
    return pick(methods(), name, "tuning method", listed_by="cutaway tuning methods")
