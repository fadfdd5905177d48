"""How an architecture family is described: one record that says which parts it has and where its weights lie.

Below the record stand the few readings of a config.json that several families share.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder.config import Activation, DecoderConfig, Rope
from cutaway.decoder.rope import checked

How = Callable[[Tensor, DecoderConfig], Tensor]
"""From a tensor of the checkpoint to ours."""


@dataclass(frozen=True)
class Take:
    """A tensor that lies in the checkpoint in another form: its name there, and how to get ours from it."""

    name: str
    how: How


def transposed(tensor: Tensor, config: DecoderConfig) -> Tensor:
    """GPT-2 stores `[in, out]`; torch's Linear is `[out, in]`. Biases stay."""
    return tensor.t()


def third(index: int) -> How:
    """GPT-2's fused `c_attn`: q, k and v side by side along the outputs, transposed."""
    return lambda tensor, config: tensor.t().chunk(3)[index]


def interleaved_third(index: int) -> How:
    """GPT-NeoX's fused `query_key_value`: head by head, each head's q, k and v in a row."""
    return lambda tensor, config: tensor.unflatten(0, (config.n_heads, 3, config.d_head))[:, index].flatten(0, 1)


@dataclass(frozen=True)
class Family:
    """One architecture family.

    `config` turns the checkpoint's config.json into a `DecoderConfig`. `weights` maps our module names (`layers.{}.q`)
    to theirs; `.weight` and `.bias` follow by themselves. `prefix` may stand before every name or not.
    `ignored` are the endings of tensors some checkpoints carry that are no weights (masks, frequencies).
    """

    name: str
    model_types: tuple[str, ...]
    config: Callable[[dict], DecoderConfig]
    weights: dict[str, str | Take]
    prefix: str = ""
    ignored: tuple[str, ...] = (".rotary_emb.inv_freq",)


@cache
def families() -> dict[str, Family]:
    """Every family by its `model_type`, found in `cutaway.decoder.families`, one file each."""
    package = importlib.import_module("cutaway.decoder.families")
    found: dict[str, Family] = {}
    for module in pkgutil.iter_modules(package.__path__):
        family = importlib.import_module(f"{package.__name__}.{module.name}").FAMILY
        if twice := found.keys() & set(family.model_types):
            raise CutawayError(f"families {family.name} and {found[twice.pop()].name} both claim one model_type")
        found |= dict.fromkeys(family.model_types, family)
    return found


def family_of(config_json: dict) -> Family:
    """The family of a checkpoint by its `model_type`; raises `CutawayError` with the nearest known ones."""
    known, kind = families(), str(config_json.get("model_type", ""))
    if kind in known:
        return known[kind]
    near = difflib.get_close_matches(kind, known, 1)
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


ACTIVATION_NAMES: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}
"""What checkpoints call the activations of `DecoderConfig`."""


def activation(name: str) -> Activation:
    """Our name for a checkpoint's activation; raises `CutawayError` for one the decoder does not have."""
    if name not in ACTIVATION_NAMES:
        raise CutawayError(f"activation {name!r} is not supported: known are {', '.join(ACTIVATION_NAMES)}")
    return ACTIVATION_NAMES[name]


def must_be(config_json: dict, **expected: object) -> None:
    """Refuses a checkpoint that sets a switch our tables cannot express; a key that is absent or null is fine.

    Raises:
        CutawayError: a key has another value than `expected`.
    """
    for key, value in expected.items():
        if (given := config_json.get(key)) is not None and given != value:
            raise CutawayError(f"config.json says {key} = {given!r}; cutaway's decoder can only do {value!r} there")


def rope_of(config_json: dict, dim: int, *, partial: bool = False) -> Rope:
    """Rotary settings from either spelling: `rope_theta` + `rope_scaling`, or the newer `rope_parameters`.

    With `partial`, only that fraction of `dim` is rotated which the checkpoint names; without, it must name all.

    Raises:
        CutawayError: a scaling we do not know, settings that differ from layer to layer, a fraction not allowed here.
    """
    said = dict(config_json.get("rope_scaling") or config_json.get("rope_parameters") or {})
    if any(isinstance(value, dict) for value in said.values()):
        raise CutawayError(
            f"rope settings that differ by layer ({', '.join(said)}) are not supported: give one for all"
        )
    base = said.pop("rope_theta", config_json.get("rope_theta", 10_000.0))
    fraction = said.pop("partial_rotary_factor", config_json.get("partial_rotary_factor", 1.0))
    if not partial:
        must_be({"partial_rotary_factor": fraction}, partial_rotary_factor=1.0)
    if old := config_json.get("original_max_position_embeddings"):
        said["original_max_position_embeddings"] = old
    return checked(Rope(int(dim * fraction), float(base), said))


def windows(kinds: Sequence[str], size: int | None) -> tuple[int | None, ...]:
    """Each layer's window from each layer's kind, in the checkpoint's words; `()` if no layer has one."""
    known = {"sliding_attention": size, "local": size, "full_attention": None, "global": None}
    if unknown := [kind for kind in kinds if kind not in known]:
        raise CutawayError(f"attention of kind {unknown[0]!r} is not supported: known are {', '.join(known)}")
    found = tuple(known[kind] for kind in kinds)
    return found if any(found) else ()
