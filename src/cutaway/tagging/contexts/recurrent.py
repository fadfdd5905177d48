"""What recurrent contexts share: layers of cells that read the sentence from both ends, with dropout before and after."""

from dataclasses import dataclass

from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cutaway.core.errors import CutawayError
from cutaway.tagging.parts import Context, Features, InContext, Lengths


@dataclass(frozen=True)
class RecurrentOptions:
    """Options of recurrent contexts."""

    hidden: int = 200
    """Width of each direction; a word has twice as many features."""
    layers: int = 1
    """One on the other."""
    dropout: float = 0.5
    """Of what goes in, between layers, and of what comes out, in training."""


class Recurrent(Context):
    """`cell` is nn.LSTM or nn.GRU. Raises `CutawayError` for no layers or no width."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], width: int, options: RecurrentOptions):
        super().__init__()
        if options.hidden < 1 or options.layers < 1:
            raise CutawayError(f"{options.layers} recurrent layers of width {options.hidden}: give at least 1 of each")
        between = options.dropout if options.layers > 1 else 0.0
        self.cells = cell(width, options.hidden, options.layers, batch_first=True, bidirectional=True, dropout=between)
        self.dropout = nn.Dropout(options.dropout)
        self.width = 2 * options.hidden

    def forward(self, features: Features, lengths: Lengths) -> InContext:
        words = features.shape[1]
        packed = pack_padded_sequence(self.dropout(features), lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.cells(packed)[0], batch_first=True, total_length=words)
        return self.dropout(states)
