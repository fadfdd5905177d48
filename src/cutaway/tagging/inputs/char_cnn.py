"""Characters through a convolution: filters slide over the spelling of a word, and the largest answer of each is its feature.

Ma & Hovy (2016, §2.1, figure 1): vectors of 30, dropout before the convolution, 30 filters of width 3. Chiu & Nichols (2016, §2.2)
are dim 25, kinds 4, filters 53.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence
from cutaway.tagging.inputs.characters import CharacterOptions, Characters
from cutaway.tagging.parts import Part, inside

NAME = "char_cnn"


@dataclass(frozen=True)
class Options(CharacterOptions):
    """Options of the convolution."""

    filters: int = 30
    """Features of a word."""
    window: int = 3
    """Characters that a filter sees at once."""


class CharCnn(Characters):
    name = NAME

    def __init__(self, sentences: Sequence[Sentence] | None, options: Options, known: dict[str, Any] | None = None):
        super().__init__(sentences, options, known)
        if options.filters < 1 or options.window < 1:
            raise CutawayError(f"{NAME}: {options.filters} filters of width {options.window}: give at least 1 of each")
        self.width, self.window = options.filters, options.window
        self.filters = nn.Conv1d(options.dim + options.kinds, options.filters, options.window)

    def read(
        self, characters: Float[Tensor, "distinct char dim"], lengths: Int[Tensor, " distinct"]
    ) -> Float[Tensor, "distinct width"]:
        around = ((self.window - 1) // 2, self.window // 2)
        answers = self.filters(nn.functional.pad(characters.transpose(1, 2), around))
        beyond = ~inside(lengths, characters.shape[1])
        return answers.masked_fill(beyond[:, None], -torch.inf).amax(2)


INPUT = Part(
    name=NAME,
    build=CharCnn,
    about="filters over the spelling of a word",
    citation="Ma & Hovy 2016, §2.1; Chiu & Nichols 2016, §2.2; dos Santos & Zadrozny 2014",
    options=Options,
)
