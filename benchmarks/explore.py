"""How long the explorer takes to answer: each kind of change a visitor can make, 20 times, asked over HTTP.

    OMP_NUM_THREADS=2 python benchmarks/explore.py RUN -o benchmarks/results/explore-smollm2-135m.json   # with nothing else to do
    python benchmarks/explore.py --table                                                   # the table of docs/explore.md

RUN is a run folder of `cutaway circuits find`. The server is asked in its own process, so that no network is in the way, but
all that it does for a page is: reading, running, and writing the answer as JSON.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch
from starlette.testclient import TestClient

from cutaway import load
from cutaway.circuits.circuit import Circuit
from cutaway.circuits.explore.app import application
from cutaway.circuits.explore.question import Question
from cutaway.circuits.explore.security import Door
from cutaway.circuits.explore.setup import Setup, set_up
from cutaway.cli import keep_memory
from cutaway.core.runs import manifest

COMMITTED = Path(__file__).parent / "results/explore-smollm2-135m.json"
HOME, SESSION, TIMES = "http://127.0.0.1", "0123456789abcdef", 20


def changes(setup: Setup, rng: random.Random) -> dict[str, Iterator[tuple[str, dict]]]:
    """For each kind of change an endless row of (path, what is sent); what was kept of the question before is known."""
    layers, heads, phrases = setup.bounds.layers, setup.bounds.heads, setup.phrases
    inside = {(head.site.layer, head.site.head) for head in setup.circuit.heads}
    base = {"phrase": phrases[0], "second": setup.second}
    kept, ever = ["." * heads] * layers, count()

    def with_head(rows: list[str], sign: str) -> list[str]:
        at, head = rng.randrange(layers), rng.randrange(heads)
        return [row[:head] + sign + row[head + 1 :] if layer == at else row for layer, row in enumerate(rows)]

    def all_but(ablated) -> list[str]:
        return ["".join("a" if ablated((at, head)) else "." for head in range(heads)) for at in range(layers)]

    def ask(**more) -> tuple[str, dict]:
        return "/answer", {"question": base | more}

    alone = all_but(lambda head: head not in inside)
    return {
        "another phrase": (ask(phrase=phrase) for _ in ever for phrase in phrases),
        "another second phrase, all heads patched": (
            ask(second=phrase, heads=["p" * heads] * layers) for _ in ever for phrase in phrases[1:]
        ),
        "a head ablated": (ask(heads=with_head(kept, "a")) for _ in ever),
        "a head patched": (ask(heads=with_head(kept, "p")) for _ in ever),
        "a head kept besides the circuit": (ask(heads=with_head(alone, ".")) for _ in ever),
        "the circuit alone, then without it": (
            ask(heads=rows) for _ in ever for rows in (alone, all_but(lambda head: head in inside))
        ),
        "another ablation of all but the circuit": (
            ask(heads=alone, ablation=how) for _ in ever for how in ("zero", "mean", "second", "role")
        ),
        "a patch of the residual stream": (
            ask(patch={"site": f"{rng.randrange(layers)}.resid_pre", "at": "answer"}) for _ in ever
        ),
        "a patch of an MLP": (ask(patch={"site": f"m{rng.randrange(layers)}", "at": None}) for _ in ever),
        "the attention of a head": (
            ("/pattern", {"question": base, "head": f"{rng.randrange(layers)}.{rng.randrange(heads)}"}) for _ in ever
        ),
        "every head patched": (
            ("/sweep", {"question": base | {"phrase": phrases[i]}}) for _ in ever for i in (0, 2, 3)
        ),
    }


def measure(client: TestClient, asked: Iterator[tuple[str, dict]]) -> dict:
    """Seconds of `TIMES` answers, after one that warms up: on the clock, and of processor time (which other work on the
    machine hardly changes)."""
    clock, processor = [], []
    for _ in range(TIMES + 1):
        path, sent = next(asked)
        started, spent = time.perf_counter(), time.process_time()
        answer = client.post(path, json={"session": SESSION, **sent})
        clock.append(time.perf_counter() - started)
        processor.append(time.process_time() - spent)
        if answer.status_code != 200 or "error" in answer.json():
            raise SystemExit(f"{path} {sent}: {answer.text}")
    seconds = {
        "median": statistics.median(clock[1:]),
        "worst": max(clock[1:]),
        "processor": statistics.median(processor[1:]),
    }
    return {"n": TIMES, **{name: round(value, 3) for name, value in seconds.items()}}


def markdown(result: dict) -> str:
    """The result as a table of the docs."""
    rows = result["seconds"].items()
    lines = [f"| {kind} | {s['median']:.2f} s | {s['worst']:.2f} s | {s['processor']:.2f} s |" for kind, s in rows]
    return "\n".join(["| what is asked | median | worst | processor time |", "|---|---|---|---|", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--table", action="store_true", help="print the committed result as the docs show it")
    given = parser.parse_args()
    if given.table or given.run is None:
        return print(markdown(json.loads(COMMITTED.read_text())))
    keep_memory()
    circuit = Circuit.load(given.run)
    load_before = os.getloadavg()[0]
    started = time.perf_counter()
    model = load(circuit.model)
    setup = set_up(given.run, circuit, model)
    ready = time.perf_counter() - started
    app = application(setup, Door(frozenset({"127.0.0.1"})))
    with TestClient(app, base_url=HOME, headers={"origin": HOME}) as client:
        seconds = {}
        for kind, asked in changes(setup, random.Random(0)).items():
            seconds[kind] = measure(client, asked)
            print(kind, seconds[kind], flush=True)
    about = {
        "model": circuit.model,
        "tokens": len(setup.bench.run(Question(setup.phrases[0])).ours.phrase.tokens),
        "threads": torch.get_num_threads(),
        "load_average": [round(load_before, 2), round(os.getloadavg()[0], 2)],
        "seconds_until_ready": round(ready, 1),
    }
    result = manifest("python benchmarks/explore.py RUN") | about | {"seconds": seconds}
    if given.out:
        given.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(given.out)


if __name__ == "__main__":
    main()
