"""Mentions of entities in their sentences, and the types they have.

A mention whose types are an empty list was looked at and nothing was agreed on (29 of Ultra-Fine's 1,998 training mentions); one
without types (`None`) was never looked at.
"""

import math
from dataclasses import dataclass

from cutaway.core.errors import CutawayError

OPEN, CLOSE = "<e>", "</e>"
"""What stands around a mention in a marked text."""

MOST_WORDS = 2_000
"""A longer sentence is a file in the wrong format, or wants cutting."""


@dataclass(frozen=True)
class Mention:
    """A mention of an entity, the words before it and behind it in its sentence, and its types.

    Raises:
        CutawayError: no words in the mention, too many in the sentence, a word that is empty or a marker, a type without a name or
            there twice, or a weight that is no positive number.
    """

    left: tuple[str, ...]
    span: tuple[str, ...]
    right: tuple[str, ...] = ()
    types: tuple[str, ...] | None = None
    """Each once; empty where none were agreed on, None where nobody knows."""
    id: str = ""
    """By which a prediction is matched to its mention, if there is any."""
    weight: float = 1.0
    """How much it counts in training: less than 1 for types that nobody has checked."""

    def __post_init__(self):
        if not self.span:
            raise CutawayError(f"the mention has no words: write at least one, as in {OPEN}Ada Lovelace{CLOSE} wrote")
        if len(self.words) > MOST_WORDS:
            raise CutawayError(f"{len(self.words)} words in one sentence, at most {MOST_WORDS}: cut it")
        if bad := next((word for word in self.words if OPEN in word or CLOSE in word), None):
            raise CutawayError(f"the word {bad!r} has a marker of mentions in it: leave it out")
        if empty := next((n for n, word in enumerate(self.words, 1) if not word.strip()), 0):
            raise CutawayError(f"word {empty} of a sentence is empty: leave it out")
        if self.types and not all(name.strip() for name in self.types):
            raise CutawayError("a type has no name: leave it out")
        if self.types and len(set(self.types)) < len(self.types):
            raise CutawayError(f"a type is there twice among {', '.join(self.types[:8])}: leave one")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise CutawayError(
                f"the weight {self.weight} of a mention: give a positive number, or leave the mention out"
            )
        try:
            "".join((*self.words, *(self.types or ()), self.id)).encode()
        except UnicodeEncodeError as error:
            raise CutawayError(
                f"{error.object[max(0, error.start - 9) : error.end]!r} is not text: give UTF-8"
            ) from error

    @property
    def words(self) -> tuple[str, ...]:
        """Of the whole sentence."""
        return (*self.left, *self.span, *self.right)

    def __str__(self) -> str:
        """As `marked` reads it."""
        return " ".join((*self.left, OPEN + " ".join(self.span) + CLOSE, *self.right))


def marked(text: str) -> Mention:
    """The mention of a text, which stands between `<e>` and `</e>`; words are between blanks. Its types are not known.

    Raises:
        CutawayError: no mention is marked, or several; a marker without its partner; nothing between them.
    """
    opened, closed = text.count(OPEN), text.count(CLOSE)
    if not opened and not closed:
        raise CutawayError(f"no mention in {_short(text)}: put one between {OPEN} and {CLOSE}")
    if opened > 1 or closed > 1:
        raise CutawayError(
            f"{max(opened, closed)} mentions in {_short(text)}: mark one, and give the text again for each"
        )
    left, _, rest = text.partition(OPEN)
    span, found, right = rest.partition(CLOSE)
    if not opened or not found:
        raise CutawayError(f"{_short(text)} needs one {OPEN} and behind it one {CLOSE}")
    if not span.strip():
        raise CutawayError(f"nothing stands between {OPEN} and {CLOSE} in {_short(text)}: put the mention there")
    return Mention(tuple(left.split()), tuple(span.split()), tuple(right.split()))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:57] + "…")
