"""`cutaway tuning`: parameter-efficient methods, what each costs on a model, and models tuned by them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cutaway.cli import trainable
from cutaway.cli.settings import chosen, settings_of
from cutaway.cli.terminal import command_line, lines, listing, new_console
from cutaway.core.errors import CutawayError
from cutaway.tuning.config import Config

tuning = App(name="tuning", help="Parameter-efficient tuning: what each method costs, and models tuned by it.")

Settings = settings_of(Config)
Given = Annotated[Settings, Parameter(name="*")]
Many = Parameter(consume_multiple=True, negative="")


@tuning.command
def fit(
    config: Path | None = None,
    *,
    data: Annotated[Path, Parameter(alias="-d")],
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    seeds: Annotated[tuple[int, ...], Many] = (),
    resume: bool = False,
    track: Annotated[tuple[str, ...], Many] = (),
    option: tuple[str, ...] = (),
    settings: Given = {},  # noqa: B006 - only read
) -> None:
    """Tune a pretrained model by a method, measure it, and write a run folder.

    On several devices: `torchrun --nproc-per-node N -m cutaway tuning fit …`; a step's batch is then N times as large.

    Parameters
    ----------
    config
        A TOML file of settings (`cutaway tuning config` writes one); flags change what it says.
    data
        A folder with train, dev and test, as .tsv, .csv, .jsonl or .txt (GLUE's as they are); or one file to train on.
    out
        The run folder; default runs/tuning-DATA, with a number behind if that is taken.
    seeds
        Several seeds: a run folder for each within OUT, and summary.json with mean and standard deviation.
    resume
        Go on with a training that was stopped or killed; it ends with the same weights.
    track
        Trackers that accelerate knows: tensorboard, wandb …
    option
        Options of the method, as method.option=value: `--method lora --option lora.rank=16`.
    """
    chose = chosen(Config, config, settings, option)
    from cutaway.core.progress import Progress, TerminalProgress
    from cutaway.core.runs import leads
    from cutaway.tuning import show
    from cutaway.tuning.corpus import read_corpus
    from cutaway.tuning.method import method
    from cutaway.tuning.run import fit_run
    from cutaway.tuning.tune import options_for

    made_by = method(chose.method)
    chose.check()
    options_for(made_by, chose.of_method())
    corpus = read_corpus(data, dev_share=chose.dev_share, limit=chose.limit)
    progress = TerminalProgress() if leads() else Progress()
    progress.say(str(corpus))

    def one(seeded: Config, at: Path) -> Mapping:
        return fit_run(seeded, corpus, at, command=command_line(), progress=progress, resume=resume, trackers=track)

    trainable.fitted("tuning", corpus.name, chose, one, show, out=out, seeds=seeds, resume=resume)


@tuning.command
def evaluate(
    run: Path,
    *,
    data: Annotated[Path, Parameter(alias="-d")],
    part: str = "test",
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
) -> None:
    """Measure a tuned model on examples with known answers; published numbers stand beside ours where there are such.

    Parameters
    ----------
    run
        A run folder of `cutaway tuning fit`; one with several seeds is measured seed by seed.
    data
        A folder as for fit, of which PART is taken, or one file.
    part
        test, dev or train.
    out
        A JSON file for all numbers.
    """
    from itertools import chain

    from cutaway.core.seeds import runs_of
    from cutaway.tuning import show
    from cutaway.tuning.corpus import read_examples
    from cutaway.tuning.evaluate import evaluate as measure
    from cutaway.tuning.store import load, read

    folders = runs_of(run)
    for folder in folders:
        read(folder)
    first = load(folders[0])
    examples = read_examples(data, part, kind=first.task.kind, dev_share=first.config.dev_share)
    found = [measure(model, examples).to_dict() for model in chain([first], map(load, folders[1:]))]
    name = data.resolve().name
    trainable.tell({f"{run}": found}, name, show)
    trainable.keep(out, {"run": str(run), "data": name, "part": part, "runs": found})


@tuning.command
def predict(
    run: Path,
    text: Annotated[tuple[str, ...], Parameter(negative="", allow_leading_hyphen=True)] = (),
    *,
    file: Path | None = None,
    most: int = 32,
    json: bool = False,
) -> None:
    """Answer texts: a label with its confidence, a score, or words.

    Parameters
    ----------
    run
        A run folder of `cutaway tuning fit`.
    text
        Texts, each in quotation marks, the two of a pair with a tab between them; `-` reads the standard input, one a line.
    file
        Texts from a file instead, as for fit, whose answers are not looked at.
    most
        Tokens to be written at most, where the answer is text.
    json
        One JSON object a line instead.
    """
    from cutaway.tuning.corpus import read_examples
    from cutaway.tuning.predict import answered
    from cutaway.tuning.predict import predict as answer
    from cutaway.tuning.store import load

    if bool(text) == bool(file):
        raise CutawayError("give either texts, or - for the standard input, or --file")
    model = load(run)
    asked = lines() if text == ("-",) else [list(text)]
    if file:
        every = iter([answered(model, read_examples(file, dev_share=model.config.dev_share), most=most)])
    else:
        every = (answer(model, x, most=most) for x in asked)
    for some in every:
        trainable.answer(some, json=json)


@tuning.command(name="config")
def show_config(
    config: Path | None = None,
    *,
    option: tuple[str, ...] = (),
    settings: Given = {},  # noqa: B006 - only read
) -> None:
    """The settings of `fit` as TOML: the defaults, or a file's, with what flags change.

    Parameters
    ----------
    config
        A TOML file.
    option
        Options of the method, as method.option=value.
    """
    trainable.settings(chosen(Config, config, settings, option))


@tuning.command
def merge(run: Path, *, out: Annotated[Path, Parameter(alias="-o")]) -> None:
    """Write the pretrained model with what was learned in its weights: a folder that any tool opens.

    Parameters
    ----------
    run
        A run folder of `cutaway tuning fit`, of a method that merges (`cutaway tuning methods`).
    out
        The new folder, in Hugging Face layout. A new head for labels or scores is not a part of it.
    """
    from cutaway.tuning.merge import merged_folder

    print(f"Written to {merged_folder(run, out)}.")


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
