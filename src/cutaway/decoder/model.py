"""The forward pass of a decoder-only transformer, with every inner site named, readable and replaceable.

Read it top to bottom: parts, one layer, the whole. The axis names (batch, pos, query, key, head, kv_head, d_model,
d_head) are explained in docs/architecture.md. Nothing in here keeps state between two calls.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.decoder.activations import ACTIVATIONS
from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.norm import Norm
from cutaway.decoder.patch import Patch, Patches
from cutaway.decoder.rope import rotate, rotation
from cutaway.decoder.sites import Site

Touch = Callable[[str, Tensor], Tensor]
"""What a layer calls at each of its sites with (kind, activation); it returns the activation to go on with."""


def untouched(kind: str, x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Past:
    """Keys (rotated) and values of tokens that come before the ones given to a call, layer by layer.

    A batch of n rows serves calls of any multiple of n rows, block after block: one past of batch 1 serves every row.
    """

    k: tuple[Float[Tensor, "batch past kv_head d_head"], ...]
    v: tuple[Float[Tensor, "batch past kv_head d_head"], ...]

    def before(self, layer: int, k: Tensor) -> Tensor:
        """Keys of the past followed by `k`."""
        return _after(self.k[layer], k)

    def before_values(self, layer: int, v: Tensor) -> Tensor:
        return _after(self.v[layer], v)

    @property
    def length(self) -> int:
        return self.k[0].shape[1]


def _after(past: Tensor, now: Tensor) -> Tensor:
    blocks = len(now) // len(past)
    return torch.cat([past.expand(blocks, *past.shape).flatten(0, 1), now], dim=1)


@dataclass(frozen=True)
class Frame:
    """What all layers of one call share: the rotation of each token and which key each query may see."""

    rotation: tuple[Tensor, Tensor] | None
    sees: dict[int | None, Bool[Tensor, "rows query key"]]
    """By window size (None is the full causal mask); rows is batch, or 1 if no token is padding."""

    def at(self, queries: Tensor | slice) -> "Frame":
        """The frame of some of its tokens, which see the same keys."""
        turn = self.rotation and (self.rotation[0][:, queries], self.rotation[1][:, queries])
        return Frame(turn, {window: sees[:, queries] for window, sees in self.sees.items()})


@dataclass(frozen=True)
class Run:
    """What one call gave back.

    `logits` is `[batch, pos, vocab]`, or `[batch, step, column]` if scored positions and columns were asked for;
    `sites` holds the captured activations after any patch.
    """

    logits: Float[Tensor, "batch step column"]
    sites: dict[Site, Tensor] = field(default_factory=dict)


class Layer(nn.Module):
    """One transformer layer: attention and MLP around the residual stream."""

    def __init__(self, index: int, config: DecoderConfig):
        super().__init__()
        self.index, self.config = index, config
        c, width = config, config.n_heads * config.d_head

        def linear(name: str, d_in: int, d_out: int) -> nn.Linear:
            return nn.Linear(d_in, d_out, bias=name in c.biases)

        self.norm1, self.norm2 = Norm(c.d_model, c), Norm(c.d_model, c)
        if c.post_norms:
            self.post1, self.post2 = Norm(c.d_model, c), Norm(c.d_model, c)
        if c.qk_norm:
            self.q_norm, self.k_norm = Norm(c.d_head, c, "rms"), Norm(c.d_head, c, "rms")
        self.q = linear("q", c.d_model, width)
        self.k = linear("k", c.d_model, c.n_kv_heads * c.d_head)
        self.v = linear("v", c.d_model, c.n_kv_heads * c.d_head)
        self.o = linear("o", width, c.d_model)
        if c.gated:
            self.gate = linear("gate", c.d_model, c.d_mlp)
        self.up = linear("up", c.d_model, c.d_mlp)
        self.down = linear("down", c.d_mlp, c.d_model)
        self.act = ACTIVATIONS[c.activation]

    def here(self, x: Tensor) -> Tensor:
        """On the device where this layer computes, which need not be that of the layer below (`placement.py`)."""
        return x.to(self.o.weight.device)

    def forward(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        frame: Frame,
        touch: Touch = untouched,
        past: Past | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        resid_pre = touch("resid_pre", self.here(resid_pre))
        q, k, v = self.qkv(resid_pre, touch)
        pattern = touch("pattern", self.pattern(*self.rotated(q, k, frame), frame, past))
        z = touch("z", self.mix(pattern, v, past))
        return self.finish(resid_pre, self.write(z), touch)

    def qkv(self, resid_pre: Tensor, touch: Touch = untouched) -> tuple[Tensor, Tensor, Tensor]:
        """Queries `[batch, pos, head, d_head]`, keys and values `[batch, pos, kv_head, d_head]`; not yet rotated."""
        x = self.norm1(self.here(resid_pre))
        q, (k, v) = self.queries(x), self.keys_values(x)
        return touch("q", q), touch("k", k), touch("v", v)

    def queries(self, x: Tensor, heads: Tensor | None = None) -> Float[Tensor, "batch pos some_head d_head"]:
        """Of the normed stream; not yet rotated. Of all heads or some."""
        q = self._project(self.q, x, heads)
        return self.q_norm(q) if self.config.qk_norm else q

    def keys_values(self, x: Tensor, kv_heads: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Of the normed stream, `[batch, pos, kv_head, d_head]` each; not yet rotated. Of all key-value heads or some."""
        k, v = (self._project(part, x, kv_heads) for part in (self.k, self.v))
        return (self.k_norm(k) if self.config.qk_norm else k), v

    def _project(self, linear: nn.Linear, x: Tensor, heads: Tensor | None) -> Tensor:
        weight, bias, size = linear.weight, linear.bias, (-1, self.config.d_head)
        if heads is not None:
            weight = weight.unflatten(0, size)[heads].flatten(0, 1)
            bias = None if bias is None else bias.unflatten(0, size)[heads].flatten()
        return F.linear(x, weight, bias).unflatten(-1, size)

    def rotated(self, q: Tensor, k: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
        return self.turned(q, frame), self.turned(k, frame)

    def turned(self, x: Float[Tensor, "batch pos any_head d_head"], frame: Frame) -> Tensor:
        """Queries or keys, each turned by its token's angle."""
        return x if frame.rotation is None else rotate(x, *map(self.here, frame.rotation))

    def pattern(
        self, q: Tensor, k: Tensor, frame: Frame, past: Past | None = None
    ) -> Float[Tensor, "batch head query key"]:
        """Attention weights of rotated queries over rotated keys (those of the past first); rows sum to 1."""
        k = k if past is None else past.before(self.index, k)
        batch, pos = q.shape[:2]
        # query heads that share a key-value head stand side by side: head = kv_head · group + g
        q = q.unflatten(2, (self.config.n_kv_heads, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        scores = (q @ k.permute(0, 2, 3, 1)).reshape(batch, self.config.n_heads, pos, -1) * self.config.scale
        if cap := self.config.attn_softcap:
            scores = cap * torch.tanh(scores / cap)
        sees = self.here(frame.sees[self.config.window(self.index)])
        # a padding query may see nothing at all: a large negative number instead of -inf keeps its row finite
        scores = scores.masked_fill(~sees[:, None], torch.finfo(scores.dtype).min)
        return scores.softmax(-1, dtype=torch.float32).to(q.dtype)

    def mix(
        self, pattern: Float[Tensor, "batch head query key"], v: Tensor, past: Past | None = None
    ) -> Float[Tensor, "batch query head d_head"]:
        v = v if past is None else past.before_values(self.index, v)
        batch, _, pos, _ = pattern.shape
        z = pattern.unflatten(1, (self.config.n_kv_heads, -1)).flatten(2, 3) @ v.transpose(1, 2)
        return z.reshape(batch, self.config.n_heads, pos, -1).transpose(1, 2)

    def attend(
        self,
        q: Float[Tensor, "batch query some_head d_head"],
        k: Float[Tensor, "batch key some_kv_head d_head"],
        v: Float[Tensor, "batch key some_kv_head d_head"],
        frame: Frame,
    ) -> Float[Tensor, "batch query some_head d_head"]:
        """`mix` of `pattern` in one fused call, for those who want no pattern. Every query must see some key.

        The heads may be some of the layer's, if there is no soft cap.
        """
        c = self.config
        if c.attn_softcap:
            return self.mix(self.pattern(q, k, frame), v)
        sees = self.here(frame.sees[c.window(self.index)])[:, None]
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=sees, scale=c.scale, enable_gqa=k.shape[1] != q.shape[1])
        return z.transpose(1, 2)

    def write(self, z: Float[Tensor, "batch pos head d_head"]) -> Float[Tensor, "batch pos d_model"]:
        """Σ over heads of z·W_O, plus the bias: what attention adds to the stream (before a second norm, if any)."""
        return self.o(z.flatten(-2))

    def finish(self, resid_pre: Tensor, written: Tensor, touch: Touch = untouched) -> Tensor:
        """From what the heads wrote to `resid_post`: the rest of the layer."""
        resid_pre = self.here(resid_pre)
        attn_out = touch("attn_out", self.post1(written) if self.config.post_norms else written)
        resid_mid = resid_pre + attn_out
        mlp_out = touch("mlp_out", self.mlp(resid_pre if self.config.parallel else resid_mid))
        return touch("resid_post", resid_mid + mlp_out)

    def mlp(self, stream: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes d_model"]:
        """What the MLP adds to the stream that it reads, its norms included."""
        x = self.norm2(stream)
        x = self.down(self.act(self.gate(x)) * self.up(x) if self.config.gated else self.act(self.up(x)))
        return self.post2(x) if self.config.post_norms else x


def _touch(layer: int, patches: Patches, wanted: dict, kept: dict[Site, Tensor], kind: str, x: Tensor) -> Tensor:
    """What `Decoder.run` does at every site: patch, then keep what was asked for."""
    whole = Site(layer, kind)
    x = patches(whole, x)
    kept.update((site, site.of(x)) for site in wanted.get(whole, ()))
    return x


class Decoder(nn.Module):
    """A decoder-only transformer. `model(tokens)` gives logits; `model.run(...)` reads and replaces what is inside.

    `source` says where the weights came from (for the record); `tokenizer` belongs to the checkpoint, if it has one.
    """

    def __init__(self, config: DecoderConfig, tokenizer: Any = None, source: str = ""):
        super().__init__()
        self.config, self.tokenizer, self.source = config, tokenizer, source
        self.embed = nn.Embedding(config.vocab, config.d_model)
        if config.rope is None:
            self.pos = nn.Embedding(config.n_ctx, config.d_model)
        # the cast is for type checkers, to whom a ModuleList holds anything
        self.layers = cast(Sequence[Layer], nn.ModuleList(Layer(i, config) for i in range(config.n_layers)))
        self.final_norm = Norm(config.d_model, config)
        if not config.tied:
            self.unembed = nn.Linear(config.d_model, config.vocab, bias="unembed" in config.biases)

    @property
    def device(self) -> torch.device:
        """Where tokens go in and logits come out; layers may lie elsewhere."""
        return self.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embed.weight.dtype

    @property
    def W_U(self) -> Float[Tensor, "vocab d_model"]:  # noqa: N802  (the papers' name)
        return self.embed.weight if self.config.tied else self.unembed.weight

    def forward(
        self, tokens: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"] | None = None
    ) -> Float[Tensor, "batch pos vocab"]:
        """Logits for every position. `mask` is False on padding, which may stand left or right."""
        return self.run(tokens, mask=mask).logits

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        *,
        mask: Bool[Tensor, "batch pos"] | None = None,
        positions: Int[Tensor, "batch pos"] | None = None,
        past: Past | None = None,
        patches: Iterable[Patch] = (),
        capture: Iterable[Site] = (),
        scored: Int[Tensor, "batch step"] | None = None,
        columns: Int[Tensor, " column"] | None = None,
    ) -> Run:
        """One forward pass, with `patches` applied and the sites in `capture` kept.

        Args:
            mask: False on padding.
            positions: where each token believes to stand (for the position embedding or the rotation; what it may see
                is the order in `tokens`, always). Default: counted from 0 over the tokens that are not padding.
            past: keys and values of tokens before these.
            scored: positions whose logits are wanted; all if None.
            columns: token ids whose logits are wanted; all if None.

        Raises:
            CutawayError: a patch or a captured site that the model has not, or a patch of the wrong shape.
        """
        patches = Patches(patches)
        for patch in patches:
            patch.site.check(self.config)
        wanted: dict[Site, list[Site]] = {}
        for site in capture:
            wanted.setdefault(site.check(self.config).without_head(), []).append(site)
        kept: dict[Site, Tensor] = {}

        frame, resid = self.start(tokens, mask=mask, positions=positions, past=past)
        for layer in self.layers:
            resid = layer(resid, frame, partial(_touch, layer.index, patches, wanted, kept), past)
        return Run(self.logits(resid, scored, columns), kept)

    def start(
        self,
        tokens: Int[Tensor, "batch pos"],
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        past: Past | None = None,
    ) -> tuple[Frame, Float[Tensor, "batch pos d_model"]]:
        """The frame of a call and the first residual stream.

        Raises:
            CutawayError: a token or position that the model has not, or a mask or past that does not fit the tokens.
        """
        before = past.length if past else 0
        if mask is not None and mask.shape != tokens.shape:
            raise CutawayError(
                f"the mask has shape {tuple(mask.shape)}, the tokens {tuple(tokens.shape)}: make them one"
            )
        if past and len(tokens) % len(past.k[0]):
            raise CutawayError(f"a past of {len(past.k[0])} rows cannot serve {len(tokens)} rows of tokens evenly")
        if positions is None:
            order = torch.arange(tokens.shape[1], device=tokens.device)[None]
            positions = before + (order if mask is None else (mask.long().cumsum(1) - 1).clamp(min=0))
        # rounded to the precision of the weights, as it was in training
        scale = torch.tensor(self.config.embed_scale, dtype=self.dtype, device=self.device)
        try:
            resid = self.embed(tokens) * scale
            if self.config.rope is None:
                resid = resid + self.pos(positions)
        except IndexError as error:
            raise CutawayError(
                f"tokens up to {int(tokens.max())} at positions up to {int(positions.max())} do not fit a model with a "
                f"vocabulary of {self.config.vocab} and, if learned, {self.config.n_ctx} positions"
            ) from error
        return self.frame(positions, mask=mask, before=before), resid

    def frame(self, positions: Int[Tensor, "rows pos"], *, mask: Tensor | None = None, before: int = 0) -> Frame:
        key = torch.arange(before + positions.shape[1], device=positions.device)[None]
        valid = torch.ones_like(key, dtype=torch.bool) if mask is None else F.pad(mask.bool(), (before, 0), value=True)
        visible = (key <= key[0, before:, None])[None] & valid[:, None]
        # a window counts tokens, not the padding that may stand between them and a past
        place = valid.long().cumsum(1)
        distance = place[:, before:, None] - place[:, None]
        sees = {
            window: visible & (distance < window) if window else visible
            for window in {self.config.window(i) for i in range(self.config.n_layers)}
        }
        rope = self.config.rope
        return Frame(rotation(rope, positions, self.config.n_ctx, self.dtype) if rope else None, sees)

    def logits(self, resid: Tensor, scored: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """Final norm and unembedding of the last residual stream, at the scored positions and columns only."""
        resid = resid.to(self.device)
        if scored is not None:
            resid = resid.gather(1, scored[..., None].expand(-1, -1, resid.shape[-1]))
        return self.read_out(self.final_norm(resid), columns)

    def read_out(
        self, x: Float[Tensor, "*axes d_model"], columns: Tensor | slice | None = None
    ) -> Float[Tensor, "*axes column"]:
        """The unembedding alone (no norm): what direct logit attribution projects on."""
        weight, bias = self.W_U, None if self.config.tied else self.unembed.bias
        if columns is not None:
            weight, bias = weight[columns], None if bias is None else bias[columns]
        logits = F.linear(x, weight, bias)
        cap = self.config.logit_softcap
        return cap * torch.tanh(logits / cap) if cap else logits

    def prefill(self, tokens: Int[Tensor, "batch pos"]) -> Past:
        """Runs tokens that others share (a worked example, say) and keeps their keys and values."""
        frame, resid = self.start(tokens)
        ks, vs = [], []
        for layer in self.layers:
            q, k, v = layer.qkv(resid)
            q, k = layer.rotated(q, k, frame)
            ks.append(k)
            vs.append(v)
            resid = layer.finish(resid, layer.write(layer.mix(layer.pattern(q, k, frame), v)))
        return Past(tuple(ks), tuple(vs))

    def extra_repr(self) -> str:
        c = self.config
        return f"{c.family}, {c.n_layers} layers × {c.n_heads} heads, d_model={c.d_model}"
