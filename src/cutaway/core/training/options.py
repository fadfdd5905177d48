"""How to train. This file imports nothing heavy, so that the command line can show the options at once."""

from dataclasses import dataclass
from typing import Literal

from cutaway.core.errors import CutawayError


@dataclass(frozen=True)
class Training:
    """Options of the loop. A step's batch is `batch` samples on each rank, `accumulate` times."""

    epochs: int = 10
    """Times that every sample is seen."""
    batch: int = 32
    """Samples in flight on each rank."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step."""
    lr: float = 5e-5
    """Learning rate at the top of the schedule."""
    weight_decay: float = 0.01
    """Of AdamW; biases and norms are never decayed."""
    warmup: float = 0.0
    """Share of all steps in which the learning rate rises."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after that: linear, cosine or constant."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 leaves it as it is."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision: no, bf16 or fp16."""
    patience: int = 0
    """Epochs without a better score on the dev set before training ends; 0: never."""
    checkpoint_every: int = 0
    """Steps between two checkpoints, besides that at the end of every epoch; 0: only there."""
    seed: int = 0

    def check(self) -> None:
        """Raises `CutawayError` for a number out of its range."""
        for name in ("epochs", "batch", "accumulate"):
            if getattr(self, name) < 1:
                raise CutawayError(f"{name} is {getattr(self, name)}: give at least 1")
        for name in ("weight_decay", "clip", "patience", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise CutawayError(f"{name} is {getattr(self, name)}: give 0 or more")
        if self.lr <= 0:
            raise CutawayError(f"lr is {self.lr}: give a learning rate above 0")
        if not 0 <= self.warmup < 1:
            raise CutawayError(f"warmup is {self.warmup}: give a share of the steps, from 0 to below 1")
