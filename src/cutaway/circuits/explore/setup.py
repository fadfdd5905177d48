"""From a run folder and a model to a bench: the behaviour made again, its prompts, its means."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from cutaway.circuits.behavior import Behavior, Prompts, Row, Segment
from cutaway.circuits.behaviors.record import Recipe, behavior_recipes
from cutaway.circuits.circuit import Circuit
from cutaway.circuits.explore.bench import Bench
from cutaway.circuits.explore.means import Means, measure
from cutaway.circuits.explore.phrase import Prompt, Reader
from cutaway.circuits.explore.question import CHARACTERS, Bounds, Question
from cutaway.core.errors import CutawayError
from cutaway.core.progress import Progress
from cutaway.decoder import Decoder
from cutaway.decoder.tokens import Tokenizer

OFFERED = 40
"""Prompts of the run that the page offers."""
TRIED = 8
"""Of them, those that are tried as the one to begin with."""


@dataclass(frozen=True)
class Setup:
    """All that the page stands on."""

    circuit: Circuit
    bench: Bench
    bounds: Bounds
    phrases: tuple[str, ...]
    """Prompts of the run as somebody would type them."""
    second: str
    """One that lines up with the first, token for token, if any does."""
    whole: bool
    """Is a prompt typed whole, or as a phrase that the behaviour completes?"""
    remark: str
    """What is not as it was in the run; empty if all is."""


@dataclass(frozen=True)
class Line:
    """One prompt as the run wrote it down."""

    text: str
    answer: tuple[str, ...]
    tokens: tuple[tuple[int, str], ...]
    """Id and role of each, the answer fed back (all but its last token)."""


def set_up(run: Path, circuit: Circuit, model: Decoder, progress: Progress = Progress()) -> Setup:  # noqa: B008 - has no state
    """Makes the behaviour again as the circuit's provenance says, and measures its means.

    Args:
        run: the run folder, or its circuit.json.

    Raises:
        CutawayError: a model without tokenizer, or with fewer layers or heads than the circuit has; a damaged run.
    """
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise CutawayError(f"{model.source} has no tokenizer files: put its tokenizer.json beside the weights")
    for head in circuit.heads:
        head.site.check(model.config)
    lines = _lines(run if run.is_dir() else run.parent)
    recipe, config, behavior = _again(circuit, tokenizer)
    known = {line.text: prompt for line in lines if (prompt := _prompt(line, tokenizer))}
    steps = len(circuit.step_names)
    fed = next((prompt.fed for prompt in known.values()), tuple(f"answer {i + 1}" for i in range(steps - 1)))
    shared = tuple(behavior.clean.tokens[0, : behavior.shared].tolist()) if behavior else ()
    reader = Reader(tokenizer, model.config.n_ctx, known, fed, shared, recipe, config)
    with progress.stage("measure the means that ablated heads get"):
        means, remark = _means(model, behavior, known, circuit)
    bench = Bench(model, reader, means)
    prompts = _begin([prompt for text in list(known)[:OFFERED] if (prompt := _readable(reader, text))], bench)
    longest = max((len(text) for text in known), default=0)
    c = model.config
    return Setup(
        circuit,
        bench,
        Bounds(c.n_layers, c.n_heads, max(CHARACTERS, longest)),
        tuple(prompt.phrase for prompt in prompts),
        _second(prompts),
        not (recipe and recipe.read),
        remark,
    )


def _lines(folder: Path) -> list[Line]:
    """The prompts of the run; none where it has no such file."""
    file = folder / "prompts.jsonl"
    try:
        entries = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
        return [Line(e["text"], tuple(e["answer"]), tuple((t["id"], t["role"]) for t in e["tokens"])) for e in entries]
    except FileNotFoundError:
        return []
    except (ValueError, LookupError, TypeError) as error:
        raise CutawayError(f"{file} is damaged ({error}): make the run again") from error


def _again(circuit: Circuit, tokenizer: Tokenizer) -> tuple[Recipe | None, object, Behavior | None]:
    """The behaviour's recipe with its options, and the behaviour; None where the circuit does not say enough."""
    said = dict(circuit.provenance.get("recipe", {}))
    recipe = behavior_recipes().get(str(said.pop("behavior", "")))
    if recipe is None or not set(said) <= {field.name for field in fields(recipe.config)}:
        return None, None, None
    config = recipe.config(**{name: tuple(v) if isinstance(v, list) else v for name, v in said.items()})
    return recipe, config, recipe.build(tokenizer, config)


