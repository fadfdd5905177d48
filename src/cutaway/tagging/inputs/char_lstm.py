"""Characters through a bidirectional LSTM: a word is what the forward one holds after its last character, which knows its suffix
best, beside what the backward one holds after its first (Lample et al. 2016, §4.1, figure 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence
from cutaway.tagging.inputs.characters import CharacterOptions, Characters
from cutaway.tagging.parts import Part

NAME = "char_lstm"


@dataclass(frozen=True)
class Options(CharacterOptions):
    """Options of the two LSTMs."""

    dim: int = 25
    hidden: int = 25
    """Width of each direction; a word has twice as many features."""
    dropout: float = 0.0
    """Of the characters' vectors, in training; Lample et al. have none there."""


class CharLstm(Characters):
    name = NAME

    def __init__(self, sentences: Sequence[Sentence] | None, options: Options, known: dict[str, Any] | None = None):
        super().__init__(sentences, options, known)
        if options.hidden < 1:
            raise CutawayError(f"{NAME}: hidden is {options.hidden}: give at least 1")
        self.width = 2 * options.hidden
        self.lstm = nn.LSTM(options.dim + options.kinds, options.hidden, batch_first=True, bidirectional=True)

    def read(
        self, characters: Float[Tensor, "distinct char dim"], lengths: Int[Tensor, " distinct"]
    ) -> Float[Tensor, "distinct width"]:
        packed = pack_padded_sequence(characters, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        return last.transpose(0, 1).flatten(1)


INPUT = Part(
    name=NAME,
    build=CharLstm,
    about="an LSTM over the spelling of a word, from both ends",
    citation="Lample et al. 2016, §4.1; Ling et al. 2015",
    options=Options,
)
