"""A behaviour: prompts with named spans, an answer of k tokens, what it competes with, and ways to corrupt it.

Prompts of one behaviour may differ in length. What lines them up is the *slot* of a token: its role and its place within
that role (`T1[0]`, `T1[1]`). One teacher-forced pass scores all k answer tokens, because attention is causal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cutaway.core.errors import CutawayError


@dataclass(frozen=True)
class Segment:
    """Consecutive tokens that play one role."""

    role: str
    ids: tuple[int, ...]


ANSWER = "answer"
"""A role that every behaviour has: the tokens that predict the answer steps a run is about."""

Row = tuple[Segment, ...]
"""One prompt, cut into its roles, including the answer tokens fed back to the model (all but the last)."""


@dataclass(frozen=True)
class Variant:
    """One corrupted form of a sample: the answer steps it is meant to disturb, and the prompt."""

    steps: tuple[int, ...]
    row: Row


@dataclass(frozen=True)
class Sample:
    """One prompt with its answer, the alternatives at each step, and its corrupted forms by name."""

    text: str
    row: Row
    answer: tuple[int, ...]
    alternatives: tuple[tuple[int, ...], ...]
    corrupted: dict[str, tuple[Variant, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompts:
    """A batch, padded on the right. `slots` indexes `Behavior.slots`, −1 on padding; `steps` are the scored positions."""

    tokens: Int[Tensor, "batch pos"]
    slots: Int[Tensor, "batch pos"]
    steps: Int[Tensor, "batch step"]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def mask(self) -> Bool[Tensor, "batch pos"]:
        return self.slots >= 0

    def take(self, rows: Tensor | slice) -> "Prompts":
        return Prompts(self.tokens[rows], self.slots[rows], self.steps[rows])

    def to(self, device) -> "Prompts":
        return Prompts(self.tokens.to(device), self.slots.to(device), self.steps.to(device))


@dataclass(frozen=True)
class Corruption:
    """A named way to disturb the prompts, as one or more runs: which answer steps each run is about, and its prompts."""

    name: str
    about: str
    runs: tuple[tuple[tuple[int, ...], Prompts], ...]


@dataclass(frozen=True)
class Behavior:
    """Prompts, answers of k tokens, alternatives, corruptions. Tensors share one batch order.

    `alternatives` is padded with −1. `roles` are in the order of the prompt; `slots[i]` is (role, offset).
    `shared` counts the leading tokens that are the same in every prompt, clean or corrupted.
    `recipe` says how to make it again.
    """

    name: str
    about: str
    clean: Prompts
    answers: Int[Tensor, "batch step"]
    alternatives: Int[Tensor, "batch step alternative"]
    corruptions: dict[str, Corruption]
    roles: tuple[str, ...]
    slots: tuple[tuple[str, int], ...]
    texts: tuple[str, ...]
    shared: int = 0
    reference: str = ""
    """Name of the corruption that replaces all that matters: what ablations take their values from."""
    step_names: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """For each step the role that holds what the answer is made from (`C1 C2 C3`); empty if the behaviour has none."""
    mover: str = "mover"
    """What a head that carries the answer from there is called."""
    recipe: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clean)

    def __repr__(self) -> str:
        return (
            f"Behavior({self.name!r}, {len(self)} prompts, {self.n_steps} answer tokens, roles {' '.join(self.roles)}, "
            f"corruptions {', '.join(self.corruptions)})"
        )

    def _repr_html_(self) -> str:
        """The first prompts with their roles, for notebooks."""
        from cutaway.circuits.page.notebook import behavior_html

        return behavior_html(self)

    @property
    def n_steps(self) -> int:
        return self.answers.shape[1]

    def slot_mask(self, prompts: Prompts, role: str) -> Bool[Tensor, "batch pos"]:
        """Where the tokens of a role stand; `ANSWER` are those that predict the scored steps of `prompts`."""
        if role == ANSWER:
            return torch.zeros_like(prompts.mask).scatter_(1, prompts.steps, True)
        if role not in self.roles:
            raise CutawayError(f"behaviour {self.name!r} has no role {role!r}: roles are {', '.join(self.roles)}")
        indices = torch.tensor(
            [i for i, (name, _) in enumerate(self.slots) if name == role], device=prompts.slots.device
        )
        return torch.isin(prompts.slots, indices)

    def take(self, rows: slice) -> "Behavior":
        """The same behaviour on some of its prompts."""
        corruptions = {
            name: replace(c, runs=tuple((steps, prompts.take(rows)) for steps, prompts in c.runs))
            for name, c in self.corruptions.items()
        }
        return replace(
            self,
            clean=self.clean.take(rows),
            answers=self.answers[rows],
            alternatives=self.alternatives[rows],
            corruptions=corruptions,
            texts=self.texts[rows],
        )

    def split(self, *sizes: int) -> tuple["Behavior", ...]:
        """Disjoint parts of the given sizes, in order (to search on one and verify on another)."""
        if sum(sizes) > len(self) or min(sizes) < 1:
            raise CutawayError(f"cannot split {len(self)} prompts into parts of {', '.join(map(str, sizes))}")
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return tuple(self.take(slice(start, start + size)) for start, size in zip(starts, sizes, strict=True))

    def to(self, device) -> "Behavior":
        corruptions = {
            name: replace(c, runs=tuple((steps, prompts.to(device)) for steps, prompts in c.runs))
            for name, c in self.corruptions.items()
        }
        return replace(
            self,
            clean=self.clean.to(device),
            answers=self.answers.to(device),
            alternatives=self.alternatives.to(device),
            corruptions=corruptions,
        )


def align(base: Prompts, source: Prompts, n_slots: int) -> Int[Tensor, "batch pos"]:
    """For each token of `base`, the position in `source` of the token in the same slot; −1 where there is none."""
    where = torch.full((len(source), n_slots + 1), -1, device=source.slots.device)
    position = torch.arange(source.slots.shape[1], device=source.slots.device).expand_as(source.slots)
    where.scatter_(1, source.slots.where(source.mask, n_slots), position)
    where[:, n_slots] = -1
    return where.gather(1, base.slots.where(base.mask, n_slots))


def assemble(
    name: str,
    samples: Sequence[Sample],
    *,
    about: str,
    corruptions: dict[str, str],
    reference: str,
    step_names: tuple[str, ...] = (),
    recipe: dict | None = None,
    chance: bool = False,
    **more,
) -> Behavior:
    """Samples to one behaviour.

    Args:
        corruptions: name → what it does, for each corruption that the samples carry.
        reference: the corruption that ablations take their values from.
        chance: a corrupted form may by chance equal its clean one, as where published prompts were shuffled.
        more: further fields of `Behavior` (`sources`, `mover`).

    Raises:
        CutawayError: no samples, a reference that is unknown or not one run about all steps, or a sample that does not
            pass `check`.
    """
    if not samples:
        raise CutawayError(f"behaviour {name!r} has no prompts: ask for at least one")
    if reference not in corruptions:
        known = ", ".join(corruptions) or "none"
        raise CutawayError(f"behaviour {name!r}: the reference {reference!r} is not one of its corruptions ({known})")
    n_steps = len(samples[0].answer)
    for i, sample in enumerate(samples, 1):
        check(sample, samples[0], f"prompt {i} ({sample.text[:40]!r})", chance=chance)
    if [run.steps for run in samples[0].corrupted[reference]] != [tuple(range(n_steps))]:
        raise CutawayError(f"behaviour {name!r}: the reference {reference!r} must be one run about all {n_steps} steps")
    rows = [sample.row for sample in samples]
    variants = {c: [sample.corrupted[c] for sample in samples] for c in corruptions}
    every = rows + [variant.row for group in variants.values() for sample in group for variant in sample]
    slots = _slots(every)
    index = {slot: i for i, slot in enumerate(slots)}

    def prompts(rows: list[Row]) -> Prompts:
        return _tensors(rows, index, n_steps)

    made = {}
    for c, groups in variants.items():
        runs = [(groups[0][r].steps, prompts([group[r].row for group in groups])) for r in range(len(groups[0]))]
        made[c] = Corruption(c, corruptions[c], tuple(runs))
    widest = max(len(a) for sample in samples for a in sample.alternatives)
    return Behavior(
        name=name,
        about=about,
        clean=prompts(rows),
        answers=torch.tensor([sample.answer for sample in samples]),
        alternatives=torch.tensor(
            [[[*a, *[-1] * (widest - len(a))] for a in sample.alternatives] for sample in samples]
        ),
        corruptions=made,
        roles=tuple(dict.fromkeys(role for role, _ in slots)),
        slots=slots,
        texts=tuple(sample.text for sample in samples),
        shared=_shared(every, n_steps),
        reference=reference,
        step_names=step_names or tuple(f"token {i + 1}" for i in range(n_steps)),
        recipe=recipe or {},
        **more,
    )


def map_rows(row: Row, change: Callable[[Segment], Segment]) -> Row:
    return tuple(change(segment) for segment in row)


def check(sample: Sample, first: Sample, where: str, *, chance: bool = False) -> None:
    """What every sample must be, beside the first one of its behaviour; `where` is what messages begin with.

    Raises:
        CutawayError: an empty answer, or one of another length than the first; no alternatives, or the answer among
            them; a role twice; other corruptions than the first has; a corrupted form whose roles do not line up with
            the clean ones, or that equals its clean form (unless `chance`).
    """
    if not sample.answer:
        raise CutawayError(f"{where} has an empty answer: give at least one token")
    if len(sample.answer) != len(first.answer):
        raise CutawayError(
            f"{where} has {len(sample.answer)} answer tokens, the first prompt {len(first.answer)}: make them equal"
        )
    for step, (token, others) in enumerate(zip(sample.answer, sample.alternatives, strict=True)):
        if not others or token in others:
            raise CutawayError(f"{where}, token {step + 1}: alternatives must be there and differ from the answer")
    roles = [segment.role for segment in sample.row]
    if twice := [role for role in dict.fromkeys(roles) if roles.count(role) > 1]:
        raise CutawayError(f"{where} has the role {twice[0]!r} twice: give each span a name of its own")
    runs, wanted = ({c: [v.steps for v in vs] for c, vs in s.corrupted.items()} for s in (sample, first))
    if wrong := [name for name in runs | wanted if runs.get(name) != wanted.get(name)]:
        raise CutawayError(
            f"{where} has other corruptions than the first prompt ({wrong[0]!r}): give all the same ones"
        )
    for name, variants in sample.corrupted.items():
        for variant in variants:
            _check_row(variant.row, sample.row, f"{where}, corruption {name!r}", chance)


def _check_row(row: Row, clean: Row, where: str, chance: bool) -> None:
    for ours, theirs in zip_longest(clean, row, fillvalue=Segment("nothing", ())):
        if ours.role != theirs.role:
            raise CutawayError(f"{where}: where the clean prompt has the role {ours.role!r}, it has {theirs.role!r}")
        if len(ours.ids) != len(theirs.ids):
            raise CutawayError(
                f"{where} does not line up at role {ours.role!r}: its tokens are {len(ours.ids)} in the clean prompt, "
                f"{len(theirs.ids)} in the corrupted one; make them equal"
            )
    if row == clean and not chance:
        raise CutawayError(f"{where} equals the clean prompt: change at least one token")


def _slots(rows: Sequence[Row]) -> tuple[tuple[str, int], ...]:
    """Every (role, offset) that occurs, in the order of the prompt."""
    longest: dict[str, int] = {}
    order: list[str] = []
    for row in rows:
        at = 0
        for segment in row:
            if segment.role not in longest:
                order.insert(at, segment.role)
            at = order.index(segment.role) + 1
            longest[segment.role] = max(longest.get(segment.role, 0), len(segment.ids))
    return tuple((role, offset) for role in order for offset in range(longest[role]))


def _tensors(rows: list[Row], index: dict[tuple[str, int], int], n_steps: int) -> Prompts:
    ids = [[i for segment in row for i in segment.ids] for row in rows]
    slots = [[index[segment.role, offset] for segment in row for offset in range(len(segment.ids))] for row in rows]
    width = max(map(len, ids))
    # the last n_steps tokens of a row predict the answer, one each
    steps = [[len(row) - n_steps + i for i in range(n_steps)] for row in ids]
    return Prompts(
        torch.tensor([row + [0] * (width - len(row)) for row in ids]),
        torch.tensor([row + [-1] * (width - len(row)) for row in slots]),
        torch.tensor(steps),
    )


def _shared(rows: Sequence[Row], n_steps: int) -> int:
    """Leading tokens that all rows have in common, in the same roles; the scored tokens are never among them."""
    flat = [[(segment.role, i) for segment in row for i in segment.ids] for row in rows]
    limit = min(map(len, flat)) - n_steps
    first = flat[0]
    return next((p for p in range(limit) if any(row[p] != first[p] for row in flat)), max(limit, 0))
