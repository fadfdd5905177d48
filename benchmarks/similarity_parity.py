"""Are the distances those of the package `lpips`? Every net and version, values, layers and maps, on weights drawn by seed.

    python benchmarks/similarity_parity.py            # writes results/similarity-parity.json
    python benchmarks/similarity_parity.py --table    # the table of docs/similarity.md, from the committed result

The first run makes an environment with torch 2.14.1, torchvision 0.29.1, lpips 0.1.4 and piq 0.8.0 under
~/.cache/cutaway-benchmarks (`--cache`); cutaway runs in the interpreter that runs this script. Trunks and images are drawn by
`peers/seeded_trunks.py`, the linear weights are the published ones of each library's own copy, or drawn too, so that tests can
repeat the comparison without either.

Differences are relative, the largest over pairs, layers or places; of maps, relative to the mean of the map. In float32 both
libraries round, each convolution in an order of its own; how far each is from its own float64 is told beside.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from systems import System, Worker, python_of

from cutaway.core.runs import put

RESULT = Path(__file__).parent / "results" / "similarity-parity.json"
NETS, VERSIONS, LINEAR = ("alex", "vgg", "squeeze"), ("0.1", "0.0"), ("published", "drawn")
PAIRS, SIZE, SEED = 4, (96, 80), 7
TOLERANCE, ROUNDING = 1e-6, 5e-6
"""In float64; of values in float32, where images that are nearly the same make it largest."""
REQUIREMENTS = (
    "torch==2.14.1",
    "torchvision==0.29.1",
    "lpips==0.1.4",
    "piq==0.8.0",
    "numpy>=2,<3",
    "jaxtyping",
    "safetensors",
)
SYSTEMS = (System("cutaway", "with_similarity.py"), System("lpips", "with_similarity.py", REQUIREMENTS))
PLACES = ((0, 0), (10, 70), (48, 40), (95, 79))
"""Of maps, for the record."""


def cases() -> list[dict]:
    return [
        {"net": net, "version": version, "linear": linear, "seed": SEED, "n": PAIRS, "size": SIZE}
        for net in NETS
        for version in VERSIONS
        for linear in LINEAR
    ]


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((np.abs(ours - theirs) / np.abs(theirs)).max())


def differences(ours: dict, theirs: dict) -> dict[str, float]:
    """The largest relative difference of each kind."""
    mean = theirs["maps"].mean((1, 2), keepdims=True)
    told = {kind: relative(ours[kind], theirs[kind]) for kind in ("values", "layers")}
    return told | {"maps": float((np.abs(ours["maps"] - theirs["maps"]) / mean).max())}


def measured(workers: dict[str, Worker], case: dict, folder: Path) -> dict:
    """One case: differences in both precisions, and the numbers of `lpips` in float64."""
    found: dict = {}
    for dtype in ("float64", "float32"):
        for name, worker in workers.items():
            out = folder / f"{name}-{dtype}.npz"
            answer = worker.ask(do="compare", dtype=dtype, out=str(out), **case)
            if "failed" in answer:
                raise SystemExit(f"{name}: {answer['failed']}")
            with np.load(out) as arrays:
                found[name, dtype] = dict(arrays)
    exact = found["lpips", "float64"]
    return {
        **{key: case[key] for key in ("net", "version", "linear")},
        "float64": differences(found["cutaway", "float64"], exact),
        "float32": differences(found["cutaway", "float32"], found["lpips", "float32"]),
        "float32_to_float64": {
            name: differences(found[name, "float32"], found[name, "float64"]) for name in ("cutaway", "lpips")
        },
        "lpips": {
            "values": exact["values"].tolist(),
            "layers": exact["layers"].tolist(),
            "maps": [[float(x[place]) for place in PLACES] for x in exact["maps"]],
        },
    }


def wrong(result: dict) -> list[str]:
    """What is not equal: anything in float64, or values in float32."""
    told = []
    for row in result["rows"]:
        name = f"{row['net']} {row['version']} {row['linear']}"
        told += [f"{name}: {kind} in float64 {x:.1e}" for kind, x in row["float64"].items() if x > TOLERANCE]
        if (x := row["float32"]["values"]) > ROUNDING:
            told.append(f"{name}: values in float32 {x:.1e}")
    return told


def table(result: dict) -> str:
    lines = [
        "| net | version | values, float64 | layers, float64 | maps, float64 | values, float32 | layers, float32 |"
    ]
    lines.append("|---" * 7 + "|")
    for row in result["rows"]:
        if row["linear"] == "published":
            numbers = (*row["float64"].values(), row["float32"]["values"], row["float32"]["layers"])
            lines.append(f"| {row['net']} | {row['version']} | {' | '.join(f'{x:.0e}' for x in numbers)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "cutaway-benchmarks")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print the committed result as the table of the docs")
    given = parser.parse_args()
    if given.table:
        return print(table(json.loads(RESULT.read_text())))
    with tempfile.TemporaryDirectory() as work:
        folder, workers = Path(work), {}
        for system in SYSTEMS:
            python, log = python_of(system, given.cache), folder / f"{system.name}.log"
            workers[system.name] = Worker(system, python, [system.name], threads=given.threads, log=log)
        result = {
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seed": SEED, "pairs": PAIRS, "size": list(SIZE),
            "tolerance": TOLERANCE, "rounding": ROUNDING, "places": [list(place) for place in PLACES],
            "versions": {name: worker.about.get("versions", worker.failed) for name, worker in workers.items()},
            "rows": [measured(workers, case, folder) for case in cases()],
        }  # fmt: skip
        for worker in workers.values():
            worker.close()
    put(given.out, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    print(table(result))
    if unequal := wrong(result):
        raise SystemExit("\n".join(["not equal:", *unequal]))


if __name__ == "__main__":
    main()
