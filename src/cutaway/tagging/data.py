"""Sentences with tags and perhaps an intent, read from the field's plain files.

Two formats. *Columns* (CoNLL): a word a line with its tags, an empty line between sentences. *Joint*: a folder with `seq.in`,
`seq.out` and `label`, a sentence a line. A third, which says all that a sentence can hold, is in `json_lines.py`. Whatever is
wrong is told with file and line.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from cutaway.core.errors import CutawayError
from cutaway.core.text_files import text_lines
from cutaway.tagging import schemes
from cutaway.tagging.schemes import Span

MOST_WORDS = 2_000
"""A longer sentence is a file in the wrong format, or wants cutting."""

DOCSTART = "-DOCSTART-"
"""CoNLL-2003 writes it between documents; it is no word."""


@dataclass(frozen=True)
class Sentence:
    """Words, the tags of their spans (IOB2 after reading; none if nobody marked any), and intents: none, one, or several."""

    words: tuple[str, ...]
    tags: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    within: tuple[Span, ...] = ()
    """Spans that share words with those of the tags, which no tags can write beside them: spans within spans."""

    def __post_init__(self):
        check_words(self.words)
        if self.tags and len(self.tags) != len(self.words):
            raise CutawayError(f"a sentence has {len(self.words)} words and {len(self.tags)} tags: give one tag a word")

    @classmethod
    def of(cls, words: Sequence[str], spans: Iterable[Span], intents: Sequence[str] = ()) -> "Sentence":
        """From spans in any order. Where some share words the longest are in the tags, the others `within`.

        Raises:
            CutawayError: no words, or a span that does not lie within them.
        """
        check_words(words)
        outer, *inner = schemes.layers(spans) or [[]]
        tags, *_ = [schemes.tags(layer, len(words), "IOB2") for layer in (outer, *inner)]
        return cls(tuple(words), tuple(tags), tuple(intents), tuple(sorted(span for layer in inner for span in layer)))

    @property
    def intent(self) -> str:
        """All intents as one label, as ATIS writes them."""
        return "#".join(self.intents)

    def spans(self) -> list[Span]:
        """All of them, in order; of those with the same first word the longest first."""
        found = schemes.spans(self.tags)
        return sorted([*found, *self.within], key=lambda span: (span.start, -span.end)) if self.within else found


def check_words(words: Sequence[str]) -> None:
    """Raises `CutawayError` for words that make no sentence: none, too many, or one that is empty or no text."""
    if not words:
        raise CutawayError("a sentence has no words: leave it out")
    if len(words) > MOST_WORDS:
        raise CutawayError(
            f"{len(words)} words in one sentence, at most {MOST_WORDS}: cut it; is an empty line missing?"
        )
    if not all(words):
        raise CutawayError(f"word {list(words).index('') + 1} of a sentence is empty: leave it out")
    try:
        "".join(words).encode()
    except UnicodeEncodeError as error:
        raise CutawayError(
            f"{error.object[error.start - 9 : error.end]!r} in a sentence is not text: give UTF-8"
        ) from error


def read_columns(
    path: str | Path,
    *,
    word: int = 0,
    tag: int | Sequence[int] | Literal["all"] = -1,
    separator: str | None = None,
    scheme: str = "guess",
) -> list[Sentence]:
    """A file of columns.

    Args:
        word, tag: which column has what, counted from 0; from the end if negative. With several tag columns, each is a layer of
            spans, and those of one may lie within those of another; "all" means every column but the word's.
        separator: what parts the columns; None: tabs if they part every line, so that a word may hold blanks, or else white space.
        scheme: that of the file; `guess` finds it out. Tags are IOB2 afterwards.

    Raises:
        CutawayError: no such file, no text, a line with other columns than the first, a tag that is none, no sentences.
    """
    path = Path(path)
    blocks = list(_blocks(path))
    separator = separator or _separator(blocks)
    read, width = [], 0
    for start, lines in blocks:
        words, rows = [], []
        for n, line in enumerate(lines, start):
            columns = [x.strip(" ") for x in line.split(separator)]
            width = width or len(columns)
            try:
                mine, tags = _chosen(columns, width, word, tag)
            except CutawayError as error:
                raise CutawayError(f"{path}, line {n}: {error}") from error
            words.append(mine)
            rows.append(tags)
        read.append(_Raw(f"{path}, line {start}", words, [*zip(*rows, strict=True)]))
    return _sentences(read, scheme, path)


def read_joint(folder: str | Path, *, scheme: str = "IOB2", several: str = "#") -> list[Sentence]:
    """A folder with `seq.in`, `seq.out` and `label`.

    Args:
        several: what stands between the intents of a sentence that has more than one.

    Raises:
        CutawayError: a file is missing, the files have different numbers of lines, or a line different numbers of words and tags.
    """
    folder = Path(folder)
    files = [folder / name for name in ("seq.in", "seq.out", "label")]
    columns = [text_lines(file) for file in files]
    counts = [len(lines) for lines in columns]
    if len(set(counts)) > 1:
        told = ", ".join(f"{file.name} {n}" for file, n in zip(files, counts, strict=True))
        raise CutawayError(f"{folder}: the files have different numbers of lines ({told}): make them equal")
    read = []
    for n, (words, tags, label) in enumerate(zip(*columns, strict=True), 1):
        intents = label.strip().split(several)
        if not all(intents):
            raise CutawayError(f"{folder}, line {n}: no intent in {files[2].name}, or an empty one: {label.strip()!r}")
        read.append(_Raw(f"{folder}, line {n}", words.split(), [tags.split()], intents))
    return _sentences(read, scheme, folder)


def write_columns(sentences: Sequence[Sentence], *, scheme: str = "IOB2") -> str:
    """The text of a file of columns: words and tags, without intents; with spans within spans, a column of tags for each layer
    (`read_columns` with `tag="all"`).

    Raises:
        CutawayError: a sentence has no tags.
    """
    for n, sentence in enumerate(sentences, 1):
        if not sentence.tags:
            raise CutawayError(f"sentence {n} has no tags: columns cannot say that, JSON lines can")
    layers = [schemes.layers(sentence.spans()) for sentence in sentences]
    deep = max([1, *map(len, layers)])
    blocks = []
    for sentence, some in zip(sentences, layers, strict=True):
        filled = some + [[]] * (deep - len(some))
        tags = [schemes.tags(layer, len(sentence.words), scheme) for layer in filled]
        blocks.append("".join("\t".join(row) + "\n" for row in zip(sentence.words, *tags, strict=True)))
    return "\n".join(blocks)


def labels(sentences: Sequence[Sentence]) -> tuple[list[str], list[str]]:
    """The tags and the intents that occur, in order of the alphabet; `O` first."""
    tags = {tag for sentence in sentences for tag in sentence.tags} - {schemes.OUTSIDE}
    intents = {intent for sentence in sentences for intent in sentence.intents}
    return [schemes.OUTSIDE, *sorted(tags)], sorted(intents)


class _Raw(NamedTuple):
    """A sentence as a file has it: its place, and tags of any scheme, in layers."""

    where: str
    words: Sequence[str]
    layers: Sequence[Sequence[str]]
    intents: Sequence[str] = ()


def _chosen(
    columns: list[str], width: int, word: int, tag: int | Sequence[int] | Literal["all"]
) -> tuple[str, list[str]]:
    """The word of a line, and its tags; raises `CutawayError` for columns of another number than `width`, or a tag that is none."""
    if len(columns) < 2:
        raise CutawayError(f"a single column ({columns[0][:30]!r}); give a word and its tag")
    if len(columns) != width:
        raise CutawayError(f"{len(columns)} columns, but {width} in the lines before: give every line as many")
    others = [i for i in range(width) if i != word % width]
    places = others if isinstance(tag, str) else [tag] if isinstance(tag, int) else tag
    try:
        found = columns[word], [columns[i] for i in places]
    except IndexError:
        wanted = max(x + 1 if x >= 0 else -x for x in (word, *places))
        raise CutawayError(f"{width} columns, at least {wanted} are needed") from None
    for each in found[1]:
        schemes.spans([each])
    return found


def _sentences(read: Sequence[_Raw], scheme: str, path: Path) -> list[Sentence]:
    """Sentences with tags of IOB2, of those as they were read."""
    if not read:
        raise CutawayError(f"{path} has no sentences: give a file with at least one")
    made = []
    for where, words, layers, intents in read:
        try:
            for tags in layers:
                Sentence(tuple(words), tuple(tags))
            made.append(Sentence.of(words, (span for tags in layers for span in schemes.spans(tags)), intents))
        except CutawayError as error:
            raise CutawayError(f"{where}: {error}") from error
    if scheme == "guess":
        _check_scheme(read)
    else:
        schemes.scheme(scheme)
    return made


def _check_scheme(read: Sequence[_Raw]) -> None:
    """Raises `CutawayError`, with the place where it first is so, if the tags keep to no scheme."""

    def told(n: int) -> str:
        """What is wrong with the first n sentences."""
        try:
            schemes.guess(tags for each in read[:n] for tags in each.layers)
        except CutawayError as error:
            return str(error)
        return ""

    if wrong := told(len(read)):
        first = bisect_left(range(len(read)), True, key=lambda n: bool(told(n + 1)))
        raise CutawayError(f"{read[first].where}: from here on {wrong}")


def _separator(blocks: Sequence[tuple[int, list[str]]]) -> str | None:
    return "\t" if all("\t" in line for _, lines in blocks for line in lines) else None


def _blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines without an empty one between them, and the number of the first. What parts documents parts sentences."""
    block: list[str] = []
    for n, line in enumerate([*text_lines(path), ""], 1):
        if line.strip() and DOCSTART not in line.split():
            block.append(line.rstrip(" \t"))
        elif block:
            yield n - len(block), block
            block = []
