"""From a name or a folder to a `Decoder`: read config.json, find the family, fill every tensor, use every tensor."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.family import Family, How, Take, family_of
from cutaway.decoder.model import Decoder
from cutaway.decoder.placement import place, spread
from cutaway.decoder.tokens import load_tokenizer

DEFAULT_MODEL = "smollm2-135m"


def load(
    name_or_folder: str | Path = DEFAULT_MODEL,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device | Sequence[torch.device] = "cpu",
) -> Decoder:
    """A decoder with its weights, ready to run; no folding, no centring.

    Args:
        device: one, or several for a model that one cannot hold: the layers are spread over them (`placement.py`).
        name_or_folder: a known name (`cutaway models list`), a local folder in Hugging Face layout, a `.gguf` file,
            `owner/name` on the hub, or `planted:acronyms` / `planted:induction`.

    Raises:
        CutawayError: no such model, no weights there, an unknown family, missing or left-over tensors, NaN weights.
    """
    devices = [torch.device(device)] if isinstance(device, str | torch.device) else list(device)
    if str(name_or_folder).startswith("planted:"):
        from cutaway.decoder.planted import planted

        return place(planted(str(name_or_folder)).to(dtype=dtype), devices)
    from cutaway.decoder.catalog import locate

    folder = locate(name_or_folder)
    family, config = describe(folder)
    with torch.device("meta"):
        model = Decoder(config, source=str(name_or_folder))
    state = gather(model, family, tensor_files(folder), dtype=dtype, devices=spread(model, devices))
    model.load_state_dict(state, assign=True)
    model.tokenizer = load_tokenizer(folder)
    return model.eval().requires_grad_(False)


def describe(folder: Path) -> tuple[Family, DecoderConfig]:
    """What config.json says: the family, and the parts of this member of it."""
    file = folder / "config.json"
    hf = read_config(folder)
    family = family_of(hf)
    if how := hf.get("quantization_config"):
        kind = how.get("quant_method", "some way") if isinstance(how, dict) else how
        raise CutawayError(
            f"{file} says the weights are quantised ({kind}): give a checkpoint in floats, or a .gguf file"
        )
    try:
        return family, family.config(hf)
    except KeyError as error:
        raise CutawayError(f"{file} has no {error}, which a {family.name} checkpoint must say") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise CutawayError(f"{file} holds a value that no {family.name} checkpoint has: {error}") from error


def read_config(folder: Path) -> dict:
    file = folder / "config.json"
    if not file.is_file():
        raise CutawayError(f"{folder} has no config.json: give a folder that holds a checkpoint in Hugging Face layout")
    try:
        read = json.loads(file.read_text())
    except ValueError as error:
        raise CutawayError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(read, dict):
        raise CutawayError(f"{file} holds a JSON {type(read).__name__}, not the object that describes a checkpoint")
    return read


def tensor_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: those its index names, or all; raises `CutawayError` if there are none."""
    if (index := folder / "model.safetensors.index.json").is_file():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise CutawayError(f"{index} is not an index of safetensors files: fetch it again") from error
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise CutawayError(f"{folder} lacks {missing[0]}, which its index names: fetch it again")
        return [folder / name for name in names]
    if (single := folder / "model.safetensors").is_file():
        return [single]
    if files := sorted(folder.glob("*.safetensors")):
        return files
    pickled = [file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in sorted(folder.glob(pattern))]
    why = f"only pickled weights ({pickled[0]}), which are never opened" if pickled else "no weights"
    raise CutawayError(f"{folder} has {why}: save the model with `save_pretrained(..., safe_serialization=True)`")


