"""What inputs that read the characters of words share: each distinct word of a batch is read once, then put where it stands.

Long words (addresses, walls of letters) keep their beginning and their end, where affixes are.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence
from cutaway.tagging.inputs.vocabulary import PADDING, Vocabulary
from cutaway.tagging.parts import Features, Input

KINDS = ("upper", "lower", "digit", "punctuation", "space", "other")
"""What a character is, known even of one that was never seen (after Chiu & Nichols 2016, §2.5)."""


@dataclass(frozen=True)
class CharacterOptions:
    """What all readers of characters can be told."""

    dim: int = 30
    """Width of a character's vector."""
    kinds: int = 0
    """Width of a vector for its kind (upper case, digit, …) beside it; 0: none."""
    longest: int = 40
    """Characters of a word that are read, half of them from its end."""
    least: int = 1
    """How often a character is seen to be learned."""
    forget: float = 0.25
    """α: a character seen n times is taken for unknown with the chance α / (α + n) in training; 0: never."""
    dropout: float = 0.5
    """Of the characters' vectors, in training."""


class Characters(Input):
    """An input that reads characters: `read` is what it does with them.

    Raises:
        CutawayError: a width, a length or a window below 1.
    """

    name: str

    def __init__(
        self, sentences: Sequence[Sentence] | None, options: CharacterOptions, known: dict[str, Any] | None = None
    ):
        super().__init__()
        if options.dim < 1 or options.longest < 2 or options.kinds < 0:
            raise CutawayError(
                f"{self.name}: dim {options.dim}, kinds {options.kinds}, longest {options.longest}: give at least 1, 0 and 2"
            )
        self.longest = options.longest
        if known is None:
            words = (word for sentence in sentences or () for word in sentence.words)
            self.vocabulary = Vocabulary.of((c for word in words for c in self.cut(word)), options.least)
        else:
            self.vocabulary = Vocabulary.again(known)
        self.table = self.vocabulary.table(options.dim)
        self.kinds = nn.Embedding(1 + len(KINDS), options.kinds, padding_idx=0) if options.kinds else None
        self.forget = self.vocabulary.forgetful(options.forget)
        self.dropout = nn.Dropout(options.dropout)

    @abstractmethod
    def read(
        self, characters: Float[Tensor, "distinct char dim"], lengths: Int[Tensor, " distinct"]
    ) -> Float[Tensor, "distinct width"]:
        """Features of each word from the vectors of its characters, which are 0 behind its end."""

    def known(self) -> dict[str, Any]:
        return self.vocabulary.known()

    def cut(self, word: str) -> str:
        half = self.longest // 2
        return word if len(word) <= self.longest else word[: self.longest - half] + word[-half:]

    def collate(self, sentences: Sequence[Sentence]) -> dict[str, Tensor]:
        """`which` says which row of `ids` (less one, 0 is padding) spells a word; `kinds` has the shape of `ids`."""
        spelled = [[self.cut(word) for word in sentence.words] for sentence in sentences]
        rows = {word: i for i, word in enumerate(dict.fromkeys(word for words in spelled for word in words), 1)}
        shape = (len(rows), max(map(len, rows)))
        ids, kinds = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        for word, i in rows.items():
            ids[i - 1, : len(word)] = torch.tensor([self.vocabulary.id(c) for c in word])
            kinds[i - 1, : len(word)] = torch.tensor([1 + KINDS.index(kind(c)) for c in word])
        which = torch.zeros(len(sentences), max(map(len, spelled)), dtype=torch.long)
        for row, words in enumerate(spelled):
            which[row, : len(words)] = torch.tensor([rows[word] for word in words])
        return {f"{self.name}.which": which, f"{self.name}.ids": ids, f"{self.name}.kinds": kinds}

    def forward(self, batch: dict[str, Tensor]) -> Features:
        ids, kinds, which = (batch[f"{self.name}.{part}"] for part in ("ids", "kinds", "which"))
        characters = self.table(self.forget(ids))
        if self.kinds is not None:
            characters = torch.cat([characters, self.kinds(kinds)], dim=2)
        words = self.read(self.dropout(characters), (ids != PADDING).sum(1))
        return torch.cat([words.new_zeros(1, self.width), words])[which]


def kind(character: str) -> str:
    """One of `KINDS`."""
    if character.isspace():
        return "space"
    if character.isdigit():
        return "digit"
    if character.isalpha():
        return "upper" if character.isupper() else "lower" if character.islower() else "other"
    return "punctuation" if character.isascii() else "other"
