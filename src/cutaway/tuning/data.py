"""Texts with what is to be said of them, read from plain files. Whatever is wrong is told with file and line.

    .tsv    columns between tabs under a line of names; quotation marks are literal, as GLUE has them
    .csv    the same between commas (or semicolons), quoted as CSV is
    .jsonl  an object a line: "text", perhaps "pair", and "label", "score" or "target"
    .txt    each line a text to be continued from nothing; or a table as above, if it begins with names between tabs

What a column is, its name says (`NAMES`); others are ignored. Two of GLUE's files (Wang et al. 2019, arXiv 1804.07461) have no
names and are known by their layout: CoLA's (source, label, the linguist's mark, sentence) and STS-B's (genre, file, year, number,
score, two sentences, perhaps more). Texts in tables lose the blanks around them; those in JSON lines and plain text keep them.
"""

import csv
import difflib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cutaway.core.errors import CutawayError
from cutaway.core.text_files import text_lines

NAMES = {
    "text": ("text", "sentence", "sentence1", "premise", "question", "question1", "#1 string"),
    "pair": ("pair", "text_pair", "sentence2", "hypothesis", "question2", "#2 string"),
    "label": ("label", "gold_label", "quality", "is_duplicate"),
    "score": ("score", "similarity"),
    "target": ("target",),
}
"""What columns may be called, in small letters."""

KINDS = {"label": "labels", "score": "scores", "target": "text"}
"""What answers of a file make it; without any it has no kind."""


@dataclass(frozen=True)
class Example:
    """A text, or two, and the answer: a class name, a score, or what is to be written after `text`. None where nobody knows.

    Raises:
        CutawayError: a text or an answer that is empty, is no text, or is no number. Only what is to be continued may be empty.
    """

    text: str
    pair: str | None = None
    answer: str | float | None = None

    def __post_init__(self):
        told = {"text": self.text, "pair": self.pair, "answer": self.answer}
        for name, x in told.items():
            if isinstance(x, float) and not math.isfinite(x):
                raise CutawayError(f"the score is {x}: give a number")
            if isinstance(x, str) and not x.strip() and not (name == "text" and isinstance(self.answer, str)):
                raise CutawayError(f"the {name} is empty: fill it, or leave the example out")
        try:
            "".join(x for x in told.values() if isinstance(x, str)).encode()
        except UnicodeEncodeError as error:
            raise CutawayError(
                f"{error.object[max(0, error.start - 9) : error.end]!r} is not text: give UTF-8"
            ) from error


@dataclass(frozen=True)
class Part:
    """What a file holds."""

    examples: tuple[Example, ...]
    kind: str | None
    """labels, scores or text; None if there are no answers."""
    layout: str
    """How it was written: columns, cola, stsb, json or plain."""


