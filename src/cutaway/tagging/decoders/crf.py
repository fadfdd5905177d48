"""A linear-chain CRF over the tags of words, never over pieces of words or padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from cutaway.tagging.parts import Features, Lengths, Part
from cutaway.tagging.word_tags import TagDecoder


@dataclass(frozen=True)
class Options:
    """Of the CRF."""

    scheme: Literal["IOB2", "BIOES"] = "IOB2"
    """How spans are written as tags inside."""


class ChainCRF(TagDecoder):
    """Transitions are learned; what the scheme forbids has no probability, in training neither."""

    def __init__(self, width: int, labels: Sequence[str], options: Options):
        super().__init__(width, labels, options.scheme)

    def losses(self, features: Features, lengths: Lengths, targets: dict[str, Tensor]) -> Float[Tensor, " batch"]:
        return self.chain(self.project(features), targets["target.tags"], lengths)


DECODER = Part(
    name="crf",
    build=ChainCRF,
    about="a conditional random field over words: the likeliest sequence as a whole",
    citation="Lafferty, McCallum & Pereira 2001, Conditional random fields (ICML); Lample et al. 2016 (arXiv 1603.01360)",
    options=Options,
)
