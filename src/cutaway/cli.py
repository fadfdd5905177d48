"""`cutaway <room> <verb>`: every command is a typed function; its docstring is its help. Nothing heavy is imported at the top."""

import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError

from cutaway import __version__
from cutaway.circuits.config import Find
from cutaway.core.errors import CutawayError

app = App(
    name="cutaway",
    version=__version__,
    suppress_keyboard_interrupt=False,  # `run` says what Ctrl-C left
    help="See how a pretrained network does what it does, change it, use it, and see what the change did inside.",
)
circuits = App(name="circuits", help="Find, verify and explain the circuit of heads behind a behaviour.")
models = App(name="models", help="Which models there are, what is inside them, and whether they run as they should.")
behaviors = App(name="behaviors", help="What can be explained.")
reproduce = App(name="reproduce", help="Published numbers beside ours.")
for room in (circuits, models, behaviors, reproduce):
    app.command(room)


# --- circuits -----------------------------------------------------------------------------------------------------------


@circuits.command
def find(
    behavior: str,
    *,
    model: Annotated[str, Parameter(alias="-m")] = "smollm2-135m",
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    option: tuple[str, ...] = (),
    dtype: str = "float32",
    device: str = "cpu",
    config: Annotated[Find, Parameter(name="*")] = Find(),  # noqa: B008 - frozen
) -> None:
    """Find the circuit behind a behaviour, verify it on fresh prompts, explain it, and write a run folder.

    Parameters
    ----------
    behavior
        A name (`cutaway behaviors list`), or a JSONL or CSV file of your own (docs/add-a-behaviour.md).
    model
        A known name (`cutaway models list`), a folder, a .gguf file, owner/name on the hub, or planted:acronyms.
    out
        The run folder; default runs/BEHAVIOR-MODEL, with a number behind if that is taken.
    option
        Options of the behaviour, as name=value: `--option words=4 --option spelled=true`.
    dtype
        float32, bfloat16 or float16.
    device
        cpu, cuda, cuda:1, mps …
    """
    from cutaway.circuits import figures, report
    from cutaway.circuits.behaviors.choose import choose
    from cutaway.circuits.find import find as search
    from cutaway.circuits.show import summary
    from cutaway.circuits.write import write
    from cutaway.core.progress import TerminalProgress
    from cutaway.core.runs import manifest, new_run, peak_memory
    from cutaway.decoder import load

    folder = out or _free(Path("runs") / f"{Path(behavior).stem}-{Path(model).name}".replace(":", "-"))
    progress = TerminalProgress()
    given = {"command": command_line(), "seed": config.seed}
    settings = {"behavior": behavior, "model": model, "option": option, "dtype": dtype, "find": vars(config)}
    with new_run(folder, config=settings, **given) as run:
        with progress.stage(f"load {model}"):
            loaded = load(model, dtype=_dtype(dtype), device=device)
        findings = search(
            loaded, choose(behavior, loaded, option, n=config.n_prompts, seed=config.seed), config, progress
        )
        with progress.stage("write tables, figures and the page"):
            write(findings, run, loaded.tokenizer)
            figures.draw(run.folder)
            report.render(run.folder, manifest(**given))
    console = _console()
    console.print(summary(folder))
    console.print(
        f"Written to {folder}: report.html, circuit.json, tables and figures "
        f"({sum(findings.seconds.values()):.0f} s, {peak_memory() / 2**30:.1f} GiB)."
    )


@circuits.command
def show(run: Path) -> None:
    """The tables of a finished run."""
    from cutaway.circuits.show import summary

    _console().print(summary(run))


@circuits.command(name="report")
def make_report(run: Path) -> None:
    """Draw the figures and the page of a run again, from its tables."""
    from cutaway.circuits import figures, report
    from cutaway.circuits.show import read

    found = read(run, "manifest.json")
    figures.draw(run)
    print(report.render(run, found))


@circuits.command
def methods() -> None:
    """The search methods."""
    from cutaway.circuits.search.record import methods

    rows = [(m.name, m.about, m.citation) for m in methods().values()]
    _console().print(_listing(("method", "what it does", "source"), rows))


