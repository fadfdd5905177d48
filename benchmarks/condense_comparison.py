"""Condenses a finished `cutaway circuits compare` into one JSON: its compare.json rounded, and facts of its manifest.

    python benchmarks/condense_comparison.py RUN -o benchmarks/results/NAME.json
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", required=True, type=Path)
    given = parser.parse_args()
    text = json.dumps(condense(given.run), indent=1, ensure_ascii=False)
    given.out.write_text(text + "\n")
    print(given.out)


if __name__ == "__main__":
    main()
