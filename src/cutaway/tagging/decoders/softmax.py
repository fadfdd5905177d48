"""A softmax over tags for each word by itself. Learned word by word; decoded, where `constrained`, as the likeliest sequence that
the tag scheme allows, with confidences under the same constraint."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from cutaway.tagging.parts import Features, Lengths, Part
from cutaway.tagging.word_tags import TagDecoder


@dataclass(frozen=True)
class Options:
    """Of the softmax decoder."""

    scheme: Literal["IOB2", "BIOES"] = "IOB2"
    """How spans are written as tags inside."""
    constrained: bool = True
    """Decode only what the scheme allows; otherwise each word's likeliest tag, read as conlleval reads it."""


class Softmax(TagDecoder):
    """Its chain has nothing to say but what the scheme forbids."""

    def __init__(self, width: int, labels: Sequence[str], options: Options):
        super().__init__(width, labels, options.scheme, constrained=options.constrained)
        for parameter in self.chain.parameters():
            torch.nn.init.zeros_(parameter)
            parameter.requires_grad_(False)

    def losses(self, features: Features, lengths: Lengths, targets: dict[str, Tensor]) -> Float[Tensor, " batch"]:
        scores, tags = self.project(features), targets["target.tags"]
        each = cross_entropy(scores.flatten(0, 1), tags.flatten(), reduction="none").view_as(tags)
        real = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]
        return each.masked_fill(~real, 0).sum(1)


DECODER = Part(
    name="softmax",
    build=Softmax,
    about="a tag for each word by itself; only sequences that the scheme allows",
    citation="Chen, Zhuo & Wang 2019, BERT for joint intent classification and slot filling (arXiv 1902.10909), §3.2",
    options=Options,
)
