"""The pretrained model that a method is put on: from its name, with its tokenizer, its weights in as many bits as memory allows.

    float32     as it was trained; everything can learn
    bfloat16    half the bytes; everything can learn, but small steps are rounded away
    int8, int4  linear layers in a quarter and an eighth of the bytes, by the library `bitsandbytes`: the first by LLM.int8()
                (Dettmers et al. 2022, arXiv 2208.07339), the second as QLoRA has it, NormalFloat with constants that are quantised
                themselves (Dettmers et al. 2023, arXiv 2305.14314, §3); only what is put beside them can learn

Activations take more than weights in training. `recompute` keeps what comes into each layer alone, and computes what is inside it
again in backward (Chen et al. 2016, arXiv 1604.06174, §4): about a third more time.
"""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from cutaway.core.encoders import KNOWN_ENCODERS, locate_encoder, without_bars
from cutaway.core.errors import CutawayError
from cutaway.tuning.places import places

Weights = Literal["float32", "bfloat16", "int8", "int4"]
LONGEST = 512
"""Tokens, for a model that sets itself no bound."""


@dataclass(frozen=True)
class Backbone:
    """A pretrained model of `transformers`, and what reads text for it."""

    model: Any
    tokenizer: Any
    """Of the library `tokenizers`; it pads and cuts nothing."""
    folder: Path
    longest: int
    """Tokens it can read at once, special ones included."""


def load_backbone(name_or_folder: str | Path, *, weights: Weights = "float32") -> Backbone:
    """A model and its tokenizer. Arguments and errors as `load_model`; `CutawayError` as well without a tokenizer.json."""
    from tokenizers import Tokenizer

    folder = locate_backbone(name_or_folder)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise CutawayError(f"{folder} has no tokenizer.json: give a model with a fast tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing narrower
        raise CutawayError(f"{file} cannot be read: {' '.join(str(error).split())[:200]}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = _read(folder, weights)
    return Backbone(model, tokenizer, folder, _longest(model))


def load_model(name_or_folder: str | Path, *, weights: Weights = "float32") -> Any:
    """A model of `transformers` by name: a known encoder, a known decoder, a folder, or owner/name on the hub.

    Raises:
        CutawayError: there is none such, it cannot be read, or such weights cannot be had here.
    """
    return _read(locate_backbone(name_or_folder), weights)


def locate_backbone(name_or_folder: str | Path) -> Path:
    """The model's folder; raises `CutawayError` as `load_model` does."""
    from cutaway.decoder.catalog import KNOWN_MODELS, locate

    text = str(name_or_folder)
    if text in KNOWN_ENCODERS:
        return locate_encoder(text)
    if text not in KNOWN_MODELS and not Path(text).exists() and "/" not in text:
        known = ", ".join([*KNOWN_ENCODERS, *KNOWN_MODELS])
        raise CutawayError(
            f"no model or folder named {text!r}: known are {known}; or give a folder, or owner/name of the hub"
        )
    return locate(text)


def _read(folder: Path, weights: Weights) -> Any:
    settings = _settings(weights)
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        causal = any("CausalLM" in x or "LMHead" in x for x in config.architectures or [])
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM if causal else AutoModel
        with without_bars():
            model = kind.from_pretrained(folder, trust_remote_code=False, use_safetensors=True, **settings)
    except Exception as error:  # transformers raises many kinds
        raise CutawayError(f"{folder} is not a model that can be read: {' '.join(str(error).split())[:200]}") from error
    for module in model.modules():
        # bitsandbytes lays four bits out anew when a CPU with AVX-512 reads them in evaluation, in a form that has no gradient:
        # without this, the first look at a dev set would end learning, silently
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def _settings(weights: str) -> dict[str, Any]:
    """What `from_pretrained` has to be told."""
    if weights not in get_args(Weights):
        raise CutawayError(f"weights is {weights!r}: give {', '.join(get_args(Weights))}")
    if weights in ("float32", "bfloat16"):
        return {"dtype": getattr(torch, weights)}
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of every call that it works in float16
    try:
        import_module("bitsandbytes")
    except (ImportError, OSError, RuntimeError) as error:
        there = "is not installed" if isinstance(error, ModuleNotFoundError) else "does not run here"
        raise CutawayError(
            f"weights in {weights} need bitsandbytes, which {there}: pip install bitsandbytes, or take bfloat16"
        ) from error
    from transformers import BitsAndBytesConfig

    four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": torch.float32}
    bits = {"load_in_8bit": True} if weights == "int8" else {"load_in_4bit": True} | four
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {"dtype": torch.float32, "quantization_config": BitsAndBytesConfig(**bits), "device_map": {"": device}}


def _longest(model: Any) -> int:
    """Positions, without those that RoBERTa's family leaves unused before the first."""
    config = model.config
    bound = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or LONGEST
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and (unused := getattr(module, "padding_idx", None)) is not None:
            bound -= unused + 1
    return bound


# --- activations that are computed again ------------------------------------------------------------------------------


def recompute(model: nn.Module) -> Callable[[], None]:
    """From now on, where gradients are recorded, a layer keeps what comes into it alone; gives back what ends that.

    What `transformers` has for this takes a layer's cache of keys and values away, and with it a prefix that was learned. Here it
    is read, each time as it was before, but not written. Losses and gradients stay what they are, dropout's draws included.

    Raises:
        CutawayError: the model's layers are not known.
    """
    layers = [model.get_submodule(place.name) for place in places(model) if place.role == "layer"]
    if not layers:
        raise CutawayError(
            f"{type(model).__name__} cannot recompute activations, as its layers are not known: set recompute to false"
        )
    new = [layer for layer in layers if not isinstance(layer.forward, _Again)]
    for layer in new:
        vars(layer)["forward"] = _Again(layer.forward)

    def end() -> None:
        for layer in new:
            vars(layer).pop("forward", None)

    return end


class _Again:
    """In the place of a layer's `forward`. Hooks on the layer itself stay outside: they run once."""

    def __init__(self, forward: Callable):
        self.__wrapped__ = forward  # whose signature is told as that of this

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.__wrapped__(*args, **kwargs)
        return checkpoint(self._run, args, kwargs, use_reentrant=False)

    def _run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.__wrapped__(*map(_own, args), **{name: _own(x) for name, x in kwargs.items()})


def _own(x: Any) -> Any:
    """A cache of keys and values that can be written to, and the first one stays as it is; anything else as it is."""
    from transformers.cache_utils import Cache

    if not isinstance(x, Cache):
        return x
    mine = copy.copy(x)
    for name, part in vars(x).items():
        if isinstance(part, list):
            setattr(mine, name, [copy.copy(layer) for layer in part])
        elif isinstance(part, Cache | dict):
            setattr(mine, name, _own(part) if isinstance(part, Cache) else dict(part))
    return mine
