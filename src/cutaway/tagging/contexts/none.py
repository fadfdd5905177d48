"""No context: words are labelled from their own features (which, out of a pretrained encoder, know their sentence)."""

from dataclasses import dataclass

from cutaway.tagging.parts import Context, Features, Lengths, Part


@dataclass(frozen=True)
class Options:
    """There are none."""


class NoContext(Context):
    """Gives what it gets."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, features: Features, lengths: Lengths) -> Features:
        return features


CONTEXT = Part(
    name="none",
    build=lambda width, options: NoContext(width),
    about="each word by itself; enough where the input is a pretrained encoder",
    citation="Chen, Zhuo & Wang 2019, BERT for joint intent classification and slot filling (arXiv 1902.10909), §3.2",
    options=Options,
)
