"""The tokenizers of planted decoders: real ones of the `tokenizers` library, with vocabularies one can read."""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import ascii_uppercase

from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer

from cutaway.decoder.tokens import Tokenizer

UNKNOWN = "[UNK]"


@cache
def split_words() -> tuple[tuple[str, ...], ...]:
    """The words of words.txt as the pieces they are cut into: ("C", "ast", "le"); the first is the capital alone."""
    text = resources.files("cutaway.decoder.planted").joinpath("words.txt").read_text()
    return tuple(tuple(word.split("-")) for word in text.split())


def acronym_vocabulary() -> list[str]:
    pieces = sorted({piece for word in split_words() for piece in word[1:]})
    return [UNKNOWN, "The", " (", ")", "\n", *ascii_uppercase, *(f" {letter}" for letter in ascii_uppercase), *pieces]


def whole_words(per_letter: int = 2) -> list[str]:
    """Some words of every letter, small and with the space before them, each to be one token."""
    kept: dict[str, list[str]] = {}
    for word in split_words():
        kept.setdefault(word[0], []).append(f" {''.join(word).lower()}")
    return [word for group in kept.values() for word in group[:per_letter]]


def tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """Cuts before every space and between letters and signs, then takes the longest piece it knows, again and again.

    A stretch that the vocabulary cannot spell out is one unknown token.
    """
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    fast = FastTokenizer(models.WordPiece(ids, unk_token=UNKNOWN, continuing_subword_prefix=""))
    fast.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[A-Za-z]+| ?[^\sA-Za-z]+|\s"), "isolated")
    fast.decoder = decoders.Fuse()
    return Tokenizer(fast)
