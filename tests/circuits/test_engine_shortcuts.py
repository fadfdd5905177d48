"""The engine does no work whose result is known and holds to its budget; a shortcut that is broken is noticed."""

import dataclasses
import random
from collections.abc import Callable
from math import ceil

import pytest
import torch

from cutaway.circuits import engine as engine_file
from cutaway.circuits.engine import Engine, Past, Reference, Trace, Variant, from_run, head_sites, shared_past
from cutaway.circuits.metrics import scorer
from cutaway.circuits.patching import sweep
from cutaway.decoder import Site
from cutaway.decoder.model import Decoder, Layer

from .behaviors_by_hand import random_behavior
from .cases import LIMIT, Case, build, gap

# --- work not done ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Meter:
    """Counts, for the parts of a layer that the engine calls one by one, the tokens of every call."""

    qkv: list[int] = dataclasses.field(default_factory=list)
    pattern: list[int] = dataclasses.field(default_factory=list)
    finish: list[int] = dataclasses.field(default_factory=list)
    unembedded: list[int] = dataclasses.field(default_factory=list)

    def clear(self) -> None:
        for calls in vars(self).values():
            calls.clear()


@pytest.fixture
def meter(monkeypatch) -> Meter:
    meter = Meter()

    def counted(owner: type, name: str, calls: list[int], size: Callable[..., int]) -> None:
        real = getattr(owner, name)

        def call(self, x, *args, **kwargs):
            calls.append(size(x))
            return real(self, x, *args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for part in ("qkv", "pattern", "finish"):
        counted(Layer, part, getattr(meter, part), lambda x: x.shape[0] * x.shape[1])
    counted(Decoder, "read_out", meter.unembedded, lambda x: x.shape[0] * x.shape[1])
    return meter


class Setting:
    """An engine with the values of a corrupted run: 4 prompts `example×5 R1 R2 R3 ( A1`, of which 5 tokens are run."""

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


def test_a_variant_resumes_at_its_layer(meter):
    setting = Setting()
    meter.clear()
    setting.run(one(Site(2, "z", 1)))
    # the heads of the last layer still read the base run
    assert (meter.qkv, meter.finish) == ([], [20])
    meter.clear()
    setting.run(one(Site(1, "z", 1)))
    assert (meter.qkv, meter.finish) == ([20], [20, 20])
    meter.clear()
    setting.run(one(Site(2, "resid_pre")))
    assert (meter.qkv, meter.finish) == ([20], [20])


def test_variants_join_one_pass_where_they_begin(meter):
    """The pass grows by one variant at each layer; its heads there are those of the base run."""
    setting = Setting()
    meter.clear()
    setting.run(*(one(Site(layer, "z", 1)) for layer in (2, 0, 1)))
    assert (meter.qkv, meter.finish) == ([20, 40], [20, 40, 60])


def test_a_variant_resumes_at_its_position(meter):
    """Of R1 R2 R3 ( A1, the tokens from R3 on."""
    setting = Setting()
    meter.clear()
    setting.run(one(Site(0, "z", 1), "R3"))
    assert meter.finish == [4 * 3] * 3


def test_nothing_is_run_for_a_variant_that_changes_nothing(meter):
    setting = Setting()
    meter.clear()
    logits = setting.run(Variant(frozenset()), one(Site(0, "z", 1), "example"))
    assert (meter.qkv, meter.finish, meter.unembedded) == ([], [], [])
    assert all(torch.equal(cell, setting.trace.logits) for cell in logits)


def test_attention_that_is_replaced_is_not_computed(meter):
    setting = Setting()
    meter.clear()
    setting.run(Variant(frozenset(head_sites(setting.model))))
    assert (meter.pattern, meter.finish) == ([], [20] * 3)


def test_tokens_after_the_last_scored_one_are_dropped(meter):
    behavior, model = random_behavior(prompts=4, steps=3, shared=0, even=True), build("shared keys")
    sweep(model, behavior, "step by step", sites=[Site(0, "z", 0)])
    # R1 R2 R3 ( for the first step, one more for each that follows: clean, corrupted and patched
    assert meter.finish == [4 * 4] * 9 + [4 * 5] * 9 + [4 * 6] * 9
    assert set(meter.unembedded) == {4 * 1}, "only the scored positions are unembedded"


@pytest.mark.parametrize("budget", [1, 19, 20, 59, 60, 100, 4096])
def test_no_call_of_a_layer_sees_more_tokens_than_the_budget_or_one_variant(meter, budget):
    """And each sees as many variants as the budget allows."""
    setting = Setting(budget)
    meter.clear()
    setting.run(*(one(Site(0, "z", head)) for head in range(4)), *(one(Site(0, "mlp_out"), "R1") for _ in range(3)))
    assert max(meter.finish + meter.qkv + meter.pattern) <= max(budget, 20)
    assert len(meter.finish) == 3 * ceil(7 / max(1, budget // 20))


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


def late(layers: int, positions: int) -> Callable:
    """Variants resume later than they differ."""

    def broken(monkeypatch):
        real = Engine._start

        def start(self, variant, background, reference):
            plan = real(self, variant, background, reference)
            last = self.prompts.tokens.shape[1] - 1
            return plan and (min(plan[0] + positions, last), min(plan[1] + layers, 2))

        monkeypatch.setattr(Engine, "_start", start)

    return broken


def past_of(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable:
    def broken(monkeypatch):
        real = Engine._past_until

        def until(self, start, base):
            past = real(self, start, base)
            return past and Past(tuple(change(k) for k in past.k), past.v)

        monkeypatch.setattr(Engine, "_past_until", until)

    return broken


def swap_that(name: str, answer: Callable) -> Callable:
    return lambda monkeypatch: monkeypatch.setattr(engine_file._Swap, name, answer)


def replaces_everywhere(self, layer, z):
    """Forgets roles and tokens that have no value."""
    if layer not in self.heads:
        return z
    cells = len(z) // self.batch
    mask, values = self.heads[layer][:cells, None, None, :, None], self.reference.z[layer][None, :, self.start :]
    return torch.where(mask, values, z.unflatten(0, (cells, -1))).flatten(0, 1)


def unaligned(monkeypatch):
    """Prompts line up by position."""

    def align(base, source, n_slots):
        return torch.arange(base.tokens.shape[1]).expand(len(base), -1).clamp(max=source.tokens.shape[1] - 1)

    monkeypatch.setattr(engine_file, "align", align)


def reference_that(name: str, **changes: Callable[[Reference], object]) -> Callable:
    def broken(monkeypatch):
        real = getattr(engine_file, name)

        def make(engine, source, trace):
            reference = real(engine, source, trace)
            return dataclasses.replace(reference, **{key: change(reference) for key, change in changes.items()})

        monkeypatch.setattr(engine_file, name, make)

    return broken


def padding_counted(monkeypatch):
    """Means over a slot take in the padding of shorter prompts, as if it were the last slot."""
    real = engine_file.slot_means

    def means(engine, source, trace):
        slots = source.prompts.slots
        source.prompts = dataclasses.replace(source.prompts, slots=slots.where(slots >= 0, slots.max()))
        return real(engine, source, trace)

    monkeypatch.setattr(engine_file, "slot_means", means)


def traced_after_the_swap(monkeypatch):
    """A trace keeps what stands after replacing, not what the heads computed."""
    real = Engine.trace

    def trace(self, variant=None, reference=None) -> Trace:
        kept = real(self, variant, reference)
        return dataclasses.replace(kept, z=reference.z) if variant else kept

    monkeypatch.setattr(Engine, "trace", trace)


def read_before_the_start(monkeypatch):
    """Steps scored before the first difference are read from the first token run."""
    real = Engine._climb

    def climb(self, variants, enters, start, reference, base):
        return real(self, variants, enters, start, reference, dataclasses.replace(base, logits=base.logits[:, -1:]))

    monkeypatch.setattr(Engine, "_climb", climb)


def in_another_order(monkeypatch):
    """Variants of one pass are mixed up."""
    real = Engine._climb

    def climb(self, variants, enters, start, reference, base):
        return real(self, variants[::-1], enters, start, reference, base)

    monkeypatch.setattr(Engine, "_climb", climb)


def joined_from_the_first_layer(monkeypatch):
    """Variants that join later bring the residual stream of the first layer."""
    real = Engine._climb

    def climb(self, variants, enters, start, reference, base):
        stale = tuple(base.resid_pre[min(layer, enters[0])] for layer in range(len(base.resid_pre)))
        return real(self, variants, enters, start, reference, dataclasses.replace(base, resid_pre=stale))

    monkeypatch.setattr(Engine, "_climb", climb)


def frame_from_zero(monkeypatch):
    """Tokens believe that nothing stands before the ones that are run."""

    def frame(self, start):
        positions = torch.arange(self.prompts.tokens.shape[1] - start)
        return self.model.frame(positions[None], before=self.offset + start)

    monkeypatch.setattr(Engine, "_frame", frame)


BROKEN = {
    "a layer late": late(1, 0),
    "a position late": late(0, 1),
    "past off by one": past_of(lambda k: k.roll(1, dims=1)),
    "past of another prompt": past_of(lambda k: k.roll(1, dims=0)),
    "no past": past_of(torch.zeros_like),
    "replaces everywhere": swap_that("z", replaces_everywhere),
    "replaces no head": swap_that("z", lambda self, layer, z: z),
    "replaces no stream": swap_that("resid", lambda self, layer, x: x),
    "replaces no MLP": swap_that("mlp", lambda self, layer, x: x),
    "attention left out too early": swap_that("replaces_all", lambda self, layer, cells: layer in self.heads),
    "old heads on a new stream": swap_that("touches_resid", lambda self, layer: False),
    "by position": unaligned,
    "first difference too late": reference_that("from_run", first=lambda reference: reference.first + 1),
    "values for all tokens": reference_that("from_run", where=lambda reference: torch.ones_like(reference.where)),
    "padding in the means": padding_counted,
    "trace of the replaced": traced_after_the_swap,
    "scored before the start": read_before_the_start,
    "frame from zero": frame_from_zero,
    "variants mixed up": in_another_order,
    "joined from below": joined_from_the_first_layer,
}


def worst(cases: list[Case]) -> float:
    return max(gap(build("shared keys"), case) for case in cases)


def test_the_cases_hold_when_nothing_is_broken():
    assert worst(SOME_CASES) <= LIMIT


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_shortcut_is_noticed(monkeypatch, how):
    BROKEN[how](monkeypatch)
    assert any(gap(build("shared keys"), case) > 100 * LIMIT for case in SOME_CASES)
