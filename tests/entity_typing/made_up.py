"""A small made-up world of mentions, and files of it."""

import json
from collections.abc import Sequence
from pathlib import Path

from cutaway.entity_typing.data import Mention

TYPES = ("person", "place", "engine", "writer", "city")


def ultra_fine(mention: Mention) -> str:
    """A line of Ultra-Fine's files."""
    told = {
        "y_str": mention.types,
        "annot_id": mention.id,
        "mention_span": " ".join(mention.span),
        "right_context_token": mention.right,
        "left_context_token": mention.left,
    }
    return json.dumps(told)


def mentions(n: int = 6) -> list[Mention]:
    """Of Ada in London, with ids and one to three types each."""
    made = []
    for i in range(n):
        types = TYPES[i % 5 : i % 5 + 1 + i % 3]
        made.append(Mention(("Here",), ("Ada", str(i)), ("wrote", "."), types, f"m{i}"))
    return made


def put(path: Path, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def folder(place: Path, **parts: Sequence[Mention]) -> Path:
    """A data set with a type list, by default with all three parts."""
    for part, some in (parts or {"train": mentions(6), "dev": mentions(3), "test": mentions(4)}).items():
        put(place / f"{part}.json", [ultra_fine(mention) for mention in some])
    put(place / "types.txt", TYPES)
    return place
