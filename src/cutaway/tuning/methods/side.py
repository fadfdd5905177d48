"""Ladder side-tuning: a small network beside the model, which reads what its layers say; no gradient ever enters the model.

Sung, Cho & Bansal 2022, LST: ladder side-tuning for parameter and memory efficient transfer learning (NeurIPS, arXiv 2206.06522),
§3: with h_i what comes out of the model's layer i, h_0 what goes into the first, and s_i the states of the side network, of width
w = d / r,

    s_0 = U_0 h_0        s_i = f_i(μ_i U_i h_i + (1 − μ_i) s_{i−1})        μ_i = sigmoid(a_i / 0.1)
    h_L ← h_L + W_up LN(s_L)        W_up = 0 at the beginning

f_i is a transformer block of width w (attention, and a feed-forward network of width 4 w), or, with `block=adapter`, the
feed-forward network alone. Of an encoder-decoder both halves have a side; the decoder's attends to the encoder's. The layers run
without recording anything for a gradient: what is kept in memory for a step is the side network's, and that of norm and head
behind it.

It trains d w for the first projection of each half, d w + 1 + f for each layer, 2 w for each half's norm, and d w for W_up, where f
is 8 w² + 2 w of the feed-forward network, and 4 w² + 2 w of each attention, of which a decoder's layer has two. The paper begins
with pruned weights of the model; here f begins at random, and its attention knows of positions what the model's states say.
"""

import inspect
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Beside, linear
from cutaway.tuning.families import Family
from cutaway.tuning.method import Method
from cutaway.tuning.places import by_layer, layers, places

TEMPERATURE = 0.1
"""Of the gates μ."""


@dataclass(frozen=True)
class Options:
    """Of ladder side-tuning."""

    reduction: int = 8
    """r; divides the model's width."""
    block: Literal["transformer", "adapter"] = "transformer"
    """f; adapters have no attention: they are cheaper, and can be called with a cache of keys and values."""
    heads: int = 4
    """Of the side network's attention; divides its width."""


@dataclass(frozen=True)
class Half:
    """The layers of an encoder or a decoder, and what their side is."""

    layers: tuple[str, ...]
    d_model: int
    attends: bool
    crosses: bool
    last: bool
    """Does its output go to the head?"""


class Flow:
    """Where the side network has arrived while the model runs."""

    def __init__(self, before: "Flow | None"):
        self.before = before
        """That of the encoder, for a decoder."""
        self.state: Any = None
        """Hidden states: [batch, pos, w]."""
        self.masks: tuple[Tensor | None, Tensor | None] = None, None
        """Who may attend to whom, within and to the encoder: [batch, 1, pos, pos]; None for everybody, or what is causal."""


