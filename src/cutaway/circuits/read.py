"""A run folder read back: all that the figures and the page know. Numbers that are not finite become None."""

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load

from cutaway.circuits.circuit import Circuit
from cutaway.core.errors import CutawayError
from cutaway.decoder import Site, parse_site

Point = tuple[float, float, float] | None
"""Mean, low and high; None where nothing was measured."""


@dataclass(frozen=True)
class Effects:
    """One effect map of the folder: the convention, and a point for every (site, role, step) that was measured."""

    convention: dict
    points: dict[tuple[str, str, str], Point]

    @property
    def corruption(self) -> str:
        return self.convention["corruption"]

    @property
    def steps(self) -> tuple[str, ...]:
        """The answer steps that this corruption says something about."""
        return tuple(dict.fromkeys(step for (_, _, step), point in self.points.items() if point))

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(role for _, role, _ in self.points))

    @property
    def largest(self) -> float:
        """The largest |mean|: the end of the colour scale (0 if there are no points)."""
        return max((abs(point[0]) for point in self.points.values() if point), default=0.0)

    def of(self, site: str, step: str, role: str = "all") -> Point:
        return self.points.get((site, role, step))


@dataclass(frozen=True)
class Paths:
    """The edges of the circuit: the convention, and a point for every (edge, step) that was measured."""

    convention: dict
    edges: tuple[str, ...]
    """As `str(Edge)` names them, in the order of the computation."""
    points: dict[tuple[str, str], Point]

    @property
    def largest(self) -> float:
        """The largest |mean|: the end of the scale (0 if there are no points)."""
        return max((abs(point[0]) for point in self.points.values() if point), default=0.0)

    def of(self, edge: str, step: str) -> Point:
        return self.points.get((edge, step))


@dataclass(frozen=True)
class Record:
    """A finished run. Tuples of points have one for each answer step.

    The fields with a default are None in runs of a version that did not write them.
    """

    circuit: Circuit
    steps: tuple[str, ...]
    n_layers: int
    n_heads: int
    """Heads in a layer."""
    performance: dict[str, tuple[Point, ...]]
    """metric → points."""
    n_performance: int
    """Prompts that the performance was measured on."""
    verification: dict
    """As in the file, with points in place of estimates."""
    sensitivity: tuple[dict, ...]
    """One for each convention, with points in place of estimates; empty in runs made before there were any."""
    heads: dict[str, Effects]
    """corruption → effect map; so too `stream` and `mlps`, which may be empty."""
    stream: dict[str, Effects]
    mlps: dict[str, Effects]
    attention: dict[tuple[str, str], dict[str, float]]
    """(head, step) → role → mean attention, for all heads; in runs of earlier versions for those of the circuit."""
    direct: dict[tuple[str, str], dict[str, float | None]]
    """(head, step) → what it writes and copies."""
    letters: dict[str, dict[str, dict]]
    """head, or `movers` → quadrant → matrix and its summary; empty where the behaviour has no letters."""
    copying: dict[str, dict[str, float]]
    positional: dict | None
    prompts: tuple[dict, ...]
    config: str
    seconds: dict[str, float]
    manifest: dict
    paths: Paths | None = None
    """Also None where the run left them out."""
    patterns: Float[np.ndarray, "prompt layer head query key"] | None = None
    """Attention on the first of the prompts, in float16; zero on padding, which stands behind each prompt."""
    ov: Float[np.ndarray, "layer head 52 52"] | None = None
    """Row: the letter attended to; column: the letter written, in logits. 26 bare letters, then 26 with a leading space.
    None, as `copying_of_all` is, where the behaviour has no letters."""
    copying_of_all: Float[np.ndarray, "layer head 2"] | None = None
    """Copying score of every head, for the written letter without and with its leading space."""

    @property
    def corruptions(self) -> tuple[str, ...]:
        return tuple(self.heads)

    @property
    def every_head(self) -> list[str]:
        return [f"{layer}.{head}" for layer in range(self.n_layers) for head in range(self.n_heads)]

    @property
    def attention_roles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(role for roles in self.attention.values() for role in roles))


