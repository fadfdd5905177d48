"""How an architecture family is described: one record that says which parts it has and where its weights lie."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder.config import DecoderConfig


@dataclass(frozen=True)
class Take:
    """A tensor that lies in the checkpoint in another form: its name there, and how to get ours from it."""

    name: str
    how: Callable[[Tensor, DecoderConfig], Tensor]


def transposed(tensor: Tensor, config: DecoderConfig) -> Tensor:
    """GPT-2 stores `[in, out]`; torch's Linear is `[out, in]`. Biases stay."""
    return tensor.T


def third(index: int) -> Callable[[Tensor, DecoderConfig], Tensor]:
    """GPT-2's fused `c_attn`: q, k and v side by side along the outputs, transposed."""
    return lambda tensor, config: tensor.T.chunk(3)[index]


def interleaved_third(index: int) -> Callable[[Tensor, DecoderConfig], Tensor]:
    """GPT-NeoX's fused `query_key_value`: head by head, each head's q, k and v in a row."""
    return lambda tensor, config: tensor.unflatten(0, (config.n_heads, 3, config.d_head))[:, index].flatten(0, 1)


@dataclass(frozen=True)
class Family:
    """One architecture family.

    `config` turns the checkpoint's config.json into a `DecoderConfig`. `weights` maps our module names (`layers.{}.q`)
    to theirs; `.weight` and `.bias` follow by themselves. `prefix` may stand before every name or not.
    `ignored` are tensors some checkpoints carry that are no weights (masks, frequencies).
    """

    name: str
    model_types: tuple[str, ...]
    config: Callable[[dict], DecoderConfig]
    weights: dict[str, str | Take]
    prefix: str = ""
    ignored: tuple[str, ...] = field(default=("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias"))


@cache
def families() -> dict[str, Family]:
    """Every family by its `model_type`, found in `cutaway.decoder.families`, one file each."""
    package = importlib.import_module("cutaway.decoder.families")
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        family = importlib.import_module(f"{package.__name__}.{module.name}").FAMILY
        found |= dict.fromkeys(family.model_types, family)
    return found


def family_of(config_json: dict) -> Family:
    """The family of a checkpoint by its `model_type`; raises `CutawayError` with the nearest known ones."""
    known, kind = families(), config_json.get("model_type", "")
    if kind in known:
        return known[kind]
    near = difflib.get_close_matches(str(kind), known, 1)
    hint = f" (nearest: {near[0]})" if near else ""
    raise CutawayError(
        f"model_type {kind!r} is not a known decoder family{hint}: known are {', '.join(sorted(known))}; "
        "docs/add-a-model.md adds one in a page"
    )


LLAMA_WEIGHTS: dict[str, str | Take] = {
    "embed": "embed_tokens",
    "layers.{}.norm1": "layers.{}.input_layernorm",
    "layers.{}.norm2": "layers.{}.post_attention_layernorm",
    "layers.{}.q": "layers.{}.self_attn.q_proj",
    "layers.{}.k": "layers.{}.self_attn.k_proj",
    "layers.{}.v": "layers.{}.self_attn.v_proj",
    "layers.{}.o": "layers.{}.self_attn.o_proj",
    "layers.{}.gate": "layers.{}.mlp.gate_proj",
    "layers.{}.up": "layers.{}.mlp.up_proj",
    "layers.{}.down": "layers.{}.mlp.down_proj",
    "final_norm": "norm",
    "unembed": "lm_head",
}
"""Names that Llama's many descendants share; most files put `model.` before all but the unembedding."""


def rope_settings(config_json: dict, default_base: float = 10_000.0) -> tuple[float, dict]:
    """(base, scaling) from either spelling: `rope_theta` + `rope_scaling`, or the newer `rope_parameters`."""
    newer = config_json.get("rope_parameters") or {}
    base = newer.get("rope_theta", config_json.get("rope_theta", default_base))
    return float(base), dict(newer or config_json.get("rope_scaling") or {})


def windows(config_json: dict, n_layers: int, *, every: bool) -> tuple[int | None, ...]:
    """Each layer's sliding window from `layer_types`; without that list, `every` layer slides or none does."""
    size = config_json.get("sliding_window")
    if not size:
        return ()
    if kinds := config_json.get("layer_types"):
        return tuple(size if kind == "sliding_attention" else None for kind in kinds)
    return (size,) * n_layers if every else ()
