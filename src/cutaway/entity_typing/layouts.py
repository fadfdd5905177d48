"""The ways mentions are written on lines, and how each is read.

    Ultra-Fine   an object a line, a mention each: "left_context_token", "mention_span", "right_context_token", "y_str", "annot_id"
    spans        an object a line, a sentence each: "tokens", and "mentions" with "start", "end", "labels"
    columns      a mention a line between tabs: start and end, the sentence, its types, perhaps features
    marked       a sentence a line, its mention between <e> and </e>; perhaps a tab and its types between commas

*Ultra-Fine*, as Choi et al. 2018 publish their crowd-sourced mentions, their distant supervision and their version of OntoNotes.
*Spans*, as the corpora of Ren et al. 2016 (AFET, arXiv 1602.05307; OntoNotes, FIGER's Wiki, BBN) are passed on: `end` is the word
behind the mention's last. *Columns*, as those of Shimaoka et al. 2017 (arXiv 1606.01341) are: words and types between blanks.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from cutaway.core.errors import CutawayError
from cutaway.entity_typing.data import Mention, marked

COLUMNS = re.compile(r"\s*\d{1,9}\s+\d{1,9}\s*\t")
"""How a line of columns begins."""


def layout(line: str) -> Callable[[str], list[Mention]]:
    """What reads lines such as this, the first of its file."""
    if line.lstrip()[:1] in ("{", "["):
        return _object
    return _columns if COLUMNS.match(line) else _marked


def parsed(line: str) -> dict[str, Any]:
    """An object of a line.

    Raises:
        CutawayError: it is no JSON, or no object.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CutawayError(f"not JSON ({error}): write one object on each line") from error
    if not isinstance(told, dict):
        raise CutawayError(f"a JSON {type(told).__name__}, where an object is wanted: write one on each line")
    return told


def names(told: Any, what: str) -> tuple[str, ...]:
    """A list of texts, each once.

    Raises:
        CutawayError: it is none, or one of them is empty.
    """
    if not isinstance(told, list) or not all(isinstance(x, str) and x.strip() for x in told):
        raise CutawayError(f"{what} must be a list of texts, none of them empty, not {json.dumps(told)[:60]}")
    return tuple(dict.fromkeys(told))


def _object(line: str) -> list[Mention]:
    told = parsed(line)
    if "mention_span" in told:
        return [_ultra_fine(told)]
    if "tokens" in told and "mentions" in told:
        return _spans(told)
    raise CutawayError(
        'no mention: give "left_context_token", "mention_span", "right_context_token" and "y_str", or "tokens" and "mentions"'
    )


def _ultra_fine(told: dict[str, Any]) -> Mention:
    span, mine = told["mention_span"], told.get("annot_id", "")
    if not isinstance(span, str):
        raise CutawayError(f"mention_span must be a text, not {json.dumps(span)[:60]}")
    if not isinstance(mine, str | int) or isinstance(mine, bool):
        raise CutawayError(f"annot_id must be a text, not {json.dumps(mine)[:60]}")
    left, right = (_words(told.get(side), side) for side in ("left_context_token", "right_context_token"))
    types = names(told["y_str"], "y_str") if "y_str" in told else None
    return Mention(left, tuple(span.split()), right, types, str(mine))


def _spans(told: dict[str, Any]) -> list[Mention]:
    words, made = _words(told["tokens"], "tokens"), []
    if not isinstance(told["mentions"], list):
        raise CutawayError("mentions must be a list of objects")
    for each in told["mentions"]:
        match each:
            case {"start": int(start), "end": int(end)} if not isinstance(start, bool) and not isinstance(end, bool):
                types = names(each["labels"], "labels") if "labels" in each else None
                made.append(_cut(words, start, end, types))
            case _:
                raise CutawayError(f'{json.dumps(each)[:60]} is no mention: give "start", "end" and "labels"')
    return made


def _columns(line: str) -> list[Mention]:
    columns = line.split("\t")
    if len(columns) not in (3, 4) or not COLUMNS.match(line):
        raise CutawayError(f"{len(columns)} columns: give start and end, the sentence and its types, with tabs between")
    start, end = map(int, columns[0].split())
    return [_cut(tuple(columns[1].split()), start, end, tuple(dict.fromkeys(columns[2].split())))]


def _marked(line: str) -> list[Mention]:
    text, tab, told = line.partition("\t")
    mention = marked(text)
    if not tab:
        return [mention]
    types = tuple(dict.fromkeys(name.strip() for name in told.split(",") if told.strip()))
    return [Mention(mention.left, mention.span, mention.right, types)]


def _cut(words: tuple[str, ...], start: int, end: int, types: tuple[str, ...] | None) -> Mention:
    if not 0 <= start < end <= len(words):
        raise CutawayError(
            f"a mention from word {start} to {end} of {len(words)}: its end is behind its start, within them"
        )
    return Mention(words[:start], words[start:end], words[end:], types)


def _words(told: Any, what: str) -> tuple[str, ...]:
    if not isinstance(told, list) or not all(isinstance(x, str) for x in told):
        raise CutawayError(f"{what} must be a list of texts, not {json.dumps(told)[:60]}")
    return tuple(told)
