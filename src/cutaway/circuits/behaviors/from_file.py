"""A behaviour of your own from a JSON Lines or CSV file; docs/add-a-behaviour.md shows one from start to end.

    {"prompt": "The capital of {country:France} is", "answer": " Paris", "alternatives": [" Rome", " Berlin"],
     "corrupted": {"other country": "The capital of {country:Italy} is"}}

Prompt and answer are tokenised as one text, and every span must begin and end where tokens do.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cutaway.circuits.behavior import Behavior, Row, Sample, Segment, Variant, assemble, check
from cutaway.circuits.behaviors.marked import Piece, cut, parse, plain
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

FIELDS = ("prompt", "answer", "alternatives", "corrupted")
OPTIONAL = ("reference", "sources")
CORRUPTED = "corrupted:"
"""What the name of a CSV column begins with that holds corrupted prompts; the corruption's name follows."""


def read_behavior(path: str | Path, tokenizer: Tokenizer, *, name: str | None = None) -> Behavior:
    """The behaviour that a `.jsonl` or `.csv` file describes, one prompt a line.

    Args:
        name: what it is called; the file's name if None.

    Raises:
        CutawayError: what is wrong, in which file, on which line, and what to do.
    """
    path = Path(path)
    content = _content(path)
    samples, said = _samples(path, content, tokenizer)
    first = next(iter(samples.values()))
    reference, line = _agreed(said["reference"], "reference", list(first.corrupted)[-1])
    if reference not in first.corrupted:
        known = ", ".join(first.corrupted)
        raise CutawayError(f"{line}: the reference {reference!r} is none of the corruptions {known}")
    return assemble(
        name or path.stem,
        list(samples.values()),
        about=f"the prompts of {path.name}",
        corruptions={corruption: f"the prompts given as {corruption!r}" for corruption in first.corrupted},
        reference=reference,
        recipe={"behavior": "file", "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        sources=_sources(_agreed(said["sources"], "sources", [])[0], samples),
    )


def _samples(path: Path, content: str, tokenizer: Tokenizer) -> tuple[dict[str, Sample], dict[str, dict[str, str]]]:
    """Samples by the line they are from; and for each optional field what is said of it (as JSON), and where first."""
    samples: dict[str, Sample] = {}
    said: dict[str, dict[str, str]] = {field: {} for field in OPTIONAL}
    for line, entry in (_csv if path.suffix.lower() == ".csv" else _jsonl)(path, content):
        try:
            sample = _sample(_validated(entry), tokenizer)
        except CutawayError as error:
            raise CutawayError(f"{line}: {error}") from error
        check(sample, next(iter(samples.values()), sample), line)
        samples[line] = sample
        for field in [field for field in OPTIONAL if field in entry]:
            said[field].setdefault(json.dumps(entry[field]), line)
    if not samples:
        raise CutawayError(f"{path} has no prompts: write one a line, as docs/add-a-behaviour.md shows")
    return samples, said


def _agreed(said: dict[str, str], field: str, default: Any) -> tuple[Any, str]:
    """What the lines say of a field that is the same for all, or the default; and the line that says it."""
    for value, line in said.items():
        if value != next(iter(said)):
            raise CutawayError(f"{line}: {field!r} is {value}, before it was {next(iter(said))}: give one for all")
    return next(((json.loads(value), line) for value, line in said.items()), (default, ""))


def _sources(roles: list[str], samples: dict[str, Sample]) -> tuple[str, ...]:
    """The role that each answer token is made from; every prompt must have it."""
    for line, sample in samples.items() if roles else ():
        if len(roles) != len(sample.answer):
            raise CutawayError(
                f"{line}: {len(roles)} sources for {len(sample.answer)} answer tokens; name one role for each"
            )
        if missing := [role for role in roles if role not in [segment.role for segment in sample.row]]:
            raise CutawayError(f"{line}: the source {missing[0]!r} is not marked in the prompt")
    return tuple(roles)


# --- from the file to entries ----------------------------------------------------------------------------------------


def _content(path: Path) -> str:
    r"""The text of the file, without a byte order mark, its lines ended by `\n`."""
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise CutawayError(f"{path} is no file of prompts: give one that ends in .jsonl or .csv")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise CutawayError(f"{path} does not exist: give the .jsonl or .csv file of a behaviour") from error
    except UnicodeDecodeError as error:
        raise CutawayError(f"{path} is not UTF-8 (at byte {error.start}): save it as UTF-8") from error


def _jsonl(path: Path, content: str) -> Iterator[tuple[str, dict]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise CutawayError(f"{path}, line {number}: no JSON ({error}); write one object a line") from error
        if not isinstance(entry, dict):
            raise CutawayError(f"{path}, line {number}: no JSON object; write {{…}} with {', '.join(FIELDS)}")
        yield f"{path}, line {number}", entry


def _csv(path: Path, content: str) -> Iterator[tuple[str, dict]]:
    """Cells hold text; lists are JSON, or (but for an answer) have `|` between."""
    rows = csv.DictReader(io.StringIO(content), strict=True, restval="")
    try:
        names = list(rows.fieldnames or ())
        if twice := [name for name in names if names.count(name) > 1]:
            raise CutawayError(f"{path}, line 1: two columns are named {twice[0]!r}; rename one")
        for row in rows:
            line = f"{path}, line {rows.reader.line_num}"
            if None in row:
                raise CutawayError(f"{line}: more cells than the first line has names; quote cells that hold a comma")
            entry = {name: cell for name, cell in row.items() if not name.startswith(CORRUPTED)}
            corrupted = {name.removeprefix(CORRUPTED): cell for name, cell in row.items() if name.startswith(CORRUPTED)}
            for name in [name for name in OPTIONAL if not entry.get(name)]:
                entry.pop(name, None)
            for name in {"answer", "alternatives", "sources"} & entry.keys():
                entry[name] = _cell(entry[name], line, split=name != "answer")
            yield line, entry | ({"corrupted": corrupted} if corrupted else {})
    except csv.Error as error:
        raise CutawayError(f"{path}, line {rows.reader.line_num}: no CSV ({error}); close its quotes") from error


def _cell(cell: str, line: str, *, split: bool) -> str | list:
    try:
        if cell.startswith("["):
            return json.loads(cell)
        return cell.split("|") if split else cell
    except json.JSONDecodeError as error:
        raise CutawayError(f"{line}: {cell!r} begins like a JSON list and is none ({error})") from error


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _list_of(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(kind, value))


_texts = _list_of(_text)
_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "prompt": (_text, "a text that is not empty"),
    "answer": (lambda value: _text(value) or _texts(value), "a text that is not empty, or a list of such, one a token"),
    "alternatives": (
        lambda value: _texts(value) or _list_of(_texts)(value),
        "a list of other answers, or for each token of the answer a list of other tokens; none of them empty",
    ),
    "corrupted": (
        lambda value: isinstance(value, dict) and bool(value) and all(map(_text, [*value, *value.values()])),
        "one corrupted prompt or more by name, none of them empty",
    ),
    "reference": (_text, "the name of a corruption"),
    "sources": (_texts, "a list of roles, for each token of the answer the one that it is made from"),
}


def _validated(entry: dict) -> dict:
    """The entry, if its fields are there and are what they must be."""
    if missing := [field for field in FIELDS if field not in entry]:
        raise CutawayError(
            f"{missing[0]!r} is missing: every line needs {', '.join(FIELDS)} (in CSV, columns named {CORRUPTED}NAME)"
        )
    for field, value in entry.items():
        if field not in _RULES:
            raise CutawayError(f"{field!r} is not known: fields are {', '.join(FIELDS + OPTIONAL)}")
        holds, rule = _RULES[field]
        if not holds(value):
            raise CutawayError(f"{field!r} is {value!r}: it must be {rule}")
    return entry


# --- from an entry to a sample ---------------------------------------------------------------------------------------


def _sample(entry: dict, tokenizer: Tokenizer) -> Sample:
    said = entry["answer"]
    # the tokens of a list are marked pieces, each of which must be one token
    pieces = [Piece("answer", said)] if isinstance(said, str) else [Piece("answer", text, marked=True) for text in said]
    prompt = parse(entry["prompt"])
    row, answer = _row(prompt, pieces, tokenizer)
    corrupted: dict[str, tuple[Variant, ...]] = {}
    for name, marked in entry["corrupted"].items():
        other = parse(marked)
        ours, theirs = (", ".join(p.role for p in some if p.marked) or "nothing" for some in (prompt, other))
        if ours != theirs:
            raise CutawayError(
                f"corruption {name!r} marks {theirs}, the prompt {ours}: mark the same spans in the same order"
            )
        other_row, same = _row(other, pieces, tokenizer)
        if same != answer:
            raise CutawayError(
                f"corruption {name!r}: the answer is cut into other tokens after it than after the prompt"
            )
        corrupted[name] = (Variant(tuple(range(len(answer))), other_row),)
    given = entry["alternatives"]
    alternatives = _other_answers if isinstance(given[0], str) else _other_tokens
    others = alternatives(given, plain(prompt), plain(pieces), answer, tokenizer)
    return Sample(plain(prompt), row, answer, others, corrupted)


def _row(prompt: Sequence[Piece], answer: Sequence[Piece], tokenizer: Tokenizer) -> tuple[Row, tuple[int, ...]]:
    """The prompt in segments, with the answer's tokens but the last fed back; and the tokens of the answer."""
    cuts = cut([*prompt, *answer], tokenizer)
    asked, told = cuts[: len(prompt)], cuts[len(prompt) :]
    for piece, ids in zip(answer, told, strict=True):
        if piece.marked and len(ids) != 1:
            raise CutawayError(f"{piece.text!r} of the answer is {len(ids)} tokens: a list must name them one by one")
    if not any(asked):
        raise CutawayError("the prompt has no token before the answer: give some text")
    segments = [Segment(piece.role, ids) for piece, ids in zip(prompt, asked, strict=True) if ids]
    ids = tuple(i for part in told for i in part)
    return (*segments, *(Segment(f"answer {i}", (token,)) for i, token in enumerate(ids[:-1], 1))), ids


def _other_answers(
    given: list[str], prompt: str, answer: str, ids: tuple[int, ...], tokenizer: Tokenizer
) -> tuple[tuple[int, ...], ...]:
    """Step by step the tokens of whole other answers, where they differ from the answer's."""
    others = [cut([Piece("prompt", prompt), Piece("alternative", text)], tokenizer)[1] for text in given]
    for text, other in zip(given, others, strict=True):
        if len(other) != len(ids):
            raise CutawayError(
                f"the alternative {text!r} is {len(other)} tokens, the answer {answer!r} {len(ids)}: make them equal"
            )
        if other == ids:
            raise CutawayError(f"the alternative {text!r} is the answer itself: give another")
    steps = [tuple(dict.fromkeys(other[i] for other in others if other[i] != ids[i])) for i in range(len(ids))]
    if () in steps:
        raise CutawayError(
            f"no alternative differs from the answer {answer!r} at its token {steps.index(()) + 1}: give one that does"
        )
    return tuple(steps)


def _other_tokens(
    given: list[list[str]], prompt: str, answer: str, ids: tuple[int, ...], tokenizer: Tokenizer
) -> tuple[tuple[int, ...], ...]:
    """The tokens named for each step: as they are cut after the answer so far, or else by themselves."""
    if len(given) != len(ids):
        raise CutawayError(
            f"alternatives are given for {len(given)} tokens, but the answer {answer!r} is {len(ids)}: give a list for each"
        )
    encoded = tokenizer.encode_spans(prompt + answer)
    n = len(encoded.ids) - len(ids)
    steps = []
    for i, texts in enumerate(given):
        before = (prompt + answer)[: encoded.spans[n + i - 1][1]] if i else prompt
        step = [_next_token(before, text, encoded.ids[: n + i], tokenizer) for text in texts]
        if ids[i] in step:
            raise CutawayError(
                f"the alternative {texts[step.index(ids[i])]!r} is token {i + 1} of the answer: give another"
            )
        steps.append(tuple(dict.fromkeys(step)))
    return tuple(steps)


def _next_token(before: str, text: str, ids: list[int], tokenizer: Tokenizer) -> int:
    whole = tokenizer.encode(before + text)
    token = whole[-1] if whole[:-1] == ids else tokenizer.single(text)
    if token is None:
        raise CutawayError(f"the alternative {text!r} is not one token: give one, or list whole answers")
    return token