def read_file(path: str | Path) -> Part:
    """Examples from a file of any of the formats above.

    Raises:
        CutawayError: no such file, or not of a kind that is known; no column for the text; lines with other columns than the first;
            an example that is none, an answer of another kind than those before; or no examples.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS and not path.is_dir() and path.exists():
        raise CutawayError(f"{path} is of no kind that can be read: give {', '.join(READERS)}")
    lines = text_lines(path)
    if not any(map(str.strip, lines)):
        raise CutawayError(f"{path} is empty: give a file with at least one example")
    layout, rows = READERS[path.suffix.lower()](path, lines)
    first, examples = None, []
    for n, said in rows:
        role = next((role for role in KINDS if role in said), None)
        if examples and role != first:
            before = f"a {first}" if first else "no answers"
            raise _wrong(
                path, n, f"a {role or 'line without an answer'}, but {before} in the lines before: keep to one"
            )
        try:
            examples.append(_example(role, said))
        except CutawayError as error:
            raise _wrong(path, n, str(error)) from error
        first = role
    if not examples:
        raise CutawayError(f"{path} has names of columns and no examples: give at least one")
    _check_labels(path, first, examples)
    return Part(tuple(examples), KINDS[first] if first else None, layout)


class _Row(NamedTuple):
    """A line, from 1, and what it says by role."""

    line: int
    said: dict[str, Any]


Cells = Iterable[tuple[int, list[str]]]
Rows = tuple[str, Iterator[_Row]]


def _example(role: str | None, said: dict[str, Any]) -> Example:
    text, pair, answer = said["text"], said.get("pair"), said.get(role or "")
    if role == "target" and pair is not None:
        raise CutawayError("a target follows one text: leave the pair out, or put both into the text")
    if role != "target" and not text.strip():
        raise CutawayError("the text is empty: fill it, or leave the example out")
    if isinstance(answer, str) and role != "score" and not answer.strip():
        raise CutawayError(f"the {role} is empty: fill it, or leave it out of the whole file")
    return Example(text, pair, _number(answer) if role == "score" else answer)


def _number(x: Any) -> float:
    try:
        return float(x)
    except (ValueError, OverflowError):
        raise CutawayError(f"the score {str(x)[:30]!r} is no number") from None


def _check_labels(path: Path, role: str | None, examples: Sequence[Example]) -> None:
    """Raises `CutawayError` if the labels are scores: all of them numbers, and some not whole."""
    if role != "label":
        return
    try:
        odd = next((x for x in [float(str(e.answer)) for e in examples] if not x.is_integer()), None)
    except ValueError:
        return
    if odd is not None:
        raise CutawayError(f"{path}: all labels are numbers, such as {odd}: call them score, or give names of classes")


# --- tables ---------------------------------------------------------------------------------------------------------------


def _tabs(path: Path, lines: Sequence[str]) -> Rows:
    """Of columns between tabs: named, or in one of GLUE's two layouts without names."""
    cells = [(n, line.split("\t")) for n, line in enumerate(lines, 1) if line.strip(" ")]
    first = cells[0][1]
    if _has_names(first):
        return "columns", _named(path, cells)
    if _is_cola(first):
        return "cola", _placed(path, cells, _is_cola, {"label": 1, "text": 3})
    if _is_stsb(first):
        return "stsb", _placed(path, cells, _is_stsb, {"score": 4, "text": 5, "pair": 6})
    raise _no_text(path, *cells[0])


def _commas(path: Path, lines: Sequence[str]) -> Rows:
    """Of proper CSV; what is called so and has tabs, as STS-B does, is read as what it is."""
    if "\t" in lines[0]:
        return _tabs(path, lines)
    comma = max(",;", key=lines[0].count)
    return "columns", _named(path, _quoted(path, lines, comma))


def _lines(path: Path, lines: Sequence[str]) -> Rows:
    """Of plain text; or of a table, if the first line has the names of columns."""
    tabs = {line.count("\t") for line in lines if line.strip(" ")}
    first = next(line for line in lines if line.strip()).split("\t")
    if len(first) > 1 and (_has_names(first) or tabs == {len(first) - 1}):
        return _tabs(path, lines)
    return "plain", (_Row(n, {"text": "", "target": line}) for n, line in enumerate(lines, 1) if line.strip())


