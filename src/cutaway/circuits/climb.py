"""One pass of a block of cells up through the layers, from the first position where they differ from the base run.

A cell's residual stream differs from the base run's from some layer on. Before that the cell is *outside*: nothing is run
for it. In the layer where its first head or MLP is replaced it *joins*: only the positions of that replacement are run,
and only from there on. Then it is *inside*: its stream differs at every position from `start` on; in the first layer where
it is inside (while it is *young*) its queries, keys and values differ in the span of its replacement only.
"""

from bisect import bisect_right

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.circuits.plan import Block
from cutaway.circuits.variant import Reference, Trace
from cutaway.decoder.model import Frame, Layer

FEW = 64
"""Tokens that are cheaper to run in a large matrix product than to leave out of it."""

At = slice | Tensor
"""Positions: a range or a list of them."""


class Climb:
    """Runs one block; `engine` lends the model, the past and the frames."""

    def __init__(self, engine, block: Block, reference: Reference, base: Trace):
        self.engine, self.block, self.base = engine, block, base
        self.swap = Swap(block, reference)
        self.from_start = slice(block.start, block.width)
        self.span = slice(block.start, block.stop)
        self.frame = engine.frame_of(block.start, block.width)

    def logits(self) -> Float[Tensor, "cell step column"]:
        """Of each cell, at each step; steps scored before the first difference are as they were."""
        block, model = self.block, self.engine.model
        steps = [step for step, position in enumerate(block.scored) if position >= block.start]
        scored = torch.tensor([block.scored[step] for step in steps], device=block.row.device)
        stream = self._base(self.base.resid_pre[0], slice(0, 0), self.from_start)
        for layer in model.layers[block.entry[0] // 2 :]:
            stream = self._come(layer, stream)
            stream = self._enter(layer.index, stream)
            at = layer.here(scored) if layer.index + 1 == len(model.layers) else self.from_start
            risen = self._rise(layer, stream, at)
            stream = torch.cat([risen, self._join(layer, len(stream), at)])
        out = self.base.logits[block.row]
        out[:, steps] = model.read_out(model.final_norm(stream.to(out.device)), self.engine.columns)
        return out

    def _come(self, layer: Layer, stream: Tensor) -> Tensor:
        """To the device of a layer, if that is another one than the last layer's."""
        if layer.here(stream).device != self.block.row.device:
            self.block = self.block.to(layer.here(stream).device)
            self.swap = Swap(self.block, self.swap.reference)
        return layer.here(stream)

    # --- cells outside ----------------------------------------------------------------------------------------------

    def _enter(self, layer: int, stream: Tensor) -> Tensor:
        """Adds the cells whose residual stream is replaced first of all, and replaces what is to be replaced."""
        fresh = slice(len(stream), bisect_right(self.block.entry, 2 * layer))
        if fresh.stop > fresh.start:
            stream = torch.cat([stream, self._base(self.base.resid_pre[layer], fresh, self.from_start)])
        return self.swap.stream("resid_pre", layer, stream, slice(0, len(stream)), self.from_start)

    def _join(self, layer: Layer, inside: int, at: At) -> Float[Tensor, "cell pos d_model"]:
        """The streams above this layer of the cells that join in it, at the positions `at`."""
        index, base, last = layer.index, self.base, not isinstance(at, slice)
        cells = slice(inside, bisect_right(self.block.entry, 2 * index + 1))
        if cells.stop == cells.start:
            return self._base(base.resid_pre[0], slice(0, 0), at)
        here = at if last else self.span  # in the last layer, what is not scored is not needed
        below = self._base(base.resid_pre[index], cells, here)
        if last or self.swap.heads_differ(index, cells):
            written = self.swap.written(layer, cells, here, base)
            risen = layer.finish(below, written, self.swap.on_mlp(index, cells, here))
        else:  # only the MLP is replaced: what the layer adds changes by as much
            old = self.swap.behind("mlp_out", index, cells, here, base)
            new = self.swap.stream("mlp_out", index, self._base(base.mlp_out[index], cells, here), cells, here)
            risen = self._base(base.resid_pre[index + 1], cells, here) + (new - old)
        if last or self.block.stop == self.block.width:
            return risen
        rest = slice(self.block.stop, self.block.width)
        return torch.cat([risen, self._base(base.resid_pre[index + 1], cells, rest)], dim=1)

    def _base(self, x: Tensor, cells: slice, at: At) -> Tensor:
        """What the base run has for these cells at these positions."""
        return x.to(self.block.row.device)[:, at].index_select(0, self.block.row[cells])

    # --- cells inside -----------------------------------------------------------------------------------------------

    def _rise(self, layer: Layer, stream: Tensor, at: At) -> Float[Tensor, "cell pos d_model"]:
        """The streams above this layer of all cells inside, at the positions `at`."""
        index, cells = layer.index, slice(0, len(stream))
        below = stream if isinstance(at, slice) else stream[:, at - self.block.start]
        if not len(stream):
            return below
        left = self.swap.left(index, cells)
        if left is None or (4 * len(left) > 3 * layer.config.n_heads) or layer.config.attn_softcap:
            written = layer.write(self.swap.z(index, self._attend(layer, stream, at), cells, at))
        else:  # what all heads write if replaced, and what the few that are left change
            written = self.swap.all_written(layer, cells, at)
            if len(left):
                change = self.swap.change(index, self._attend(layer, stream, at, left), cells, at, left)
                W_O = layer.o.weight.unflatten(1, (-1, layer.config.d_head))[:, left].flatten(1)
                written = written + change.flatten(-2) @ W_O.T
        return layer.finish(below, written, self.swap.on_mlp(index, cells, at))

    def _attend(
        self, layer: Layer, stream: Tensor, at: At, heads: Tensor | None = None
    ) -> Float[Tensor, "cell query some_head d_head"]:
        """What the heads (all, or some) compute, with the keys and values that stand before and after those that changed."""
        index, block, base = layer.index, self.block, self.base
        shared = layer.config.n_heads // layer.config.n_kv_heads
        kv_heads = None if heads is None else heads // shared  # one for each head: what they share is copied
        pick, pick_kv = slice(None) if heads is None else heads, slice(None) if heads is None else kv_heads
        old = bisect_right(block.entry, 2 * index - 2, hi=len(stream))
        if (len(stream) - old) * (block.width - block.stop) < FEW:
            old = len(stream)  # products of their own would cost the young ones more than they save
        frame = self.frame if isinstance(at, slice) else self._asks(at - block.start)
        everyone, before = slice(0, len(stream)), self.engine.offset
        k, v = (
            self._base(x[:, :, pick_kv], everyone, slice(0, before + block.width))
            for x in self.engine.behind(index, base.k[index], base.v[index])
        )
        # where all ask anew there is one part, and nothing of the base run's queries is left
        q = self._base(base.q[index][:, :, pick], everyone, at if old < len(stream) else slice(0, 0))
        for cells, part in ((slice(0, old), self.from_start), (slice(old, len(stream)), self.span)):
            if cells.stop == cells.start:
                continue
            width = part.stop - part.start
            x = layer.norm1(stream[cells, :width])
            keys, values = layer.keys_values(x, kv_heads)
            turn = self.frame.at(slice(0, width))
            k[cells, before + part.start : before + part.stop] = layer.turned(keys, turn)
            v[cells, before + part.start : before + part.stop] = values
            asks = slice(0, width) if isinstance(at, slice) else (at < part.stop).nonzero()[:, 0]
            places = asks if isinstance(at, slice) else at[asks] - part.start
            fresh = layer.turned(layer.queries(x[:, places], heads), self._asks(places))
            if old == len(stream):
                q = fresh
            else:
                q[cells, asks] = fresh
        return layer.attend(q, k, v, frame)

    def _asks(self, places: At) -> Frame:
        """The frame of some queries, by their places from `start` on; frames lie where the tokens are."""
        return self.frame.at(places if isinstance(places, slice) else places.to(self.engine.columns.device))


class Swap:
    """Puts reference values in place of activations, for the cells of a block."""

    def __init__(self, block: Block, reference: Reference):
        self.block, self.reference = block, reference
        here = slice(block.start, block.width)
        self.everywhere = bool(block.where[:, here].all())
        self.touched = {
            "z": block.replaced.z.any(-1),
            "mlp_out": block.replaced.mlp_out,
            "resid_pre": block.replaced.resid_pre,
        }

    def touches(self, kind: str, layer: int, cells: slice) -> bool:
        return bool(self.touched[kind][cells, layer].any())

    def heads_differ(self, layer: int, cells: slice) -> bool:
        """May some heads of this layer be replaced otherwise than in the background?"""
        return self.touches("z", layer, cells) or bool(self.block.background.z[0, layer].any())

    def left(self, layer: int, cells: slice) -> Int[Tensor, " some_head"] | None:
        """The heads of this layer that some of these cells keep, if they replace the others everywhere; else None."""
        return (~self.block.replaced.z[cells, layer]).any(0).nonzero()[:, 0] if self.everywhere else None

    def change(self, layer: int, z: Tensor, cells: slice, at: At, heads: Tensor) -> Tensor:
        """What `heads`, where a cell keeps them, compute other than the reference: `[cell, pos, some_head, d_head]`."""
        kept = ~self.block.replaced.z[cells, layer][:, None, heads, None]
        return torch.where(kept, z - self._values("z", layer, cells, at)[:, :, heads], 0)

    def z(self, layer: int, z: Tensor, cells: slice, at: At) -> Float[Tensor, "cell pos head d_head"]:
        if not self.touches("z", layer, cells):
            return z
        where = self.block.where[cells][:, at, None] & self.block.replaced.z[cells, layer][:, None]
        return torch.where(where[..., None], self._values("z", layer, cells, at), z)

    def stream(self, kind: str, layer: int, x: Tensor, cells: slice, at: At) -> Float[Tensor, "cell pos d_model"]:
        if not self.touches(kind, layer, cells):
            return x
        where = self.block.where[cells][:, at] & self.touched[kind][cells, layer][:, None]
        return torch.where(where[..., None], self._values(kind, layer, cells, at), x)

    def on_mlp(self, layer: int, cells: slice, at: At):
        """What a layer calls at its sites."""

        def touch(kind: str, x: Tensor) -> Tensor:
            return self.stream(kind, layer, x, cells, at) if kind == "mlp_out" else x

        return touch

    def behind(self, kind: str, layer: int, cells: slice, at: At, base: Trace) -> Tensor:
        """The MLP's output in the base run, with what the background replaces."""
        x = base.mlp_out[layer][:, at].index_select(0, self.block.row[cells])
        if not bool(self.block.background.mlp_out[0, layer]):
            return x
        where = self.block.behind[cells][:, at]
        return torch.where(where[..., None], self._values(kind, layer, cells, at), x)

    def written(self, layer: Layer, cells: slice, at: At, base: Trace) -> Float[Tensor, "cell pos d_model"]:
        """What the heads write in cells that join here: one head's change where it is one, or all of it."""
        index, block = layer.index, self.block
        old = base.z[index][:, at].index_select(0, block.row[cells])
        new = self.z(index, old, cells, at)
        differs = block.replaced.z[cells, index] ^ block.background.z[:, index]
        alone = not bool(block.background.z[0, index].any()) or torch.equal(block.where[cells], block.behind[cells])
        if not alone or bool((differs.sum(-1) > 1).any()):
            return layer.write(new)
        if bool(block.background.z[0, index].any()):
            behind = block.behind[cells][:, at, None] & block.background.z[:, index][:, None]
            old = torch.where(behind[..., None], self._values("z", index, cells, at), old)
        written = base.written[index][:, at].index_select(0, block.row[cells])
        d_head = layer.config.d_head
        for head in differs.any(0).nonzero()[:, 0].tolist():
            some = differs[:, head].nonzero()[:, 0]
            change = new[some][:, :, head] - old[some][:, :, head]
            written[some] += change @ layer.o.weight[:, head * d_head : (head + 1) * d_head].T
        return written

    def all_written(self, layer: Layer, cells: slice, at: At) -> Float[Tensor, "cell pos d_model"]:
        """What a layer adds to the stream when all of its heads are replaced."""
        return self._rows(self.reference.written(layer), cells, at)

    def _values(self, kind: str, layer: int, cells: slice, at: At) -> Tensor:
        return self._rows(getattr(self.reference, kind)[layer], cells, at)

    def _rows(self, values: Tensor, cells: slice, at: At) -> Tensor:
        """What the reference has for these cells at these positions."""
        return values.to(self.block.values.device)[:, at].index_select(0, self.block.values[cells])
