"""Many small numbers in little room: one printable character for each, which the page's script reads back.

89 characters, so that zero has one of its own on a scale from −limit to +limit. A value is off by at most 1/176 of the scale's
length: enough to colour a cell or to say two decimals with "about" before them. Attention is mostly zero, so a run of three
or more zeros is a space and the character of its length. `scripts/data.js` is the other half.
"""

import re

import numpy as np

ALPHABET = "".join(chr(code) for code in range(33, 127) if chr(code) not in '"\\<>&')
LEVELS = len(ALPHABET) - 1
_RUN = re.compile(f"{re.escape(ALPHABET[0])}{{3,{LEVELS}}}")
_BYTES = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)


def packed(shares: np.ndarray) -> str:
    """Values between 0 and 1, one character each but for runs of zeros; what is not finite counts as 0."""
    levels = np.rint(np.clip(np.nan_to_num(shares), 0, 1) * LEVELS).astype(np.intp)
    return _RUN.sub(lambda run: f" {ALPHABET[len(run[0])]}", _BYTES[levels.ravel()].tobytes().decode())


def packed_signed(values: np.ndarray, limit: float) -> str:
    """Values between −limit and +limit."""
    return packed((values / limit + 1) / 2 if limit else np.full(values.shape, 0.5))
