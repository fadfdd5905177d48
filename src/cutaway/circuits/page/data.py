"""What the page's script knows: the numbers behind every figure, and all that was measured of every head, as one JSON text.

Patterns and letter matrices have one character a value (`packed.py`); where a model has so many heads that they would not
fit, there are fewer prompts, and letter matrices of the circuit's heads only.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cutaway.circuits.page.curve import Curve
from cutaway.circuits.page.edges import links
from cutaway.circuits.page.heat import HeatMap
from cutaway.circuits.page.marks import mark
from cutaway.circuits.page.packed import packed, packed_signed
from cutaway.circuits.read import Point, Record

ROOM = 1_300_000
"""Characters for patterns, and as many for letter matrices: the page of a model of 270 heads stays below 3 MB."""


MOST = 2_000
"""Edges, the strongest; the run's own file has them all."""


def data(record: Record, maps: Iterable[HeatMap], curves: Sequence[Curve]) -> str:
    """The JSON text, safe between `<script>` tags."""
    known = {
        "steps": record.steps,
        "shape": [record.n_layers, record.n_heads],
        "roles": record.attention_roles,
        "corruptions": {f"heads-{i}": name for i, name in enumerate(record.heads, 1)},
        "prompts": [_prompt(prompt) for prompt in record.prompts[: _n_patterns(record)]],
        "patterns": _patterns(record),
        "heads": _heads(record),
        "circuit": {str(head.site): _member(head) for head in record.circuit.heads},
        "edges": [[e.sender, e.receiver, e.channel, *map(_point, e.points)] for e in links(record)[:MOST]],
        "letters": _letters(record),
        "figures": {m.grid.id: _grid(m) for m in maps} | {c.id: _curve(c) for c in curves},
    }
    text = json.dumps(known, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # inside a string, `<` may be written so; then no text can end the element it stands in
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def short(x: float | None) -> float | None:
    """Four digits; None if it is no finite number."""
    return None if x is None or not math.isfinite(x) else float(f"{x:.4g}")


def _point(point: Point) -> list | None:
    """Mean, low, high; the mean alone where there is no interval."""
    if point is None:
        return None
    mean, low, high = map(short, point)
    return [mean] if low == mean == high else [mean, low, high]


def _grid(m: HeatMap) -> dict:
    grid = m.grid
    return {
        "rows": grid.rows,
        "columns": grid.columns,
        "down": grid.down,
        "across": grid.across,
        "called": grid.called,
        "heads": grid.heads,
        "place": [round(m.left, 1), round(m.top, 1), round(m.side, 2)],
        "points": [[_point(p) for p in row] for row in grid.points],
    }


def _curve(c: Curve) -> dict:
    steps = c.steps
    rows = [[name, *(_point(p) or [])] for name, p in zip(steps.names, steps.points, strict=True)]
    rows += [["whole model", short(steps.whole)]]
    rows += [[f"random circuit {i}", short(x)] for i, x in enumerate(steps.random, 1)]
    return {"header": ["circuit", "logit difference", "low", "high"], "table": rows}


def _prompt(prompt: dict) -> dict:
    tokens = prompt["tokens"]
    return {
        "tokens": [token["token"] for token in tokens],
        "roles": [token["role"] for token in tokens],
        "answer": prompt["answer"],
        "scored": prompt.get("scored", []),
        "shared": prompt.get("shared", 0),
    }


# --- heads ---------------------------------------------------------------------------------------------------------


def _heads(record: Record) -> dict[str, list]:
    """By head, layer after layer: what it writes and copies at each step, and where each step looks, role by role."""
    direct = [[record.direct.get((site, step), {}) for step in record.steps] for site in record.every_head]
    looks = [[record.attention.get((site, step)) for step in record.steps] for site in record.every_head]
    return {
        "direct": [[short(d.get("direct_logit_diff")) for d in of] for of in direct],
        "copies": [[short(d.get("copy_top")) for d in of] for of in direct],
        "previous": [short(of[0].get("attention_previous")) for of in direct],
        "first": [short(of[0].get("attention_first")) for of in direct],
        "attention": [
            [[short(look.get(role)) for role in record.attention_roles] for look in of if look] or None for of in looks
        ],
    }


def _member(head) -> dict:
    look = mark(head.role)
    return {
        "role": head.role,
        "kind": look.kind,
        "letter": look.letter,
        "outline": look.outline,
        "evidence": [[name, short(x)] for name, x in head.evidence.items()],
        "dropped": [_point(p) for p in head.dropped],
    }


# --- patterns and letters ------------------------------------------------------------------------------------------


def _n_patterns(record: Record) -> int:
    """Prompts whose patterns have room."""
    if record.patterns is None:
        return 0
    n_prompts, n_layers, n_heads, width, _ = record.patterns.shape
    return min(n_prompts, max(1, ROOM // (n_layers * n_heads * width * (width + 1) // 2)))


def _patterns(record: Record) -> list[list[str]]:
    """For each prompt and head the rows of its tokens behind the shared ones, each up to itself."""
    if record.patterns is None:
        return []
    made = []
    for n, prompt in enumerate(record.prompts[: _n_patterns(record)]):
        width, shared = len(prompt["tokens"]), prompt.get("shared", 0)
        below = np.tril(np.ones((width, width), dtype=bool))
        below[:shared] = False
        chosen = record.patterns[n, :, :, :width, :width].astype(np.float32)[..., below]
        made.append([packed(row) for row in chosen.reshape(-1, chosen.shape[-1])])
    return made


def _letters(record: Record) -> dict[str, Any] | None:
    """Head → its scale and four quadrants; with the copying scores."""
    if record.ov is None or record.copying_of_all is None:
        return None
    n_layers, n_heads, size, _ = record.ov.shape
    inside = {str(site) for site in record.circuit.sites}
    every = n_layers * n_heads * size * size <= ROOM
    matrices = {}
    for i, site in enumerate(record.every_head):
        matrix = record.ov[i // n_heads, i % n_heads].astype(np.float32)
        limit = float(np.abs(matrix).max())
        if every or site in inside:
            matrices[site] = [short(limit), packed_signed(matrix, limit)]
    return {
        "matrices": matrices,
        "copying": [[short(x) for x in of] for of in record.copying_of_all.reshape(-1, 2).tolist()],
    }
