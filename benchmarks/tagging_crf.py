"""Times a linear-chain CRF: cutaway beside pytorch-crf and TorchCRF, the same scores and sentences, in turns.

    OMP_NUM_THREADS=1 python benchmarks/tagging_crf.py            # 40 rounds
    python benchmarks/tagging_crf.py --quick                      # 4 rounds; nothing is written unless --out is given

Each library is a process; they take short turns, in another order in every round, so that a slow moment of the machine slows all
alike. The ratio of a round is a peer's fastest repeat over cutaway's; what is told is the median over rounds and the interval that
holds 95 % of its bootstrap. Values must be equal, or it ends with an error.
"""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from systems import TORCH, System, Worker, python_of

from cutaway.core.runs import put

RESULT = Path(__file__).parent / "results" / "tagging-crf.json"
BATCH, WORDS, TAGS, SEED = 32, 50, 60, 0
TARGET, TOLERANCE = 2.0, 1e-3
OURS = "cutaway"
REQUIREMENTS = (TORCH, "numpy>=2,<3", "pytorch-crf==0.7.2", "TorchCRF==1.1.0")
SYSTEMS = (
    System(OURS, "with_crfs.py"),
    System("pytorch-crf", "with_crfs.py", REQUIREMENTS),
    System("TorchCRF", "with_crfs.py", REQUIREMENTS),
)
JOBS = {"learn": "log-likelihood and all its slopes", "decode": "Viterbi"}


def cases(folder: Path) -> dict[str, Path]:
    """Random scores as large as those of a trained tagger, and random tags; sentences all alike, and of any length."""
    draw = np.random.default_rng(SEED)

    def normal(*shape: int, scale: float) -> np.ndarray:
        return (scale * draw.standard_normal(shape)).astype(np.float32)

    emissions = normal(BATCH, WORDS, TAGS, scale=2.0)
    chain = {
        "transition": normal(TAGS, TAGS, scale=1.0),
        "start": normal(TAGS, scale=1.0),
        "end": normal(TAGS, scale=1.0),
    }
    tags = draw.integers(TAGS, size=(BATCH, WORDS))
    lengths = {
        f"{WORDS} words": np.full(BATCH, WORDS),
        f"1 to {WORDS} words": draw.permutation(np.linspace(1, WORDS, BATCH).astype(int)),
    }
    made = {}
    for name, held in lengths.items():
        made[name] = folder / f"{name.replace(' ', '-')}.npz"
        np.savez(made[name], emissions=emissions, tags=tags, mask=np.arange(WORDS) < held[:, None], **chain)
    return made


def race(workers: dict[str, Worker], given: argparse.Namespace, folder: Path) -> dict:
    """Seconds of every repeat by case, job, library and round."""
    found: dict = {}
    order = random.Random(SEED)
    for case, file in cases(folder).items():
        for job in JOBS:
            rows: dict[str, list[list[float]]] = {name: [] for name in workers}
            for turn in range(given.rounds + 1):
                for name in order.sample(sorted(workers), len(workers)):
                    out = folder / f"{file.stem}-{job}-{name}.npz"
                    answer = workers[name].ask(do=job, case=str(file), repeats=given.repeats, out=str(out))
                    if "failed" in answer:
                        raise SystemExit(f"{name}, {job}: {answer['failed']}")
                    if turn:  # the first round warms up
                        rows[name].append(answer["seconds"])
            found[f"{job}, {case}"] = {
                name: {"rounds": rows[name], "file": str(folder / f"{file.stem}-{job}-{name}.npz")} for name in workers
            }
    return found


def differences(ours: Path, theirs: Path) -> dict[str, float]:
    """The largest difference of each value, over its size where that is above 1; of paths, the share of words that differ."""
    with np.load(ours) as a, np.load(theirs) as b:
        told = {}
        for name in a.files:
            if name == "paths":
                told[name] = float((a[name] != b[name]).mean())
            else:
                told[name] = float((np.abs(a[name] - b[name]) / np.maximum(1, np.abs(b[name]))).max())
        return told