def _prompt(line: Line, tokenizer: Tokenizer) -> Prompt | None:
    """A prompt of the run with its roles, if this tokenizer cuts it as the run's did."""
    n = len(line.tokens) - (len(line.answer) - 1)
    ids = [i for i, role in line.tokens[:n] if role != "BOS"]
    if tokenizer.encode(line.text) != ids:
        return None
    row = _row(line.tokens[:n])
    both = tokenizer.encode(line.text + "".join(line.answer))
    expected = tuple(both[len(ids) :]) if len(both) == len(ids) + len(line.answer) else ()
    return Prompt(line.text, line.text, row, True, tuple(role for _, role in line.tokens[n:]), expected)


def _row(tokens: tuple[tuple[int, str], ...]) -> Row:
    grouped: dict[str, list[int]] = {}
    for token, role in tokens:
        grouped.setdefault(role, []).append(token)
    return tuple(Segment(role, tuple(ids)) for role, ids in grouped.items())


def _readable(reader: Reader, text: str) -> Prompt | None:
    try:
        return reader.prompt(text)
    except CutawayError:
        return None


def _begin(prompts: list[Prompt], bench: Bench) -> list[Prompt]:
    """The prompts, that one first which the model answers as the behaviour asks, if one of the first few is so."""
    for prompt in prompts[:TRIED]:
        if prompt.expected and bench.run(Question(prompt.phrase)).ours.phrase.answer == prompt.expected:
            return [prompt, *(other for other in prompts if other is not prompt)]
    return prompts


def _second(prompts: list[Prompt]) -> str:
    """A phrase beside the first: one whose tokens stand in the same slots, or else any other one."""

    def stands(prompt: Prompt) -> list[tuple[str, int]]:
        return [(segment.role, len(segment.ids)) for segment in prompt.row]

    others = sorted(prompts[1:], key=lambda prompt: stands(prompt) != stands(prompts[0]))
    return others[0].phrase if others else ""


def _means(model: Decoder, behavior: Behavior | None, known: dict[str, Prompt], circuit: Circuit) -> tuple[Means, str]:
    """Over the reference corruption of the behaviour; where it cannot be made again, over the prompts of the run as they
    are, and over all tokens only. With a remark where that is not what the run did."""
    if behavior:
        (_, prompts), name = behavior.corruptions[behavior.reference].runs[0], behavior.reference
        about = f"{len(behavior)} prompts, corrupted in {name!r}"
        return measure(model, prompts, behavior.slots, about), _differs(behavior, circuit, model)
    if not known:
        raise CutawayError(
            f"the prompts of {circuit.behavior} cannot be made again from the run, and it keeps none that this model reads: "
            "give a whole run folder, and its own model"
        )
    rows = [prompt.ids for prompt in known.values()]
    width = max(map(len, rows))
    prompts = Prompts(
        torch.tensor([[*row, *[0] * (width - len(row))] for row in rows]),
        torch.tensor([[0] * len(row) + [-1] * (width - len(row)) for row in rows]),
        torch.tensor([[len(row) - 1] for row in rows]),
    )
    remark = (
        "The run does not say how its prompts were corrupted, so there are no means by role: ablated heads get a mean over "
        "all tokens of its prompts, zero, or their value on the second phrase."
    )
    return measure(model, prompts, (), f"{len(rows)} prompts as they are"), remark


def _differs(behavior: Behavior, circuit: Circuit, model: Decoder) -> str:
    """What is not as it was in the run."""
    said = []
    if model.source != circuit.model:
        said.append(f"The circuit was found in {circuit.model}; this is {model.source}.")
    searched = circuit.provenance.get("options", {}).get("n_search")  # the hash is of the prompts that the search saw
    made = hashlib.sha256(behavior.clean.tokens[:searched].cpu().numpy().tobytes()).hexdigest()
    if circuit.provenance.get("prompts_sha256", made) != made:
        said.append("The prompts, made again, are not those of the run: its means are near, but not the same.")
    return " ".join(said)
