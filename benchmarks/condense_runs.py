"""Condenses finished runs of `cutaway circuits find` into one JSON: circuits, verification, positions, time, memory.

    python benchmarks/condense_runs.py RUN [RUN …] -o benchmarks/results/NAME.json
"""

import argparse
import json
from pathlib import Path


def condense(folder: Path) -> dict:
    """What one run found, without its tables."""

    def read(name: str) -> dict:
        return json.loads((folder / name).read_text())

    circuit, verified, manifest = read("circuit.json"), read("verification.json"), read("manifest.json")
    letters = read("letters.json")
    positional = read("positional.json") if (folder / "positional.json").exists() else {"swaps": [], "sources": []}
    return {
        "command": manifest["command"],
        "seed": manifest["seed"],
        "versions": manifest["versions"],
        "hardware": manifest["hardware"],
        "seconds": {**read("seconds.json"), "whole command": manifest["seconds"]},
        "peak_memory_gib": manifest.get("peak_memory_gib"),
        "model": circuit["model"],
        "prompts_sha256": circuit["provenance"]["prompts_sha256"],
        "performance": read("performance.json"),
        "heads": [{"site": h["site"], "role": h["role"], "evidence": h["evidence"]} for h in circuit["heads"]],
        "verification": {
            name: verified[name]
            for name in ("n", "ablation", "faithfulness", "complement", "incompleteness", "random_circuits", "model", "circuit")
        },
        "sensitivity": read("sensitivity.json") if (folder / "sensitivity.json").exists() else None,
        "letters": {
            head: {name: {k: m[k] for k in ("diagonal", "off_diagonal", "row_max")} for name, m in quadrants.items()}
            for head, quadrants in letters["matrices"].items()
        },
        "copying_score": letters["copying_score"],
        "hold_back": _hold_back(folder),
        "positions": {
            "movers": positional.get("movers", []),
            "swaps": [{k: swap[k] for k in ("pair", "condition", "logit_diff", "attention")} for swap in positional["swaps"]],
        },
    }


def _hold_back(folder: Path) -> list[dict]:
    """The eight strongest effects, over all corruptions, of heads that lower the logit difference."""
    rows = [
        row | {"corruption": file.stem.removeprefix("heads-")}
        for file in sorted((folder / "effects").glob("heads-*.json"))
        for row in json.loads(file.read_text())["effects"]
    ]
    return sorted(rows, key=lambda row: -row["effect"])[:8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--out", required=True, type=Path)
    given = parser.parse_args()
    runs = [condense(folder) for folder in given.runs]
    sets = [{head["site"] for head in run["heads"]} for run in runs]
    together = {
        "in_every_run": sorted(set.intersection(*sets), key=_order),
        "in_any_run": sorted(set.union(*sets), key=_order),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"together": together, "runs": runs}, indent=1, ensure_ascii=False) + "\n")
    print(given.out)


def _order(site: str) -> tuple[int, ...]:
    return tuple(map(int, site.split(".")))


if __name__ == "__main__":
    main()
