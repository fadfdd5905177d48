"""The engine does no work whose result is known and holds to its budget; a shortcut that is broken is noticed."""

import dataclasses
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cutaway.circuits import climb
from cutaway.circuits import reference as reference_file
from cutaway.circuits.behavior import ANSWER, Corruption
from cutaway.circuits.climb import Climb, Swap
from cutaway.circuits.engine import Engine, shared_past
from cutaway.circuits.metrics import scorer
from cutaway.circuits.patching import sweep
from cutaway.circuits.plan import Plan
from cutaway.circuits.reference import from_run
from cutaway.circuits.variant import Reference, Trace, Variant, head_sites
from cutaway.decoder import Site
from cutaway.decoder.model import Decoder, Layer

from .behaviors_by_hand import random_behavior
from .cases import LIMIT, Case, build, gap

# --- work not done ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Meter:
    """Counts, for the parts of a layer that the engine calls one by one, the tokens of every call."""

    queries: list[int] = dataclasses.field(default_factory=list)
    keys_values: list[int] = dataclasses.field(default_factory=list)
    attend: list[int] = dataclasses.field(default_factory=list)
    write: list[int] = dataclasses.field(default_factory=list)
    finish: list[int] = dataclasses.field(default_factory=list)
    unembedded: list[int] = dataclasses.field(default_factory=list)

    def clear(self) -> None:
        for calls in vars(self).values():
            calls.clear()


