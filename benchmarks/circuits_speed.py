"""Times exact patching: cutaway beside its peers, the same model, prompts, metric and grids, interleaved in one run.

    python benchmarks/circuits_speed.py            # both models, 64 prompts, 3 repeats
    python benchmarks/circuits_speed.py --quick    # a trial: 4 prompts, 1 repeat; nothing is written unless --out is given

Every system is a process that has loaded its model once; they take turns grid by grid, so that a slow hour of the machine
slows all alike. cutaway runs whole grids. A peer runs one forward pass a cell, all of the same size, so of a long grid it
runs the cells of a random sample, the same for every peer and new in each repeat, and the whole is reckoned from them;
`--cells 0` runs them all. Every cell that a peer has run is compared with cutaway's value of it.
"""

import argparse
import inspect
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from systems import CUTAWAY, PEERS, Worker, python_of
from tasks import GRIDS, MODELS, SEED, Grid, behavior_of, folder_of, runs

from cutaway.circuits.patching import sweep
from cutaway.core.runs import put

RESULT = Path(__file__).parent / "results" / "circuits-speed.json"
ABSOLUTE, RELATIVE = 1e-4, 1e-3
"""Effects agree if they differ by no more than ABSOLUTE + RELATIVE × |effect|."""


@dataclass(frozen=True)
class Part:
    """One corrupted batch of a grid, as the peers are given it."""

    sweep: int
    steps: tuple[int, ...]
    file: Path
    cells: list[tuple[int, int, int]]
    """All its cells: (layer, head, position), −1 for all positions."""


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
        about = json.loads((folder / "config.json").read_text())
        layers, heads = (
            (about.get("n_layer") or about["num_hidden_layers"]),
            (about.get("n_head") or about["num_attention_heads"]),
        )
        self.heads = [(layer, head) for layer in range(layers) for head in range(heads)]
        self.n_heads = heads
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
        plain = self.parts[GRIDS[0].name][0].file
        for worker in self.workers:
            worker.ask(do="warm", task=str(plain))
        forward = {worker.system.name: [] for worker in self.workers}
        for _ in range(self.given.repeats):
            for worker in self.workers:
                forward[worker.system.name].append(worker.ask(do="forward", task=str(plain)))
        ours = {grid.name: [] for grid in GRIDS}
        peers = {
            grid.name: {p.name: Measured(sum(len(part.cells) for part in self.parts[grid.name])) for p in PEERS}
            for grid in GRIDS
        }
        for repeat in range(self.given.repeats):
            for grid in GRIDS:
                self._turn(grid, repeat, ours[grid.name], peers[grid.name])
        for worker in self.workers:
            worker.close()
        return {
            "heads": len(self.heads),
            "prompts": self.given.prompts,
            "tokens_each": self.behavior.clean.tokens.shape[1],
            "systems": {worker.system.name: worker.about for worker in self.workers},
            "forward": {name: _forward(answers) for name, answers in forward.items()},
            "grids": {grid.name: _grid(grid, ours[grid.name], peers[grid.name]) for grid in GRIDS},
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
        samples = [self._sample(part, len(self.parts[grid.name]), rng) for part in self.parts[grid.name]]
        turn = repeat % len(others)
        for worker in others[turn:] + others[:turn]:
            self._peer(worker, grid, samples, values, peers[worker.system.name])
        told = ", ".join(f"{name} {m.seconds[-1]:.1f}" for name, m in peers.items() if m.seconds)
        print(
            f"{self.model}, {grid.name}, repeat {repeat + 1}: cutaway {answer['seconds']:.2f} s; {told}",
            file=sys.stderr,
        )

    def _sample(self, part: Part, parts: int, rng: random.Random) -> list[tuple[int, int, int]]:
        if not self.given.cells:
            return part.cells
        return rng.sample(part.cells, min(len(part.cells), max(1, self.given.cells // parts)))

    def _peer(self, worker: Worker, grid: Grid, samples: list, values: list[np.ndarray], into: Measured) -> None:
        seconds, out = 0.0, self.work / "theirs.npy"
        for part, sample in zip(self.parts[grid.name], samples, strict=True):
            answer = worker.ask(do="cells", task=str(part.file), cells=sample, out=str(out))
            if "failed" in answer:
                into.failed = answer["failed"]
                return
            seconds += answer["setup"] + statistics.mean(answer["cells"]) * len(part.cells)
            into.cells += answer["cells"]
            into.peaks.append(answer["peak_bytes"])
            roles = values[part.sweep].shape[1]
            mine = np.stack([
                values[part.sweep][layer * self.n_heads + head, max(at, 0) if roles > 1 else 0][:, list(part.steps)]
                for layer, head, at in sample
            ])  # fmt: skip
            theirs = np.load(out)
            gap = np.abs(mine - theirs)
            into.differences.append(float(gap.max()))
            into.gaps.append(float((gap / (ABSOLUTE + RELATIVE * np.abs(theirs))).max()))
            into.effects += np.abs(theirs).ravel().tolist()
        into.seconds.append(seconds)


def _forward(answers: list[dict]) -> dict:
    if any("failed" in answer for answer in answers):
        return {"failed": next(answer["failed"] for answer in answers if "failed" in answer)}
    times = [answer["seconds"] for answer in answers]
    return {
        "seconds": statistics.median(times),
        "seconds_of_each_repeat": times,
        "peak_bytes": max(answer["peak_bytes"] for answer in answers),
    }


def _grid(grid: Grid, ours: list[dict], peers: dict[str, Measured]) -> dict:
    """One row of the table: times, and the ratio to the fastest peer."""
    times = [answer["seconds"] for answer in ours]
    seconds = statistics.median(times)
    theirs = {peer.name: statistics.median(peers[peer.name].seconds) for peer in PEERS if peers[peer.name].seconds}
    counted = {peer.name: theirs[peer.name] for peer in PEERS if peer.counted and peer.name in theirs}
    fastest = min(counted, key=counted.get) if counted else None
    return {
        "about": grid.about,
        "cutaway": {
            "seconds": seconds,
            "seconds_of_each_repeat": times,
            "peak_bytes": max(answer["peak_bytes"] for answer in ours),
            "flops": ours[-1]["flops"],
        },
        "peers": {name: measured.to_dict() for name, measured in peers.items()},
        "fastest_peer": fastest,
        "ratio": counted[fastest] / seconds if fastest else None,
        "target": grid.target,
        "ratio_to_each": {name: time / seconds for name, time in theirs.items()},
    }


# --- the machine, the table, the command ------------------------------------------------------------------------------


def machine(threads: int) -> dict:
    """What the times hang on, with the rate of a matrix product in float32."""
    torch.set_num_threads(threads)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    times = []
    for _ in range(8):
        started = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - started)
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "sgemm_gflop_per_second": 2 * 2048**3 / min(times) / 1e9,
        "load_average": os.getloadavg()[0],
    }


def table(result: dict) -> str:
    """The result as text: a line a grid, seconds, ratios, memory."""
    names = [peer.name for peer in PEERS]
    head = ["grid", "cutaway", *names, "ratio", "target", "peak / forward"]
    lines = []
    for model, found in result["models"].items():
        plain = found["forward"]["cutaway"]["peak_bytes"]
        lines += [[f"{model}: {found['prompts']} prompts of {found['tokens_each']} tokens, seconds"]]
        for name, row in found["grids"].items():
            seconds = [row["peers"][peer].get("seconds") for peer in names]
            ratio = f"{row['ratio']:.1f}×" if row["ratio"] else "–"
            lines.append([
                name, f"{row['cutaway']['seconds']:.2f}", *("failed" if s is None else f"{s:.1f}" for s in seconds),
                ratio, f"≥ {row['target']:g}×", f"{row['cutaway']['peak_bytes'] / plain:.2f}" if plain else "–",
            ])  # fmt: skip
    widths = [max(len(line[i]) for line in [head, *lines] if len(line) > 1) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=False))
        )
        for line in [head, *lines]
    )


