"""`cutaway circuits`: find, verify and explain the circuit of heads behind a behaviour."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cutaway.circuits.config import Find
from cutaway.cli.opened import load, opened
from cutaway.cli.terminal import command_line, dtype_of, free, listing, new_console
from cutaway.core.errors import CutawayError

circuits = App(name="circuits", help="Find, verify and explain the circuit of heads behind a behaviour.")


@circuits.command
def find(
    behavior: str,
    *,
    model: Annotated[str, Parameter(alias="-m")] = "smollm2-135m",
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    option: tuple[str, ...] = (),
    dtype: str = "float32",
    device: str = "auto",
    config: Annotated[Find, Parameter(name="*")] = Find(),  # noqa: B008 - frozen
) -> None:
    """Find the circuit behind a behaviour, verify it on fresh prompts, explain it, and write a run folder.

    Stopped or killed, the same command goes on where it was. On several ranks: `torchrun --nproc-per-node N -m cutaway
    circuits find …` (docs/scaling.md).

    Parameters
    ----------
    behavior
        A name (`cutaway behaviors list`), or a JSONL or CSV file of your own (docs/add-a-behaviour.md).
    model
        A known name (`cutaway models list`), a folder, a .gguf file, owner/name on the hub, planted:acronyms, or a run of
        `cutaway tuning fit` that writes text.
    out
        The run folder; default runs/BEHAVIOR-MODEL, with a number behind if that is taken.
    option
        Options of the behaviour, as name=value: `--option words=4 --option spelled=true`.
    dtype
        float32, bfloat16 or float16; what the latter two change in the logits is measured and printed.
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1, mps …; several with commas between hold one model together.
    """
    from cutaway.circuits import figures, report
    from cutaway.circuits.behaviors.choose import choose
    from cutaway.circuits.find import find as search
    from cutaway.circuits.show import summary
    from cutaway.circuits.write import write
    from cutaway.cli.job import job
    from cutaway.core.runs import manifest, peak_memory
    from cutaway.decoder.placement import devices_of

    folder = out or free(Path("runs") / f"{Path(behavior).stem}-{Path(model).name}".replace(":", "-"))
    devices = devices_of(device)
    given = {"command": command_line(), "seed": config.seed}
    settings = {"behavior": behavior, "model": model, "option": option, "dtype": dtype, "find": vars(config)}
    with job(folder, devices[0], config=settings, **given) as at:
        with at.progress.stage(f"load {model}"):
            loaded = load(model, dtype=dtype_of(dtype), device=devices)
        at.progress.say(f"{', '.join(map(str, devices))}, {dtype}")
        work = at.work(loaded)
        prompts = choose(behavior, loaded, option, n=config.n_prompts, seed=config.seed)
        if at.run and dtype != "float32":
            at.run.facts["precision"] = precision = _precision(loaded, prompts)
            at.progress.say(str(precision))
        findings = search(loaded, prompts, config, at.progress, work)
        scaling = work.scaling()
        if at.run is None:
            return
        if at.ranks.world > 1:
            at.progress.say(str(scaling))
            at.run.facts["ranks"] = scaling
        with at.progress.stage("write tables, figures and the page"):
            write(findings, at.run, loaded.tokenizer)
            figures.draw(at.run.folder)
            report.render(at.run.folder, manifest(**given, **at.run.facts))
    console = new_console()
    console.print(summary(folder))
    console.print(
        f"Written to {folder}: report.html, circuit.json, tables and figures "
        f"({sum(findings.seconds.values()):.0f} s, {peak_memory() / 2**30:.1f} GiB)."
    )


def _precision(model, behavior):
    """Of the logits that the behaviour is scored on, for a few of its prompts."""
    from cutaway.decoder.precision import compare_with_float32

    few = behavior.take(slice(0, 4)).clean.to(model.device)
    return compare_with_float32(model, few.tokens, few.mask, few.steps)


@circuits.command
def show(run: Path) -> None:
    """The tables of a finished run."""
    from cutaway.circuits.show import summary

    new_console().print(summary(run))


@circuits.command(name="report")
def make_report(run: Path) -> None:
    """Draw the figures and the page of a run again, from its tables."""
    from cutaway.circuits import figures, report
    from cutaway.circuits.show import read

    found = read(run, "manifest.json")
    figures.draw(run)
    print(report.render(run, found))


@circuits.command
def compare(
    *runs: Path,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    cross: bool = True,
    device: str = "auto",
) -> None:
    """Circuits side by side: heads they share, agreement of effects, and what each keeps on the prompts of the others.

    Parameters
    ----------
    runs
        Two to eight run folders of `cutaway circuits find`.
    out
        Where compare.html, compare.json and tables go; default runs/compare-RUN-RUN.
    cross
        Load the models and measure each circuit on the other runs' prompts; takes seconds to minutes a run.
    device
        As for `cutaway circuits find`.
    """
    from functools import partial

    from cutaway.circuits.compare import compare as beside
    from cutaway.circuits.compare import page
    from cutaway.circuits.compare.show import summary
    from cutaway.circuits.compare.sides import labels
    from cutaway.circuits.compare.write import write
    from cutaway.core.progress import TerminalProgress
    from cutaway.core.runs import manifest, new_run
    from cutaway.decoder.placement import devices_of

    named = "-".join(labels(runs)).replace("/", "-")
    folder = out or free(Path("runs") / f"compare-{named if len(named) <= 60 else f'{len(runs)}-runs'}")
    devices, given = devices_of(device), {"command": command_line()}
    with new_run(folder, config={"runs": runs, "cross": cross}, **given) as run:
        found = beside(
            runs, cross=cross, progress=TerminalProgress(), device=devices, opened=partial(opened, offline=True)
        )
        write(found, run)
        page.render(found, run, manifest(**given))
    console = new_console()
    console.print(summary(found))
    console.print(f"Written to {folder}: compare.html, compare.json and tables.")


@circuits.command
def explore(
    run: Path,
    *,
    model: Annotated[str, Parameter(alias="-m")] = "",
    host: str = "127.0.0.1",
    port: int | None = None,
    open: bool = True,
    device: str = "auto",
) -> None:
    """Serve one page on which you type a phrase, ablate and patch heads, and see the answer change. Ctrl-C ends it.

    Parameters
    ----------
    run
        A run folder of `cutaway circuits find`, or its circuit.json.
    model
        Another model than the run's: any that `cutaway circuits find` takes.
    host
        Where to listen. Beyond this machine (0.0.0.0, say) the address that is printed holds a token, which visitors need.
    port
        The port; default 8765, or a free one if that is taken.
    open
        Open the page in the browser.
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1, mps …
    """
    import sys

    from cutaway.circuits.circuit import Circuit
    from cutaway.circuits.explore.server import door_of, listen, serve, url_of
    from cutaway.circuits.explore.setup import set_up
    from cutaway.core.progress import TerminalProgress
    from cutaway.decoder.placement import devices_of

    circuit, progress = Circuit.load(run), TerminalProgress()
    with listen(host, port) as bound:
        door = door_of(bound, host)
        name = model or circuit.model
        with progress.stage(f"load {name}"):
            loaded = load(name, device=devices_of(device))
        setup = set_up(run, circuit, loaded, progress)
        url = url_of(bound, host, door)
        print(f"Explore {circuit.behavior} in {name}: {url} (Ctrl-C ends it)", flush=True)
        serve(setup, bound, door, show=url if open and sys.stdout.isatty() else None)


@circuits.command
def methods() -> None:
    """The search methods."""
    from cutaway.circuits.search.record import methods

    rows = [(m.name, m.about, m.citation) for m in methods().values()]
    new_console().print(listing(("method", "what it does", "source"), rows))


@circuits.command
def agree(
    behavior: str,
    *,
    method: str = "atp,atp_star,eap,eap_ig",
    model: Annotated[str, Parameter(alias="-m")] = "smollm2-135m",
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    option: tuple[str, ...] = (),
    edges: int = 0,
    n: Annotated[int, Parameter(alias="-n")] = 6,
    seed: int = 0,
) -> None:
    """How far the estimates of approximate methods agree with exact effects, in numbers and as a figure.

    Parameters
    ----------
    behavior
        A name (`cutaway behaviors list`), or a JSONL or CSV file of your own.
    method
        One or some of `cutaway circuits methods` that estimate effects, with commas between.
    model
        As for `cutaway circuits find`.
    out
        The run folder; default runs/agree-BEHAVIOR-MODEL.
    option
        Options of the behaviour, as name=value.
    edges
        Edges that are patched exactly as well, for methods that estimate edges.
    n
        Prompts.
    """
    from cutaway.circuits.agreement import HEADER, agreement, scatter, table
    from cutaway.circuits.behaviors.choose import choose
    from cutaway.circuits.figures import drawn
    from cutaway.circuits.search.record import Problem
    from cutaway.circuits.search.record import method as method_of
    from cutaway.core.progress import TerminalProgress
    from cutaway.core.runs import new_run

    chosen = [method_of(name) for name in _split(method)]
    progress = TerminalProgress()
    folder = out or free(Path("runs") / f"agree-{Path(behavior).stem}-{Path(model).name}".replace(":", "-"))
    settings = {"behavior": behavior, "model": model, "method": method, "option": option, "edges": edges, "n": n}
    with new_run(folder, config=settings, command=command_line(), seed=seed) as run:
        loaded = load(model)
        problem = Problem(loaded, choose(behavior, loaded, option, n=n, seed=seed), seed=seed)
        found = []
        for each in chosen:
            with progress.stage(f"{each.name} beside exact effects") as tick:
                found.append(agreement(problem, each, edges=edges, tick=lambda said, tick=tick: tick(1)))
            run.csv(f"{each.name}.csv", found[-1].rows())
            drawn(lambda found=found: scatter(found[-1]), run.folder, each.name)
        run.json("agreement.json", [each.to_dict() for each in found])
    console = new_console()
    console.print(listing(HEADER, table(found)))
    console.print(f"Written to {folder}.")


@circuits.command
def known() -> None:
    """Published circuits, as data (docs/known-circuits.md)."""
    from cutaway.circuits.known import known_circuits

    rows = [(k.name, k.model, len(k.heads), ", ".join(k.roles), k.citation) for k in known_circuits().values()]
    new_console().print(listing(("circuit", "model", "heads", "roles", "source"), rows))


@circuits.command
def benchmark(
    *,
    methods: str = "",
    on: str = "",
    model: Annotated[str, Parameter(alias="-m")] = "gpt2",
    seeds: int = 9,
    n: Annotated[int, Parameter(alias="-n")] = 6,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
) -> None:
    """Search methods on circuits that are known: TPR, FPR and AUROC of heads, with intervals over models.

    Parameters
    ----------
    methods
        Some of `cutaway circuits methods`, with commas between; default: all.
    on
        `planted`, and names from `cutaway circuits known`, with commas between; default: all whose model is at hand.
    model
        Where the published circuits are looked for: gpt2, or a folder with its weights.
    seeds
        Draws of every planted circuit: 9 of each are 54 models.
    n
        Prompts that a method looks at in a planted model; in a published one, four times as many.
    out
        The run folder; default runs/benchmark.
    """
    from itertools import chain

    from cutaway.circuits import benchmark as bench
    from cutaway.circuits.search.record import method
    from cutaway.circuits.search.record import methods as every_method
    from cutaway.core.progress import TerminalProgress
    from cutaway.core.runs import new_run

    chosen = [method(name) for name in _split(methods)] or list(every_method().values())
    records, planted = bench.asked(_split(on))
    draws = range(seeds if planted else 0)
    progress, folder = TerminalProgress(), out or free(Path("runs") / "benchmark")
    settings = {"methods": [m.name for m in chosen], "on": on or "all", "model": model, "seeds": seeds, "n": n}
    with new_run(folder, config=settings, command=command_line(), seed=list(draws)) as run:
        cases = bench.published_cases(records, opened(model), 4 * n, progress)
        total = len(cases) + len(draws) * len(bench.circuits())
        if not total:
            raise CutawayError(
                "no circuit to look for: ask for --on planted, or give --model a folder with GPT-2's weights"
            )
        with progress.stage(f"{total} models, {len(chosen)} methods", total * len(chosen)) as tick:
            scores = bench.run(chain(cases, bench.planted_cases(draws, n)), chosen, tick)
        run.json("benchmark.json", bench.to_dict(scores, chosen))
    _tell([record for record in records if record.name in {case.name for case in cases}], scores, chosen)
    print(f"Written to {folder}.")


def _tell(records: list, scores: list, methods: list) -> None:
    """A table for each published circuit, and one for the planted family."""
    from cutaway.circuits import benchmark as bench

    console, groups, planted = new_console(), bench.by_group(scores, methods), bench.planted_only(scores)
    for record in records:
        console.print(f"\n{record.name}: {len(record.heads)} published heads of {record.model} ({record.citation})")
        console.print(listing(bench.HEADER, bench.rows(groups[record.name])))
        if record.published:
            console.print(f"published beside it: {record.published}")
    if planted:
        console.print(f"\nplanted: {len(planted) // len(methods)} models")
        console.print(listing(bench.HEADER, bench.rows(bench.summaries(planted, methods))))


def _split(names: str) -> list[str]:
    return [name for name in names.replace(",", " ").split() if name]
