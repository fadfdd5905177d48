"""Condenses a finished `cutaway circuits compare` into one JSON: its compare.json rounded, and facts of its manifest.

python benchmarks/condense_comparison.py RUN -o benchmarks/results/NAME.json
python benchmarks/condense_comparison.py --table benchmarks/results/NAME.json    # what is kept, as the docs show it
"""

import argparse
import json
from pathlib import Path

DIGITS = 5
"""Significant ones."""


def condense(folder: Path) -> dict:
    """What was found, with what it was made by."""
    manifest, found = (json.loads((folder / name).read_text()) for name in ("manifest.json", "compare.json"))
    facts = ("command", "seconds", "peak_memory_gib", "versions", "hardware")
    return {name: manifest[name] for name in facts} | rounded(found)


def rounded(data):
    """The same data with fewer digits."""
    if isinstance(data, float):
        return float(f"{data:.{DIGITS}g}")
    if isinstance(data, dict):
        return {name: rounded(value) for name, value in data.items()}
    return [rounded(value) for value in data] if isinstance(data, list) else data


def kept_table(found: dict) -> str:
    """What the heads of each row keep on the prompts of each run, as Markdown."""
    steps = list(dict.fromkeys(step for column in found["cross"] for step in column["steps"]))
    lines = [("heads of", "heads", "on the prompts of", *steps, "best random, at most"), ("---",) * (len(steps) + 4)]
    for column in found["cross"]:
        for kept in column["kept"]:
            points = dict(zip(column["steps"], kept["faithfulness"], strict=True))
            cells = [_interval(points[step]) if points.get(step) else "–" for step in steps]
            lines.append((kept["heads"], str(kept["size"]), column["run"], *cells, f"{max(kept['best']):.0%}"))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _interval(point: list[float]) -> str:
    mean, low, high = (100 * x for x in point)
    return f"{mean:.0f} % [{low:.0f}, {high:.0f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--table", action="store_true", help="print the table of a result that is there already")
    given = parser.parse_args()
    if given.table:
        print(kept_table(json.loads(given.run.read_text())))
    elif given.out:
        text = json.dumps(condense(given.run), indent=1, ensure_ascii=False)
        given.out.write_text(text + "\n")
        print(given.out)
    else:
        parser.error("say where to write, with --out")


if __name__ == "__main__":
    main()
