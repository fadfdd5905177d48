"""Tags and the spans they mean: IOB1, IOB2, IOE1, IOE2, IO, BIOES, BILOU, and sequences that break their scheme's rules.

Two readings of the same tags. *As conlleval reads them* (Tjong Kim Sang & De Meulder 2003): a span begins wherever the
prefixes or the types say that the one before is over, so that every sequence means something. *Strict*: only what the scheme
allows is a span; a span that begins with I under IOB2 is none.

    Palo   Alto   's    HP                       IOB2           BIOES
    B-LOC  I-LOC  O     B-ORG    → (0, 2, LOC), (3, 4, ORG)     B-LOC E-LOC O S-ORG
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from cutaway.core.errors import CutawayError

OUTSIDE = "O"


class Span(NamedTuple):
    """Words from `start` to before `end`, and what they are."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class Scheme:
    """The prefixes a scheme has, and what may follow what.

    `first` and `last` are the prefixes with which a span of several words begins and ends, `only` that of a span of one
    word. IOB1 and IOE1 write their border only where a span of the same type touches: `touching` says on which side.
    """

    name: str
    first: str
    last: str
    only: str
    touching: str = ""

    @property
    def prefixes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.first, "I", self.last, self.only, *self.touching)))


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("IOB2", "B", "I", "B"),
        Scheme("IOB1", "I", "I", "I", touching="B"),
        Scheme("IOE2", "I", "E", "E"),
        Scheme("IOE1", "I", "I", "I", touching="E"),
        Scheme("IO", "I", "I", "I"),
        Scheme("BIOES", "B", "E", "S"),
        Scheme("BILOU", "B", "L", "U"),
    )
}


def scheme(name: str) -> Scheme:
    """A scheme by name; raises `CutawayError` with those there are."""
    if name.upper() not in SCHEMES:
        raise CutawayError(f"there is no tag scheme {name!r}: give {', '.join(SCHEMES)}")
    return SCHEMES[name.upper()]


