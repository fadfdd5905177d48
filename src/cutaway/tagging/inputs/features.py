"""Features by hand: the kind and the shape of a word, how it begins and ends, and whether it stands in a list of names.

    Jean-Luc   kind "mixed initial"   shape Xx-Xx   prefixes j je jea   suffixes c uc luc   gazetteer B of PER

Each value of each feature has a short vector of its own, learned. A gazetteer gives bits: a type has four, for the beginning, the
inside and the end of its longest entry that is found here, and for an entry of one word (Chiu & Nichols 2016, §2.4).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence
from cutaway.tagging.inputs.gazetteer import Gazetteer
from cutaway.tagging.inputs.vocabulary import Vocabulary
from cutaway.tagging.parts import Features, Input, Part

NAME = "features"


@dataclass(frozen=True)
class Options:
    """Which features."""

    kind: bool = True
    """One of a dozen kinds: all lower, all upper, initial, number, link, mention …"""
    shape: bool = True
    """Upper case as X, lower as x, digits as 9, each run as one: `iPhone-12s` is `xXx-9x`."""
    affixes: int = 3
    """The longest prefix and suffix; each length up to it is a feature. 0: none."""
    least: int = 3
    """How often a shape or affix is seen to be learned."""
    dim: int = 10
    """Width of a value's vector."""
    gazetteer: str = ""
    """A text file of names: a type, a tab, and a name on each line."""
    dropout: float = 0.0
    """Of the vectors, in training."""


class HandFeatures(Input):
    """Raises `CutawayError` if no feature is asked for, or a gazetteer cannot be read."""

    def __init__(self, sentences: Sequence[Sentence] | None, options: Options, known: dict[str, Any] | None = None):
        super().__init__()
        self.options, self.fields = options, _fields(options)
        if options.dim < 1 or options.affixes < 0:
            raise CutawayError(f"{NAME}: dim {options.dim}, affixes {options.affixes}: give at least 1 and 0")
        if known is None:
            words = [word for sentence in sentences or () for word in sentence.words]
            self.vocabularies = {
                field: Vocabulary.of((value(field, word) for word in words), options.least) for field in self.fields
            }
            self.gazetteer = Gazetteer.read(Path(options.gazetteer)) if options.gazetteer else Gazetteer({})
        else:
            self.vocabularies = {field: Vocabulary.again(known["vocabularies"][field]) for field in self.fields}
            self.gazetteer = Gazetteer(known["gazetteer"])
        self.width = options.dim * len(self.fields) + self.gazetteer.width
        if not self.width:
            raise CutawayError(f"{NAME}: every feature is switched off: leave one on, or leave this input out")
        self.tables = nn.ModuleDict({field: v.table(options.dim) for field, v in self.vocabularies.items()})
        self.dropout = nn.Dropout(options.dropout)

    def known(self) -> dict[str, Any]:
        vocabularies = {field: vocabulary.known() for field, vocabulary in self.vocabularies.items()}
        return {"vocabularies": vocabularies, "gazetteer": self.gazetteer.entries}

    def collate(self, sentences: Sequence[Sentence]) -> dict[str, Tensor]:
        longest = max(len(s.words) for s in sentences)
        ids = torch.zeros(len(sentences), longest, len(self.fields), dtype=torch.long)
        bits = torch.zeros(len(sentences), longest, self.gazetteer.width)
        for row, sentence in enumerate(sentences):
            for i, word in enumerate(sentence.words):
                for j, field in enumerate(self.fields):
                    ids[row, i, j] = self.vocabularies[field].id(value(field, word))
            for i, bit in self.gazetteer.found(sentence.words):
                bits[row, i, bit] = 1
        return {f"{NAME}.ids": ids, f"{NAME}.bits": bits}

    def forward(self, batch: dict[str, Tensor]) -> Features:
        ids = batch[f"{NAME}.ids"]
        vectors = [self.tables[field](ids[..., j]) for j, field in enumerate(self.fields)]
        return torch.cat([*(self.dropout(vector) for vector in vectors), batch[f"{NAME}.bits"]], dim=2)


def _fields(options: Options) -> list[str]:
    def each() -> Iterator[str]:
        yield from ["kind"] * options.kind + ["shape"] * options.shape
        for n in range(1, options.affixes + 1):
            yield from (f"prefix{n}", f"suffix{n}")

    return list(each())


def value(field: str, word: str) -> str:
    """What a word has in one feature. An affix of a shorter word is the whole word, marked so."""
    if field == "kind":
        return kind(word)
    if field == "shape":
        return shape(word)
    n, plain = int(field[len("prefix") :]), word.lower()
    if len(plain) < n:
        return f"{plain}|"
    return plain[:n] if field.startswith("prefix") else plain[-n:]


_KINDS = (
    ("link", re.compile(r"(?i)(https?://|www\.).*")),
    ("mention", re.compile(r"@\w.*")),
    ("hashtag", re.compile(r"#\w.*")),
    ("number", re.compile(r"[+-]?[\d.,:/%-]*\d[\d.,:/%-]*")),
)


def kind(word: str) -> str:
    """The kind of a word, as Collobert et al. (2011) tell caps, and more that texts of today have."""
    for name, pattern in _KINDS:
        if pattern.fullmatch(word):
            return name
    if not any(c.isalnum() for c in word):
        return "punctuation" if word.isascii() else "symbol"
    if any(c.isdigit() for c in word):
        return "with digits"
    if word.islower():
        return "lower"
    if word.isupper():
        return "upper" if len(word) > 1 else "initial"
    if word[:1].isupper():
        return "initial" if word[1:].islower() else "mixed initial"
    return "mixed" if word.lower() != word.upper() else "caseless"


def shape(word: str) -> str:
    """`iPhone-12s` → `xXx-9x` (the summarised pattern of Nadeau & Sekine 2007, §3.1)."""
    letters = ("X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in word)
    return "".join(letter for letter, _ in groupby(letters))[:20]


INPUT = Part(
    name=NAME,
    build=HandFeatures,
    about="kind, shape, affixes and gazetteer",
    citation="Nadeau & Sekine 2007, §3; Collobert et al. 2011, §6; Huang, Xu & Yu 2015, §4.2; Chiu & Nichols 2016, §2.4",
    options=Options,
)
