"""Peak memory of one training step, method by method, beside full fine-tuning in the same run.

    OMP_NUM_THREADS=1 python benchmarks/tuning_memory.py             # smollm2-135m, 8 × 128 tokens of WikiText-2
    python benchmarks/tuning_memory.py --quick                       # a trial, 2 × 32 tokens; writes nothing unless --out is given
    python benchmarks/tuning_memory.py --table                       # the table of the docs, from the committed result

Every system is a process of its own: it loads the model, puts the method on with its default options, and makes one step, so that
AdamW's averages exist. Memory is that of the second step, counted twice: bytes of tensors (`core/memory.py`), and what the system
says of the process at most (VmHWM, set back before the step), less what it held when everything was imported. Further steps are
timed. It reads /proc, so it wants Linux; text is in CUTAWAY_DATA.
"""

import argparse
import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from cutaway.core.runs import put

RESULT = Path(__file__).parent / "results" / "tuning-memory-smollm2-135m.json"
TEXT = Path(os.environ.get("CUTAWAY_DATA", "data"), "wikitext2", "valid.txt")
TARGETS = {"side": 0.5, "lora": 0.75}
"""At most so much of what `full` takes."""
SEED, MB = 0, 1e6
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "tokenizers", "numpy")


@dataclass(frozen=True)
class System:
    """A way to make a step."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = "float32"
    recompute: bool = False
    logits: bool = False
    """All logits at once, as `model(input_ids, labels=labels).loss` has them, instead of `token_losses`."""


SYSTEMS = {
    "full": System("full"),
    "full, all logits": System("full", logits=True),
    "full, recomputed": System("full", recompute=True),
    "lora": System("lora"),
    "lora, all logits": System("lora", logits=True),
    "lora, recomputed": System("lora", recompute=True),
    "side": System("side"),
    "adapter": System("adapter"),
    "bitfit": System("bitfit"),
    "ln_tuning": System("ln_tuning"),
    "ia3": System("ia3"),
    "prefix": System("prefix"),
    "lora, int8": System("lora", weights="int8"),
    "qlora": System("qlora", weights="int4"),
    "qlora, recomputed": System("qlora", weights="int4", recompute=True),
}
QUICK = ("full", "lora", "side")


# --- one system, in a process of its own ------------------------------------------------------------------------------


def measured(system: System, model: str, text: Path, batch: int, length: int, steps: int) -> dict[str, Any]:
    """What a step of it takes; `refused` with the reason, if this cannot be put on this model here."""
    import peft  # noqa: F401 - is part of what is there before
    import torch
    import transformers  # noqa: F401

    from cutaway.core.errors import CutawayError
    from cutaway.core.memory import PeakMemory
    from cutaway.tuning.backbone import load_backbone, recompute
    from cutaway.tuning.tune import tune

    imported = status("VmRSS")
    torch.manual_seed(SEED)
    try:
        backbone = load_backbone(model, weights=system.weights)
        tuned = tune(backbone.model, system.method, **system.options)
        if system.recompute:
            recompute(tuned.attached.host)
    except CutawayError as error:
        return {"refused": str(error)}
    tuned.model.train()
    ids = backbone.tokenizer.encode(text.read_text(encoding="utf-8")[: 20 * batch * length]).ids
    tokens = torch.tensor(ids[: batch * length]).view(batch, length)
    optimizer = torch.optim.AdamW(tuned.trained().values(), lr=1e-4)
    losses = [step(tuned, tokens, optimizer, system.logits)]
    with PeakMemory() as memory:
        state = [x for each in optimizer.state.values() for x in each.values() if isinstance(x, torch.Tensor)]
        memory.hold(*tuned.model.parameters(), *tuned.model.buffers(), *state, tokens)
        held = memory.now
        set_back()
        losses.append(step(tuned, tokens, optimizer, system.logits))
        process = status("VmHWM")
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        losses.append(step(tuned, tokens, optimizer, system.logits))
        seconds.append(time.perf_counter() - started)
    return {
        "trained": tuned.count().trained, "tensor_peak": memory.peak, "tensor_held": held, "process_peak": process,
        "process_imported": imported, "process_more": process - imported, "step_seconds": median(seconds),
        "seconds": seconds, "losses": losses,
    }  # fmt: skip


def step(tuned: Any, tokens: Any, optimizer: Any, logits: bool) -> float:
    """Forward, backward, and the optimiser; gives the mean loss of a token, in nats."""
    from cutaway.tuning.next_token import before_unembedding, next_tokens, token_losses

    more = {} if tuned.method.name == "prefix" else {"use_cache": False}
    if logits:
        loss = tuned.model(input_ids=tokens, labels=tokens, **more).loss
    else:
        hidden, unembed = before_unembedding(tuned.model, input_ids=tokens, **more)
        told = token_losses(hidden, unembed, next_tokens(tokens))
        loss = told.sums.sum() / told.counts.sum()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def status(name: str) -> int:
    """Bytes that the operating system tells of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {name}")


