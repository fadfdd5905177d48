"""What tuning did inside: the circuit behind acronyms, before LoRA has learned acronyms and afterwards.

    CUTAWAY_DATA=DATA OMP_NUM_THREADS=1 python benchmarks/tuning_circuit.py    # fits, finds both circuits, sets them side by side
    python benchmarks/tuning_circuit.py --table                                # the tables of the docs, from the committed result

The prompts that are learned are of the acronym paper's file, whose prompts are cut for another tokenizer: only those are taken that
share no word with a clean prompt on which a circuit is found or verified. Both models are looked at on the same prompts by the same
settings, so what differs between the runs is what was learned. Everything is done by commands of the command line, which the result
names; what is finished lies in --work and is not made again.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from condense_comparison import kept_table, rounded

from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.config import Find
from cutaway.circuits.read import Record, read
from cutaway.core.runs import put
from cutaway.decoder.catalog import locate
from cutaway.decoder.tokens import Tokenizer, load_tokenizer

RESULT = Path(__file__).parent / "results" / "tuning-circuit-smollm2-135m.json"
PROMPTS = Path(os.environ.get("CUTAWAY_DATA", "data"), "acronyms", "acronyms_2_common.txt")
WORK = Path.home() / ".cache" / "cutaway-benchmarks" / "tuning-circuit"
MODEL, SEED = "smollm2-135m", 0
SIZES = {"train": 240, "dev": 40, "test": 100}
FIT = ("--epochs", "3", "--batch", "16", "--lr", "5e-4", "--no-stop")
FIND = ("--n-paths", "0", "--n-random", "10")
BEFORE, AFTER = "before", "after"
MOST = 40
"""Single effects that the result keeps."""
SCORES = ("n", "log_likelihood", "perplexity", "token_accuracy", "exact_match")


# --- what is done -----------------------------------------------------------------------------------------------------


def examples(tokenizer: Tokenizer, lines: list[str], looked_at: Acronyms, n: int) -> list[dict[str, str]]:
    """`n` acronyms as prompts and answers, whose words are in no prompt that is looked at, and whose letters are tokens."""
    known = {word for text in build(tokenizer, looked_at).texts for word in text.split()} - {"The"}
    phrases = sorted({line.split(" (")[0] for line in lines if line.strip()})
    random.Random(looked_at.seed).shuffle(phrases)
    found = []
    for phrase in phrases:
        words = phrase.split()[1:]
        letters = "".join(word[0] for word in words)
        if not known & {*words} and len(tokenizer.encode(letters)) == len(words):
            found.append({"text": f"{looked_at.example}{phrase} (", "target": letters})
    return found[:n]


def write(folder: Path) -> None:
    """The prompts to be learned, as a folder for `--data`."""
    tokenizer = load_tokenizer(locate(MODEL))
    assert tokenizer is not None
    lines, looked_at = PROMPTS.read_text().splitlines(), Acronyms(n=Find().n_prompts, seed=SEED)
    made = examples(tokenizer, lines, looked_at, sum(SIZES.values()))
    for part, n in SIZES.items():
        some, made = made[:n], made[n:]
        put(folder / f"{part}.jsonl", "".join(json.dumps(each) + "\n" for each in some).encode())


def commands() -> dict[str, list[str]]:
    """What is run, in the folder of the work, by the folder that it writes."""
    fit = ["tuning", "fit", "--data", "prompts", "--model", MODEL, "--method", "lora", *FIT, "--seed", str(SEED)]
    return {
        "tuned": [*fit, "--out", "tuned"],
        BEFORE: ["circuits", "find", "acronyms", "--model", MODEL, *FIND, "--out", BEFORE],
        AFTER: ["circuits", "find", "acronyms", "--model", "tuned", *FIND, "--out", AFTER],
        "compared": ["circuits", "compare", BEFORE, AFTER, "--out", "compared"],
    }


def done(work: Path) -> None:
    """Runs every command whose folder is not there yet."""
    if not (work / "prompts").is_dir():
        write(work / "prompts")
    for out, words in commands().items():
        if not (work / out).is_dir():
            again = ["--resume"] if words[:2] == ["tuning", "fit"] else []
            subprocess.run([sys.executable, "-m", "cutaway", *words, *again], cwd=work, check=True)


# --- what was found ---------------------------------------------------------------------------------------------------


def condensed(work: Path) -> dict:
    """The runs as one result."""
    compared = json.loads((work / "compared" / "compare.json").read_text())
    runs = {name: read(work / name) for name in (BEFORE, AFTER)}
    scores, about = (json.loads((work / "tuned" / f"{name}.json").read_text()) for name in ("scores", "manifest"))
    facts = {
        name: about[name] for name in ("seed", "versions", "hardware", "data_sha256", "seconds", "peak_memory_gib")
    }
    found = {
        "commands": {out: " ".join(["cutaway", *words]) for out, words in commands().items()},
        **facts,
        "versions": {"peft": version("peft"), **facts["versions"]},
        "examples": SIZES,
        "scores": {part: {name: scores[part][name] for name in SCORES} for part in ("dev", "test")},
        "steps": runs[BEFORE].steps,
        "performance": {name: run.performance for name, run in runs.items()},
        "circuits": {name: {str(h.site): h.role for h in run.circuit.heads} for name, run in runs.items()},
        **{name: compared[name] for name in ("overlaps", "correlations", "cross", "warnings")},
        "changes": changes(*runs.values()),
        "totals": totals(*runs.values()),
    }
    return rounded(found)


def changes(before: Record, after: Record) -> list[dict]:
    """Effects of heads, one for each corruption and letter, in both runs: the largest changes first."""
    rows = []
    for corruption, effects in before.heads.items():
        for (site, role, step), point in effects.points.items():
            other = after.heads[corruption].points.get((site, role, step))
            if role == "all" and point and other:
                rows.append({"site": site, "corruption": corruption, "step": step, BEFORE: point, AFTER: other})
    return sorted(rows, key=lambda row: -abs(row[AFTER][0] - row[BEFORE][0]))[:MOST]


def totals(before: Record, after: Record) -> dict[str, list[float]]:
    """Of every head |effect|, summed over corruptions and letters, in both runs."""
    found: dict[str, list[float]] = {site: [0.0, 0.0] for site in before.every_head}
    for at, run in enumerate((before, after)):
        for effects in run.heads.values():
            for (site, role, _), point in effects.points.items():
                if role == "all" and point and site in found:
                    found[site][at] += abs(point[0])
    return found


# --- as the docs show it ----------------------------------------------------------------------------------------------


def behaviour_table(found: dict) -> str:
    """What the models make of the prompts that verify the circuits."""
    steps = found["steps"]
    lines = [
        ("", *(f"{step}: {what}" for what in ("right", "logit difference") for step in steps), "heads in the circuit")
    ]
    lines.append(("---",) * len(lines[0]))
    for name, told in found["performance"].items():
        right = [f"{100 * mean:.0f} %" for mean, _, _ in told["greedy"]]
        apart = [f"{mean:.1f} [{low:.1f}, {high:.1f}]" for mean, low, high in told["logit_diff"]]
        lines.append((f"{name} tuning", *right, *apart, str(len(found["circuits"][name]))))
    return _rows(lines)


def heads_table(found: dict) -> str:
    """The heads that are in either circuit, in order of what changed."""
    circuits, every = found["circuits"], found["totals"]
    some = sorted({*circuits[BEFORE], *circuits[AFTER]}, key=lambda site: every[site][0] - every[site][1])
    lines = [("head", "role before", "role after", "effect before", "after"), ("---",) * 5]
    for site in some:
        roles = [circuits[name].get(site, "–") for name in (BEFORE, AFTER)]
        lines.append((site, *roles, *(f"{x:.1f}" for x in every[site])))
    return _rows(lines)


def changes_table(found: dict, n: int = 10) -> str:
    """The single effects that changed most."""
    lines = [("head", "corrupted", "letter", "effect before", "after"), ("---",) * 5]
    for row in found["changes"][:n]:
        points = ("{:+.1f} [{:+.1f}, {:+.1f}]".format(*row[name]) for name in (BEFORE, AFTER))
        lines.append((row["site"], row["corruption"], row["step"].split()[-1], *points))
    return _rows(lines)


def story(found: dict) -> str:
    """What the tables say, in words."""
    circuits, every = found["circuits"], found["totals"]
    moved = {site: abs(after - before) for site, (before, after) in every.items()}
    most = max(moved, key=moved.__getitem__)
    inside, one = (sum(moved[site] for site in some) / sum(moved.values()) for some in (circuits[BEFORE], [most]))
    alike = next(x["found"] for x in found["correlations"] if x["corruption"] == x["step"] == "all, summed")
    kept = len(circuits[BEFORE].keys() & circuits[AFTER].keys())
    had, has = len(circuits[BEFORE]), len(circuits[AFTER])
    return (
        f"Of the {has} heads after tuning {kept} are among the {had} before. Of all that changed in the effects of "
        f"{alike['n']} heads, {inside:.0%} is in those {had}, and {one:.0%} in {most} alone; over all heads, effects before and "
        f"after have the rank correlation {alike['spearman'][0]:.2f}."
    )


def _rows(lines: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PARTS = {
    "behaviour": behaviour_table,
    "story": story,
    "heads": heads_table,
    "changes": changes_table,
    "kept": kept_table,
}
"""Of the docs, between marks of these names."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK, help="where data and runs are kept")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        given.work.mkdir(parents=True, exist_ok=True)
        done(given.work)
        put(given.out, (json.dumps(condensed(given.work), indent=1, ensure_ascii=False) + "\n").encode())
    found = json.loads(given.out.read_text())
    print(*(f"{name}\n{made(found)}\n" for name, made in PARTS.items()), sep="\n")


if __name__ == "__main__":
    main()
