"""Times the perceptual distance: cutaway beside `lpips` and `piq`, on the same images and weights, in turns.

    OMP_NUM_THREADS=2 python benchmarks/similarity_speed.py       # on a machine with nothing else to do
    python benchmarks/similarity_speed.py --quick                 # a trial; nothing is written unless --out is given
    python benchmarks/similarity_speed.py --table                 # the table of docs/similarity.md, from the committed result

All run in one environment, which the first run makes (see `similarity_parity.py`). Each net and library is a process of its own;
they take turns, in another order in every round, and the first round is not counted. The ratio of a round is a peer's time over
cutaway's; what is told is the median over rounds, with the interval that holds 95 % of its bootstrap. Values must be equal, or it
ends with an error.

    forward            16 pairs of 256×256, no gradient
    forward+backward   the same, with the slope by one side
    one with many      one image with 16: peers compare two whole batches, as they are mostly used
    one, broadcast     the same where a peer reads the one image once, which `lpips` does when it is given a batch of one

Peak memory is what a process holds at most during the first round of a job, less what it held after a small pair (Linux, glibc).
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

from similarity_parity import REQUIREMENTS, relative
from systems import System, Worker, python_of

from cutaway.core.runs import put

RESULT = Path(__file__).parent / "results" / "similarity-speed.json"
OURS, SEED, BATCH, SIDE, SLOPE_TOLERANCE, TOLERANCE = "cutaway", 7, 16, 256, 0.02, 1e-5
NETS = ("alex", "vgg", "squeeze")
JOBS = {
    "one, broadcast": {"do": "many", "expand": False},
    "one with many": {"do": "many", "expand": True},
    "forward": {"do": "forward"},
    "forward+backward": {"do": "learn"},
}
TARGETS = {"forward": 1.3, "forward+backward": 1.3, "one with many": 1.8, "memory": 0.7}
SYSTEMS = tuple(System(name, "with_similarity.py", REQUIREMENTS) for name in (OURS, "lpips", "piq"))


def case(net: str, batch: int) -> dict:
    return {
        "net": net,
        "version": "0.1",
        "linear": "drawn",
        "seed": SEED,
        "n": batch,
        "size": (SIDE, SIDE),
        "dtype": "float32",
    }


def race(workers: dict[str, Worker], net: str, given: argparse.Namespace, folder: Path) -> dict:
    """Seconds of every round, peak bytes and the file of values, by job and library."""
    found: dict = {}
    order = random.Random(SEED)
    for worker in workers.values():
        worker.ask(do="warm", **case(net, 1))
    for job, asked in JOBS.items():
        rows: dict[str, dict] = {}
        for turn in range(given.rounds + 1):
            for name in order.sample(sorted(workers), len(workers)):
                out = folder / f"{net}-{asked['do']}-{name}.npz"
                answer = workers[name].ask(
                    **asked, **case(net, given.batch), repeats=given.repeats, out=str(out), fresh=not turn
                )
                row = rows.setdefault(name, {"seconds": [], "peak_bytes": 0, "file": out})
                if "failed" in answer:
                    row["failed"], workers[name].failed = answer["failed"], None
                elif turn:
                    row["seconds"].append(min(answer["seconds"]))
                else:  # the first round warms up, and starts with no memory kept from before
                    row["peak_bytes"] = answer["peak_bytes"]
        found[job] = condensed({name: row for name, row in rows.items() if "failed" not in row}, asked["do"])
        print(f"{net}, {job}: {found[job]}", file=sys.stderr)
    return found


def condensed(rows: dict[str, dict], do: str) -> dict:
    """One job of one net: median seconds, peaks, and each peer's ratio and difference."""
    ours, made = rows[OURS], {}
    for name, row in rows.items():
        made[name] = {"seconds": float(np.median(row["seconds"])), "peak_bytes": row["peak_bytes"]}
        if name != OURS:
            made[name]["ratio"] = ratio(ours["seconds"], row["seconds"])
            made[name]["memory"] = ours["peak_bytes"] / max(row["peak_bytes"], 1)
            made[name]["difference"] = difference(ours["file"], row["file"], do)
    return made


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    each = np.array(theirs) / np.array(ours)
    draws = np.random.default_rng(SEED).choice(each, (2000, len(each)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return {"median": float(np.median(each)), "low": float(low), "high": float(high)}


def difference(ours: Path, theirs: Path, do: str) -> float:
    """Of values, the largest relative one; of slopes, the length of the difference over theirs (where two inputs of a maximum are
    equal but for rounding, a slope goes to one or the other)."""
    with np.load(ours) as a, np.load(theirs) as b:
        x, y = a["found"], b["found"]
    return float(np.linalg.norm(x - y) / np.linalg.norm(y)) if do == "learn" else relative(x, y)


def wrong(result: dict) -> list[str]:
    """Where a peer's values are not cutaway's."""
    return [
        f"{net}, {job}: {name} differs by {row['difference']:.1e}"
        for net, jobs in result["rows"].items()
        for job, rows in jobs.items()
        for name, row in rows.items()
        if name != OURS and row["difference"] > (SLOPE_TOLERANCE if job == "forward+backward" else TOLERANCE)
    ]


def table(result: dict) -> str:
    lines = ["| net | job | cutaway | lpips | ratio | memory | piq | ratio | memory |", "|---" * 9 + "|"]
    for net, jobs in result["rows"].items():
        for job, rows in reversed(jobs.items()):
            cells = [net, job, f"{1e3 * rows[OURS]['seconds']:.0f} ms"]
            for peer in ("lpips", "piq"):
                if row := rows.get(peer):
                    x = row["ratio"]
                    cells += [
                        f"{1e3 * row['seconds']:.0f} ms",
                        f"**{x['median']:.2f}×** [{x['low']:.2f}, {x['high']:.2f}]",
                    ]
                    cells.append(f"{row['memory']:.2f}×")
                else:
                    cells += ["–"] * 3
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=NETS, choices=NETS)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=1, help="of a library's turn, of which the fastest counts")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "2")))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "cutaway-benchmarks")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="print the committed result as the table of the docs")
    parser.add_argument("--quick", action="store_true", help="two rounds of four pairs")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.batch, given.out = 2, 4, None if given.out == RESULT else given.out
    return given


def main() -> None:
    given = arguments()
    if given.table:
        return print(table(json.loads(RESULT.read_text())))
    result: dict = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seed": SEED, "batch": given.batch, "side": SIDE,
        "rounds": given.rounds, "repeats": given.repeats, "threads": given.threads, "targets": TARGETS,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "load_average": os.getloadavg()[0]},
        "versions": {}, "rows": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for net in given.nets:
            workers = {}
            for system in SYSTEMS:
                if system.name == "piq" and net != "vgg":
                    continue
                python, log = python_of(system, given.cache), folder / f"{system.name}.log"
                worker = workers[system.name] = Worker(system, python, [system.name], threads=given.threads, log=log)
                if worker.failed:
                    raise SystemExit(f"{system.name} could not be started: {worker.failed}")
                result["versions"][system.name] = worker.about["versions"]
            result["rows"][net] = race(workers, net, given, folder)
            for worker in workers.values():
                worker.close()
    if given.out:
        put(given.out, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    print(table(result))
    if unequal := wrong(result):
        raise SystemExit("\n".join(["values differ:", *unequal]))


if __name__ == "__main__":
    main()