def split(tag: str) -> tuple[str, str]:
    """Prefix and type: `B-LOC` → `B`, `LOC`; `O` has no type."""
    prefix, _, kind = tag.partition("-")
    return (OUTSIDE, "") if prefix == OUTSIDE else (prefix, kind)


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans that conlleval reads in tags of any scheme, in order; sequences that break the rules included.

    Raises:
        CutawayError: a tag that is neither `O` nor a prefix of a known scheme, a dash, and a type.
    """
    found: list[Span] = []
    start: int | None = None
    before = (OUTSIDE, "")
    for i, tag in enumerate([*tags, OUTSIDE]):
        now = _known(tag)
        if start is not None and _over(before, now):
            found.append(Span(start, i, before[1]))
            start = None
        if start is None and now[0] != OUTSIDE:
            start = i
        before = now
    return found


BEGINS, CONTINUES, ENDS, ALONE = {"B"}, {"I"}, {"E", "L"}, {"S", "U"}


@cache  # there are few tags, and many words
def _over(before: tuple[str, str], now: tuple[str, str]) -> bool:
    """Is a span over, given the tag of its last word so far and the next one?"""
    return (
        now[0] == OUTSIDE
        or before[1] != now[1]
        or before[0] in ENDS | ALONE
        or now[0] in BEGINS | ALONE
    )  # fmt: skip


@cache
def _known(tag: str) -> tuple[str, str]:
    prefix, kind = split(tag)
    if prefix != OUTSIDE and (prefix not in "BIELSU" or len(prefix) != 1 or not kind):
        raise CutawayError(f"{tag!r} is not a tag: write O, or B, I, E, S, L or U, a dash, and a type, such as B-LOC")
    if prefix == OUTSIDE and tag != OUTSIDE:
        raise CutawayError(f"{tag!r} is not a tag: what is outside has no type; write O")
    return prefix, kind


def strict_spans(tags: Sequence[str], name: str) -> list[Span]:
    """The spans that a scheme allows: written out as that scheme would write them, they give these very tags.

    Where a span breaks the rules it is no span; the others stand.
    """
    rules, found = scheme(name), []
    every = spans(tags)
    for before, span in zip([None, *every], every, strict=False):
        touches = before is not None and before.end == span.start and before.type == span.type
        after = next((other for other in every if other.start == span.end and other.type == span.type), None)
        wanted = _written(span, rules, touches_before=touches, touches_after=after is not None)
        if list(tags[span.start : span.end]) == wanted:
            found.append(span)
    return found


def tags(found: Iterable[Span], length: int, name: str) -> list[str]:
    """Spans written in a scheme.

    Raises:
        CutawayError: a span outside the sentence, or two that overlap (no such scheme can write nested spans); touching
            spans of one type in IO, which would run together.
    """
    rules, out = scheme(name), [OUTSIDE] * length
    ordered = sorted(found)
    for i, span in enumerate(ordered):
        before, after = (ordered[i - 1] if i else None), (ordered[i + 1] if i + 1 < len(ordered) else None)
        if not 0 <= span.start < span.end <= length:
            raise CutawayError(f"the span {tuple(span)} does not lie within {length} words")
        if before and before.end > span.start:
            raise CutawayError(f"the spans {tuple(before)} and {tuple(span)} overlap: no tag scheme can write them")
        touches = before is not None and before.end == span.start and before.type == span.type
        follows = after is not None and span.end == after.start and span.type == after.type
        if before and touches and rules.name == "IO":
            raise CutawayError(f"{tuple(before)} and {tuple(span)} touch: IO would make one span of them, take IOB2")
        out[span.start : span.end] = _written(span, rules, touches_before=touches, touches_after=follows)
    return out


def _written(span: Span, rules: Scheme, *, touches_before: bool, touches_after: bool) -> list[str]:
    n = span.end - span.start
    prefixes = [rules.only] if n == 1 else [rules.first, *"I" * (n - 2), rules.last]
    if rules.touching == "B" and touches_before:
        prefixes[0] = "B"
    if rules.touching == "E" and touches_after:
        prefixes[-1] = "E"
    return [f"{prefix}-{span.type}" for prefix in prefixes]


def layers(found: Iterable[Span]) -> list[list[Span]]:
    """Spans in layers within which none share a word: the longest first, each in the first layer that has room for it. Spans
    that do not overlap are one layer, none at all are no layer."""
    made: list[list[Span]] = []
    for span in sorted(set(found), key=lambda span: (span.start - span.end, span)):
        free = (layer for layer in made if all(x.end <= span.start or span.end <= x.start for x in layer))
        if (layer := next(free, None)) is None:
            made.append(layer := [])
        layer.append(span)
    return [sorted(layer) for layer in made]


def convert(given: Sequence[str], to: str) -> list[str]:
    """Tags in another scheme, span for span as conlleval reads them. Raises as `spans` and `tags` do."""
    return tags(spans(given), len(given), to)


def guess(sentences: Iterable[Sequence[str]]) -> str:
    """The scheme that all sentences keep to: the plainest one that writes their spans as they are written.

    Raises:
        CutawayError: none of them does.
    """
    sentences = [list(sentence) for sentence in sentences]
    for name in ("IOB2", "BIOES", "BILOU", "IO", "IOB1", "IOE2", "IOE1"):
        if all(_keeps(sentence, name) for sentence in sentences):
            return name
    raise CutawayError("the tags keep to no known scheme: convert them first, or say which one is meant")


def _keeps(sentence: Sequence[str], name: str) -> bool:
    try:
        return convert(sentence, name) == sentence
    except CutawayError:
        return False


def allowed(labels: Sequence[str], name: str) -> tuple[list[list[bool]], list[bool], list[bool]]:
    """What may follow what (`[from][to]`), what may begin and what may end a sentence, for these tags in this scheme."""
    rules, parts = scheme(name), [split(label) for label in labels]
    # prefixes after which the span must go on, and prefixes before which it must be under way
    opens = {rules.first, "I"} - {"I" if rules.last == "I" else "", rules.only, rules.last} | (
        {"E"} & {*rules.touching}
    )
    opens |= {"I"} if rules.last != "I" else set()
    needs = {"I", rules.last} - {rules.first, rules.only} | ({"B"} & {*rules.touching})
    needs = needs if rules.first != "I" or rules.touching == "B" else set()

    def may(a: tuple[str, str], b: tuple[str, str]) -> bool:
        goes_on = a[0] != OUTSIDE and a[1] == b[1] and (rules.touching != "" or not _over(a, b))
        return goes_on or not (a[0] in opens or b[0] in needs)

    follows = [[may(a, b) for b in parts] for a in parts]
    return follows, [prefix not in needs for prefix, _ in parts], [prefix not in opens for prefix, _ in parts]
