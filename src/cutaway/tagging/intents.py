"""The intent of a sentence, from one vector: one of several labels, or a set of them.

A sentence may have several intents (`flight#airfare`). As *labels*, each combination that training has seen is a label of its own,
as in the published systems; one that it has not seen cannot be found. As a *set*, each intent is decided by itself, and any
combination can be found; the likeliest one is always given, so that no sentence is left without.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from cutaway.tagging.data import Sentence

SEVERAL = "#"
"""Between the intents of a label, as ATIS writes them."""


class Intent(NamedTuple):
    """An intent and how sure the model is of it, from 0 to 1."""

    name: str
    confidence: float


def known_intents(sentences: Sequence[Sentence], mode: str) -> list[str]:
    """What there is to choose from, in order of the alphabet: labels or members of sets; nothing if `off`."""
    if mode == "off":
        return []
    labels = {sentence.intent for sentence in sentences if sentence.intents}
    return sorted(labels if mode == "label" else {name for label in labels for name in label.split(SEVERAL)})


class IntentHead(nn.Module):
    """One linear layer; softmax over labels (`mode` is "label"), or a sigmoid for each member of a set ("set")."""

    def __init__(self, width: int, names: Sequence[str], mode: str, dropout: float):
        super().__init__()
        self.names, self.mode = tuple(names), mode
        self.number = {name: i for i, name in enumerate(names)}
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(width, len(names))

    def forward(self, sentence: Float[Tensor, "batch width"]) -> Float[Tensor, "batch intent"]:
        return self.project(self.dropout(sentence))

    def targets(self, sentences: Sequence[Sentence]) -> dict[str, Tensor]:
        """`target.intent [batch]`, −1 for a sentence that has none; of a set, `[batch, intent]` of 0 and 1, or −1."""
        if self.mode == "label":
            return {"target.intent": torch.tensor([self.number.get(s.intent, -1) for s in sentences])}
        made = torch.zeros(len(sentences), len(self.names))
        for row, sentence in enumerate(sentences):
            if not sentence.intents:
                made[row] = -1
            for name in sentence.intents:
                if name in self.number:
                    made[row, self.number[name]] = 1
        return {"target.intent": made}

    def losses(self, scores: Float[Tensor, "batch intent"], targets: dict[str, Tensor]) -> Float[Tensor, " batch"]:
        """−log p(intent) of each sentence, in nats; of a set the sum over its possible members. 0 for a sentence without."""
        wanted = targets["target.intent"]
        if self.mode == "label":
            return cross_entropy(scores, wanted, ignore_index=-1, reduction="none")
        each = binary_cross_entropy_with_logits(scores, wanted.clamp_min(0), reduction="none").sum(-1)
        return each.masked_fill(wanted[:, 0] < 0, 0)

    def probabilities(self, scores: Float[Tensor, "batch intent"]) -> Float[Tensor, "batch intent"]:
        return scores.softmax(-1) if self.mode == "label" else scores.sigmoid()

    def choose(self, scores: Float[Tensor, "batch intent"]) -> list[tuple[Intent, ...]]:
        """The intents of each sentence, the surest first: the likeliest label, or the members likelier than not, at least one."""
        found = []
        for row in self.probabilities(scores):
            sure, order = row.sort(descending=True)
            n = 1 if self.mode == "label" else max(1, int((sure > 0.5).sum()))
            found.append(
                tuple(Intent(self.names[i], p) for i, p in zip(order[:n].tolist(), sure[:n].tolist(), strict=True))
            )
        return found
