"""A vector for every word: learned from the training sentences, or read from a file of GloVe or word2vec vectors and tuned.

A word is looked up as it is written, then in lower case. A word that was not seen has the vector of the unknown, which is
learned on rare words (`Forgetful`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence
from cutaway.tagging.inputs.vocabulary import UNKNOWN, Vocabulary
from cutaway.tagging.parts import Features, Input, Part

NAME = "words"


@dataclass(frozen=True)
class Options:
    """Options of word vectors."""

    dim: int = 100
    """Width of a vector; a file of vectors brings its own."""
    vectors: str = ""
    """A text file: a word a line, then its numbers. The first line may be word2vec's, with the number of words and the width."""
    most: int = 200_000
    """Words that are read of it; such files stand in order of frequency."""
    tune: bool = True
    """Are vectors from a file trained further? If not, words that the file does not have are unknown."""
    lower: bool = True
    """Are words learned in lower case? Another input may see their case."""
    least: int = 1
    """How often a word of the training sentences is seen to be learned."""
    forget: float = 0.25
    """α: a word seen n times is taken for unknown with the chance α / (α + n) in training; 0: never."""
    dropout: float = 0.5
    """Of the vectors, in training (Lample et al. 2016, §4.3, put it there)."""


class Words(Input):
    """Raises `CutawayError` for a file of vectors that cannot be read, or a width below 1."""

    def __init__(self, sentences: Sequence[Sentence] | None, options: Options, known: dict[str, Any] | None = None):
        super().__init__()
        found: tuple[list[str], Float[Tensor, "word dim"]] | None = None
        if known is None:
            found = read_vectors(options.vectors, options.most) if options.vectors else None
            self.vocabulary = _vocabulary(sentences or (), options, found[0] if found else [])
            self.width = found[1].shape[1] if found else options.dim
        else:
            self.vocabulary, self.width = Vocabulary.again(known), known["width"]
        if self.width < 1:
            raise CutawayError(f"word vectors of width {self.width}: give at least 1")
        self.table = self.vocabulary.table(self.width, spread=found[1].std().item() if found else None)
        if found:
            self.fill(*found)
        self.table.weight.requires_grad_(options.tune or not options.vectors)
        self.forget = self.vocabulary.forgetful(options.forget)
        self.dropout = nn.Dropout(options.dropout)

    @torch.no_grad()
    def fill(self, words: Sequence[str], vectors: Float[Tensor, "word dim"]) -> None:
        """Puts a file's vectors where they belong; the unknown begins as their mean."""
        self.table.weight[UNKNOWN] = vectors.mean(0)
        self.table.weight[torch.tensor([self.vocabulary.id(word) for word in words])] = vectors

    def known(self) -> dict[str, Any]:
        return {**self.vocabulary.known(), "width": self.width}

    def collate(self, sentences: Sequence[Sentence]) -> dict[str, Tensor]:
        ids = torch.zeros(len(sentences), max(len(s.words) for s in sentences), dtype=torch.long)
        for row, sentence in enumerate(sentences):
            found = [self.vocabulary.id(word, word.lower()) for word in sentence.words]
            ids[row, : len(found)] = torch.tensor(found)
        return {f"{NAME}.ids": ids}

    def forward(self, batch: dict[str, Tensor]) -> Features:
        return self.dropout(self.table(self.forget(batch[f"{NAME}.ids"])))


def _vocabulary(sentences: Sequence[Sentence], options: Options, given: Sequence[str]) -> Vocabulary:
    """Of the training sentences, and what a file has beside them. Vectors that are not tuned have the file's words alone."""
    words = (word for sentence in sentences for word in sentence.words)
    if not given:
        return Vocabulary.of((word.lower() if options.lower else word for word in words), options.least)
    has = set(given)
    # each as the file spells it; what it does not have is spelled as the options say
    spelled = (next((w for w in (word, word.lower()) if w in has), None) or _plain(word, options) for word in words)
    seen = Vocabulary.of(spelled, options.least)
    kept = [(w, n) for w, n in zip(seen.items, seen.counts, strict=True) if options.tune or w in has]
    kept += [(word, 0) for word in given if word not in seen]
    return Vocabulary(tuple(w for w, _ in kept), tuple(n for _, n in kept))


def _plain(word: str, options: Options) -> str:
    return word.lower() if options.lower else word


def read_vectors(path: str | Path, most: int = 200_000) -> tuple[list[str], Float[Tensor, "word dim"]]:
    """The first `most` words of a text file of vectors, and their vectors; of a word that stands twice, the first.

    Raises:
        CutawayError: no such file, not UTF-8, no vectors, or a line whose numbers are not as many as those of the first.
    """
    path, words, rows = Path(path), {}, []
    for n, line in _lines(path):
        columns = line.rstrip().split(" ")
        if n == 1 and len(columns) == 2 and all(column.isdecimal() for column in columns):
            continue
        # a word may hold blanks, numbers do not
        dim = len(rows[0]) if rows else len(columns) - 1
        word, numbers = " ".join(columns[: len(columns) - dim]), columns[len(columns) - dim :]
        try:
            row = np.array(numbers, dtype=np.float32)
        except ValueError as error:
            raise CutawayError(f"{path}, line {n}: not a word and {dim} numbers: {line.strip()[:40]!r}") from error
        if not word or dim < 1:
            raise CutawayError(
                f"{path}, line {n}: {len(columns)} columns, but a word and {max(dim, 1)} numbers are needed"
            )
        if word not in words:
            words[word] = len(rows)
            rows.append(row)
        if len(rows) == most:
            break
    if not rows:
        raise CutawayError(f"{path} has no vectors: give a file with a word and its numbers on each line")
    return list(words), torch.from_numpy(np.stack(rows))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            yield from enumerate(file, 1)
    except FileNotFoundError as error:
        raise CutawayError(f"{path} does not exist: give a text file of word vectors") from error
    except IsADirectoryError as error:
        raise CutawayError(f"{path} is a folder: give a text file of word vectors") from error
    except UnicodeDecodeError as error:
        raise CutawayError(
            f"{path} is not UTF-8 text (byte {error.start}): give vectors as text, not binary"
        ) from error


INPUT = Part(
    name=NAME,
    build=Words,
    about="a vector for every word, learned or read from a file",
    citation="Collobert et al. 2011, §3.2; Pennington, Socher & Manning 2014 (GloVe); Mikolov et al. 2013 (word2vec)",
    options=Options,
)
