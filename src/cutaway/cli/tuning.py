"""`cutaway tuning`: parameter-efficient methods, and what each would cost on a model."""

from typing import Annotated

from cyclopts import App, Parameter

from cutaway.cli.terminal import listing, new_console

tuning = App(name="tuning", help="Parameter-efficient tuning: the methods, and what each costs on a model.")


@tuning.command(name="methods")
def show_methods(*, json: bool = False) -> None:
    """The methods, with their class in the taxonomy and their options.

    Parameters
    ----------
    json
        One JSON object a line.
    """
    import json as writing
    from dataclasses import fields

    from cutaway.tuning.method import methods

    rows = [
        (
            m.kind,
            m.name,
            m.about,
            ", ".join(f.name for f in fields(m.options)),
            "yes" if m.mergeable else "",
            m.citation,
        )
        for m in sorted(methods().values(), key=lambda m: (m.kind, m.name))
    ]
    header = ("class", "method", "what learns", "options", "merges", "source")
    if json:
        for row in rows:
            print(writing.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False))
    else:
        new_console().print(listing(header, rows))


@tuning.command
def plan(
    model: str = "minilm-l6",
    *,
    method: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    batch: int = 8,
    length: int = 128,
    steps: int = 3,
    json: bool = False,
) -> None:
    """What every method would cost on a model, measured on one step, before anything is trained.

    Parameters
    ----------
    model
        A known encoder or decoder (minilm-l6, smollm2-135m …), a folder, or owner/name on the hub.
    method
        Only these methods.
    batch
        Samples of a step.
    length
        Tokens of a sample.
    steps
        Whose time is taken; 0 counts parameters and runs nothing.
    json
        One JSON object a line.
    """
    import json as writing

    from cutaway.core.progress import TerminalProgress
    from cutaway.tuning.backbone import load_model
    from cutaway.tuning.plan import Cost
    from cutaway.tuning.plan import plan as measure

    found = measure(load_model(model), method, batch=batch, length=length, steps=steps, progress=TerminalProgress())
    costs = [x for x in found if isinstance(x, Cost)]
    if json:
        for x in costs:
            print(writing.dumps(x.to_dict()))
        return
    console = new_console()
    rows = [
        (
            x.method,
            x.kind,
            f"{x.trained:,}",
            f"{x.share:.2%}",
            _size(x.optimiser_bytes),
            _size(x.peak_bytes) if x.peak_bytes else "",
            f"{1000 * x.step_seconds:.0f} ms" if x.step_seconds else "",
            _size(x.disk_bytes),
        )
        for x in costs
    ]
    header = ("method", "class", "learn", "of all", "optimiser", "peak", "step", "on disk")
    console.print(listing(header, rows))
    for x in found:
        if not isinstance(x, Cost):
            console.print(f"{x.method}: {x.reason}", highlight=False, markup=False, style="dim")


def _size(n: int) -> str:
    """Bytes for a reader."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B"
