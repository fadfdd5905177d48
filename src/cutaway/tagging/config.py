"""What a tagger is made of and how it is trained. This file imports nothing heavy, so that the command line can show the
options at once.

Model, loss and dropout are by default those of Chen, Zhuo & Wang 2019 (arXiv 1902.10909, §3.2, §4.2). Their training (`PAPER`:
Adam at 5e-5, batches of 128) is for an encoder of 110 M parameters; the default is for one of 22 M, which wants a higher rate and
more steps, and for layers that begin from nothing a higher one still. It was chosen on the dev set of ATIS.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cutaway.core.errors import CutawayError
from cutaway.core.training.options import Training

TRAINING = Training(epochs=12, batch=32, lr=2e-4, warmup=0.1, patience=5)


@dataclass(frozen=True)
class Config:
    """A tagger and its training."""

    inputs: tuple[str, ...] = ("encoder",)
    """What is known of each word (`cutaway tagging parts`); several stand side by side."""
    context: str = "none"
    """What the sentence adds to its words."""
    decoder: str = "softmax"
    """How that becomes spans."""
    intents: Literal["label", "set", "off"] = "label"
    """Several intents of a sentence (a#b) as one label of their own, as a set, or no intents at all."""
    slot_weight: float = 1.0
    """How much the loss of the spans counts beside that of the intent; 0: no spans."""
    slot_loss: Literal["sum", "mean"] = "sum"
    """The loss of a sentence's spans: the sum over its words, as the paper has it, or their mean."""
    dropout: float = 0.1
    """Share of features dropped in training, before the context and before the intent."""
    adversarial: float = 0.0
    """Size of the change of a word's features in adversarial training; 0: none."""
    fresh_lr: float = 5.0
    """How many times as fast as pretrained weights all others learn."""
    dev_share: float = 0.1
    """Share of the training sentences that is set aside as a dev set where the data have none."""
    rejected: float = 0.01
    """Share of the dev set's sentences that a threshold on the intent may reject, where no out-of-domain ones are given."""
    start: str = ""
    """A run to begin from instead of from nothing: its inputs, and whatever else fits, are taken over."""
    training: Training = TRAINING
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the parts, as part.option."""

    def check(self) -> None:
        """Raises `CutawayError` for a number out of its range, a part that does not exist, or options that no part has."""
        for name in ("dropout", "dev_share", "rejected"):
            if not 0 <= getattr(self, name) < 1:
                raise CutawayError(f"{name} is {getattr(self, name)}: give a share from 0 to below 1")
        if self.slot_weight < 0 or self.fresh_lr <= 0:
            raise CutawayError(
                f"slot_weight is {self.slot_weight} and fresh_lr {self.fresh_lr}: give 0 or more, and more than 0"
            )
        if self.adversarial < 0:
            raise CutawayError(f"adversarial is {self.adversarial}: give 0 or more")
        if not self.slot_weight and self.intents == "off":
            raise CutawayError("slot_weight is 0 and intents are off: nothing is left to learn")
        if not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise CutawayError(f"inputs are {', '.join(self.inputs) or 'none'}: give one or several different ones")
        self.training.check()


PAPER = Config(fresh_lr=1.0, training=Training(epochs=30, batch=128, lr=5e-5, weight_decay=0.0))
"""As in the paper, for `--option encoder.name=bert-base`; it chose its epochs on dev from 1, 5, 10, 20, 30 and 40."""
