"""The model and the prompts of a finished run, made again from what its files say; nothing is downloaded."""

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import torch

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors.from_file import read_behavior
from cutaway.circuits.behaviors.record import behavior_recipe
from cutaway.circuits.compare.sides import Side
from cutaway.circuits.config import Find
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, load
from cutaway.decoder.catalog import locate
from cutaway.decoder.identity import weights_sha256


def model_again(
    side: Side, device: str | torch.device | Sequence[torch.device] = "cpu", opened: Callable[[str], str] = str
) -> Decoder:
    """The run's model, in the run's precision.

    Args:
        opened: what `load` takes for the name that the run has of its model.

    Raises:
        CutawayError: it is not on this machine, or cannot be loaded.
    """
    source = side.record.circuit.model
    place = opened(source)
    if not place.startswith("planted:"):
        locate(place, offline=True)
    name = side.record.circuit.provenance.get("dtype", "float32")
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise CutawayError(f"{side.label} was run in {name!r}, which is no precision of torch")
    model = load(place, dtype=dtype, device=device)
    model.source = source
    return model


def check_weights(side: Side, model: Decoder) -> None:
    """Raises `CutawayError` if the run says that it had other weights; earlier runs do not say."""
    known = side.record.circuit.provenance.get("weights_sha256")
    if known and known != weights_sha256(model):
        raise CutawayError(f"{model.source} has other weights than when {side.label} was made: their SHA-256 differs")


def options_again(side: Side) -> Find:
    """The options of the run, as far as they are known today."""
    given = side.record.circuit.provenance.get("options", {})
    return Find(**{f.name: given[f.name] for f in fields(Find) if f.name in given})


def prompts_again(side: Side, model: Decoder) -> Behavior:
    """The prompts that the run verified its circuit on, on the model's device.

    Raises:
        CutawayError: they cannot be made again, or come out other than they were.
    """
    options = options_again(side)
    looked, fresh = _behavior(side, model).split(options.n_search, options.n_verify)
    # a run keeps the hash of the prompts that its search looked at, and the tokens of all
    digest = hashlib.sha256(looked.clean.tokens.contiguous().numpy().tobytes()).hexdigest()
    written = [[token["id"] for token in prompt["tokens"]] for prompt in side.record.prompts]
    if digest != side.record.circuit.provenance.get("prompts_sha256") or written[options.n_search :] != _ids(fresh):
        raise CutawayError(f"the prompts of {side.label} come out other than they were: another tokenizer or version")
    return fresh.to(model.device)


def _ids(behavior: Behavior) -> list[list[int]]:
    """The tokens of every prompt, without padding."""
    rows = zip(behavior.clean.tokens, behavior.clean.mask, strict=True)
    return [tokens[mask].tolist() for tokens, mask in rows]


def _behavior(side: Side, model: Decoder) -> Behavior:
    recipe = dict(side.record.circuit.provenance.get("recipe", {}))
    name = recipe.pop("behavior", None)
    if name is None:
        raise CutawayError(f"{side.label} does not say how its prompts were made")
    if model.tokenizer is None:
        raise CutawayError(f"{model.source} has no tokenizer, so the prompts of {side.label} cannot be made again")
    if name == "file":
        return read_behavior(_file(side, recipe.get("file", "")), model.tokenizer)
    known = behavior_recipe(name)
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in recipe.items()}
    if strange := settings.keys() - {f.name for f in fields(known.config)}:
        raise CutawayError(f"the prompts of {side.label} need {sorted(strange)[0]!r}, which {name} has no option for")
    return known.build(model.tokenizer, known.config(**settings))


def _file(side: Side, name: str) -> Path:
    """The file of prompts as it was given on the command line, else in this folder."""
    given = Path(str(tomllib.loads(side.record.config).get("behavior", name)))
    for path in (given, Path(name)):
        if path.is_file():
            return path
    raise CutawayError(f"the prompts of {side.label} are from {given}, which is not there")
