"""Tiny decoders whose circuit is known because it was built by hand: weights set, not trained.

A map of the files:
    acronyms.py    the circuit that writes initials: read this first
    induction.py   A B … A → B
    ioi.py         of two names, the one that is not said again
    docstring.py   the argument that is to be described next
    greater_than.py    later years, by way of an MLP
    weights.py     subspaces of the residual stream, and heads that join them
    decoys.py      the heads around the circuit, which do nothing that counts
    build.py       from a plan to a decoder
    record.py      what a plan and a planted model are; circuits are found by discovery
    pieces.py      the tokenizers; words.txt shows how words are cut
"""

import difflib
import random
import re

from cutaway.core.errors import CutawayError
from cutaway.decoder.model import Decoder
from cutaway.decoder.planted.build import build
from cutaway.decoder.planted.record import Planted, circuits
from cutaway.decoder.sites import Site


def planted(name: str) -> Decoder:
    """The model of `planted:acronyms`, say, or `planted:acronyms@7` for another draw of everything that is free.

    Raises:
        CutawayError: no such circuit.
    """
    return plant(name).model


def truth(name: str) -> dict[Site, str]:
    """The heads of the planted circuit and their roles; every other head is a distractor. Raises as `planted` does."""
    return plant(name).heads


def plant(name: str) -> Planted:
    """A planted model with its truth. Sizes, places of heads, rotations and distractors come from the seed (0 if none).

    Raises:
        CutawayError: no such circuit.
    """
    known = circuits()
    match = re.fullmatch(r"planted:([\w-]+)(?:@(\d+))?", name)
    if not match or match[1] not in known:
        near = difflib.get_close_matches(name.removeprefix("planted:").split("@")[0], known, 1)
        hint = f"; did you mean planted:{near[0]}?" if near else ""
        names = ", ".join(f"planted:{circuit}" for circuit in known)
        raise CutawayError(f"no planted model {name!r}: known are {names}; a seed goes behind, as in @7{hint}")
    circuit, seed = known[match[1]], int(match[2] or 0)
    return build(name, circuit, random.Random(f"{circuit.name}@{seed}"))
