"""Convolutions over the words around each one, and perhaps what is strongest anywhere in the sentence.

The window approach of Collobert et al. (2011, §3.3.1) is one layer of window 5. With `sentence`, the largest answer of every filter
over the whole sentence stands beside those at the word, as in their sentence approach (§3.3.2, max over time) and, with local and
global features side by side, in Wu et al. (2015).
"""

from dataclasses import dataclass

import torch
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.parts import Context, Features, InContext, Lengths, Part, inside


@dataclass(frozen=True)
class Options:
    """Options of the convolutions."""

    filters: int = 300
    """Features of a layer."""
    window: int = 5
    """Words that a filter sees: an odd number, as many to the left as to the right."""
    layers: int = 1
    """One on the other; each widens what a word sees by window − 1."""
    sentence: bool = True
    """Do a word's features hold what is strongest in the whole sentence too? They are twice as many then."""
    dropout: float = 0.5
    """Of what goes in and of what each layer gives, in training."""


class Cnn(Context):
    """Raises `CutawayError` for no layers, no filters or an even window."""

    def __init__(self, width: int, options: Options):
        super().__init__()
        if options.filters < 1 or options.layers < 1 or options.window < 1 or options.window % 2 == 0:
            raise CutawayError(
                f"cnn: {options.layers} layers of {options.filters} filters, window {options.window}: give at least 1 of each, "
                "and an odd window"
            )
        widths = [width] + [options.filters] * (options.layers - 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(n, options.filters, options.window, padding=options.window // 2) for n in widths
        )
        self.dropout = nn.Dropout(options.dropout)
        self.sentence = options.sentence
        self.width = options.filters * (1 + options.sentence)

    def forward(self, features: Features, lengths: Lengths) -> InContext:
        real = inside(lengths, features.shape[1])[..., None]
        x = self.dropout(features) * real
        for layer in self.layers:
            # what a filter answers behind the end must not come back through the next layer
            x = self.dropout(layer(x.transpose(1, 2)).transpose(1, 2).relu()) * real
        if self.sentence:
            strongest = x.masked_fill(~real, -torch.inf).amax(1, keepdim=True)
            x = torch.cat([x, strongest.expand_as(x) * real], dim=2)
        return x


CONTEXT = Part(
    name="cnn",
    build=Cnn,
    about="convolutions over the words around each one, and the strongest answer of the sentence",
    citation="Collobert et al. 2011, §3.3; Wu et al. 2015",
    options=Options,
)
