"""`cutaway reproduce`: published numbers beside ours."""

from pathlib import Path

from cyclopts import App

from cutaway.cli.opened import load
from cutaway.cli.terminal import command_line, free, new_console
from cutaway.core.errors import CutawayError

reproduce = App(name="reproduce", help="Published numbers beside ours.")


@reproduce.command(name="acronyms")
def reproduce_acronyms(
    *,
    model: str = "gpt2",
    n: int = 50,
    prompts: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    device: str = "auto",
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
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1, mps …
    """
    from cutaway.circuits.reproduce import acronyms, table
    from cutaway.cli.job import job
    from cutaway.decoder.placement import devices_of

    folder = out or free(Path("runs") / f"reproduce-acronyms-{Path(model).name}".replace(":", "-"))
    devices, settings = devices_of(device), {"model": model, "n": n, "seed": seed}
    with job(folder, devices[0], config=settings, command=command_line(), seed=seed) as at:
        with at.progress.stage(f"load {model}"):
            loaded = load(model, device=devices)
        lines = acronyms(loaded, n=n, file=prompts, seed=seed, progress=at.progress, work=at.work(loaded))
        if at.run is None:
            return
        at.run.json("reproduction.json", {"model": model, "n": n, "lines": [vars(line) for line in lines]})
    new_console().print(table(lines))
    off = [line for line in lines if not line.holds]
    print(f"{len(lines) - len(off)} of {len(lines)} published numbers lie within their tolerance. Written to {folder}.")
    if off:
        raise CutawayError(f"{len(off)} published numbers are not met by {model} (n={n})")
