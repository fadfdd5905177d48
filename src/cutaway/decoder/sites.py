"""A site is a named place inside the network; this file is the only one that reads and prints their names."""

import difflib
import re
from dataclasses import dataclass

from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder.config import DecoderConfig

STREAM_KINDS = ("resid_pre", "attn_out", "mlp_out", "resid_post")
"""Sites of shape `[batch, pos, d_model]`."""
HEAD_KINDS = ("q", "k", "v", "z", "pattern")
"""Sites with a head axis: `[batch, pos, head, d_head]`, and `[batch, head, query, key]` for `pattern`."""
KINDS = ("resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "mlp_out", "resid_post")
"""In the order of the computation within a layer."""


@dataclass(frozen=True)
class Site:
    """(layer, kind, head). `head=None` on a kind with heads means all of them.

    `q` and `k` are taken before the rotation (after the norm, where a family has one); heads of `k` and `v` count
    key-value heads, which several query heads share under grouped-query attention.
    Written `9.9` (the z of head 9.9), `m3` (mlp_out), `a3` (attn_out), `3.resid_pre`, `9.9.q`, `9.pattern`.
    """

    layer: int
    kind: str
    head: int | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            near = difflib.get_close_matches(self.kind, KINDS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise CutawayError(f"no site of kind {self.kind!r}: allowed are {', '.join(KINDS)}{hint}")
        if self.head is not None and self.kind in STREAM_KINDS:
            raise CutawayError(f"{self.kind} has no heads: write {self.layer}.{self.kind} without a head")

    def __str__(self) -> str:
        if self.kind == "z" and self.head is not None:
            return f"{self.layer}.{self.head}"
        if self.kind == "mlp_out":
            return f"m{self.layer}"
        if self.kind == "attn_out":
            return f"a{self.layer}"
        return f"{self.layer}.{self.kind}" if self.head is None else f"{self.layer}.{self.head}.{self.kind}"

    def without_head(self) -> "Site":
        return Site(self.layer, self.kind)

    def of(self, x: Tensor) -> Tensor:
        """A view of this site in `x`, the activation of the whole kind: one head of it, or all."""
        if self.head is None:
            return x
        return x.select(1 if self.kind == "pattern" else 2, self.head)

    def check(self, config: DecoderConfig) -> "Site":
        """Returns itself; raises `CutawayError` if the model of `config` has no such layer or head."""
        heads = config.n_kv_heads if self.kind in ("k", "v") else config.n_heads
        if not 0 <= self.layer < config.n_layers:
            raise CutawayError(f"site {self}: the model has layers 0 to {config.n_layers - 1}")
        if self.head is not None and not 0 <= self.head < heads:
            raise CutawayError(f"site {self}: {self.kind} has heads 0 to {heads - 1}")
        return self


def parse_site(text: str) -> Site:
    """Reads what `str(site)` prints.

    Raises:
        CutawayError: the text is not of that form.
    """
    if match := re.fullmatch(r"([am])(\d+)", text):
        return Site(int(match[2]), "attn_out" if match[1] == "a" else "mlp_out")
    if match := re.fullmatch(r"(\d+)\.(\d+)(?:\.([a-z_]+))?", text):
        return Site(int(match[1]), match[3] or "z", int(match[2]))
    if match := re.fullmatch(r"(\d+)\.([a-z_]+)", text):
        return Site(int(match[1]), match[2])
    raise CutawayError(
        f"cannot read site {text!r}: write 9.9 for a head, m3 for an MLP, 3.resid_pre or 9.9.q otherwise"
    )


def site_shapes(config: DecoderConfig) -> dict[str, str]:
    """For every kind of site, its shape in the axis names of `docs/architecture.md`, with this model's sizes."""
    stream = f"[batch, pos, d_model={config.d_model}]"
    kv = f"[batch, pos, kv_head={config.n_kv_heads}, d_head={config.d_head}]"
    shapes = dict.fromkeys(STREAM_KINDS, stream)
    shapes["q"] = shapes["z"] = f"[batch, pos, head={config.n_heads}, d_head={config.d_head}]"
    shapes["k"] = shapes["v"] = kv
    shapes["pattern"] = f"[batch, head={config.n_heads}, query, key]"
    return {kind: shapes[kind] for kind in KINDS}