# --- models -------------------------------------------------------------------------------------------------------------


@models.command(name="list")
def list_models() -> None:
    """Models known by name; any folder, .gguf file or owner/name of the hub works as well."""
    from cutaway.decoder.catalog import KNOWN_MODELS

    rows = [(m.name, m.about, m.licence) for m in KNOWN_MODELS.values()]
    rows += [("planted:acronyms", "built by hand, its circuit is known; planted:acronyms@7 is another draw", "–")]
    rows += [("planted:induction", "the same for A B … A → B", "–")]
    _console().print(_listing(("name", "what it is", "licence"), rows))


@models.command(name="show")
def show_model(name: str) -> None:
    """Family, sizes, sites with their shapes, licence, and where a model came from."""
    from cutaway.decoder import load
    from cutaway.decoder.catalog import KNOWN_MODELS, locate
    from cutaway.decoder.sites import site_shapes

    model = load(name)
    known = KNOWN_MODELS.get(name)
    c = model.config
    rows = [
        ("family", c.family),
        (
            "size",
            f"{c.n_layers} layers × {c.n_heads} heads ({c.n_kv_heads} key-value), d_model {c.d_model}, "
            f"d_head {c.d_head}, d_mlp {c.d_mlp}",
        ),
        ("parameters", f"{sum(p.numel() for p in model.parameters()):,}"),
        (
            "positions",
            "learned" if c.rope is None else f"rotary, {c.rope.dim} of {c.d_head} dimensions, base {c.rope.base:g}",
        ),
        ("parts", ", ".join(_parts(c))),
        ("vocabulary", f"{c.vocab:,}; context {c.n_ctx:,} tokens; start-of-text id {c.bos} (never added silently)"),
        ("licence", known.licence if known else "see the checkpoint"),
        ("from", "built by hand" if name.startswith("planted:") else str(locate(name))),
    ]
    rows += [(f"site {kind}", shape) for kind, shape in site_shapes(c).items()]
    _console().print(_listing(("", name), rows))


def _parts(c) -> list[str]:
    norm = {"layer": "LayerNorm", "rms": "RMSNorm", "none": "no norm"}[c.norm]
    mlp = f"{'gated ' if c.gated else ''}MLP ({c.activation})"
    more = {"parallel residual": c.parallel, "norms after the sublayers": c.post_norms, "query-key norm": c.qk_norm}
    return [
        norm,
        mlp,
        "tied unembedding" if c.tied else "own unembedding",
        *(name for name, has in more.items() if has),
    ]


