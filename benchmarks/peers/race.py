"""All systems on one model, taking turns: who runs what, what it took, and whether the values agree."""

import argparse
import json
import random
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from systems import CUTAWAY, PEERS, Worker, python_of
from tasks import GRIDS, SEED, Grid, behavior_of, folder_of, runs

from cutaway.decoder.load import describe

ABSOLUTE, RELATIVE = 1e-4, 1e-3
"""Effects agree if they differ by no more than ABSOLUTE + RELATIVE × |effect|."""


Cell = tuple[int, int, int]
"""(layer, head, position), −1 for all positions."""


@dataclass(frozen=True)
class Part:
    """One corrupted batch of a grid, as the peers are given it."""

    sweep: int
    steps: tuple[int, ...]
    file: Path
    cells: list[Cell]
    """All of them, in the order of cutaway's result."""


@dataclass
class Measured:
    """What one peer took for one grid; `seconds` is reckoned for the whole grid, once a repeat."""

    total: int
    seconds: list[float] = field(default_factory=list)
    cells: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    """For each value compared, its difference over what is allowed."""
    differences: list[float] = field(default_factory=list)
    effects: list[float] = field(default_factory=list)
    failed: str | None = None

    def compare(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        gap = np.abs(ours - theirs)
        self.differences.append(float(gap.max()))
        self.gaps.append(float((gap / (ABSOLUTE + RELATIVE * np.abs(theirs))).max()))
        self.effects += np.abs(theirs).ravel().tolist()

    def to_dict(self) -> dict:
        if self.failed:
            return {"failed": self.failed}
        return {
            "seconds": statistics.median(self.seconds),
            "seconds_of_each_repeat": self.seconds,
            "cells_timed": len(self.cells),
            "cells_total": self.total,
            "seconds_per_cell": {
                "median": statistics.median(self.cells), "min": min(self.cells), "max": max(self.cells),
                "sd": statistics.pstdev(self.cells),
            },
            "peak_bytes": max(self.peaks),
            "equal": {
                "values": len(self.effects), "largest_difference": max(self.differences),
                "largest_effect": max(self.effects), "passed": max(self.gaps) <= 1,
            },
        }  # fmt: skip


class Race:
    """All systems on one model."""

    def __init__(self, model: str, given: argparse.Namespace, work: Path):
        self.given, self.work, self.model = given, work, model
        folder = folder_of(model, given.cache)
        self.behavior = behavior_of(model, folder, given.prompts)
        _, config = describe(folder)
        self.heads = [(layer, head) for layer in range(config.n_layers) for head in range(config.n_heads)]
        self.parts = {grid.name: self._parts(grid) for grid in GRIDS}
        ours = [str(folder), model, str(given.prompts), json.dumps({"budget": given.budget})]
        self.workers = [self._worker(CUTAWAY, ours), *(self._worker(peer, [str(folder)]) for peer in PEERS)]

    def _parts(self, grid: Grid) -> list[Part]:
        parts = []
        for i, (which, steps, task, positions) in enumerate(runs(self.behavior, grid)):
            file = self.work / f"{self.model}-{GRIDS.index(grid)}-{i}.npz"
            task.write(file)
            parts.append(Part(which, steps, file, [(*head, at) for head in self.heads for at in positions]))
        return parts

    def _worker(self, system, arguments: list[str]) -> Worker:
        name = system.name.replace(" ", "-")
        log = self.work / f"{self.model}-{name}.log"
        return Worker(system, python_of(system, self.given.cache), arguments, threads=self.given.threads, log=log)

    def run(self) -> dict:
        """Warms everybody up, times a plain pass, then grid after grid, repeat after repeat."""
        task = str(self.parts[GRIDS[0].name][0].file)
        for worker in self.workers:
            worker.ask(do="warm", task=task)
        forward = {worker.system.name: [] for worker in self.workers}
        for _ in range(self.given.repeats):
            for worker in self.workers:
                forward[worker.system.name].append(worker.ask(do="forward", task=task))
        ours = {grid.name: [] for grid in GRIDS}
        peers = {
            grid.name: {p.name: Measured(sum(len(part.cells) for part in self.parts[grid.name])) for p in PEERS}
            for grid in GRIDS
        }
        for repeat in range(self.given.repeats):
            for grid in GRIDS:
                self._turn(grid, repeat, ours[grid.name], peers[grid.name])
        flops = {grid.name: self.workers[0].ask(do="flops", grid=grid.name) for grid in GRIDS}
        for worker in self.workers:
            worker.close()
        plain = forward[CUTAWAY.name][-1].get("peak_bytes", 0)
        return {
            "heads": len(self.heads),
            "prompts": self.given.prompts,
            "tokens_each": self.behavior.clean.tokens.shape[1],
            "systems": {worker.system.name: worker.about for worker in self.workers},
            "forward": {name: _forward(answers) for name, answers in forward.items()},
            "grids": {
                grid.name: row(grid, ours[grid.name], peers[grid.name], plain, flops[grid.name]) for grid in GRIDS
            },
        }

    def _turn(self, grid: Grid, repeat: int, ours: list[dict], peers: dict[str, Measured]) -> None:
        """Every system once; cutaway first, since its values are what the others are compared with."""
        cutaway, *others = self.workers
        out = self.work / "ours.npz"
        answer = cutaway.ask(do="grid", grid=grid.name, out=str(out))
        if "failed" in answer:
            raise SystemExit(f"cutaway failed on {grid.name}: {answer['failed']}")
        ours.append(answer)
        with np.load(out) as arrays:
            values = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
        rng = random.Random(f"{SEED} {self.model} {grid.name} {repeat}")
        parts, many = self.parts[grid.name], self.given.cells
        # one pass is like another: of a grid with several runs a sample is of one of them, another one in each repeat
        picked = [parts[repeat % len(parts)]] if many else parts
        chosen = []
        for part in picked:
            mine = self._values(part, values[part.sweep])
            cells = sample(part.cells, many, rng, mine)
            chosen.append((part.file, cells, np.stack([mine[cell] for cell in cells])))
        turn = repeat % len(others)
        for worker in others[turn:] + others[:turn]:
            self._peer(worker, len(parts), chosen, peers[worker.system.name])
        told = ", ".join(f"{name} {m.seconds[-1]:.1f}" for name, m in peers.items() if m.seconds)
        print(
            f"{self.model}, {grid.name}, repeat {repeat + 1}: cutaway {answer['seconds']:.2f} s; {told}",
            file=sys.stderr,
        )

    def _values(self, part: Part, effects: np.ndarray) -> dict[Cell, np.ndarray]:
        """cutaway's effects `[batch, step]` of every cell of a part, from those of its sweep `[head, role, batch, step]`."""
        cells = effects[..., list(part.steps)].reshape(-1, *effects.shape[2:3], len(part.steps))
        return dict(zip(part.cells, cells, strict=True))

    def _peer(
        self, worker: Worker, parts: int, chosen: list[tuple[Path, list[Cell], np.ndarray]], into: Measured
    ) -> None:
        """One peer's turn: some cells of some of a grid's parts, compared, and the time of the whole reckoned from them."""
        out, setups, times = self.work / "theirs.npy", [], []
        for file, cells, ours in chosen:
            answer = worker.ask(do="cells", task=str(file), cells=cells, out=str(out))
            if "failed" in answer:
                into.failed = answer["failed"]
                return
            setups.append(answer["setup"])
            times += answer["cells"]
            into.peaks.append(answer["peak_bytes"])
            into.compare(ours, np.load(out))
        into.cells += times
        into.seconds.append(parts * statistics.mean(setups) + into.total * statistics.mean(times))


def sample(cells: list[Cell], many: int, rng: random.Random, effects: dict[Cell, np.ndarray]) -> list[Cell]:
    """The cell that does most and others drawn at random, `many` in all; every cell if `many` is 0.

    Most cells of a grid do little, so that a random handful alone would compare zeros with zeros.
    """
    if not 0 < many < len(cells):
        return cells
    most = max(cells, key=lambda cell: float(np.abs(effects[cell]).mean()))
    return [most, *rng.sample([cell for cell in cells if cell != most], many - 1)]


def _forward(answers: list[dict]) -> dict:
    if any("failed" in answer for answer in answers):
        return {"failed": next(answer["failed"] for answer in answers if "failed" in answer)}
    times = [answer["seconds"] for answer in answers]
    return {
        "seconds": statistics.median(times),
        "seconds_of_each_repeat": times,
        "peak_bytes": max(answer["peak_bytes"] for answer in answers),
    }


def row(grid: Grid, ours: list[dict], peers: dict[str, Measured], plain: int, flops: dict) -> dict:
    """One row of the table: times, the ratio to the fastest peer, memory beside the `plain` bytes of a forward pass.

    `flops` are those done over the fewest possible, and the fewest (`cutaway.circuits.cost`); allowed is one and a half
    forward passes and what `cutaway.circuits.memory` plans.
    """
    times = [answer["seconds"] for answer in ours]
    seconds = statistics.median(times)
    theirs = {peer.name: statistics.median(peers[peer.name].seconds) for peer in PEERS if peers[peer.name].seconds}
    counted = {peer.name: theirs[peer.name] for peer in PEERS if peer.counted and peer.name in theirs}
    peak = max(answer["peak_bytes"] for answer in ours)
    fastest = min(counted, key=counted.get) if counted else None
    return {
        "about": grid.about,
        "cutaway": {
            "seconds": seconds,
            "seconds_of_each_repeat": times,
            "peak_bytes": peak,
            "peak_over_forward": peak / plain if plain else None,
            "peak_over_allowed": peak / (1.5 * plain + flops["planned_bytes"]),
            "flops": {name: value for name, value in flops.items() if name != "peak_bytes"},
        },
        "peers": {name: measured.to_dict() for name, measured in peers.items()},
        "fastest_peer": fastest,
        "ratio": counted[fastest] / seconds if fastest else None,
        "target": grid.target,
        "ratio_to_each": {name: time / seconds for name, time in theirs.items()},
    }