def _quoted(path: Path, lines: Sequence[str], comma: str) -> Iterator[tuple[int, list[str]]]:
    """Cells of CSV with the line where each row begins; a quoted cell may go over several."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=comma, strict=True)
    begins = 1
    try:
        for cells in reader:
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise _wrong(path, begins, f'not CSV ({error}): put texts with commas or "" between "…"') from error


def _named(path: Path, cells: Cells) -> Iterator[_Row]:
    """Rows under a line of names."""
    rows = iter(cells)
    line, header = next(rows)
    places = _places(path, line, header)
    for n, row in rows:
        if len(row) != len(header):
            raise _wrong(
                path, n, f"{len(row)} columns, but {len(header)} names in line {line}: give every line as many"
            )
        yield _Row(n, {role: row[i].strip() for role, i in places.items()})


def _placed(path: Path, cells: Cells, fits: Callable[[Sequence[str]], bool], places: dict[str, int]) -> Iterator[_Row]:
    """Rows of a layout without names."""
    for n, row in cells:
        if not fits(row):
            raise _wrong(path, n, f"not as the lines before: {len(row)} columns, of which the first are {_some(row)}")
        yield _Row(n, {role: row[i].strip() for role, i in places.items()})


def _has_names(cells: Sequence[str]) -> bool:
    return not {cell.strip().lower() for cell in cells}.isdisjoint(NAMES["text"])


def _is_cola(cells: Sequence[str]) -> bool:
    return len(cells) == 4 and cells[1] in ("0", "1") and not cells[2].strip("*? ")


def _is_stsb(cells: Sequence[str]) -> bool:
    """The year says that it is no other table; whether the score is a number is told where it is read."""
    return len(cells) >= 7 and cells[2][:4].isdecimal() and cells[4][:1].isdecimal()


def _places(path: Path, line: int, header: Sequence[str]) -> dict[str, int]:
    """Where each role is; raises `CutawayError` if the text is nowhere, or something is said twice."""
    names = [cell.strip().lower() for cell in header]
    found = {role: [x for x in called if x in names] for role, called in NAMES.items()}
    if found["text"] == ["sentence", "question"] and not found["pair"]:
        found |= {"text": ["question"], "pair": ["sentence"]}  # QNLI: does the sentence answer the question?
    if not found["text"]:
        raise _no_text(path, line, header)
    answers = [x for role in KINDS for x in found[role]]
    for several in (found["text"], found["pair"], answers, [x for x in names if names.count(x) > 1 and x]):
        if len(several) > 1:
            raise _wrong(path, line, f"the columns {' and '.join(several)} say the same thing: leave one")
    return {role: names.index(some[0]) for role, some in found.items() if some}


def _no_text(path: Path, line: int, cells: Sequence[str]) -> CutawayError:
    near = [close for x in cells for close in difflib.get_close_matches(x.strip().lower(), NAMES["text"], 1)]
    hint = f" (did you mean {near[0]}?)" if near else ""
    would = ", ".join(NAMES["text"])
    return _wrong(path, line, f"no column has the text: there are {_some(cells)}; one of {would} would do{hint}")


def _some(cells: Sequence[str]) -> str:
    return ", ".join(repr(x[:30]) for x in cells[:6]) + (" …" if len(cells) > 6 else "")


# --- JSON lines -----------------------------------------------------------------------------------------------------------


def _json(path: Path, lines: Sequence[str]) -> Rows:
    return "json", (_Row(n, _object(path, n, line)) for n, line in enumerate(lines, 1) if line.strip())


def _object(path: Path, n: int, line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, n, f"not JSON ({error}): write one object on each line") from error
    if not isinstance(told, dict):
        raise _wrong(path, n, 'no object: write {"text": "…", "label": "…"}')
    if unknown := next((key for key in told if key not in NAMES), None):
        near = difflib.get_close_matches(unknown, NAMES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise _wrong(path, n, f"there is no {unknown[:30]!r}: known are {', '.join(NAMES)}{hint}")
    said = {key: x for key, x in told.items() if x is not None}
    if "text" not in said:
        raise _wrong(path, n, 'no "text"')
    if len(several := [role for role in KINDS if role in said]) > 1:
        raise _wrong(path, n, f"{' and '.join(several)}: an example has one answer")
    for key, x in said.items():
        said[key] = _value(path, n, key, x)
    return said


def _value(path: Path, n: int, key: str, x: Any) -> str | int | float:
    """A value of the type that its key wants; labels as texts."""
    if key == "score" and type(x) in (int, float):
        return x
    if key == "label" and type(x) in (int, bool):
        return str(x).lower()
    if key != "score" and isinstance(x, str):
        return x.strip() if key == "label" else x
    wanted = {"score": "a number", "label": "a text, a whole number, or true or false"}.get(key, "a text")
    raise _wrong(path, n, f"{key} is {json.dumps(x)[:40]}: give {wanted}")


READERS = {".tsv": _tabs, ".csv": _commas, ".jsonl": _json, ".txt": _lines}
"""By the ending of the file's name."""


def _wrong(path: Path, line: int, why: str) -> CutawayError:
    return CutawayError(f"{path}, line {line}: {why}")