@models.command(name="check")
def check_model(name: str) -> None:
    """Put a model through the conformance suite: transformers' logits, padding, additivity, liveness of every site …"""
    from cutaway.decoder import load
    from cutaway.decoder.catalog import locate
    from cutaway.decoder.check import check

    model = load(name)
    results = check(model, reference_folder=None if name.startswith("planted:") else locate(name))
    for result in results:
        print(result)
    failed = [result.name for result in results if result.passed is False]
    if failed:
        raise CutawayError(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")


# --- behaviours ---------------------------------------------------------------------------------------------------------


@behaviors.command(name="list")
def list_behaviors() -> None:
    """Behaviours known by name; a JSONL or CSV file of yours works as well (docs/add-a-behaviour.md)."""
    from cutaway.circuits.behaviors import behavior_recipes

    rows = [
        (r.name, r.about, ", ".join(f.name for f in fields(r.config)), r.citation) for r in behavior_recipes().values()
    ]
    _console().print(_listing(("name", "what it is", "options", "source"), rows))


@behaviors.command(name="show")
def show_behavior(
    behavior: str,
    *,
    model: Annotated[str, Parameter(alias="-m")] = "smollm2-135m",
    option: tuple[str, ...] = (),
    n: Annotated[int, Parameter(alias="-n")] = 3,
) -> None:
    """Some prompts with their exact tokens and roles."""
    from cutaway.circuits.behaviors.choose import choose
    from cutaway.decoder import load

    loaded = load(model)
    made = choose(behavior, loaded, option, n=n)
    console, shown = _console(), loaded.tokenizer.shown
    console.print(str(made), highlight=False, markup=False)
    for row in range(min(n, len(made))):
        tokens = made.clean.tokens[row][made.clean.mask[row]].tolist()
        roles = [made.slots[i][0] for i in made.clean.slots[row][made.clean.mask[row]].tolist()]
        cells = " ".join(f"{shown(i)}⟨{role}⟩" for i, role in zip(tokens, roles, strict=True))
        answer = "".join(shown(i) for i in made.answers[row].tolist())
        console.print(f"{cells}  →  {answer}", highlight=False, markup=False)


# --- reproduce ----------------------------------------------------------------------------------------------------------


@reproduce.command(name="acronyms")
def reproduce_acronyms(
    *, model: str = "gpt2", n: int = 50, prompts: Path | None = None, out: Path | None = None, seed: int = 0
) -> None:
    """Every number of the acronym paper beside ours, with the difference; exit code 0 only if all lie within tolerance.

    Parameters
    ----------
    model
        The paper's is gpt2; any model of its shape runs.
    n
        Prompts: the first n of the paper's file (the authors use 50).
    prompts
        The paper's prompt file; default: fetched from the authors' repository, or $CUTAWAY_DATA/acronyms.
    out
        Where to write reproduction.json; default runs/reproduce-acronyms-MODEL.
    seed
        Of the permutation that corrupts (the paper sets none).
    """
    from cutaway.circuits.reproduce import acronyms, table
    from cutaway.core.progress import TerminalProgress
    from cutaway.core.runs import new_run
    from cutaway.decoder import load

    folder = out or _free(Path("runs") / f"reproduce-acronyms-{Path(model).name}".replace(":", "-"))
    progress = TerminalProgress()
    with new_run(folder, config={"model": model, "n": n, "seed": seed}, command=command_line(), seed=seed) as run:
        with progress.stage(f"load {model}"):
            loaded = load(model)
        lines = acronyms(loaded, n=n, file=prompts, seed=seed, progress=progress)
        run.json("reproduction.json", {"model": model, "n": n, "lines": [vars(line) for line in lines]})
    _console().print(table(lines))
    off = [line for line in lines if not line.holds]
    print(f"{len(lines) - len(off)} of {len(lines)} published numbers lie within their tolerance. Written to {folder}.")
    if off:
        raise CutawayError(f"{len(off)} published numbers are not met by {model} (n={n})")


# --- helpers ------------------------------------------------------------------------------------------------------------


def _free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3 … that is not taken."""
    numbered = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(2))
    return folder if not folder.exists() else next(path for path in numbered if not path.exists())


def _dtype(name: str):
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise CutawayError(f"dtype {name!r}: allowed are {', '.join(known)}")
    return known[name]


def _console():
    from rich.console import Console

    console = Console()
    # a pipe or a log has no width of its own: keep tables whole there
    return console if console.is_terminal else Console(width=160)


def _listing(header: tuple[str, ...], rows: list[tuple]):
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in header:
        table.add_column(column, header_style="bold")
    for row in rows:
        table.add_row(*map(str, row))
    return table


def command_line() -> str:
    """This command as it can be typed again."""
    import shlex

    return shlex.join(["cutaway", *sys.argv[1:]])


def run(tokens: list[str] | None = None, command: Callable = app) -> int:
    """Runs a command line; returns its exit code. Mistakes become one line on stderr."""
    try:
        command(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CutawayError as error:
        return _complain(str(error), 1)
    except CycloptsError as error:
        return _complain(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        return _complain("stopped; nothing half-written is left", 130)
    except BrokenPipeError:  # the reader of our output has gone: `cutaway … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _complain(line: str, code: int) -> int:
    print(f"cutaway: {line}", file=sys.stderr)
    return code


def keep_memory() -> None:
    """Tells glibc to keep freed memory for the next layer instead of giving it back to the kernel: a patching grid frees
    and asks for the same large blocks thousands of times, and page faults cost a seventh of its time. Other systems do
    without. Only the command line does this; importing the package changes nothing.
    """
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of <malloc.h>
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)


def main() -> None:
    keep_memory()
    sys.exit(run())
