"""A tuned model on disk: what was learned, not the model, in the two files of the library `peft`.

    adapter_config.json          the method and its options, and what model it was made for
    adapter_model.safetensors    its tensors, and the parameters of the model that have learned as a whole

What goes through `peft` is written so that `peft.PeftModel.from_pretrained` opens it, and what `peft` has saved opens here, if it
is of a kind that a method here is. Methods that `peft` does not have are of the kind "CUTAWAY". Their record stands under
`auto_mapping`, which `peft` keeps for whoever opens a file. Nothing is pickled.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.core.runs import put
from cutaway.tuning.attach import Attached
from cutaway.tuning.method import Method, methods
from cutaway.tuning.places import chosen
from cutaway.tuning.through_peft import ThroughPeft, need_peft
from cutaway.tuning.tune import Tuned, tune

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
OURS = "CUTAWAY"
PASSING = {
    "architectures", "dtype", "id2label", "label2id", "output_attentions", "output_hidden_states", "pad_token_id",
    "problem_type", "return_dict", "torch_dtype", "transformers_version", "use_cache",
}  # fmt: skip
"""What a configuration says about a use of the model, not about the model."""


@dataclass(frozen=True)
class Base:
    """By what a base model is known again: three checksums. Parameters that are in the adapter's file are left out."""

    config: str
    shapes: str
    """Of names and shapes of its parameters."""
    values: str

    def unlike(self, other: "Base") -> list[str]:
        """What differs, in words."""
        words = {"config": "configuration", "shapes": "names or shapes of weights", "values": "values of weights"}
        return [word for name, word in words.items() if getattr(self, name) != getattr(other, name)]


