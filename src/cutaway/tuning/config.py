"""How a model is tuned: which, by which method, and how it is trained. This file imports nothing heavy, so that the command line
can show the options at once.

The review (Xu et al. 2023, arXiv 2312.12148, §4) trains every method with rates of its own. Here one rate is the default for all,
a good one for most that leave the model's weights as they are; what each does at others is measured in docs/tuning.md. Whoever
trains the weights themselves (full, last_layers, fish_mask) wants a tenth of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cutaway.core.errors import CutawayError
from cutaway.core.training.options import Training

TRAINING = Training(epochs=10, batch=16, lr=1e-3, warmup=0.06, patience=3)


@dataclass(frozen=True)
class Config:
    """A model, a method, and a training."""

    model: str = "minilm-l6"
    """The pretrained model: a known name, a folder, or owner/name on the hub."""
    method: str = "lora"
    """What learns (`cutaway tuning methods`)."""
    weights: Literal["float32", "bfloat16", "int8", "int4"] = "float32"
    """How the weights that do not learn are held in memory; the last two want bitsandbytes."""
    recompute: bool = False
    """Activations are computed again in the backward pass instead of being kept: less memory, a third more time."""
    pool: Literal["auto", "first", "mean", "last"] = "auto"
    """What stands for a text where labels or scores are learned: its first token, the mean of all, its last token; auto: what the
    model was trained with, first for other encoders, last for decoders."""
    length: int = 128
    """Pieces that are read of a text at most, answer included."""
    stop: bool = True
    """The end of an answer that is written is learned too, so that the model stops there."""
    dropout: float = 0.1
    """Share of features dropped before a new head, in training."""
    head_lr: float = 1.0
    """How many times as fast as the method a new head learns."""
    dev_share: float = 0.1
    """Share of the training examples that is set aside as a dev set where the data have none."""
    limit: int = 0
    """Training examples to take at most, drawn at random, the same for every seed; 0: all."""
    training: Training = TRAINING
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the method, as method.option."""

    def check(self) -> None:
        """Raises `CutawayError` for a number out of its range, or options of another method."""
        if self.length < 4:
            raise CutawayError(f"length is {self.length}: give at least 4 pieces")
        if self.limit < 0:
            raise CutawayError(f"limit is {self.limit}: give a number of examples, or 0 for all")
        if not 0 <= self.dropout < 1:
            raise CutawayError(f"dropout is {self.dropout}: give a share from 0 to below 1")
        if not 0 < self.dev_share < 1:
            raise CutawayError(f"dev_share is {self.dev_share}: give a share between 0 and 1")
        if self.head_lr <= 0:
            raise CutawayError(f"head_lr is {self.head_lr}: give more than 0")
        if strange := [name for name in self.options if not name.startswith(f"{self.method}.")]:
            raise CutawayError(
                f"option {strange[0]!r} is not one of the method {self.method!r}: write {self.method}.{strange[0].split('.')[-1]}"
            )
        self.training.check()

    def of_method(self) -> dict[str, Any]:
        """The method's options by their own names."""
        return {name.removeprefix(f"{self.method}."): x for name, x in self.options.items()}
