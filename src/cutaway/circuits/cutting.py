"""A model with edges cut: every receiver reads the stream as it would be, had some senders written something else.

Where an edge is cut, the receiver reads what the sender wrote in the corrupted run (Conmy et al. 2023, arXiv 2304.14997, §3);
what the sender itself puts out still depends on what it reads. Any set of edges may be cut, which a `Variant` cannot say.

The stream is kept as the sum that it is: a receiver reads the real stream plus Σ over its cut edges of (corrupted − real).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cutaway.circuits.edge_attribution import read
from cutaway.circuits.gradients import EMBEDDING, Contrast
from cutaway.circuits.graph import CHANNELS, Edge, receivers, senders
from cutaway.core.errors import CutawayError
from cutaway.decoder import Site
from cutaway.decoder.model import Frame, Layer


@dataclass(frozen=True)
class Uncut:
    """What a run without cuts leaves below each layer, to start from: the stream, and what each sender so far lacks."""

    resid_pre: tuple[Float[Tensor, "batch pos d_model"], ...]
    lacking: tuple[Float[Tensor, "_ batch pos d_model"], ...]
    """Layer by layer: corrupted − real, of every sender below the layer."""


class Cutting:
    """Runs the base prompts of a contrast with any edges cut; the corrupted values are those of its other prompts.

    Raises:
        CutawayError: a model with a second norm on what attention writes, where the writes of heads do not add up.
    """

    def __init__(self, contrast: Contrast):
        self.contrast, self.model, config = contrast, contrast.model, contrast.model.config
        if config.post_norms:
            raise CutawayError(
                f"edges of {config.family} models do not add up, for their second norms: search over heads"
            )
        self.row = {receiver: i for i, receiver in enumerate(receivers(config))}
        self.column = {sender: i for i, sender in enumerate(senders(config))}
        kinds = [Site(layer, kind) for layer in range(config.n_layers) for kind in ("z", "mlp_out")]
        pair = contrast.pair([EMBEDDING, *kinds])
        self.corrupted = {site: there for site, (_, there) in pair.items()}
        self.embedding = pair[EMBEDDING][0]
        self.uncut = Uncut((), ())
        self.uncut, self.clean = self._run(torch.zeros(len(self.row), len(self.column), dtype=torch.bool), 0)

    def score(self, cut: Iterable[Edge]) -> Float[Tensor, "batch step"]:
        """The metric with these edges cut; what lies below the lowest receiver is not run again."""
        mask, lowest = torch.zeros(len(self.row), len(self.column), dtype=torch.bool), self.model.config.n_layers
        for edge in cut:
            mask[self.row[edge.receiver], self.column[edge.sender]] = True
            lowest = min(lowest, edge.receiver.layer if isinstance(edge.receiver, Site) else lowest)
        return self._run(mask, lowest)[1]

    @torch.no_grad()
    def _run(self, mask: Bool[Tensor, "receiver sender"], start: int) -> tuple[Uncut, Tensor]:
        """From layer `start` up: what is left below each layer, and the metric."""
        mask, frame = mask.to(self.model.device, self.model.dtype), self._frame()
        resids, lackings = list(self.uncut.resid_pre[:start]), list(self.uncut.lacking[:start])
        if start < len(self.uncut.resid_pre):
            resid, lacking = self.uncut.resid_pre[start], self.uncut.lacking[start]
        else:
            resid, lacking = self.embedding, (self.corrupted[EMBEDDING] - self.embedding)[None]
        for layer in self.model.layers[start:]:
            resids.append(resid)
            lackings.append(lacking)
            resid, lacking = self._layer(layer, resid, lacking, mask, frame)
        resids.append(resid)
        lackings.append(lacking)
        seen = resid + _cut(mask[-1:], lacking)[0]
        logits = self.model.logits(seen, self.contrast.base.steps, self.contrast.score.columns)
        score = self.contrast.score.measure(self.contrast.metric, logits).float().cpu()
        return Uncut(tuple(resids), tuple(lackings)), score

    def _layer(self, layer: Layer, resid: Tensor, lacking: Tensor, mask: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
        """One layer, each of its receivers reading a stream of its own."""
        past, inputs = self.contrast.past, []
        for channel in CHANNELS:
            rows = mask[[i for receiver, i in self.row.items() if _is(receiver, layer.index, channel)]]
            inputs.append(read(layer, channel, resid + _cut(rows, lacking)).movedim(0, -2))
        q, k, v = inputs
        z = layer.mix(layer.pattern(*layer.rotated(q, k, frame), frame, past), v, past)
        weight = layer.o.weight.unflatten(1, z.shape[2:])
        heads = torch.einsum("bphe,dhe->hbpd", self.corrupted[Site(layer.index, "z")] - z, weight)
        mid, lacking_mid = resid + layer.write(z), torch.cat([lacking, heads])
        row = mask[self.row[Site(layer.index, "mlp_out")]][None]
        stream, below = (resid, lacking) if layer.config.parallel else (mid, lacking_mid)
        mlp_out = layer.mlp(stream + _cut(row, below)[0])
        short = self.corrupted[Site(layer.index, "mlp_out")] - mlp_out
        return mid + mlp_out, torch.cat([lacking_mid, short[None]])

    def _frame(self) -> Frame:
        tokens, past = self.contrast.base.tokens, self.contrast.past
        before = past.length if past else 0
        positions = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        return self.model.frame(positions[None], before=before)


def _is(receiver, layer: int, channel: str) -> bool:
    return isinstance(receiver, Site) and (receiver.layer, receiver.kind) == (layer, channel)


def _cut(rows: Float[Tensor, "receiver sender"], lacking: Tensor) -> Float[Tensor, "receiver batch pos d_model"]:
    """What the receivers read too much or too little for their cut edges; senders above `lacking` are not there yet."""
    return torch.einsum("rs,sbpd->rbpd", rows[:, : len(lacking)], lacking)
