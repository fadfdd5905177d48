"""Compacter++: Compacter behind the feed-forward block of each layer alone.

Karimi Mahabadi, Henderson & Ruder 2021, Compacter: efficient low-rank hypercomplex adapter layers (NeurIPS, arXiv 2106.04647),
§4. The equation and the count are those of compacter.py, with half as many adapters.
"""

from dataclasses import dataclass

from cutaway.tuning.method import Method
from cutaway.tuning.methods import compacter


@dataclass(frozen=True)
class Options(compacter.Options):
    """Of Compacter++."""

    at: tuple[str, ...] = ("ffn_down",)
    """Behind which projections: roles or patterns."""


METHOD = Method(
    name="compacter_plus",
    kind="additive",
    about="Compacter behind the feed-forward block alone",
    citation="Karimi Mahabadi, Henderson & Ruder 2021, Compacter (NeurIPS, arXiv 2106.04647), §4",
    options=Options,
    attach=compacter.attach,
    count=compacter.count,
)
