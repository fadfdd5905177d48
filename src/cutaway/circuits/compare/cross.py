"""What each circuit keeps of every run: its heads alone, in that run's model, on the prompts that verified that run's circuit.

Beside the circuits stand the heads that all of them have and those that any has; beside each of these, random circuits of its
size. Where another run's search has seen some of the prompts, a note says so.
"""

import random
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from cutaway.circuits import memory
from cutaway.circuits.compare.again import check_weights, model_again, options_again, prompts_again
from cutaway.circuits.compare.heads import head_table
from cutaway.circuits.compare.sides import Side, groups
from cutaway.circuits.isolation import Heads, Isolation
from cutaway.circuits.read import Point
from cutaway.circuits.verify import Faithfulness
from cutaway.core.errors import CutawayError
from cutaway.core.progress import Progress
from cutaway.decoder import Decoder

IN_ALL, IN_ANY = "heads in all", "heads in any"
N_RANDOM = 10
"""Random circuits of each size."""
SLACK = 0.02
"""How far a circuit's faithfulness on its own prompts may be from what its run has written down."""

Devices = str | torch.device | Sequence[torch.device]


@dataclass(frozen=True)
class Kept:
    """What `size` heads keep on each answer step: (mean, low, high), and the median and the best of random circuits."""

    heads: str
    size: int
    faithfulness: tuple[Point, ...]
    median: tuple[float, ...]
    best: tuple[float, ...]


@dataclass(frozen=True)
class Column:
    """Circuits on the model and the unseen prompts of one run; `kept` is empty where that could not be measured."""

    run: str
    steps: tuple[str, ...]
    n: int
    ablation: str
    kept: tuple[Kept, ...]
    notes: tuple[str, ...] = ()
    """Why nothing was measured, or what does not fit; one line each."""

    def of(self, heads: str) -> Kept | None:
        return next((kept for kept in self.kept if kept.heads == heads), None)


def circuits_of(same: Sequence[Side]) -> dict[str, Heads]:
    """The circuits of runs of one shape by label, and what they have in common and all together where that is another set."""
    rows = {side.label: side.record.circuit.sites for side in same}
    table = head_table(same)
    shared = {IN_ALL: table.within(at_least=len(same)), IN_ANY: table.within(at_least=1)}
    return rows | {name: heads for name, heads in shared.items() if heads and heads not in rows.values()}


def columns(
    found: Sequence[Side],
    progress: Progress = Progress(),  # noqa: B008 - has no state
    device: Devices = "cpu",
    opened: Callable[[str], str] = str,
) -> tuple[Column, ...]:
    """Measures every circuit on every run of its shape, one model in memory at a time; columns in the order of the runs.

    A run whose model is not on this machine, or whose prompts cannot be made again, has an empty column with a note.
    """
    made: dict[str, Column] = {}
    for same in groups(found).values():
        if len(same) == 1:
            made[same[0].label] = _empty(same[0], f"no other run has the shape of {same[0].label}")
            continue
        for _, using in groupby(sorted(same, key=_needs), key=_needs):
            made |= {column.run: column for column in _with_one_model(list(using), same, progress, device, opened)}
    return tuple(made[side.label] for side in found)


def _needs(side: Side) -> tuple[str, str]:
    """Runs with the same model in the same precision go one after another."""
    return side.record.circuit.model, side.record.circuit.provenance.get("dtype", "float32")


def _with_one_model(
    using: Sequence[Side],
    same: Sequence[Side],
    progress: Progress,
    device: Devices,
    opened: Callable[[str], str] = str,
) -> Iterator[Column]:
    """The columns of runs that use one model."""
    rows = circuits_of(same)
    try:
        with progress.stage(f"load {using[0].record.circuit.model}"):
            model = model_again(using[0], device, opened)
    except CutawayError as error:
        yield from (_empty(side, str(error)) for side in using)
        return
    for side in using:
        about, total = f"circuits on the prompts of {side.label}", len(rows) + N_RANDOM * len(_sizes(rows))
        try:
            with progress.stage(about, total) as tick:
                yield _measure(side, same, model, tick)
        except CutawayError as error:
            yield _empty(side, str(error))


def _measure(side: Side, same: Sequence[Side], model: Decoder, tick: Callable[[int], None]) -> Column:
    check_weights(side, model)
    rows, behavior = circuits_of(same), prompts_again(side, model)
    room = memory.plan(model.config, behavior.clean.tokens.numel(), options_again(side).memory, model.dtype)
    ablation = side.record.circuit.method["ablation"]
    isolation = Isolation(model, behavior, ablation=ablation, budget=room.tokens)
    isolation.base(frozenset())
    faith = Faithfulness(isolation.full(), isolation.empty())
    alone, nulls = {}, {}
    for name, heads in rows.items():
        points = faith.interval(isolation.scores([heads])[0])
        alone[name] = tuple((e.mean, e.low, e.high) if e.mean == e.mean else None for e in points)
        tick(1)
    for size in _sizes(rows):
        drawn = isolation.faithfulness(isolation.scores(_drawn(isolation.every_head, size)))
        nulls[size] = tuple(zip(*((statistics.median(step), max(step)) for step in drawn.T.tolist()), strict=True))
        tick(N_RANDOM)
    kept = tuple(Kept(name, len(heads), alone[name], *nulls[len(heads)]) for name, heads in rows.items())
    notes = (*_drift(side, alone[side.label]), *_seen(side, same))
    return Column(side.label, side.record.steps, len(behavior), ablation, kept, notes)


def _sizes(rows: dict[str, Heads]) -> list[int]:
    return sorted({len(heads) for heads in rows.values()})


def _drawn(every_head: Heads, size: int) -> list[Heads]:
    """The same ones for every run of a shape."""
    rng, pool = random.Random(size), sorted(every_head, key=lambda site: (site.layer, site.head or 0))
    return [frozenset(rng.sample(pool, size)) for _ in range(N_RANDOM)]


def _drift(side: Side, again: Sequence[Point]) -> list[str]:
    """A line if the circuit does not keep on its own prompts what its run says."""
    said = side.record.verification["faithfulness"]
    far = max((abs(old[0] - new[0]) for old, new in zip(said, again, strict=True) if old and new), default=0.0)
    if far <= SLACK:
        return []
    return [
        f"{side.label} on its own prompts is {far:.0%} off its verification.json: other weights, or another version of this "
        "package"
    ]


def _seen(side: Side, same: Sequence[Side]) -> Iterable[str]:
    """A line for each run whose search looked at prompts that verify this one."""
    options = options_again(side)
    texts = [prompt["text"] for prompt in side.record.prompts]
    fresh = set(texts[options.n_search : options.n_prompts])
    for other in same:
        looked = {prompt["text"] for prompt in other.record.prompts[: options_again(other).n_search]}
        if both := len(fresh & looked):
            yield f"{both} of the {len(fresh)} prompts that verify {side.label} were seen by the search of {other.label}"


def _empty(side: Side, why: str) -> Column:
    ablation = side.record.circuit.method.get("ablation", "unknown")
    return Column(side.label, side.record.steps, 0, ablation, (), (" ".join(why.split()),))
