"""From a name or a folder to a `Decoder`: read config.json, find the family, fill every tensor, use every tensor."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder.family import Family, Take, family_of
from cutaway.decoder.model import Decoder
from cutaway.decoder.tokens import load_tokenizer

DEFAULT_MODEL = "smollm2-135m"


def load(
    name_or_folder: str | Path = DEFAULT_MODEL, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> Decoder:
    """A decoder with its weights, ready to run; no folding, no centring.

    Args:
        name_or_folder: a known name (`cutaway models list`), a local folder in Hugging Face layout, a `.gguf` file,
            `owner/name` on the hub, or `planted:acronyms` / `planted:induction`.

    Raises:
        CutawayError: no such model, no weights there, an unknown family, missing or left-over tensors, NaN weights.
    """
    if str(name_or_folder).startswith("planted:"):
        from cutaway.decoder.planted import planted

        return planted(str(name_or_folder)).to(device=device, dtype=dtype)
    from cutaway.decoder.catalog import locate

    folder = locate(name_or_folder)
    hf = read_config(folder)
    family = family_of(hf)
    try:
        config = family.config(hf)
    except KeyError as error:
        raise CutawayError(f"{folder / 'config.json'} has no {error}, which a {family.name} checkpoint must say") from error
    with torch.device("meta"):
        model = Decoder(config, source=str(name_or_folder))
    state = gather(model, family, tensor_files(folder), dtype=dtype, device=device)
    model.load_state_dict(state, assign=True)
    model.tokenizer = load_tokenizer(folder)
    return model.eval().requires_grad_(False)


def read_config(folder: Path) -> dict:
    file = folder / "config.json"
    if not file.is_file():
        raise CutawayError(f"{folder} has no config.json: give a folder that holds a checkpoint in Hugging Face layout")
    try:
        return json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise CutawayError(f"{file} is not valid JSON: {error}") from error


def tensor_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint; raises `CutawayError` where there are none."""
    if files := sorted(folder.glob("*.safetensors")):
        return files
    pickled = [file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in folder.glob(pattern)]
    why = f"only pickled weights ({pickled[0]}), which are never opened" if pickled else "no weights"
    raise CutawayError(f"{folder} has {why}: save the model with `save_pretrained(..., safe_serialization=True)`")


def gather(model: Decoder, family: Family, files: list[Path], *, dtype: torch.dtype, device) -> dict[str, Tensor]:
    """Every tensor of `model` from the checkpoint; every tensor of the checkpoint used, ignored by name, or reported."""
    where: dict[str, Path] = {}
    try:
        for file in files:
            with safe_open(file, "pt") as handle:
                where |= dict.fromkeys(handle.keys(), file)
    except SafetensorError as error:
        raise CutawayError(f"{file} is damaged or cut short ({error}): fetch it again") from error
    used: set[str] = set()
    state = {}
    for ours, shape in ((name, tensor.shape) for name, tensor in model.state_dict().items()):
        theirs, how = source_of(ours, family, where)
        with safe_open(where[theirs], "pt", device=str(device)) as handle:
            tensor = handle.get_tensor(theirs)
        tensor = how(tensor, model.config).to(dtype).contiguous()
        if tensor.shape != shape:
            raise CutawayError(f"{theirs} has shape {tuple(tensor.shape)}, config.json asks for {tuple(shape)}")
        if not torch.isfinite(tensor).all():
            raise CutawayError(f"{theirs} in {where[theirs]} holds NaN or infinite weights: the checkpoint is damaged")
        state[ours] = tensor
        used.add(theirs)
    left = [name for name in where if name not in used and not _ignored(name, family, model.config.tied)]
    if left:
        raise CutawayError(
            f"{len(used)} of {len(where)} tensors fit a {family.name} decoder; left over: {', '.join(left[:3])}"
            f"{' …' if len(left) > 3 else ''}. Is config.json the right one?"
        )
    return state


def source_of(ours: str, family: Family, where: dict[str, Path]) -> tuple[str, object]:
    """The checkpoint's name for one of our tensors, and how to turn it into ours."""
    module, part = ours.rsplit(".", 1)
    index = next((word for word in module.split(".") if word.isdigit()), None)
    rule = family.weights[module if index is None else module.replace(f".{index}.", ".{}.")]
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


def _ignored(name: str, family: Family, tied: bool) -> bool:
    return any(name.endswith(ending) for ending in family.ignored) or (tied and "lm_head" in name)
