"""Running a decoder-only transformer with every inner site named, readable and replaceable.

A map of the files:
    config.py    the parts of a decoder, as data
    model.py     the forward pass: read this first
    norm.py      LayerNorm, RMSNorm
    activations.py  GELU and its like
    rope.py      rotary positions
    sites.py     names of places inside: `9.9`, `m3`, `3.resid_pre`
    patch.py     what to put there, as a value
    family.py    how an architecture family is described; families/ has one file each
    load.py      from a name or folder to a model
    tokens.py    text to tokens; nothing added
    gguf.py      quantised GGUF files to an ordinary folder, once
    catalog.py   model names we know
    planted/     tiny decoders whose circuit is known because it was built by hand
    placement.py on which devices it lies; one model over several
    identity.py  one hash over all weights
    check.py     the conformance suite any model can be put through
"""

from cutaway.decoder.config import DecoderConfig as DecoderConfig
from cutaway.decoder.load import load as load
from cutaway.decoder.model import Decoder as Decoder
from cutaway.decoder.model import Past as Past
from cutaway.decoder.model import Run as Run
from cutaway.decoder.patch import Patch as Patch
from cutaway.decoder.sites import Site as Site
from cutaway.decoder.sites import parse_site as parse_site
