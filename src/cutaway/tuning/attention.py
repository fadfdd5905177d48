"""Prefixes inside attention: keys and values that learn, before those of the tokens, in any block of `transformers`.

    Attn(q, [P_K; K], [P_V; V])                    or, with a gate g of each token,
    Attn(q, [g P_K; K], [g P_V; V])                g = sigmoid(w · x + b), x what goes into the block

Such a block looks up the function that computes attention by name, in a table that others may add to (`AttentionInterface`). A
block with a prefix finds ours there, which puts the prefix before keys and values, lets every token see it, and calls the function
that was looked up before. Tokens keep their positions: a prefix has none, it is neither rotated nor biased. Where there is a cache
of keys and values, the prefix does not go into it, but is put before what comes out of it.
"""

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Beside, linear
from cutaway.tuning.places import Place, chosen, places

OURS = "cutaway_prefix_before_"
"""Before the name of the function that is called in the end."""
KNOWN = ("sdpa", "eager")


@dataclass(frozen=True)
class Attention:
    """An attention block."""

    name: str
    """Of the module that computes attention."""
    d_model: int
    width: int
    """Of its keys, all heads together."""
    function: str
    """The name of the function that computes it."""


class Gate(nn.Module):
    """A number between 0 and 1 for each token, from what a block reads; has d + 1 parameters."""

    def __init__(self, d_model: int):
        super().__init__()
        self.linear = nn.Linear(d_model, 1)

    def forward(self, x: Float[Tensor, "*some d_model"]) -> Float[Tensor, "*some 1"]:
        return torch.sigmoid(self.linear(x))


