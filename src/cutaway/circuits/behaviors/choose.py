"""A behaviour as people ask for it: by name with options in words, or as a file of their own."""

import difflib
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors.from_file import read_behavior
from cutaway.circuits.behaviors.record import behavior_recipe
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder


def choose(behavior: str, model: Decoder, options: Sequence[str] = (), *, n: int, seed: int = 0) -> Behavior:
    """A behaviour for a model.

    Args:
        behavior: a known name, or a path that ends in .jsonl or .csv.
        options: `name=value` pairs of the recipe's config: `words=4`, `spelled=true`, `word_tokens=1,3`.
        n: prompts to make; a file has as many as it has.

    Raises:
        CutawayError: an unknown name or option, a value of the wrong kind, a bad file, or a model without tokenizer.
    """
    if model.tokenizer is None:
        raise CutawayError(f"{model.source} has no tokenizer files: put its tokenizer.json beside the weights")
    if behavior.endswith((".jsonl", ".csv")):
        if options:
            raise CutawayError("a behaviour from a file takes no --option: what it says is all there is")
        return read_behavior(Path(behavior), model.tokenizer)
    recipe = behavior_recipe(behavior)
    settings = replace(recipe.config(), n=n, seed=seed)
    return recipe.build(model.tokenizer, replace(settings, **_options(options, settings, behavior)))


def _options(given: Sequence[str], settings, behavior: str) -> dict:
    """`name=value` pairs, read by the kind of the default."""
    known = {f.name: getattr(settings, f.name) for f in fields(settings)}
    read = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise CutawayError(
                f"--option {pair!r}: write name=value with a name of {behavior}: {', '.join(known)}{hint}"
            )
        read[name] = _value(value, known[name], pair)
    return read


def _value(text: str, default, pair: str):
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            parts = [part for part in text.replace(",", " ").split() if part]
            return tuple(int(part) if part.isdigit() else part for part in parts)
        if default is None:
            return None if text.lower() == "none" else int(text)
        return type(default)(text)
    except (ValueError, KeyError) as error:
        raise CutawayError(f"--option {pair!r}: the value must be of the kind of {default!r}") from error