def read(folder: Path) -> Record:
    """Reads the folder that `write` wrote.

    Raises:
        CutawayError: a file is missing that every run has, or is not what it should be.
    """
    folder = Path(folder)
    circuit = Circuit.load(folder)
    try:
        return _read(folder, circuit)
    except FileNotFoundError as error:
        raise CutawayError(
            f"{error.filename} does not exist: give a run folder of `cutaway circuits find` with all its files"
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise CutawayError(f"{folder} is not a run folder of this package ({type(error).__name__}: {error})") from error


def _read(folder: Path, circuit: Circuit) -> Record:
    maps = {kind: _maps(folder, kind) for kind in ("heads", "stream", "mlps")}
    if not maps["heads"]:
        raise CutawayError(f"{folder}/effects has no heads-*.json: give a run folder of `cutaway circuits find`")
    sites = [place(parse_site(site)) for effects in maps["heads"].values() for site, _, _ in effects.points]
    performance = _json(folder / "performance.json")
    metrics = {name: _points(values) for name, values in performance.items() if name != "steps"}
    letters = _optional(folder / "letters.json", {})
    shape = (1 + max(layer for layer, _ in sites), 1 + max(head for _, head in sites))
    paths = _optional(folder / "paths.json", None)
    return Record(
        circuit=circuit,
        steps=circuit.step_names,
        n_layers=shape[0],
        n_heads=shape[1],
        performance=metrics,
        n_performance=performance["correct"][0]["n"],
        verification=_verification(_json(folder / "verification.json")),
        sensitivity=_sensitivity(_optional(folder / "sensitivity.json", {"settings": []})),
        **maps,
        attention=_by_head(folder / "attention.csv", _attention),
        direct=_by_head(folder / "direct.csv", _direct),
        letters=letters.get("matrices", {}),
        copying=letters.get("copying_score", {}),
        positional=_optional(folder / "positional.json", None),
        prompts=tuple(json.loads(line) for line in _text(folder / "prompts.jsonl").split("\n") if line),
        config=_text(config) if (config := folder / "config.toml").exists() else "",
        seconds=_optional(folder / "seconds.json", {}),
        manifest=_optional(folder / "manifest.json", {}),
        paths=paths and _paths(paths),
        patterns=_array(folder / "patterns.safetensors", "pattern", (None, *shape, None, None)),
        ov=_array(folder / "letters.safetensors", "ov", (*shape, 52, 52)),
        copying_of_all=_array(folder / "letters.safetensors", "copying", (*shape, 2)),
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _json(path: Path) -> Any:
    """NaN and infinity, which Python writes into JSON, are read as None."""
    return json.loads(_text(path), parse_constant=lambda name: None)


def _optional(path: Path, default: Any) -> Any:
    """A file that not every run has."""
    return _json(path) if path.exists() else default


def _array(path: Path, name: str, shape: tuple[int | None, ...]) -> np.ndarray | None:
    """One array of a file that not every run has. None in `shape` is any length."""
    if not path.exists():
        return None
    array = load(path.read_bytes())[name]
    if array.ndim != len(shape) or any(want not in (None, has) for want, has in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{path.name}: {name} has the shape {array.shape}, not {shape}")
    return array


def place(head: Site) -> tuple[int, int]:
    """Layer and head."""
    return head.layer, head.head or 0


def exactly(x: float | None) -> Point:
    """A number without an interval as a point."""
    return _point(x, x, x)


def _point(mean, low, high) -> Point:
    """A mean without an interval is its own interval; without a mean there is no point."""
    if mean is None or not math.isfinite(mean):
        return None
    return float(mean), float(mean if low is None else low), float(mean if high is None else high)


def _points(estimates: list[dict]) -> tuple[Point, ...]:
    return tuple(_point(e["mean"], e["low"], e["high"]) for e in estimates)


def _maps(folder: Path, kind: str) -> dict[str, Effects]:
    maps = [_effects(_json(path)) for path in sorted((folder / "effects").glob(f"{kind}-*.json"))]
    return {effects.corruption: effects for effects in maps}


def _effects(data: dict) -> Effects:
    points = {(r["site"], r["role"], r["step"]): _point(r["effect"], r["low"], r["high"]) for r in data["effects"]}
    return Effects(data["convention"], points)


def _paths(data: dict) -> Paths:
    rows = data["effects"]
    points = {(r["edge"], r["step"]): _point(r["effect"], r["low"], r["high"]) for r in rows}
    return Paths(data["convention"], tuple(dict.fromkeys(r["edge"] for r in rows)), points)


def _verification(data: dict) -> dict:
    nested = ("model", "circuit", "minimality")
    flat = ("empty", "faithfulness", "complement", "incompleteness")
    return (
        data
        | {name: {key: _points(values) for key, values in data[name].items()} for name in nested}
        | {name: _points(data[name]) for name in flat}
        | {"buildup": [(name, _points(values)) for name, values in data["buildup"]]}
    )


def _sensitivity(data: dict) -> tuple[dict, ...]:
    return tuple(setting | {"faithfulness": _points(setting["faithfulness"])} for setting in data["settings"])


def _by_head(path: Path, add: Callable[[dict, dict], None]) -> dict[tuple[str, str], dict]:
    found: dict[tuple[str, str], dict] = {}
    for row in csv.DictReader(io.StringIO(_text(path), newline="")):
        add(found.setdefault((row.pop("head"), row.pop("step")), {}), row)
    return found


def _attention(found: dict, row: dict) -> None:
    found[row["role"]] = _finite(row["mean"])


def _direct(found: dict, row: dict) -> None:
    found |= {name: _finite(value) for name, value in row.items()}


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