def ratio(ours: list[list[float]], theirs: list[list[float]]) -> dict:
    """Of the fastest repeats, round by round: the median, and the interval of its bootstrap."""
    each = np.array([min(b) / min(a) for a, b in zip(ours, theirs, strict=True)])
    draws = np.random.default_rng(SEED).choice(each, (2000, len(each)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return {"median": float(np.median(each)), "low": float(low), "high": float(high), "least": float(each.min())}


def row(measured: dict) -> dict:
    """One case of one job, condensed."""
    ours = measured[OURS]
    made: dict = {OURS: _seconds(ours["rounds"]), "peers": {}}
    for name, theirs in measured.items():
        if name != OURS:
            made["peers"][name] = {
                **_seconds(theirs["rounds"]),
                "ratio": ratio(ours["rounds"], theirs["rounds"]),
                "differences": differences(Path(ours["file"]), Path(theirs["file"])),
            }
    return made


def _seconds(rounds: list[list[float]]) -> dict:
    least = [min(some) for some in rounds]
    return {"median_of_least_ms": 1e3 * float(np.median(least)), "least_ms": 1e3 * min(least)}


def table(result: dict) -> str:
    """The table of docs/tagging-parts.md."""
    peers = [system.name for system in SYSTEMS if system.name != OURS]
    lines = ["| | cutaway | " + " | ".join(peers) + " | " + " | ".join(f"ratio to {name}" for name in peers) + " |"]
    lines.append("|---" * (2 + 2 * len(peers)) + "|")
    for name, found in result["rows"].items():
        job, _, case = name.partition(", ")
        cells = [f"{JOBS[job]}, {case}", f"{found[OURS]['median_of_least_ms']:.1f} ms"]
        known = [found["peers"].get(peer) for peer in peers]
        cells += [f"{x['median_of_least_ms']:.1f} ms" if x else "–" for x in known]
        cells += [_told(x["ratio"]) if x else "–" for x in known]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _told(x: dict) -> str:
    return f"**{x['median']:.1f}×** [{x['low']:.1f}, {x['high']:.1f}]"


def wrong(result: dict) -> list[str]:
    """Where a peer's values are not cutaway's."""
    return [
        f"{name}: {what} of {peer} differs by {size:.2g}"
        for name, found in result["rows"].items()
        for peer, measured in found["peers"].items()
        for what, size in measured["differences"].items()
        if size > TOLERANCE
    ]


def start(given: argparse.Namespace, folder: Path) -> tuple[dict[str, Worker], dict[str, str]]:
    """A process for every library that can be had, and why others cannot."""
    workers, skipped = {}, {}
    for system in SYSTEMS:
        try:
            python = python_of(system, given.cache)
        except SystemExit as error:
            skipped[system.name] = str(error)
            continue
        worker = Worker(system, python, [system.name], threads=given.threads, log=folder / f"{system.name}.log")
        if worker.failed:
            skipped[system.name] = worker.failed
        else:
            workers[system.name] = worker
    if OURS not in workers:
        raise SystemExit(f"cutaway could not be started: {skipped[OURS]}")
    return workers, skipped


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=4, help="of a library's turn")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "cutaway-benchmarks")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="print the committed result as the table of the docs")
    parser.add_argument("--quick", action="store_true", help="4 rounds")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.out = 4, None if given.out == RESULT else given.out
    return given


def main() -> None:
    given = arguments()
    if given.table:
        return print(table(json.loads(RESULT.read_text())))
    result = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seed": SEED, "batch": BATCH, "words": WORDS,
        "tags": TAGS, "rounds": given.rounds, "repeats": given.repeats, "threads": given.threads, "target": TARGET,
        "tolerance": TOLERANCE,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(),
                    "load_average": os.getloadavg()[0]},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        workers, result["skipped"] = start(given, Path(work))
        result["versions"] = {name: worker.about["versions"] for name, worker in workers.items()}
        measured = race(workers, given, Path(work))
        for worker in workers.values():
            worker.close()
        result["rows"] = {name: row(some) for name, some in measured.items()}
    if given.out:
        put(given.out, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    print(table(result))
    for name, why in result["skipped"].items():
        print(f"skipped {name}: {why}")
    if unequal := wrong(result):
        raise SystemExit("\n".join(["values differ:", *unequal]))


if __name__ == "__main__":
    main()
