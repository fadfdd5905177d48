"""What a grid or a search will hold in memory, known before it starts, and how many tokens may be in flight in what is left.

Counted from the sizes of the model, in the precision of its weights. The weights themselves are not counted.
"""

from dataclasses import dataclass

import torch

from cutaway.circuits.engine import TOKEN_BUDGET
from cutaway.core.errors import CutawayError
from cutaway.decoder.config import DecoderConfig

GIB = 2**30


@dataclass(frozen=True)
class Memory:
    """`kept` holds the runs that cells resume from and the values that replace; `flying` what is computed at once."""

    kept: int
    """Bytes."""
    per_token: int
    """Bytes for a token in flight."""
    tokens: int
    """Tokens in flight at once: the engine's budget."""

    @property
    def flying(self) -> int:
        return self.per_token * self.tokens

    def __str__(self) -> str:
        total, kept, flying = (x / GIB for x in (self.kept + self.flying, self.kept, self.flying))
        return f"{total:.2f} GiB above the model: {kept:.2f} for kept runs, {flying:.2f} for {self.tokens:,} tokens in flight"


def plan(config: DecoderConfig, tokens: int, gib: float | int, dtype: torch.dtype = torch.float32) -> Memory:
    """How to stay within `gib` with runs of `tokens` tokens (prompts × their length) to resume from.

    More tokens in flight than `TOKEN_BUDGET` are never used, because they make nothing faster.

    Raises:
        CutawayError: the kept runs alone, or with a hundred tokens in flight, need more.
    """
    size = torch.finfo(dtype).bits // 8
    kept, per_token = size * _kept(config) * tokens, size * _flying(config)
    fit = int((gib * GIB - kept) // per_token)
    if fit < 100:
        needed = (kept + 100 * per_token) / GIB
        raise CutawayError(
            f"{gib:g} GiB do not hold the runs of {tokens:,} tokens in {config.n_layers} layers: "
            f"give at least --memory {needed + 0.005:.2f}, or fewer prompts"
        )
    return Memory(kept, per_token, min(fit, TOKEN_BUDGET))


def _kept(c: DecoderConfig) -> int:
    """Numbers kept for a token: three runs that cells resume from (the model's, a circuit's, the last one's) and the values."""
    heads, kv = c.n_heads * c.d_head, c.n_kv_heads * c.d_head
    trace = 3 * c.d_model + 2 * heads + 2 * kv
    reference = 3 * c.d_model + heads
    return c.n_layers * (3 * trace + reference)


def _flying(c: DecoderConfig) -> int:
    """Numbers for a token in a layer: its stream several times over, and the wider of attention and MLP."""
    attention = 3 * c.n_heads * c.d_head + 4 * c.n_kv_heads * c.d_head
    return 6 * c.d_model + max(attention, (4 if c.gated else 2) * c.d_mlp)