class Attention(nn.Module):
    """Attention of the side network; has 4 w² parameters."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.heads, self.causal = heads, causal

    def forward(
        self, x: Float[Tensor, "b q w"], read: Float[Tensor, "b k w"], mask: Tensor | None
    ) -> Float[Tensor, "b q w"]:
        q, k, v = (
            project(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project, y in ((self.q, x), (self.k, read), (self.v, read))
        )
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(q.dtype) if mask.is_floating_point() else mask.bool()  # DeBERTa says with ones who may
        causal = self.causal and mask is None
        z = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.o(z.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """f: attention, attention to the encoder's side, and a feed-forward network, each behind a norm and with a way around it."""

    def __init__(self, width: int, heads: int, half: Half, causal: bool):
        super().__init__()
        self.attn = Attention(width, heads, causal) if half.attends else None
        self.cross = Attention(width, heads, False) if half.crosses else None
        self.ffn = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(1 + half.attends + half.crosses))

    def forward(self, s: Float[Tensor, "b pos w"], flow: Flow) -> Float[Tensor, "b pos w"]:
        norms = iter(self.norms)
        if self.attn is not None:
            x = next(norms)(s)
            s = s + self.attn(x, x, flow.masks[0])
        if self.cross is not None:
            read = flow.before.state if flow.before is not None else None
            if read is None:
                raise CutawayError(
                    "the side network has seen no encoder: call the model with input_ids, not encoder_outputs"
                )
            read = read.repeat_interleave(len(s) // len(read), 0)  # one text, several beams
            s = s + self.cross(next(norms)(s), read, flow.masks[1])
        return s + self.ffn(next(norms)(s))


class Rung(Beside):
    """From a layer of the model to the side network."""

    def __init__(self, flow: Flow, half: Half, options: Options, at: int, causal: bool):
        super().__init__()
        width, d = _width(half.d_model, options), half.d_model
        self.flow = flow
        self.start = nn.Linear(d, width, bias=False) if at == 0 else None
        self.down = nn.Linear(d, width, bias=False)
        self.gate = nn.Parameter(torch.zeros(1))
        self.block = Block(width, options.heads, half, causal)
        self.top, self.up = at == len(half.layers) - 1, None
        if self.top:
            self.norm = nn.LayerNorm(width)
        if self.top and half.last:
            self.up = nn.Linear(width, d, bias=False)
            nn.init.zeros_(self.up.weight)

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        dtype = self.down.weight.dtype
        before = self.flow.state if self.start is None else self.start(x.detach().to(dtype))
        mu = torch.sigmoid(self.gate / TEMPERATURE)
        s = self.block(mu * self.down(y.detach().to(dtype)) + (1 - mu) * before, self.flow)
        self.flow.state = self.norm(s) if self.top else s
        if self.up is None:
            return y
        added, self.flow.state = self.up(self.flow.state), None
        if self.flow.before is not None and torch.is_grad_enabled():
            self.flow.before.state = None  # a text is read once in training; when words are written, again for each
        return y + added.to(y.dtype)


class Quiet:
    """Hooks of a layer: it runs without recording anything for a gradient, and the side network gets its masks."""

    def __init__(self, attached: Attached, flow: Flow, checks: bool):
        self.attached, self.flow, self.checks = attached, flow, checks
        self.recorded: list[bool] = []

    def enter(self, layer: nn.Module, args: tuple, kwargs: dict) -> None:
        if not self.attached.active:
            return
        if layer.training and getattr(layer, "gradient_checkpointing", False):
            raise CutawayError("activation checkpointing saves nothing under side-tuning: turn it off")
        self.recorded.append(torch.is_grad_enabled())
        torch.set_grad_enabled(False)
        given = _given(layer, args, kwargs)
        self.flow.masks = given.get("attention_mask"), given.get("encoder_attention_mask")
        if self.checks:
            _check(self.flow.masks, given.get("past_key_values"))

    def leave(self, layer: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        if self.recorded:
            torch.set_grad_enabled(self.recorded.pop())


def _given(layer: nn.Module, args: tuple, kwargs: dict) -> dict[str, Any]:
    """What a layer was called with, by name."""
    found = dict(inspect.signature(layer.forward).bind(*args, **kwargs).arguments)
    return found | found.get("kwargs", {})


def _check(masks: tuple[Tensor | None, ...], cache: Any) -> None:
    if cache is not None and int(cache.get_seq_length()) > 0:
        raise CutawayError(
            "the side network's attention keeps no cache: call with use_cache=False, or take block=adapter"
        )
    if any(mask is not None and mask.dim() != 4 for mask in masks):
        raise CutawayError(
            "the side network needs masks as sdpa and eager attention have them: choose one, or block=adapter"
        )


def halves(model: nn.Module, options: Options) -> list[Half]:
    """The halves that get a side, the one before the head last.

    Raises:
        CutawayError: the model's layers are not known, or numbers do not fit.
    """
    found: dict[str, tuple[list[str], int]] = {}
    for _, parts in by_layer(places(model)):
        name = parts["layer"].name
        d_model = linear(model.get_submodule(parts["ffn_down"].name))[1]
        found.setdefault(name.rpartition(".")[0], ([], d_model))[0].append(name)
    if not found:
        raise CutawayError("side-tuning needs a model whose layers are known: a family of places.py")
    attends, stacks = options.block == "transformer", list(found.values())
    for _, d_model in stacks:
        if _width(d_model, options) % options.heads and attends:
            raise CutawayError(
                f"heads is {options.heads}: it must divide {_width(d_model, options)}, width / reduction"
            )
    made = [
        Half(tuple(names), d, attends, crosses=attends and at > 0, last=at == len(stacks) - 1)
        for at, (names, d) in enumerate(stacks)
    ]
    return made if attends else made[-1:]


def _width(d_model: int, options: Options) -> int:
    if options.reduction < 1 or options.heads < 1 or d_model % options.reduction:
        raise CutawayError(f"reduction is {options.reduction}, heads {options.heads}: reduction must divide {d_model}")
    return d_model // options.reduction


def _causal(layer: nn.Module, family: Family) -> bool:
    """May a token attend to what is before it alone?"""
    said = [module.is_causal for module in layer.modules() if hasattr(module, "is_causal")]
    return any(said) if said else family.causal


def attach(attached: Attached, options: Options) -> None:
    flow, known = None, layers(attached.host)
    for half in halves(attached.host, options):
        flow = Flow(flow)
        for at, name in enumerate(half.layers):
            layer, quiet = attached.host.get_submodule(name), Quiet(attached, flow, half.attends and at == 0)
            attached.hold(layer.register_forward_pre_hook(quiet.enter, with_kwargs=True))
            attached.hold(layer.register_forward_hook(quiet.leave, with_kwargs=True, always_call=True))
            causal = half.attends and _causal(layer, known[name])
            attached.beside(name, Rung(flow, half, options, at, causal))


def count(model: nn.Module, options: Options) -> int:
    total = 0
    for half in halves(model, options):
        d, w = half.d_model, _width(half.d_model, options)
        block = 8 * w**2 + 2 * w + (half.attends + half.crosses) * (4 * w**2 + 2 * w)
        total += d * w + len(half.layers) * (d * w + 1 + block) + 2 * w + half.last * d * w
    return total


METHOD = Method(
    name="side",
    kind="additive",
    about="a small network beside the model, so that no gradient enters it",
    citation="Sung, Cho & Bansal 2022, LST: ladder side-tuning (NeurIPS, arXiv 2206.06522), §3",
    options=Options,
    attach=attach,
    count=count,
)