def gather(
    model: Decoder, family: Family, files: list[Path], *, dtype: torch.dtype, devices: dict[str, torch.device]
) -> dict[str, Tensor]:
    """Every tensor of `model` from the checkpoint, on its device; every one of the checkpoint used, ignored by name, or
    reported."""
    where = _names(files)
    used: set[str] = set()
    state = {}
    for ours, wanted in model.state_dict().items():
        theirs, how = source_of(ours, family, where)
        state[ours] = _tensor(theirs, where[theirs], how, like=wanted, config=model.config, to=(dtype, devices[ours]))
        used.add(theirs)
    if model.config.tied:
        used |= _same_unembedding(family, where, state["embed.weight"])
    left = [name for name in where if name not in used and not name.endswith(family.ignored)]
    if left:
        raise CutawayError(
            f"{len(used)} of {len(where)} tensors fit a {family.name} decoder; left over: {', '.join(left[:3])}"
            f"{' …' if len(left) > 3 else ''}. Is config.json the right one?"
        )
    return state


def _names(files: list[Path]) -> dict[str, Path]:
    """The file of every tensor."""
    where: dict[str, Path] = {}
    for file in files:
        try:
            with safe_open(file, "pt") as handle:
                where |= dict.fromkeys(handle.keys(), file)
        except (SafetensorError, OSError) as error:
            raise CutawayError(f"{file} is damaged or cut short ({error}): fetch it again") from error
    return where


def _tensor(
    name: str, file: Path, how: How, *, like: Tensor, config: DecoderConfig, to: tuple[torch.dtype, torch.device]
) -> Tensor:
    """One tensor of the checkpoint in our form, of the shape of `like`; raises `CutawayError` if it cannot be."""
    dtype, device = to
    with safe_open(file, "pt", device=str(device)) as handle:
        raw = handle.get_tensor(name)
    if not raw.is_floating_point():
        raise CutawayError(f"{name} holds {raw.dtype}: quantised weights are not read; save the model in floats")
    if not torch.isfinite(raw).all():
        raise CutawayError(f"{name} in {file} holds NaN or infinite weights: the checkpoint is damaged")
    try:
        tensor = how(raw, config)
    except (RuntimeError, IndexError) as error:
        raise CutawayError(f"{name} has shape {tuple(raw.shape)}, which config.json's sizes do not divide") from error
    if tensor.shape != like.shape:
        raise CutawayError(f"{name} gives shape {tuple(tensor.shape)}, config.json asks for {tuple(like.shape)}")
    tensor = tensor.to(dtype).contiguous()
    if not torch.isfinite(tensor).all():
        raise CutawayError(f"{name} has weights too large for {dtype}: load it as torch.float32 or torch.bfloat16")
    return tensor


def _same_unembedding(family: Family, where: dict[str, Path], embed: Tensor) -> set[str]:
    """The stored unembedding of a tied model, if there is one; raises `CutawayError` if it is not the embedding."""
    name = f"{family.weights['unembed']}.weight"
    if name not in where:
        return set()
    with safe_open(where[name], "pt", device=str(embed.device)) as handle:
        stored = handle.get_tensor(name)
    if not torch.equal(stored.to(embed.dtype), embed):
        raise CutawayError(f"{name} differs from the embedding it is tied to: set tie_word_embeddings to false")
    return {name}


def source_of(ours: str, family: Family, where: dict[str, Path]) -> tuple[str, How]:
    """The checkpoint's name for one of our tensors, and how to turn it into ours."""
    module, part = ours.rsplit(".", 1)
    index = next((word for word in module.split(".") if word.isdigit()), None)
    row = module if index is None else module.replace(f".{index}.", ".{}.")
    if row not in family.weights:
        raise CutawayError(f"the table of family {family.name} has no row {row!r}, which its config asks for: add it")
    rule = family.weights[row]
    name, how = (rule.name, rule.how) if isinstance(rule, Take) else (rule, lambda tensor, config: tensor)
    name = f"{name.format(index)}.{part}"
    for candidate in _spellings(name, family):
        if candidate in where:
            return candidate, how
    raise CutawayError(f"the checkpoint has no tensor {family.prefix}{name}, which its config.json calls for")


def _spellings(name: str, family: Family) -> Iterator[str]:
    yield name
    if family.prefix:
        yield family.prefix + name
