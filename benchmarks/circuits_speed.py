"""Times exact patching: cutaway beside its peers, the same model, prompts, metric and grids, interleaved in one run.

    python benchmarks/circuits_speed.py            # both models, 64 prompts, 3 repeats
    python benchmarks/circuits_speed.py --quick    # a trial: 4 prompts, 1 repeat; nothing is written unless --out is given

Every system is a process that has loaded its model once; they take turns grid by grid, so that a slow hour of the machine
slows all alike. cutaway runs whole grids. A peer runs one forward pass a cell, all of the same size, so it runs a sample of
a grid, the same for every peer and new in each repeat, and the whole is reckoned from it; `--cells 0` runs them all. Every
cell that a peer has run is compared with cutaway's value of it.
"""

import argparse
import inspect
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from race import Race
from systems import PEERS
from tasks import MODELS, SEED

from cutaway.circuits.patching import sweep
from cutaway.core.runs import put

RESULT = Path(__file__).parent / "results" / "circuits-speed.json"
COMMITTED = (RESULT, RESULT.with_name("circuits-speed-smollm2.json"))


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
    head = ["grid", "cutaway", *names, "ratio", "target", "over floor", "peak / allowed"]
    lines = []
    for model, found in result["models"].items():
        lines += [[f"{model}: {found['prompts']} prompts of {found['tokens_each']} tokens, seconds"]]
        for name, row in found["grids"].items():
            seconds = [row["peers"][peer].get("seconds") for peer in names]
            memory = row["cutaway"]["peak_over_allowed"]
            ratio = f"{row['ratio']:.1f}×" if row["ratio"] else "–"
            lines.append([
                name, f"{row['cutaway']['seconds']:.2f}", *("failed" if s is None else f"{s:.1f}" for s in seconds),
                ratio, f"≥ {row['target']:g}×", f"{row['cutaway']['over_floor']:.2f}×", f"{memory:.2f}",
            ])  # fmt: skip
    widths = [max(len(line[i]) for line in [head, *lines] if len(line) > 1) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=False))
        )
        for line in [head, *lines]
    )


def markdown(results: list[dict]) -> str:
    """The table of docs/speed.md."""
    names = [peer.name for peer in PEERS]
    head = [
        "",
        "cutaway",
        *names,
        "fastest peer ÷ cutaway",
        "target",
        "time over floor",
        "done / fewest",
        "peak / allowed",
    ]
    lines = []
    for model, name, prompts, row in _rows(results):
        ours, theirs = row["cutaway"], [row["peers"][peer].get("seconds") for peer in names]
        lines.append([
            f"{model}, {prompts} prompts: {name}", f"{ours['seconds']:.1f} s",
            *("–" if s is None else f"{s:,.0f} s" for s in theirs), f"**{row['ratio']:.1f}×**", f"≥ {row['target']:g}×",
            f"{ours['over_floor']:.2f}", f"{ours['flops']['done_over_fewest']:.2f}", f"{ours['peak_over_allowed']:.2f}",
        ])  # fmt: skip
    return _lines(head, lines)


def short(results: list[dict]) -> str:
    """The table of the README."""
    head, lines = ["", "cutaway", "fastest of four peers", ""], []
    for model, name, prompts, row in _rows(results):
        peer = row["fastest_peer"]
        lines.append([
            f"{model}, {prompts} prompts: {name}",
            f"{row['cutaway']['seconds']:.1f} s", f"{row['peers'][peer]['seconds']:,.0f} s ({peer})", f"**{row['ratio']:.1f}×**",
        ])  # fmt: skip
    return _lines(head, lines)


def _rows(results: list[dict]):
    for result in results:
        for model, found in result["models"].items():
            for name, row in found["grids"].items():
                yield model, name, found["prompts"], row


def _lines(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


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
    parser.add_argument("--cells", type=int, default=3, help="cells of a grid that a peer runs in each repeat; 0: all")
    budget = inspect.signature(sweep).parameters["budget"].default
    parser.add_argument("--budget", type=int, default=budget, help="cutaway's tokens in flight")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "cutaway-benchmarks")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="print the committed results as the tables of the docs")
    parser.add_argument("--quick", action="store_true", help="4 prompts, 1 repeat, 2 cells")
    given = parser.parse_args()
    if given.quick:
        given.prompts, given.repeats, given.cells = 4, 1, 2
        given.out = None if given.out == RESULT else given.out
    return given


def main() -> None:
    given = arguments()
    if given.table:
        committed = [json.loads(file.read_text()) for file in COMMITTED]
        return print(f"{markdown(committed)}\n\n{short(committed)}")
    started = time.perf_counter()
    options = {name: getattr(given, name) for name in ("prompts", "repeats", "cells", "budget", "threads")}
    result = {"made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seed": SEED, **options}
    result |= {"machine": machine(given.threads), "models": {}}
    for model in given.models:
        with tempfile.TemporaryDirectory() as work:
            result["models"][model] = Race(model, given, Path(work)).run()
        for row in result["models"][model]["grids"].values():
            floor = row["cutaway"]["flops"]["flops"] / 1e9 / result["machine"]["sgemm_gflop_per_second"]
            row["cutaway"] |= {"floor_seconds": floor, "over_floor": row["cutaway"]["seconds"] / floor}
        result["seconds"] = time.perf_counter() - started
        if given.out:
            put(given.out, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    print(table(result))
    if wrong := unequal(result):
        raise SystemExit("\n".join(["values differ:", *wrong]))


if __name__ == "__main__":
    main()
