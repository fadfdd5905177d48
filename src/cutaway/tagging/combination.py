"""Which inputs, context and decoder go together, and with which spans: what makes no sense is refused before anything is built."""

from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

from cutaway.core.errors import CutawayError
from cutaway.tagging.parts import decoders, part
from cutaway.tagging.schemes import Span


def check_combination(inputs: Sequence[str], context: str, decoder: str, spans: Iterable[Sequence[Span]] = ()) -> None:
    """Raises `CutawayError`, with the reason, for a combination that makes no sense.

    Args:
        spans: those of each training sentence; `span` alone finds spans within spans.
    """
    if not inputs:
        raise CutawayError("a tagger has no input: name at least one, such as words")
    twice = next((name for name in inputs if list(inputs).count(name) > 1), None)
    if twice:
        raise CutawayError(f"the input {twice} stands there twice: name each once")
    for name in inputs:
        part("input", name)
    part("context", context)
    chosen = part("decoder", decoder)
    able = [name for name, each in decoders().items() if _nested(each.build)]
    for n, some in enumerate(spans, 1):
        if _nested(chosen.build):
            try:
                check_nested(some, None, decoder)
            except CutawayError as error:
                raise CutawayError(f"sentence {n}: {error}") from error
        elif pair := _overlapping(some):
            raise CutawayError(
                f"sentence {n} has spans that overlap, {tuple(pair[0])} and {tuple(pair[1])}, which {decoder} cannot say: "
                f"take {' or '.join(able)}"
            )


def check_flat(spans: Sequence[Span], length: int | None, decoder: str) -> None:
    """Raises `CutawayError` for spans that overlap, or do not lie within `length` words."""
    _check_within(spans, length)
    if pair := _overlapping(spans):
        raise CutawayError(f"the spans {tuple(pair[0])} and {tuple(pair[1])} overlap: {decoder} cannot say that")


def check_nested(spans: Sequence[Span], length: int | None, decoder: str) -> None:
    """Raises `CutawayError` for spans that cross, that are the same words twice, or that do not lie within `length` words."""
    _check_within(spans, length)
    for a, b in combinations(sorted(set(spans)), 2):
        if a.start < b.start < a.end < b.end:
            raise CutawayError(
                f"the spans {tuple(a)} and {tuple(b)} cross: {decoder} finds spans that lie within others"
            )
        if a[:2] == b[:2]:
            raise CutawayError(
                f"the words {a.start} to {a.end} are both {a.type} and {b.type}: {decoder} gives one type"
            )


def _check_within(spans: Sequence[Span], length: int | None) -> None:
    for span in spans:
        if not 0 <= span.start < span.end or (length is not None and span.end > length):
            raise CutawayError(f"the span {tuple(span)} does not lie within {length} words")


def _overlapping(spans: Sequence[Span]) -> tuple[Span, Span] | None:
    ordered = sorted(set(spans))
    return next(((a, b) for a, b in pairwise(ordered) if b.start < a.end), None)


def _nested(build: object) -> bool:
    return bool(getattr(build, "nested", False))
