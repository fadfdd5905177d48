"""UniPELT: LoRA, a prefix and adapters at once, each behind a gate that learns when to let it through.

Mao, Mathias, Hou, Almahairi, Ma, Han, Yih & Khabsa 2022, UniPELT: a unified framework for parameter-efficient language model
tuning (ACL, arXiv 2110.07577), §3: with x what goes into the attention, z what goes into the feed-forward block, and g_L, g_P, g_A
gates g(x) = sigmoid(w · x + b) of every layer,

    q, v ← W x + g_L(x) (α / r) B A x                  LoRA, B = 0 at the beginning
    Attn(q, [g_P(x) P_K; K], [g_P(x) P_V; V])          a prefix of length l
    h ← h + g_A(z) (W_up σ(W_down h + b_down) + b_up)  an adapter behind the feed-forward block, W_up = b_up = 0 at the beginning

The paper takes the mean of a gate over the tokens of a text. Here each token has its own: so neither padding nor, where the model
is causal, what comes later has a part in it. It trains r (in + out) parameters for each projection, 2 l w for each attention with
keys of width w, 2 m d + m + d for each adapter, and d + 1 for each gate, of which the projections of a layer that are as wide share
one. The output is another from the beginning, as attention goes to the prefix.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Beside, linear
from cutaway.tuning.attention import Gate, Prefix, attentions, put_before
from cutaway.tuning.method import Method
from cutaway.tuning.methods.adapter import Bottleneck
from cutaway.tuning.methods.parallel_adapter import blocks
from cutaway.tuning.places import chosen


@dataclass(frozen=True)
class Options:
    """Of UniPELT."""

    lora_at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Beside which projections is LoRA."""
    rank: int = 8
    """r."""
    alpha: float = 16.0
    """α."""
    prefix_at: tuple[str, ...] = ("attn",)
    """In which attention blocks is a prefix."""
    length: int = 10
    """Of the prefix, l."""
    adapter_at: tuple[str, ...] = ("ffn_down",)
    """Behind which blocks, named by their last projection, is an adapter."""
    width: int = 48
    """Of the adapter, m."""
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    """σ."""


class GatedLora(Beside):
    """A difference of low rank, as far as the gate is open for a token."""

    def __init__(self, into: int, out: int, options: Options, gate: Gate):
        super().__init__()
        if not 1 <= options.rank <= min(into, out):
            raise CutawayError(f"rank is {options.rank}: give at least 1, at most {min(into, out)}")
        self.A = nn.Parameter(torch.empty(options.rank, into))
        self.B = nn.Parameter(torch.zeros(out, options.rank))
        nn.init.kaiming_uniform_(self.A, a=5**0.5)
        self.scale, self.gate = options.alpha / options.rank, gate

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self.gate(x) * self.scale * (x @ self.A.T @ self.B.T)


class GatedAdapter(Bottleneck):
    """An adapter behind a block, as far as the gate, which reads what went into the block, is open for a token."""

    def __init__(self, d_model: int, options: Options):
        super().__init__(d_model, options.width, options.activation)
        self.gate = Gate(d_model)

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self.gate(x) * self(y)


def attach(attached: Attached, options: Options) -> None:
    model = attached.host
    gates: dict[tuple[int, int], Gate] = {}
    for place in chosen(model, options.lora_at):
        into, out = linear(model.get_submodule(place.name))
        gate = gates.setdefault((place.layer, into), Gate(into))
        attached.beside(place.name, GatedLora(into, out, options, gate))
    for block in attentions(model, options.prefix_at):
        put_before(attached, block, Prefix(attached, options.length, block.width, Gate(block.d_model)))
    for place, first in blocks(model, options.adapter_at):
        _, d_model = linear(model.get_submodule(place.name))
        attached.beside(place.name, GatedAdapter(d_model, options), reads=first)


def count(model: nn.Module, options: Options) -> int:
    sizes = [(place.layer, *linear(model.get_submodule(place.name))) for place in chosen(model, options.lora_at)]
    total = sum(options.rank * (into + out) for _, into, out in sizes)
    total += sum(into + 1 for _, into in {(layer, into) for layer, into, _ in sizes})
    total += sum(2 * options.length * block.width + block.d_model + 1 for block in attentions(model, options.prefix_at))
    widths = (linear(model.get_submodule(place.name))[1] for place, _ in blocks(model, options.adapter_at))
    return total + sum(2 * options.width * d + options.width + d + d + 1 for d in widths)


METHOD = Method(
    name="unipelt",
    kind="hybrid",
    about="LoRA, a prefix and adapters, each behind a gate",
    citation="Mao et al. 2022, UniPELT (ACL, arXiv 2110.07577), §3",
    options=Options,
    attach=attach,
    count=count,
    starts_unchanged=False,
)
