"""Every search method on the planted family: how many of the heads that are there it finds, and how well it ranks them.

    python benchmarks/known_circuits.py                     all methods, 9 draws of every planted circuit
    python benchmarks/known_circuits.py --table             the tables of docs/known-circuits.md, from the committed result

The published circuits of GPT-2 are looked for by `cutaway circuits benchmark`, where its weights are at hand.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from cutaway.circuits import benchmark
from cutaway.circuits.search.record import method, methods
from cutaway.core.progress import TerminalProgress
from cutaway.core.runs import manifest, put

RESULT = Path(__file__).parent / "results" / "known-circuits-planted.json"


def measure(seeds: int, n: int, names: list[str], threads: int) -> dict:
    """All methods on all planted models, with what is needed to do it again."""
    torch.set_num_threads(threads)
    chosen = [method(name) for name in names or methods()]
    cases = len(benchmark.circuits()) * seeds
    with TerminalProgress().stage(f"{cases} models, {len(chosen)} methods", cases * len(chosen)) as tick:
        scores = benchmark.run(benchmark.planted_cases(range(seeds), n), chosen, tick)
    command = "python benchmarks/known_circuits.py " + " ".join(sys.argv[1:])
    about = manifest(command.strip(), seed=list(range(seeds)), prompts=n, models=cases)
    written = benchmark.to_dict(scores, chosen)
    return about | {
        "planted": [asdict(line) for line in written["planted"]],
        "groups": {name: [asdict(line) for line in lines] for name, lines in written["groups"].items()},
        "scores": [asdict(score) for score in written["scores"]],
    }


def interval(point: dict | None) -> str:
    return "–" if point is None else f"{point['mean']:.3f} [{point['low']:.3f}, {point['high']:.3f}]"


def tables(result: dict) -> str:
    """What the page shows: all methods over the family, then the AUROC of each for every circuit."""
    lines = [
        "| method | kind | TPR | FPR | AUROC | top heads true | found exactly | CPU s a model |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in result["planted"]:
        points = " | ".join(interval(each[name]) for name in ("tpr", "fpr", "auroc", "top"))
        exact = f"{each['exact']} of {each['tpr']['n']}"
        lines.append(f"| {each['method']} | {each['kind']} | {points} | {exact} | {each['cpu_seconds']:.2f} |")
    names = [each["method"] for each in result["planted"]]
    lines += ["", f"| AUROC | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for group, own in result["groups"].items():
        cells = [f"{each['auroc']['mean']:.3f}" if each["auroc"] else "–" for each in own]
        lines.append(f"| {group.removeprefix('planted:')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=9, help="draws of every planted circuit")
    parser.add_argument("--n", type=int, default=6, help="prompts that a method looks at")
    parser.add_argument("--methods", nargs="*", default=[], help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print the tables of a finished result")
    parser.add_argument("-o", "--out", type=Path, default=RESULT)
    given = parser.parse_args()
    if not given.table:
        result = measure(given.seeds, given.n, given.methods, given.threads)
        put(given.out, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    print(tables(json.loads(given.out.read_text())))


if __name__ == "__main__":
    main()