@pytest.fixture
def meter(monkeypatch) -> Meter:
    meter = Meter()

    def counted(owner: type, name: str, calls: list[int]) -> None:
        real = getattr(owner, name)

        def call(self, x, *args, **kwargs):
            calls.append(x.shape[0] * x.shape[1])
            return real(self, x, *args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for part in ("queries", "keys_values", "attend", "write", "finish"):
        counted(Layer, part, getattr(meter, part))
    counted(Decoder, "read_out", meter.unembedded)
    return meter


class Setting:
    """An engine with the values of a corrupted run: 4 prompts `example×5 R1 R2 R3 ( A1`, of which 5 tokens are run.

    The last two of them are scored.
    """

    def __init__(self, budget: int = 4096, shared: int = 5):
        self.model, self.behavior = build("shared keys"), random_behavior(prompts=4, steps=2, shared=shared, even=True)
        past = shared_past(self.model, self.behavior)
        self.engine, other = (
            Engine(self.model, self.behavior, prompts, columns=scorer(self.behavior).columns, past=past, budget=budget)
            for prompts in (self.behavior.clean, self.behavior.corruptions["everything"].runs[0][1])
        )
        self.trace = self.engine.trace()
        self.reference = from_run(self.engine, other, other.trace())

    def run(self, *variants: Variant) -> torch.Tensor:
        return self.engine.logits(variants, self.reference, self.trace)


def one(site: Site, role: str | None = None) -> Variant:
    return Variant(frozenset([site]), role)


def test_shared_tokens_are_run_once(meter):
    """5 shared tokens in one row; 4 rows of what is left, clean and corrupted."""
    Setting()
    assert sorted(meter.finish) == [5] * 3 + [4 * 5] * 6


def test_a_cell_resumes_at_its_layer(meter):
    setting = Setting()
    meter.clear()
    setting.run(one(Site(2, "z", 1)))
    # of the last layer, the scored positions only; its heads are those of the base run, and only one writes anew
    assert (meter.queries, meter.keys_values, meter.write, meter.finish) == ([], [], [], [4 * 2])
    meter.clear()
    setting.run(one(Site(1, "z", 1)))
    assert (meter.queries, meter.keys_values, meter.write, meter.finish) == ([4 * 2], [4 * 5], [4 * 2], [4 * 5, 4 * 2])
    meter.clear()
    setting.run(one(Site(0, "resid_pre")))
    assert (meter.keys_values, meter.finish) == ([4 * 5] * 3, [4 * 5, 4 * 5, 4 * 2])


def test_an_mlp_that_is_replaced_is_not_computed(meter):
    setting = Setting()
    meter.clear()
    setting.run(one(Site(1, "mlp_out")))
    assert meter.finish == [4 * 2]


def test_cells_join_one_pass_where_they_begin(meter):
    """In each layer those that were inside before, and those that join."""
    setting = Setting()
    meter.clear()
    setting.run(*(one(Site(layer, "z", 1)) for layer in (2, 0, 1)))
    assert meter.keys_values == [4 * 5, 4 * 10]
    assert meter.finish == [4 * 5, 4 * 5, 4 * 5, 4 * 4, 4 * 2]


def test_a_cell_resumes_at_its_position(meter, monkeypatch):
    """Of R1 R2 R3 ( A1: in the layer of the replacement R3 alone; above it all from there on, but for new keys at R3 alone."""
    setting = Setting()
    for few, first in ((0, 4 * 1), (64, 4 * 3)):  # so few tokens are not worth a product of their own
        monkeypatch.setattr(climb, "FEW", few)
        meter.clear()
        setting.run(one(Site(0, "z", 1), "R3"))
        assert meter.finish == [4 * 1, 4 * 3, 4 * 2]
        assert meter.keys_values == [first, 4 * 3]
        assert meter.queries == [first, 4 * 2]


def test_nothing_is_run_for_a_variant_that_changes_nothing(meter):
    setting = Setting()
    meter.clear()
    # no site; a site at tokens that both runs share; one from which nothing leads to a scored token
    same = (
        Variant(frozenset()),
        one(Site(0, "z", 1), "example"),
        one(Site(2, "z", 1), "R1"),
        one(Site(2, "mlp_out"), "R1"),
    )
    logits = setting.run(*same)
    assert not any(vars(meter).values())
    assert all(torch.equal(cell, setting.trace.logits) for cell in logits)


def test_a_prompt_whose_values_are_alike_is_not_run(meter):
    """One of four prompts is corrupted into itself."""
    setting = Setting()
    z = tuple(torch.cat([old[:1], new[1:]]) for old, new in zip(setting.trace.z, setting.reference.z, strict=True))
    setting.reference = dataclasses.replace(setting.reference, z=z)
    meter.clear()
    logits = setting.run(one(Site(1, "z", 1)))
    assert meter.finish == [3 * 5, 3 * 2]
    assert torch.equal(logits[0, 0], setting.trace.logits[0])
    assert not torch.equal(logits[0, 1], setting.trace.logits[1])


def test_a_base_is_run_from_where_it_parts_from_the_last_one(meter):
    setting = Setting()
    first, then = one(Site(0, "z", 1)), Variant(frozenset([Site(0, "z", 1), Site(2, "z", 0)]))
    known = setting.engine.trace(first, setting.reference)
    meter.clear()
    resumed = setting.engine.trace(then, setting.reference, like=(first, known))
    assert meter.finish == [4 * 5]
    torch.testing.assert_close(resumed.logits, setting.engine.trace(then, setting.reference).logits, rtol=0, atol=1e-5)
    assert all(a is b for a, b in zip(resumed.z[:2], known.z[:2], strict=True))
    assert len(resumed.z) == 3


def test_attention_that_is_replaced_is_not_computed(meter):
    setting = Setting()
    meter.clear()
    setting.run(Variant(frozenset(head_sites(setting.model))))
    assert (meter.queries, meter.keys_values, meter.attend) == ([], [], [])
    # the first layer's heads as they join, then what each layer's heads write together: once for all cells
    assert meter.write == [4 * 5] * 3


def test_of_few_heads_that_are_left_only_those_are_computed(meter, monkeypatch):
    setting, wide = Setting(), []
    real = Layer.attend
    monkeypatch.setattr(Layer, "attend", lambda self, q, *rest: wide.append(q.shape[2]) or real(self, q, *rest))
    setting.run(Variant(frozenset(head_sites(setting.model)) - {Site(1, "z", 0), Site(1, "z", 3), Site(2, "z", 2)}))
    assert wide == [2, 1]


def test_tokens_after_the_last_scored_one_are_dropped(meter):
    behavior, model = random_behavior(prompts=4, steps=3, shared=0, even=True), build("shared keys")
    sweep(model, behavior, "step by step", sites=[Site(2, "z", 0)], roles=("R1",))
    # the clean prompts once, of all six tokens; corrupted ones up to what each run scores: ( for the first step, then A1, A2
    assert meter.finish == [4 * 6] * 3 + [4 * 4] * 3 + [4 * 5] * 3 + [4 * 6] * 3
    assert meter.unembedded == [4 * 3, 4 * 1, 4 * 1, 4 * 1], "only the scored positions are unembedded"


def test_prompts_that_several_runs_are_about_are_run_once(meter):
    behavior, model = random_behavior(prompts=4, steps=3, shared=0, even=True), build("shared keys")
    everything = behavior.corruptions["everything"].runs[0][1]
    letters = Corruption("letters", "each on its own", tuple(((i,), everything) for i in range(3)))
    behavior = dataclasses.replace(behavior, corruptions={"letters": letters})
    effects = sweep(model, behavior, "letters", sites=[Site(2, "z", 0)], roles=(ANSWER,))
    # both runs whole, then one position in the last layer for each step
    assert meter.finish == [4 * 6] * 6 + [4 * 1] * 3
    for step, role in enumerate(("(", "A1", "A2")):
        alone = sweep(model, behavior, "letters", sites=[Site(2, "z", 0)], roles=(role,)).values[0, 0, :, step]
        assert torch.equal(alone, effects.values[0, 0, :, step])


def test_nothing_is_padded(meter):
    """Prompts of many lengths: every token that is run stands between the first that differs and the last scored one."""
    behavior, model = random_behavior(7, prompts=4, steps=2, shared=0), build("shared keys")
    columns = scorer(behavior).columns
    engine, other = (
        Engine(model, behavior, prompts, columns=columns)
        for prompts in (behavior.clean, behavior.corruptions["everything"].runs[0][1])
    )
    trace, reference = engine.trace(), from_run(engine, other, other.trace())
    widths = behavior.clean.mask.sum(1)
    assert len(widths.unique()) > 1
    meter.clear()
    engine.logits([one(Site(0, "z", 0))], reference, trace)
    assert sum(meter.finish) == 2 * int((widths - reference.first).sum()) + 2 * 4


@pytest.mark.parametrize("budget", [1, 19, 20, 59, 60, 100, 4096])
def test_no_call_of_a_layer_sees_more_tokens_than_the_budget_or_one_cell(meter, budget):
    setting = Setting(budget)
    meter.clear()
    setting.run(*(one(Site(0, "z", head)) for head in range(4)), *(one(Site(0, "mlp_out"), "R1") for _ in range(3)))
    assert max(meter.finish + meter.keys_values + meter.attend) <= max(budget, 5)
    if budget == 4096:  # heads as they join, then all of one kind, layer by layer
        assert sorted(meter.finish) == sorted([4 * 4 * 5, 4 * 4 * 5, 4 * 4 * 2, 3 * 4 * 5, 3 * 4 * 2])


def test_variants_come_in_the_order_they_were_given():
    """Whatever order they were run in: one at a time, they are the same."""
    setting, rng = Setting(budget=50), random.Random(0)
    variants = [one(Site(rng.randrange(3), "z", rng.randrange(4)), rng.choice([None, "R1", "R3"])) for _ in range(12)]
    together = setting.run(*variants)
    alone = torch.cat([setting.run(variant) for variant in variants])
    assert float((together - alone).abs().max()) <= LIMIT
    assert float((together - together.roll(1, 0)).abs().max()) > 0.1


# --- broken on purpose -----------------------------------------------------------------------------------------------
# Each function puts something wrong in place of a shortcut. The cases are those of the property test.

HOW = [(None, True, False), ((0, 2), True, True), (None, False, False)]
"""Steps, past, background."""
SOME_CASES = [
    Case(seed, prompts=3, steps=steps, past=past, values=values, background=background)
    for seed, (steps, past, background) in enumerate(HOW * 2)
    for values in ("resample", "from another prompt", "mean")
]


def block_with(**changes: Callable) -> Callable:
    """Cells enter elsewhere than they differ."""

    def broken(monkeypatch):
        real = Plan._block

        def block(self, *args):
            made = real(self, *args)
            return dataclasses.replace(made, **{name: change(made) for name, change in changes.items()})

        monkeypatch.setattr(Plan, "_block", block)

    return broken


def climbing(change_block: Callable = lambda b: b, change_base: Callable = lambda t, b: t) -> Callable:
    """A pass that is given other cells, or another base run, than was planned."""

    def broken(monkeypatch):
        real = Climb.__init__

        def init(self, engine, block, reference, base):
            real(self, engine, change_block(block), reference, change_base(base, block))

        monkeypatch.setattr(Climb, "__init__", init)

    return broken


def keys_of_the_base(change: Callable[[Tensor], Tensor]) -> Callable:
    return climbing(change_base=lambda base, block: dataclasses.replace(base, k=tuple(map(change, base.k))))


def stale(base: Trace, block) -> Trace:
    """Cells that join later bring the residual stream of the first layer."""
    first = block.entry[0] // 2
    return dataclasses.replace(base, resid_pre=tuple(base.resid_pre[min(i, first)] for i in range(len(base.resid_pre))))


def swap_that(name: str, answer: Callable) -> Callable:
    return lambda monkeypatch: monkeypatch.setattr(Swap, name, answer)


def no_stream(kind: str) -> Callable:
    real = Swap.stream
    return swap_that(
        "stream", lambda self, which, layer, x, *more: x if which == kind else real(self, which, layer, x, *more)
    )


def unaligned(monkeypatch):
    """Prompts line up by position."""

    def align(base, source, n_slots):
        return torch.arange(base.tokens.shape[1]).expand(len(base), -1).clamp(max=source.tokens.shape[1] - 1)

    monkeypatch.setattr(reference_file, "align", align)


def reference_that(name: str, **changes: Callable[[Reference], object]) -> Callable:
    def broken(monkeypatch):
        real = getattr(reference_file, name)

        def make(engine, source, trace):
            reference = real(engine, source, trace)
            return dataclasses.replace(reference, **{key: change(reference) for key, change in changes.items()})

        monkeypatch.setattr(reference_file, name, make)

    return broken


def padding_counted(monkeypatch):
    """Means over a slot take in the padding of shorter prompts, as if it were the last slot."""
    real = reference_file.slot_means

    def means(engine, source, trace):
        slots = source.prompts.slots
        source.prompts = dataclasses.replace(source.prompts, slots=slots.where(slots >= 0, slots.max()))
        return real(engine, source, trace)

    monkeypatch.setattr(reference_file, "slot_means", means)


def traced_after_the_swap(monkeypatch):
    """A trace keeps what stands after replacing, not what the heads computed."""
    real = Engine.trace

    def trace(self, variant=None, reference=None) -> Trace:
        kept = real(self, variant, reference)
        return dataclasses.replace(kept, z=reference.z) if variant else kept

    monkeypatch.setattr(Engine, "trace", trace)


def narrowed_too_far(monkeypatch):
    """The first prompt counts as unchanged."""

    def narrow(self, differs, where):
        where[:, 0] = False

    monkeypatch.setattr(Plan, "_narrow", narrow)


def out_of_order(monkeypatch):
    real = Climb.logits
    monkeypatch.setattr(Climb, "logits", lambda self: real(self).flip(0))


def frame_from_zero(monkeypatch):
    """Tokens believe that nothing stands before the ones that are run."""

    def frame(self, start, stop):
        return self.model.frame(torch.arange(stop - start)[None], before=self.offset + start)

    monkeypatch.setattr(Engine, "frame_of", frame)


def without_roles(block):
    return dataclasses.replace(block, where=torch.ones_like(block.where))


BROKEN = {
    "a layer late": block_with(entry=lambda block: tuple(min(at + 2, 5) for at in block.entry)),
    "a position late": block_with(start=lambda block: min(block.start + 1, block.stop - 1)),
    "span too short": block_with(stop=lambda block: max(block.start + 1, block.stop - 1)),
    "keys off by one": keys_of_the_base(lambda k: k.roll(1, dims=1)),
    "keys of another prompt": keys_of_the_base(lambda k: k.roll(1, dims=0)),
    "no keys before": keys_of_the_base(torch.zeros_like),
    "replaces everywhere": climbing(without_roles),
    "replaces no head": swap_that("z", lambda self, layer, z, *more: z),
    "replaces no stream": no_stream("resid_pre"),
    "replaces no MLP": no_stream("mlp_out"),
    "one head writes what it wrote": swap_that(
        "written", lambda self, layer, cells, at, base: base.written[layer.index][:, at][self.block.row[cells]]
    ),
    "an MLP on top of the old one": swap_that(
        "behind",
        lambda self, kind, layer, cells, at, base: torch.zeros_like(base.mlp_out[layer][:, at][self.block.row[cells]]),
    ),
    "heads left out too early": swap_that(
        "left", lambda self, layer, cells: (~self.block.replaced.z[cells, layer]).all(0).nonzero()[:, 0]
    ),
    "heads left out that a role keeps": swap_that(
        "left", lambda self, layer, cells: (~self.block.replaced.z[cells, layer]).any(0).nonzero()[:, 0]
    ),
    "by position": unaligned,
    "first difference too late": reference_that("from_run", first=lambda reference: reference.first + 1),
    "values for all tokens": reference_that("from_run", where=lambda reference: torch.ones_like(reference.where)),
    "padding in the means": padding_counted,
    "trace of the replaced": traced_after_the_swap,
    "narrowed too far": narrowed_too_far,
    "scored before the start": climbing(
        change_base=lambda base, block: dataclasses.replace(base, logits=base.logits[:, -1:].expand_as(base.logits))
    ),
    "frame from zero": frame_from_zero,
    "cells mixed up": out_of_order,
    "joined from below": climbing(change_base=stale),
}


def worst(cases: list[Case]) -> float:
    return max(gap(build("shared keys"), case) for case in cases)


def test_the_cases_hold_when_nothing_is_broken():
    assert worst(SOME_CASES) <= LIMIT


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_shortcut_is_noticed(monkeypatch, how):
    BROKEN[how](monkeypatch)
    assert any(gap(build("shared keys"), case) > 100 * LIMIT for case in SOME_CASES)
