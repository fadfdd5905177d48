"""Gated recurrent units from both ends (Cho et al. 2014, §2.3; Yang, Salakhutdinov & Cohen 2016, §3, tag with them): as `bilstm`,
with three quarters of its weights."""

from torch import nn

from cutaway.tagging.contexts.recurrent import Recurrent, RecurrentOptions
from cutaway.tagging.parts import Part

CONTEXT = Part(
    name="gru",
    build=lambda width, options: Recurrent(nn.GRU, width, options),
    about="gated recurrent units that read the sentence from both ends",
    citation="Cho et al. 2014, §2.3; Yang, Salakhutdinov & Cohen 2016, §3",
    options=RecurrentOptions,
)