def unequal(result: dict) -> list[str]:
    """Where a peer's values are not cutaway's."""
    return [
        f"{model}, {grid}: {peer} differs by {measured['equal']['largest_difference']:.2g}"
        for model, found in result["models"].items()
        for grid, row in found["grids"].items()
        for peer, measured in row["peers"].items()
        if "equal" in measured and not measured["equal"]["passed"]
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cells", type=int, default=6, help="cells of a grid that a peer runs in each repeat; 0: all")
    budget = inspect.signature(sweep).parameters["budget"].default
    parser.add_argument("--budget", type=int, default=budget, help="cutaway's tokens in flight")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "cutaway-benchmarks")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--quick", action="store_true", help="4 prompts, 1 repeat, 3 cells")
    given = parser.parse_args()
    if given.quick:
        given.prompts, given.repeats, given.cells = 4, 1, 3
        given.out = None if given.out == RESULT else given.out
    return given


def main() -> None:
    given = arguments()
    started = time.perf_counter()
    options = {name: getattr(given, name) for name in ("prompts", "repeats", "cells", "budget", "threads")}
    result = {"made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seed": SEED, **options}
    result |= {"machine": machine(given.threads), "models": {}}
    for model in given.models:
        with tempfile.TemporaryDirectory() as work:
            result["models"][model] = Race(model, given, Path(work)).run()
        result["seconds"] = time.perf_counter() - started
        if given.out:
            put(given.out, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    print(table(result))
    if wrong := unequal(result):
        raise SystemExit("\n".join(["values differ:", *wrong]))


if __name__ == "__main__":
    main()
