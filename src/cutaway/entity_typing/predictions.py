"""Files of predictions, which are the types that something says of mentions, read so that they can be measured.

    types     an object a line, {"types": [...]}, in the order of the mentions; in any order with their ids,
              {"id": "…", "types": [...]}
    by id     one object for all, {"annot_id": {"pred": [...]}, …}
    LRN's     an object a line, as the Label Reasoning Network's are released: "pred_labels", "pred_fine_labels",
              "pred_ultra_fine_labels", in the order of the mentions, whose types stand beside them and must be the same

An empty list says nothing of a mention (28 of the Label Reasoning Network's 1,998 do), which costs recall and no precision. A type
that is said twice counts once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutaway.core.errors import CutawayError
from cutaway.entity_typing.data import Mention
from cutaway.entity_typing.layouts import names, parsed
from cutaway.entity_typing.reading import at, numbered
from cutaway.entity_typing.type_list import TypeList

LRN = ("labels", "fine_labels", "ultra_fine_labels")
DECODED = "pred_seq_labels"
"""What the decoder of the Label Reasoning Network said, without what its graph added."""

Said = tuple[str, ...]


def read_predictions(
    path: str | Path, mentions: Sequence[Mention], types: TypeList | None = None, *, decoded: bool = False
) -> list[Said]:
    """The types that a file says of each of these mentions, in their order.

    Args:
        types: a type that is not among these is an error; None: any will do.
        decoded: of the Label Reasoning Network's files, only what its decoder said.

    Raises:
        CutawayError: no such file, no text, a line that is no prediction, one too many or too few, an id that no mention or another
            prediction has, a type that is not in the list, or predictions of other mentions.
    """
    path = Path(path)
    lines = numbered(path)
    if not lines:
        raise CutawayError(f"{path} has no predictions: give one on each line")
    rows = [(n, at(path, n, parsed, line)) for n, line in lines]
    first = rows[0][1]
    if decoded and DECODED not in first:
        raise CutawayError(f"{path} has no {DECODED}: only files of the Label Reasoning Network say what was decoded")
    if len(rows) == 1 and first and all(isinstance(x, dict) and "pred" in x for x in first.values()):
        rows = [(rows[0][0], {"id": mine, "types": x["pred"]}) for mine, x in first.items()]
    found = [(n, row, at(path, n, _said, row, decoded)) for n, row in rows]
    if types is not None:
        for n, _, said in found:
            at(path, n, types.check, said)
    if any("id" in row for _, row, _ in found):
        return _by_id(path, found, mentions)
    if len(found) != len(mentions):
        raise CutawayError(
            f"{path} has {len(found)} predictions for {len(mentions)} mentions: give one for each, in order"
        )
    for (n, row, _), (i, mention) in zip(found, enumerate(mentions, 1), strict=True):
        at(path, n, _same, row, mention, i)
    return [said for _, _, said in found]


def _said(row: dict[str, Any], decoded: bool) -> Said:
    if "types" in row and not decoded:
        return names(row["types"], "types")
    keys = [DECODED] if decoded else [f"pred_{key}" for key in LRN if f"pred_{key}" in row]
    if not keys or not all(key in row for key in keys):
        raise CutawayError(
            f'no prediction: give {{"types": [...]}}, perhaps with an "id", or pred_{", pred_".join(LRN)}'
        )
    return tuple(dict.fromkeys(name for key in keys for name in names(row[key], key)))


def _same(row: dict[str, Any], mention: Mention, i: int) -> None:
    """That the types beside a prediction are those of the mention; nothing if there are none."""
    beside = [key for key in LRN if key in row]
    if beside and "pred_labels" in row:
        told = {name for key in beside for name in names(row[key], key)}
        if told != set(mention.types or ()):
            odd = sorted(told ^ set(mention.types or ()))
            raise CutawayError(
                f"the types differ from those of mention {i} ({', '.join(odd[:5])}): other data, or another order"
            )


def _by_id(path: Path, found: Sequence[tuple[int, dict[str, Any], Said]], mentions: Sequence[Mention]) -> list[Said]:
    known = {mention.id for mention in mentions if mention.id}
    told: dict[str, Said] = {}
    for n, row, said in found:
        mine = row.get("id", "")
        mine = str(mine) if type(mine) is int else mine  # as in files of mentions
        if not isinstance(mine, str) or not mine:
            raise CutawayError(f"{path}, line {n}: no id, but other lines have one: give it to all or to none")
        if mine not in known:
            raise CutawayError(f"{path}, line {n}: no mention has the id {mine!r}")
        if mine in told:
            raise CutawayError(f"{path}, line {n}: a second prediction for the id {mine!r}: leave one")
        told[mine] = said
    if missing := [mention for mention in mentions if mention.id not in told]:
        raise CutawayError(
            f"{path} says nothing of {len(missing)} of {len(mentions)} mentions (the first: {missing[0].id or missing[0]}): "
            "give a line to each, if only an empty list"
        )
    return [told[mention.id] for mention in mentions]
