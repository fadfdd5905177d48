"""Sentences with tags and perhaps an intent, read from the field's plain files.

Two formats. *Columns* (CoNLL): a word a line with its tags, an empty line between sentences. *Joint*: a folder with `seq.in`,
`seq.out` and `label`, a sentence a line. Whatever is wrong is told with file and line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutaway.core.errors import CutawayError
from cutaway.tagging import schemes

MOST_WORDS = 2_000
"""A longer sentence is a file in the wrong format, or wants cutting."""

DOCSTART = "-DOCSTART-"
"""CoNLL-2003 writes it between documents; it is no sentence."""


@dataclass(frozen=True)
class Sentence:
    """Words, their tags (IOB2 after reading), and intents: none, one, or several."""

    words: tuple[str, ...]
    tags: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.words:
            raise CutawayError("a sentence has no words: leave it out")
        if self.tags and len(self.tags) != len(self.words):
            raise CutawayError(f"a sentence has {len(self.words)} words and {len(self.tags)} tags: give one tag a word")

    @property
    def intent(self) -> str:
        """All intents as one label, as ATIS writes them."""
        return "#".join(self.intents)

    def spans(self) -> list[schemes.Span]:
        return schemes.spans(self.tags)


def read_columns(
    path: str | Path, *, word: int = 0, tag: int = -1, separator: str | None = None, scheme: str = "guess"
) -> list[Sentence]:
    """A file of columns.

    Args:
        word, tag: which column has what, counted from 0; from the end if negative.
        separator: what parts the columns; any white space if None (then no column can be empty).
        scheme: that of the file; `guess` finds it out. Tags are IOB2 afterwards.

    Raises:
        CutawayError: no such file, not UTF-8, a line with too few columns, a tag that is none, no sentences.
    """
    path = Path(path)
    sentences: list[Sentence] = []
    for start, lines in _blocks(path):
        words, tags = [], []
        for n, line in enumerate(lines, start):
            columns = line.split(separator) if separator else line.split()
            if len(columns) < 2 and word != tag:
                raise CutawayError(
                    f"{path}, line {n}: a single column ({line.strip()[:30]!r}); give a word and its tag"
                )
            try:
                words.append(columns[word])
                tags.append(columns[tag])
                schemes.spans(tags[-1:])
            except IndexError:
                wanted = max(x + 1 if x >= 0 else -x for x in (word, tag))
                raise CutawayError(f"{path}, line {n}: {len(columns)} columns, at least {wanted} are needed") from None
            except CutawayError as error:
                raise CutawayError(f"{path}, line {n}: {error}") from error
        if words[0] != DOCSTART:
            sentences.append(_sentence(words, tags, (), f"{path}, line {start}"))
    return _in_iob2(sentences, scheme, path)


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
    sentences = []
    for n, (words, tags, label) in enumerate(zip(*columns, strict=True), 1):
        where = f"{folder}, line {n}"
        if not label.strip():
            raise CutawayError(f"{where}: no intent in {files[2].name}")
        try:
            schemes.spans(tags.split())
        except CutawayError as error:
            raise CutawayError(f"{where}: {error}") from error
        sentences.append(_sentence(words.split(), tags.split(), tuple(label.strip().split(several)), where))
    return _in_iob2(sentences, scheme, folder)


def write_columns(sentences: Sequence[Sentence], *, scheme: str = "IOB2") -> str:
    """The text of a file of two columns."""
    blocks = (
        "".join(f"{w}\t{t}\n" for w, t in zip(s.words, schemes.convert(s.tags, scheme), strict=True)) for s in sentences
    )
    return "\n".join(blocks)


def labels(sentences: Sequence[Sentence]) -> tuple[list[str], list[str]]:
    """The tags and the intents that occur, in order of the alphabet; `O` first."""
    tags = {tag for sentence in sentences for tag in sentence.tags} - {schemes.OUTSIDE}
    intents = {intent for sentence in sentences for intent in sentence.intents}
    return [schemes.OUTSIDE, *sorted(tags)], sorted(intents)


def _sentence(words: list[str], tags: list[str], intents: tuple[str, ...], where: str) -> Sentence:
    if len(words) > MOST_WORDS:
        raise CutawayError(
            f"{where}: {len(words)} words in one sentence, at most {MOST_WORDS}: is an empty line missing?"
        )
    try:
        return Sentence(tuple(words), tuple(tags), intents)
    except CutawayError as error:
        raise CutawayError(f"{where}: {error}") from error


def _in_iob2(sentences: list[Sentence], scheme: str, path: Path) -> list[Sentence]:
    if not sentences:
        raise CutawayError(f"{path} has no sentences: give a file with at least one")
    if scheme == "guess":
        try:
            schemes.guess(sentence.tags for sentence in sentences)
        except CutawayError as error:
            raise CutawayError(f"{path}: {error}") from error
    else:
        schemes.scheme(scheme)
    return [Sentence(s.words, tuple(schemes.convert(s.tags, "IOB2")), s.intents) for s in sentences]


def _blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines without an empty one between them, and the number of the first."""
    block: list[str] = []
    for n, line in enumerate([*text_lines(path), ""], 1):
        if line.strip():
            block.append(line)
        elif block:
            yield n - len(block), block
            block = []


def text_lines(path: Path) -> list[str]:
    """Of a text file: UTF-8 with or without a byte-order mark, any line ends."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise CutawayError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise CutawayError(f"{path} is a folder: give a file") from error
    except UnicodeDecodeError as error:
        raise CutawayError(f"{path} is not UTF-8 (byte {error.start}): convert it first") from error
    # not splitlines: it would also split at characters that may stand within a word
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines
