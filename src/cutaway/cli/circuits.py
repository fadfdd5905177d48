"""`cutaway circuits`: find, verify and explain the circuit of heads behind a behaviour."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cutaway.circuits.config import Find
from cutaway.cli.terminal import command_line, dtype_of, free, listing, new_console

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
        A known name (`cutaway models list`), a folder, a .gguf file, owner/name on the hub, or planted:acronyms.
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
    from cutaway.decoder import load
    from cutaway.decoder.placement import devices_of

    folder = out or free(Path("runs") / f"{Path(behavior).stem}-{Path(model).name}".replace(":", "-"))
    devices = devices_of(device)
    given = {"command": command_line(), "seed": config.seed}
    settings = {"behavior": behavior, "model": model, "option": option, "dtype": dtype, "find": vars(config)}
    with job(folder, devices[0], config=settings, **given) as at:
        with at.progress.stage(f"load {model}"):
            loaded = load(model, dtype=dtype_of(dtype), device=devices[0])
        work = at.work(loaded)
        prompts = choose(behavior, loaded, option, n=config.n_prompts, seed=config.seed)
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
            report.render(at.run.folder, manifest(**given))
    console = new_console()
    console.print(summary(folder))
    console.print(
        f"Written to {folder}: report.html, circuit.json, tables and figures "
        f"({sum(findings.seconds.values()):.0f} s, {peak_memory() / 2**30:.1f} GiB)."
    )


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
def methods() -> None:
    """The search methods."""
    from cutaway.circuits.search.record import methods

    rows = [(m.name, m.about, m.citation) for m in methods().values()]
    new_console().print(listing(("method", "what it does", "source"), rows))
