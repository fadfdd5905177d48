"""`cutaway tagging`: intents, slots and named entities."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cutaway.cli import trainable
from cutaway.cli.settings import chosen, settings_of
from cutaway.cli.terminal import command_line, free, lines, listing, new_console
from cutaway.core.errors import CutawayError
from cutaway.tagging.config import Config

tagging = App(name="tagging", help="Intents, slots and named entities: learn them, measure, and read them in text.")

Settings = settings_of(Config)
Given = Annotated[Settings, Parameter(name="*")]
Many = Parameter(consume_multiple=True, negative="")


@tagging.command
def fit(
    config: Path | None = None,
    *,
    data: Annotated[Path, Parameter(alias="-d")],
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    seeds: Annotated[tuple[int, ...], Many] = (),
    outside: Path | None = None,
    resume: bool = False,
    track: Annotated[tuple[str, ...], Many] = (),
    option: tuple[str, ...] = (),
    settings: Given = {},  # noqa: B006 - only read
) -> None:
    """Train a tagger, calibrate it on the dev set, measure it, and write a run folder.

    On several devices: `torchrun --nproc-per-node N -m cutaway tagging fit …`; a step's batch is then N times as large.

    Parameters
    ----------
    config
        A TOML file of settings (`cutaway tagging config` writes one); flags change what it says.
    data
        A folder with train, dev and test: folders of seq.in, seq.out and label, or files of columns or JSON lines (.jsonl); or one
        file to train on.
    out
        The run folder; default runs/tagging-DATA, with a number behind if that is taken.
    seeds
        Several seeds: a run folder for each within OUT, and summary.json with mean and standard deviation.
    outside
        Sentences of another domain, to choose the threshold of rejection by: a folder or file as in DATA.
    resume
        Go on with a training that was stopped or killed; it ends with the same weights.
    track
        Trackers that accelerate knows: tensorboard, wandb …
    option
        Options of the parts, as part.option=value: `--option crf.scheme=BIOES --option encoder.name=bert-base`.
    """
    chose = chosen(Config, config, settings, option)
    from dataclasses import replace

    from cutaway.core.progress import Progress, TerminalProgress
    from cutaway.core.runs import leads
    from cutaway.tagging import show
    from cutaway.tagging.corpus import read_corpus, read_sentences
    from cutaway.tagging.run import fit_run

    chose.check()
    corpus, progress = read_corpus(data, dev_share=chose.dev_share), TerminalProgress() if leads() else Progress()
    if outside:
        corpus = replace(corpus, outside=tuple(read_sentences(outside, "dev")))
    progress.say(str(corpus))

    def one(seeded: Config, at: Path) -> Mapping:
        return fit_run(seeded, corpus, at, command=command_line(), progress=progress, resume=resume, trackers=track)

    trainable.fitted("tagging", corpus.name, chose, one, show, out=out, seeds=seeds, resume=resume)


@tagging.command
def evaluate(
    run: Path,
    *,
    data: Annotated[Path, Parameter(alias="-d")],
    part: str = "test",
    outside: Path | None = None,
    types: int = 10,
    near: bool = False,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
) -> None:
    """Measure a tagger on sentences with known answers; published numbers stand beside ours where there are such.

    Parameters
    ----------
    run
        A run folder of `cutaway tagging fit`; one with several seeds is measured seed by seed.
    data
        A folder as for fit, of which PART is taken, or one file.
    part
        test, dev or train.
    outside
        Sentences of another domain, which should be rejected.
    types
        How many types of spans to list, the most frequent ones.
    near
        Count near misses of spans as well: the four ways of SemEval-2013, and MUC's (wants nervaluate).
    out
        A JSON file for all numbers.
    """
    from cutaway.core.seeds import runs_of
    from cutaway.tagging import show
    from cutaway.tagging.corpus import read_sentences
    from cutaway.tagging.evaluate import evaluate as measure
    from cutaway.tagging.store import load

    taggers = [load(folder) for folder in runs_of(run)]
    sentences = read_sentences(data, part)
    strange = read_sentences(outside, part) if outside else ()
    found = [measure(tagger, sentences, outside=strange, near=near).to_dict() for tagger in taggers]
    name = data.resolve().name
    console = trainable.tell({f"{run}": found}, name if part == "test" else "", show)
    if types and found[0]["by_type"]:
        console.print()
        console.print(listing(*show.by_type(found[0], types)))
    trainable.keep(out, {"run": str(run), "data": name, "part": part, "runs": found})


@tagging.command
def predict(
    run: Path,
    text: Annotated[tuple[str, ...], Parameter(negative="", allow_leading_hyphen=True)] = (),
    *,
    file: Path | None = None,
    json: bool = False,
) -> None:
    """Read sentences: their intents and slots, with confidences.

    Parameters
    ----------
    run
        A run folder of `cutaway tagging fit`.
    text
        Sentences, each in quotation marks; `-` reads them from the standard input, one a line.
    file
        Sentences from a file instead: one a line, or the words of JSON lines (.jsonl).
    json
        One JSON object a line instead of a table.
    """
    from cutaway.tagging.corpus import read_plain
    from cutaway.tagging.predict import frames
    from cutaway.tagging.predict import predict as read
    from cutaway.tagging.store import load

    if bool(text) == bool(file):
        raise CutawayError("give either texts, or - for the standard input, or --file")
    tagger = load(run)
    asked = lines() if text == ("-",) else [list(text)]
    for some in [frames(tagger, read_plain(file))] if file else (read(tagger, texts) for texts in asked):
        trainable.answer(some, json=json)


@tagging.command
def shrink(
    run: Path,
    *,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    data: Annotated[Path, Parameter(alias="-d")],
    part: str = "test",
) -> None:
    """A tagger in 8 bits: a quarter of the size, faster on a CPU; what it costs in accuracy is measured.

    Parameters
    ----------
    run
        A run folder of `cutaway tagging fit`.
    out
        The folder of the small tagger; default RUN-int8.
    data
        A folder as for fit, of which PART is taken, to measure both on.
    part
        test, dev or train.
    """
    from cutaway.core.configs import table
    from cutaway.core.runs import new_run
    from cutaway.tagging import show
    from cutaway.tagging.corpus import read_sentences
    from cutaway.tagging.evaluate import evaluate as measure
    from cutaway.tagging.shrink import cost, shrunk
    from cutaway.tagging.store import load, save

    folder = out or free(run.with_name(f"{run.name}-int8"))
    sentences, tagger = read_sentences(data, part), load(run)
    small = shrunk(tagger)
    costs = {name: cost(each, sentences[:200]) for name, each in (("float32", tagger), ("int8", small))}
    scores = {name: [measure(x, sentences).to_dict()] for name, x in (("float32", tagger), ("int8", small))}
    with new_run(folder, config=table(tagger.config), command=command_line(), shrunk_from=str(run)) as made:
        save(small, made.folder / "model")
        made.json("scores.json", {part: scores["int8"][0]})
        made.json("shrink.json", {name: {**costs[name].to_dict(), **scores[name][0]} for name in costs})
    trainable.tell(scores, "", show)
    for name, each in costs.items():
        print(f"{name}: {each.mebibytes:.1f} MiB, {each.milliseconds:.1f} ms a sentence on one thread")
    print(f"Written to {folder}.")


@tagging.command
def next_to_label(
    run: Path,
    sentences: Path,
    *,
    n: Annotated[int, Parameter(alias="-n")] = 10,
    json: bool = False,
) -> None:
    """Which sentences to label next: those of which the tagger is least sure.

    Parameters
    ----------
    run
        A run folder of `cutaway tagging fit`.
    sentences
        A text file, one sentence a line, or JSON lines (.jsonl).
    n
        How many.
    json
        One JSON object a line.
    """
    import json as writing

    from cutaway.tagging.active import next_to_label as choose
    from cutaway.tagging.corpus import read_plain
    from cutaway.tagging.store import load

    tagger = load(run)
    for place, sentence, unsure in choose(tagger, read_plain(sentences), n):
        text = " ".join(sentence.words)
        told = {"place": place + 1, "text": text, "uncertainty": unsure}
        print(writing.dumps(told, ensure_ascii=False) if json else f"{unsure:.3f}  {text}")


@tagging.command
def convert(
    source: Path,
    out: Path,
    *,
    word: int = 0,
    tag: int = -1,
    layers: bool = False,
    scheme: str = "IOB2",
) -> None:
    """Data in another format: columns of any layout, joint files or JSON lines become JSON lines or columns.

    Parameters
    ----------
    source
        A file of columns or JSON lines (.jsonl), or a folder of seq.in, seq.out and label.
    out
        The new file: JSON lines if its name ends with .jsonl, else columns, which do not hold intents.
    word
        Which column of SOURCE has the word, counted from 0; from the end if negative.
    tag
        Which column has the tag.
    layers
        All columns but the word's have tags, a layer each: spans within spans.
    scheme
        The scheme of the tags of OUT, if it has columns.
    """
    from cutaway.core.runs import put
    from cutaway.tagging.corpus import read_sentences
    from cutaway.tagging.data import write_columns
    from cutaway.tagging.json_lines import write_json_lines

    if out.exists():
        raise CutawayError(f"{out} exists already: choose another name, or remove it")
    sentences = read_sentences(source, word=word, tag="all" if layers else tag)
    lines = out.suffix.lower() == ".jsonl"
    put(out, (write_json_lines(sentences) if lines else write_columns(sentences, scheme=scheme)).encode())
    print(f"{len(sentences)} sentences written to {out}.")


@tagging.command(name="config")
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
        Options of the parts, as part.option=value.
    """
    trainable.settings(chosen(Config, config, settings, option))


@tagging.command
def parts() -> None:
    """The parts a tagger can be made of: inputs, contexts and decoders, with their options."""
    from dataclasses import fields

    from cutaway.tagging import parts as known

    for axis in ("inputs", "contexts", "decoders"):
        rows = [
            (p.name, p.about, ", ".join(f.name for f in fields(p.options)), p.citation)
            for p in getattr(known, axis)().values()
        ]
        new_console().print(listing((axis, "what it is", "options", "source"), rows))
