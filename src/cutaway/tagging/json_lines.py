"""Sentences as JSON lines, an object a line. They can say all that a sentence holds, spans within spans too.

    {"words": ["Bank", "of", "China"], "spans": [[0, 3, "ORG"], [2, 3, "LOC"]], "intents": ["ask"]}

A span is its first word, counted from 0, the word behind its last, and its type. A sentence with `"spans": []` has none; one
without "spans" was never marked, and nothing is learned of its spans or measured with them. The same holds for "intents".
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutaway.core.errors import CutawayError
from cutaway.core.text_files import text_lines
from cutaway.tagging.data import Sentence
from cutaway.tagging.intents import SEVERAL
from cutaway.tagging.schemes import Span

KEYS = ("words", "spans", "intents")


def read_json_lines(path: str | Path) -> list[Sentence]:
    """A file of JSON lines; empty lines are left out.

    Raises:
        CutawayError: no such file, no text, a line that is no such object, a span outside its sentence, or no sentences.
    """
    path, made = Path(path), []
    for n, line in enumerate(text_lines(path), 1):
        if not line.strip():
            continue
        try:
            made.append(_sentence(json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise CutawayError(f"{path}, line {n}: not JSON ({error}): write one object on each line") from error
        except CutawayError as error:
            raise CutawayError(f"{path}, line {n}: {error}") from error
    if not made:
        raise CutawayError(f"{path} has no sentences: give a file with at least one")
    return made


def write_json_lines(sentences: Sequence[Sentence]) -> str:
    """The text of a file of JSON lines, which reads as the same sentences."""
    return "".join(json.dumps(_told(sentence), ensure_ascii=False) + "\n" for sentence in sentences)


def _told(sentence: Sentence) -> dict[str, Any]:
    spans = {"spans": sentence.spans()} if sentence.tags else {}
    return {"words": sentence.words, **spans, **({"intents": sentence.intents} if sentence.intents else {})}


def _sentence(told: Any) -> Sentence:
    if not isinstance(told, dict) or "words" not in told:
        raise CutawayError('no sentence: write {"words": [...], "spans": [[start, end, type], ...], "intents": [...]}')
    if unknown := next((key for key in told if key not in KEYS), None):
        raise CutawayError(f"there is no {unknown!r}: known are {', '.join(KEYS)}")
    words, intents = _texts(told, "words"), _texts(told, "intents")
    if joined := next((intent for intent in intents if SEVERAL in intent), None):
        raise CutawayError(f"the intent {joined!r} has a {SEVERAL}: write several intents one by one")
    if "spans" not in told:
        return Sentence(words, (), intents)
    return Sentence.of(words, _spans(told["spans"]), intents)


def _texts(told: dict[str, Any], key: str) -> tuple[str, ...]:
    found = told.get(key, [])
    if not isinstance(found, list) or not all(isinstance(x, str) and x for x in found):
        raise CutawayError(f"{key} must be a list of texts, none of them empty")
    return tuple(found)


def _spans(told: Any) -> list[Span]:
    made = []
    for each in told if isinstance(told, list) else [told]:
        match each:
            case [int(start), int(end), str(kind)] if (
                kind and not isinstance(start, bool) and not isinstance(end, bool)
            ):
                made.append(Span(start, end, kind))
            case _:
                raise CutawayError(
                    f'{json.dumps(each)[:60]} is no span: write [start, end, type], such as [0, 2, "LOC"]'
                )
    return made