def set_back() -> None:
    """From here on VmHWM is the most that is held from here on; what was freed before is given back first."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


# --- all of them ------------------------------------------------------------------------------------------------------


def run(given: argparse.Namespace) -> dict[str, Any]:
    rows = {}
    for name in given.systems:
        words = [sys.executable, __file__, "--one", name, "--model", given.model, "--text", str(given.text)]
        words += [f"--{word}={getattr(given, word)}" for word in ("batch", "length", "steps")]
        threads = {"OMP_NUM_THREADS": str(given.threads), "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(words, env=os.environ | threads, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
        rows[name] = {"system": asdict(SYSTEMS[name])} | json.loads(done.stdout.splitlines()[-1])
        print(f"{name}: {rows[name].get('refused') or told(rows[name], rows['full'])}", file=sys.stderr, flush=True)
    return rows


def ratios(row: dict, full: dict) -> dict[str, float]:
    return {name: row[name] / full[name] for name in ("tensor_peak", "process_more", "step_seconds")}


def told(row: dict, full: dict) -> str:
    of = ratios(row, full)
    return ", ".join(f"{name} {row[name]:.4g} ({of[name]:.2f})" for name in of)


def table(result: dict) -> str:
    """The table of docs/tuning.md."""
    full = result["rows"]["full"]
    lines = [
        "| | learn | tensors | of `full` | process | of `full` | step | of `full` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        method, _, how = name.partition(", ")
        label = f"`{method}`{', ' + how if how else ''}"
        if "refused" in row:
            lines.append(f"| {label} | – | – | – | – | – | – | – |")
            continue
        of = ratios(row, full)
        cells = [label, f"{row['trained']:,}", f"{row['tensor_peak'] / MB:,.0f} MB", f"{of['tensor_peak']:.2f}"]
        cells += [f"{row['process_more'] / MB:,.0f} MB", f"{of['process_more']:.2f}"]
        cells += [f"{row['step_seconds']:.1f} s", f"{of['step_seconds']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def missed(result: dict) -> list[str]:
    """Targets that are not met, by tensors or by what the process takes."""
    full = result["rows"]["full"]
    return [
        f"{name}: {what} is {of:.2f} of full, wanted {most}"
        for name, most in result["targets"].items()
        for what, of in ratios(result["rows"][name], full).items()
        if what != "step_seconds" and of > most
    ]


def facts(given: argparse.Namespace) -> dict[str, Any]:
    from cutaway.core.stamps import sha256

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seed": SEED, "model": given.model,
        "batch": given.batch, "length": given.length, "steps": given.steps, "threads": given.threads,
        "text": f"{given.text.parent.name}/{given.text.name}", "text_sha256": sha256(given.text), "targets": TARGETS,
        "versions": found,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(),
                    "load_average": os.getloadavg()[0]},
    }  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="the first is to be full")
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128, help="tokens of a sample")
    parser.add_argument("--steps", type=int, default=3, help="that are timed")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="print the committed result as the table of the docs")
    parser.add_argument("--quick", action="store_true", help="three systems, 2 × 32 tokens, one timed step")
    parser.add_argument("--one", choices=SYSTEMS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.systems, given.batch, given.length, given.steps = list(QUICK), 2, 32, 1
        given.out = None if given.out == RESULT else given.out
    if given.systems[0] != "full":
        parser.error("the first of --systems is to be full, which the others are compared with")
    return given


def main() -> None:
    given = arguments()
    if given.one:
        row = measured(SYSTEMS[given.one], given.model, given.text, given.batch, given.length, given.steps)
        return print(json.dumps(row))
    if given.table:
        return print(table(json.loads(RESULT.read_text())))
    result = facts(given)
    result["rows"] = run(given)
    if given.out:
        put(given.out, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    print(table(result))
    for name, row in result["rows"].items():
        if "refused" in row:
            print(f"{name}: {row['refused']}")
    if not given.quick and (wrong := missed(result)):
        raise SystemExit("\n".join(["targets are missed:", *wrong]))


if __name__ == "__main__":
    main()
