"""What behaviours made of sentences share: words of one token, text cut into roles, drawing until there are enough."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import resources

from cutaway.circuits.behavior import Row, Sample, Segment
from cutaway.circuits.behaviors.marked import Piece, cut
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

TRIES = 50
"""Drafts that a prompt may take, on average, before the words or the tokenizer are said not to do."""


def listed(file: str) -> list[str]:
    """The words of one of the package's lists, in its order."""
    return resources.files("cutaway.circuits.behaviors").joinpath(file).read_text().split()


def one_token(tokenizer: Tokenizer, words: Sequence[str], before: str = "and") -> dict[str, int]:
    """Those words that are one token of their own behind `before` and a space: word → id."""
    lead = tokenizer.encode(before)
    rows = tokenizer.encode_many([f"{before} {word}" for word in words])
    ids = {word: row[-1] for word, row in zip(words, rows, strict=True) if row[:-1] == lead}
    # what a tokenizer does not know, it may write as one and the same token
    uses = Counter(ids.values())
    return {word: i for word, i in ids.items() if uses[i] == 1}


def enough(pool: dict[str, int], needed: int, listed: int, kind: str, own: str) -> list[str]:
    """The words of a pool in order of the alphabet; raises `CutawayError` where they are too few."""
    if len(pool) < needed:
        raise CutawayError(
            f"{len(pool)} of {listed} {kind} are one token under this tokenizer, {needed} are needed: bring {own}"
        )
    return sorted(pool)


def row_of(pieces: Sequence[Piece], tokenizer: Tokenizer, bos: int | None = None) -> Row | None:
    """The pieces as one prompt, all cut as one text; None where a token lies across an edge."""
    try:
        segments = [Segment(piece.role, ids) for piece, ids in zip(pieces, cut(pieces, tokenizer), strict=True) if ids]
    except CutawayError:
        return None
    return ((Segment("BOS", (bos,)),) if bos is not None else ()) + tuple(segments)


def aligned(
    forms: Mapping[str, Sequence[Piece]], tokenizer: Tokenizer, bos: int | None = None
) -> dict[str, Row] | None:
    """The prompt and its corrupted forms as rows; None unless all have the same roles with as many tokens each."""
    rows: dict[str, Row] = {}
    shapes = set()
    for name, pieces in forms.items():
        row = row_of(pieces, tokenizer, bos)
        if row is None:
            return None
        rows[name] = row
        shapes.add(tuple((segment.role, len(segment.ids)) for segment in row))
    return rows if len(shapes) == 1 else None


def of_role(row: Row, role: str) -> tuple[int, ...]:
    """The tokens of a role; empty if the row has none such."""
    return next((segment.ids for segment in row if segment.role == role), ())


def draw(draft: Callable[[], Sample | None], n: int, hint: str) -> list[Sample]:
    """n samples of different text from a function that drafts one, or None where the tokenizer does not cut it as wished.

    Raises:
        CutawayError: n below 1, or too few drafts fit; `hint` says what to do.
    """
    if n < 1:
        raise CutawayError(f"n is {n}: ask for at least 1 prompt")
    found: dict[str, Sample] = {}
    for _ in range(TRIES * n + 200):
        sample = draft()
        if sample is not None:
            found.setdefault(sample.text, sample)
        if len(found) == n:
            return list(found.values())
    raise CutawayError(f"found only {len(found)} of {n} different prompts that this tokenizer cuts as wished: {hint}")