class Prefix(Beside):
    """Keys and values [length, width] of one attention block, and their gate, if they have one."""

    def __init__(self, attached: Attached, length: int, width: int, gate: Gate | None = None):
        super().__init__()
        if length < 1:
            raise CutawayError(f"the prefix has a length of {length}: give at least 1")
        self.keys = nn.Parameter(0.02 * torch.randn(length, width))
        self.values = nn.Parameter(0.02 * torch.randn(length, width))
        self.gate, self.attached = gate, attached
        self.opened: Tensor | None = None
        """How far the gate is open for each token, while the block is at work: [batch, pos, 1]."""

    def hear(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if self.gate is not None and self.attached.active:
            self.opened = self.gate(args[0] if args else kwargs["hidden_states"])

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        self.opened = None
        return y


def attentions(model: nn.Module, at: Sequence[str]) -> list[Attention]:
    """The attention blocks of these roles (attn, cross_attn) or names.

    Raises:
        CutawayError: one is no attention block that `transformers` lets others work in; or as `chosen`.
    """
    known, found = places(model), []
    for place in chosen(model, at):
        inner = _inner(place, known)
        if inner is None:
            raise CutawayError(f"{place.name} is no attention block: a prefix can be in attn or cross_attn")
        name = inner.name.rpartition(".")[0]
        if (function := _picked(module := model.get_submodule(name))) is None:
            raise CutawayError(
                f"a prefix cannot be put into {type(module).__name__}: its attention is not {' or '.join(KNOWN)}"
            )
        role = inner.role if inner.role.endswith("qkv") else f"{inner.role[:-1]}k"
        keys = next(other for other in known if other.layer == inner.layer and other.role == role)
        d_model, _ = linear(model.get_submodule(keys.name))
        found.append(Attention(name, d_model, key_width(model, keys), function))
    return found


def put_before(attached: Attached, block: Attention, prefix: Prefix) -> None:
    """Puts a prefix into an attention block, until the attachment is taken off."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    module: Any = attached.host.get_submodule(block.name)
    attached.hold(module.register_forward_pre_hook(prefix.hear, with_kwargs=True))
    attached.beside(block.name, prefix)
    if module.config._attn_implementation == block.function:
        config: Any = copy.copy(module.config)
        config._attn_implementation_internal = OURS + block.function
        ALL_ATTENTION_FUNCTIONS.register(OURS + block.function, partial(_with_prefixes, block.function))
        attached.hold(_Config(module, module.config))
        module.config = config


class _Config:
    """A module's configuration, to be given back."""

    def __init__(self, module: nn.Module, config: Any):
        self.module, self.config = module, config

    def remove(self) -> None:
        self.module.config = self.config


def _inner(place: Place, known: Sequence[Place]) -> Place | None:
    """The first projection of an attention block."""
    role = next((other.role for other in known if other.name == place.name), place.role)
    return next((x for x in known if x.layer == place.layer and x.role in (f"{role}_q", f"{role}_qkv")), None)


def key_width(model: nn.Module, projection: Place) -> int:
    """Of the keys that a projection gives, all heads together: one to keys alone, or to queries, keys and values in one."""
    _, out = linear(model.get_submodule(projection.name))
    if not projection.role.endswith("qkv"):
        return out
    config: Any = getattr(model, "config", None)
    heads = getattr(config, "num_attention_heads", 1)
    mine = getattr(config, "num_key_value_heads", None) or heads
    return out * mine // (heads + 2 * mine)


def _picked(module: nn.Module) -> str | None:
    """The name of the function that computes this block's attention; None if it is none that we can call."""
    name = str(getattr(getattr(module, "config", None), "_attn_implementation", None)).removeprefix(OURS)
    return name if name in KNOWN and hasattr(sys.modules[type(module).__module__], "eager_attention_forward") else None


def _function(base: str, module: nn.Module) -> Callable:
    if base == "eager":
        return sys.modules[type(module).__module__].eager_attention_forward
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    return ALL_ATTENTION_FUNCTIONS[base]


def _with_prefixes(
    base: str, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
) -> tuple[Tensor, Tensor | None]:
    """What stands in the table. Shapes: query [batch, head, pos, d_head], keys and values [batch, key head, pos, d_head]."""
    more["scaling"] = query.shape[-1] ** -0.5 if more.get("scaling") is None else more["scaling"]
    causal = getattr(module, "is_causal", True) if more.get("is_causal") is None else more["is_causal"]
    mask, opened = attention_mask, []
    prefixes = [x for x in module.children() if isinstance(x, Prefix) and x.attached.active]
    for prefix in prefixes:
        length = len(prefix.keys)
        mask = _seen(mask, query, key, length, causal)
        if (bias := more.get("position_bias")) is not None:
            more["position_bias"] = nn.functional.pad(bias, (length, 0))
        if prefix.opened is not None:
            query, key, value = _widened(query, prefix.opened, key, value)
            opened.append(prefix.opened)
        key, value = (_before(p, x, prefix.gate is not None) for p, x in ((prefix.keys, key), (prefix.values, value)))
    out, weights = _function(base, module)(module, query, key, value, mask, **more)
    for gate in reversed(opened):
        own, added = out.chunk(2, dim=-1)
        out = own + gate[:, :, None] * added
    return out, weights


def _widened(query: Tensor, gate: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Twice the width: the first half is what was, the second is for the prefix, which meets there the query times its gate."""
    query = torch.cat((query, gate[:, None] * query), dim=-1)
    return query, nn.functional.pad(key, (0, key.shape[-1])), nn.functional.pad(value, (0, value.shape[-1]))


def _before(prefix: Float[Tensor, "length width"], x: Tensor, second_half: bool) -> Tensor:
    """The prefix, head by head, before keys or values; in the second half of their width, if that is its place."""
    batch, heads, _, width = x.shape
    mine = prefix.unflatten(-1, (heads, -1)).transpose(0, 1)
    left = width // 2 if second_half else 0
    mine = nn.functional.pad(mine, (left, width - left - mine.shape[-1]))
    return torch.cat((mine.expand(batch, -1, -1, -1), x), dim=-2)


def _seen(mask: Tensor | None, query: Tensor, key: Tensor, length: int, causal: bool) -> Tensor | None:
    """A mask that lets every token see the prefix, and of the others those that it saw."""
    if mask is None:
        if not causal or query.shape[-2] == 1:
            return None
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()[None, None]
    return torch.cat((mask.new_full((*mask.shape[:-1], length), mask.dtype == torch.bool), mask), dim=-1)
