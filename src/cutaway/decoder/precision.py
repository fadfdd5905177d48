"""What a lower precision costs: the logits beside those of the same checkpoint in float32."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cutaway.decoder.load import load
from cutaway.decoder.model import Decoder


@dataclass(frozen=True)
class Precision:
    """Differences of logits, over the whole vocabulary at the scored positions; NaN if float32 did not fit in memory."""

    dtype: str
    largest: float
    mean: float
    n: int
    """Prompts compared."""
    needed: int
    """Bytes of the weights in float32."""
    free: int
    """Bytes of memory that were free for them."""

    def __str__(self) -> str:
        if not self.n:
            need, free = self.needed / 2**30, self.free / 2**30
            return (
                f"{self.dtype}: not compared with float32, whose weights need {need:.1f} GiB; {free:.1f} GiB are free"
            )
        return (
            f"{self.dtype}: logits differ from float32 by at most {self.largest:.3g}, on average {self.mean:.2g} "
            f"({self.n} prompts, whole vocabulary)"
        )


def compare_with_float32(
    model: Decoder, tokens: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"], scored: Int[Tensor, "batch step"]
) -> Precision:
    """Runs the prompts on `model` and on the same checkpoint in float32, on the CPU, if memory has room for both."""
    dtype, needed = str(model.dtype).removeprefix("torch."), 4 * sum(weight.numel() for weight in model.parameters())
    free = free_memory()
    if 1.5 * needed > free:  # the run itself needs room as well
        return Precision(dtype, float("nan"), float("nan"), 0, needed, free)
    with torch.inference_mode():
        ours = model.run(tokens, mask=mask, scored=scored).logits.float().cpu()
        whole = load(model.source)
        theirs = whole.run(tokens.cpu(), mask=mask.cpu(), scored=scored.cpu()).logits
    off = (ours - theirs).abs()
    return Precision(dtype, off.max().item(), off.mean().item(), len(tokens), needed, free)


def free_memory() -> int:
    """Bytes that a process can have without swapping; half of all memory where the system says only that, else 0."""
    try:
        said = Path("/proc/meminfo").read_text()
        return next(int(line.split()[1]) * 1024 for line in said.splitlines() if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):  # Windows
        return 0
