"""LSTMs from both ends: a word's features are what was read up to it from the left beside what was read from the right.

Huang, Xu & Yu (2015, §2.2); Ma & Hovy (2016, §2.2 and table 1) have 200 units a direction and dropout 0.5 before and after.
"""

from torch import nn

from cutaway.tagging.contexts.recurrent import Recurrent, RecurrentOptions
from cutaway.tagging.parts import Part

CONTEXT = Part(
    name="bilstm",
    build=lambda width, options: Recurrent(nn.LSTM, width, options),
    about="LSTMs that read the sentence from both ends",
    citation="Huang, Xu & Yu 2015, §2.2; Lample et al. 2016, §2.1; Ma & Hovy 2016, §2.2",
    options=RecurrentOptions,
)
