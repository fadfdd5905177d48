"""What a kind of behaviour is: how to build it, with its options and its source, found by discovery."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cutaway.circuits.behavior import Sample
from cutaway.core.discovery import discover, pick


@dataclass(frozen=True)
class Reading:
    """A phrase of somebody's own as a prompt of a behaviour: the phrase by itself, and the sample it makes (not corrupted)."""

    phrase: str
    sample: Sample


@dataclass(frozen=True)
class Recipe:
    """`build(tokenizer, config)` returns a `Behavior`; `config` is the frozen dataclass of its options."""

    name: str
    build: Callable
    config: type
    about: str
    citation: str
    read: Callable[..., Reading] | None = None
    """`read(tokenizer, config, text)`, where a phrase alone says the whole prompt; None where prompts are typed whole."""


@cache
def behavior_recipes() -> dict[str, Recipe]:
    """Every behaviour in `cutaway.circuits.behaviors` by name: modules with a `BEHAVIOR` record, one file each."""
    return discover("cutaway.circuits.behaviors", "BEHAVIOR")


def behavior_recipe(name: str) -> Recipe:
    """A behaviour by name; raises `CutawayError` with the nearest names if there is none such."""
    return pick(behavior_recipes(), name, "behaviour")