def base_of(attached: Attached) -> Base:
    """The model that an attachment is on, as it is without it."""
    config = getattr(attached.host, "config", None)
    said = config.to_dict() if hasattr(config, "to_dict") else {}
    lasting = {name: x for name, x in said.items() if not name.startswith("_") and name not in PASSING}
    weights = {name: p.detach() for name, p in attached.base.items() if name not in attached.freed}
    values = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        values.update(weights[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    shapes = {name: list(x.shape) for name, x in weights.items()}
    return Base(_sum(lasting), _sum(shapes), values.hexdigest())


def save(tuned: Tuned, folder: str | Path) -> Path:
    """Writes what was learned, both files or none; returns the folder, in which other files stay as they are.

    Raises:
        CutawayError: the folder cannot be written; what was saved there before is still there.
    """
    from safetensors.torch import save as to_bytes

    folder = Path(folder)
    tensors = {name: x.detach().cpu().contiguous().clone() for name, x in tuned.attached.to_disk().items()}
    config = _config(tuned)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as building:
            put(Path(building) / WEIGHTS, to_bytes(tensors, metadata={"format": "pt"}))
            put(Path(building) / CONFIG, config)
            _replace(folder, Path(building))
    except OSError as error:
        raise CutawayError(f"cannot write to {folder} ({error.strerror}): choose another folder") from error
    return folder


def _replace(folder: Path, new: Path) -> None:
    """Puts both files in the place of those of that name. Killed in between, it leaves no configuration, and a folder without one
    is no adapter: never one file of each."""
    (folder / CONFIG).unlink(missing_ok=True)
    for name in (WEIGHTS, CONFIG):
        os.replace(new / name, folder / name)


def load_tuned(model: nn.Module, folder: str | Path, *, name: str = "default", anyway: bool = False) -> Tuned:
    """Tunes a model as one was that was saved, and fills in what it had learned. The model is as before if that fails.

    Args:
        model: the base model.
        folder: of `save`, or of `save_pretrained` of `peft`.
        name: as of `tune`.
        anyway: take another base model, too, if all shapes are right.

    Raises:
        CutawayError: the folder has no adapter or a damaged one, it is of another base model, of a kind that is not known here,
            or its tensors are not those of its method.
    """
    folder = Path(folder)
    config, tensors = _read(folder)
    record = (config.get("auto_mapping") or {}).get("cutaway") or _from_peft(model, folder, config, tensors)
    try:
        method_name, options, also = record["method"], dict(record["options"]), tuple(record["also"])
        base = Base(**record["base"]) if "base" in record else None
    except (KeyError, TypeError, ValueError) as error:
        raise CutawayError(f"{folder / CONFIG} is damaged: its record of the method is not whole") from error
    tuned = tune(model, method_name, also=also, name=name, **options)
    try:
        if base is not None and not anyway and (unlike := base_of(tuned.attached).unlike(base)):
            raise CutawayError(
                f"{folder} was tuned on another base model than this ({', '.join(unlike)} differ): load it on that one"
                f"{_called(config)}, or give anyway=True to let shapes decide"
            )
        _fill(tuned, folder, config, tensors)
    except BaseException:
        tuned.remove()
        raise
    return tuned


def _fill(tuned: Tuned, folder: Path, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    attached = tuned.attached
    if isinstance(attached, ThroughPeft):
        if (setting := attached.unlike(config)) is not None:
            raise CutawayError(
                f"{folder} was made with {setting}={config[setting]!r}, which {tuned.method.name} does not have here"
            )
        tensors = attached.opened(config, tensors)
    try:
        attached.put(attached.from_disk(tensors))
    except CutawayError as error:
        raise CutawayError(f"{folder / WEIGHTS}: {error}") from error


# --- writing ----------------------------------------------------------------------------------------------------------


def _config(tuned: Tuned) -> bytes:
    """The text of the configuration."""
    attached = tuned.attached
    record = {**tuned.about(), "base": asdict(base_of(attached))}
    mapping = {
        "base_model_class": type(attached.host).__name__,
        "parent_library": type(attached.host).__module__,
        "cutaway": record,
    }
    if not isinstance(attached, ThroughPeft):
        called = getattr(attached.host, "name_or_path", None) or None
        plain = {"peft_type": OURS, "base_model_name_or_path": called, "inference_mode": True, "auto_mapping": mapping}
        return (json.dumps(plain, indent=2, sort_keys=True) + "\n").encode()
    config = attached.to_disk_config()
    config.inference_mode = True
    heads = {place.name for place in chosen(attached.host, tuned.also)} if tuned.also else set()
    config.modules_to_save = sorted({*(config.modules_to_save or ()), *heads}) or None
    with tempfile.TemporaryDirectory() as aside:
        config.save_pretrained(aside, auto_mapping_dict=mapping)
        return (Path(aside) / CONFIG).read_bytes()


def _sum(data: Any) -> str:
    return hashlib.blake2b(json.dumps(data, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Both files. Raises `CutawayError` if one is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            pickled = name == WEIGHTS and (folder / "adapter_model.bin").is_file()
            hint = "; adapter_model.bin is pickled and not opened: save it again with safe_serialization=True"
            raise CutawayError(
                f"{folder} has no {name}{hint if pickled else ', so it is no tuned model that was saved'}"
            )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict) or not isinstance(config.get("auto_mapping") or {}, dict):
            raise ValueError("it is no table")
    except (OSError, ValueError) as error:
        raise CutawayError(f"{folder / CONFIG} is damaged: {error}") from error
    try:
        return config, load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CutawayError(f"{folder / WEIGHTS} is damaged: {error}") from error


def _from_peft(model: nn.Module, folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict:
    """The record of a file that `peft` has saved.

    Raises:
        CutawayError: no method here is of its kind.
    """
    if config.get("peft_type") == OURS:
        raise CutawayError(f"{folder / CONFIG} is damaged: its record of the method is missing")
    need_peft()
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kinds = {str(getattr(kind, "value", kind)): made.__name__ for kind, made in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    kind = kinds.get(config.get("peft_type", ""))
    for name, method in methods().items():
        if (
            kind in _opened_by(method)
            and (options := cast(type[ThroughPeft], method.attached).ours(config)) is not None
        ):
            if "at" in {f.name for f in fields(method.options)}:
                options["at"] = _targets(model, folder, config)
            heads = config.get("modules_to_save") or []
            also = [head for head in heads if any(f".{head}." in f".{key}" for key in tensors)]
            return {"method": name, "options": options, "also": also}
    able = sorted(name for name, made in kinds.items() if any(made in _opened_by(m) for m in methods().values()))
    raise CutawayError(
        f"{folder} is of the kind {config.get('peft_type')!r}, which no method here is; known are {', '.join(able)}"
    )


def _opened_by(method: Method) -> set[str]:
    """Classes of `peft` whose files a method opens."""
    kind = method.attached
    return {kind.config, *kind.opens} if issubclass(kind, ThroughPeft) else set()


def _targets(model: nn.Module, folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Full names of the modules that `target_modules` of `peft` means."""
    from peft.tuners.tuners_utils import check_target_module_exists

    unsaid = ("exclude_modules", "layers_pattern", "layers_to_transform", "target_modules", "target_parameters")
    wanted = SimpleNamespace(**{**dict.fromkeys(unsaid), **config})
    found = tuple(name for name, _ in model.named_modules() if name and check_target_module_exists(wanted, name))
    if not found:
        raise CutawayError(f"{folder} is for modules that this model does not have: {config.get('target_modules')}")
    return found


def _called(config: Mapping[str, Any]) -> str:
    name = config.get("base_model_name_or_path")
    return f", {name}" if name else ""
