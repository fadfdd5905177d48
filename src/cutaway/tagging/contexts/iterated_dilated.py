"""Iterated dilated convolutions: a block of convolutions that skip ever more words, applied several times with the same weights.

Strubell et al. (2017, §4): a first layer i = D₁(x); then blocks B(·) of layers D₁, D₂, D₄ … and D₁ again, with ReLU; the output is
B(B(… i)). A block of `depth` 3 sees 2 · (1 + 2 + 4 + 1) + 1 words, and each further turn as many more, with no more weights.
The paper also scores what comes out of each turn and averages the losses; here only the last one is scored.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.parts import Context, Features, InContext, Lengths, Part, inside


@dataclass(frozen=True)
class Options:
    """Options of the blocks."""

    filters: int = 300
    """Features of a layer."""
    depth: int = 3
    """Layers of a block whose dilation doubles: 3 means 1, 2, 4, and then 1 again."""
    turns: int = 4
    """How often the block is applied."""
    dropout: float = 0.35
    """Of what goes in and of what each turn gives, in training."""


class IteratedDilated(Context):
    """Raises `CutawayError` for no filters, no layers or no turns."""

    def __init__(self, width: int, options: Options):
        super().__init__()
        if options.filters < 1 or options.depth < 1 or options.turns < 1:
            raise CutawayError(
                f"iterated_dilated: filters {options.filters}, depth {options.depth}, turns {options.turns}: "
                "give at least 1 of each"
            )
        self.width, self.turns = options.filters, options.turns
        self.first = _dilated(width, options.filters, 1)
        dilations = [2**n for n in range(options.depth)] + [1]
        self.block = nn.ModuleList(_dilated(options.filters, options.filters, dilation) for dilation in dilations)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, features: Features, lengths: Lengths) -> InContext:
        real = inside(lengths, features.shape[1])[:, None]
        x = self.first(self.dropout(features).transpose(1, 2) * real).relu() * real
        for _ in range(self.turns):
            x = self.dropout(self.once(x, real))
        return x.transpose(1, 2)

    def once(
        self, x: Float[Tensor, "batch filter word"], real: Bool[Tensor, "batch 1 word"]
    ) -> Float[Tensor, "batch filter word"]:
        """The block; zero behind a sentence's end after each layer."""
        for layer in self.block:
            x = layer(x).relu() * real
        return x


def _dilated(width: int, filters: int, dilation: int) -> nn.Conv1d:
    """Begins as the identity where it can (Yu & Koltun 2016, §3): deep stacks start gently."""
    layer = nn.Conv1d(width, filters, 3, padding=dilation, dilation=dilation)
    if width == filters:
        nn.init.normal_(layer.weight, std=0.01)
        layer.weight.data[:, :, 1] += nn.init.eye_(layer.weight.new_empty(filters, filters))
        nn.init.zeros_(layer.get_parameter("bias"))
    return layer


CONTEXT = Part(
    name="iterated_dilated",
    build=IteratedDilated,
    about="a block of dilated convolutions, applied several times",
    citation="Strubell, Verga, Belanger & McCallum 2017, §4",
    options=Options,
)
