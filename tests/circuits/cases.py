"""Batches of random prompts and random variants of them, run by the engine and by the naive loop."""

import random
from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import torch
from hypothesis import strategies as st
from torch import Tensor

from cutaway.circuits import climb
from cutaway.circuits import reference as reference_file
from cutaway.circuits.behavior import Behavior
from cutaway.circuits.engine import Engine, shared_past
from cutaway.circuits.metrics import scorer
from cutaway.circuits.variant import Reference, Variant, head_sites
from cutaway.decoder import Decoder, Site
from decoder.decoders import decoder

from . import naive
from .behaviors_by_hand import random_behavior

LIMIT = 1e-4
"""The contract: largest |Δlogit| in float32."""

build = cache(decoder)


@dataclass(frozen=True)
class Case:
    """One batch of prompts and the way variants of it are run; the variants themselves are drawn from `seed`."""

    seed: int = 0
    prompts: int = 3
    steps: tuple[int, ...] | None = None
    shared: int = 3
    past: bool = True
    budget: int = 4096
    values: str = "resample"
    denoise: bool = False
    background: bool = False
    few: int = 0
    """`climb.FEW`: 0 runs young cells apart whenever it can be done, many tokens never."""

    def behavior(self) -> Behavior:
        return random_behavior(self.seed, prompts=self.prompts, steps=3, shared=self.shared)


CASES = st.builds(
    Case,
    seed=st.integers(0, 9999),
    prompts=st.integers(1, 4),
    steps=st.sampled_from([None, (0,), (1,), (0, 2)]),
    shared=st.integers(0, 4),
    past=st.booleans(),
    budget=st.sampled_from([1, 30, 90, 4096]),
    values=st.sampled_from(["resample", "from another prompt", "mean", "zero"]),
    denoise=st.booleans(),
    background=st.booleans(),
    few=st.sampled_from([0, 1000]),
)


def random_variants(model: Decoder, behavior: Behavior, rng: random.Random, n: int = 7) -> list[Variant]:
    """Single sites as in a sweep, handfuls, all heads of a layer, circuits on their own, nothing at all."""
    layers, heads = model.config.n_layers, head_sites(model)
    streams = [Site(layer, kind) for layer in range(layers) for kind in ("mlp_out", "resid_pre")]
    whole = [Site(layer, "z") for layer in range(layers)]

    def one() -> Variant:
        sites = rng.choice(
            [
                [rng.choice(heads)],
                [rng.choice(streams)],
                rng.sample(heads + streams, 3),
                [*rng.sample(whole, 2), rng.choice(streams)],
                rng.sample(heads, len(heads) - 2),
                [],
            ]
        )
        return Variant(frozenset(sites), rng.choice([None, *behavior.roles]))

    return [one() for _ in range(n)]


def random_background(model: Decoder, behavior: Behavior, rng: random.Random) -> Variant:
    """Heads and MLPs: what a circuit's own run leaves out."""
    sites = head_sites(model) + [Site(layer, "mlp_out") for layer in range(model.config.n_layers)]
    some = rng.sample(sites, rng.randint(1, len(sites) - 1))
    return Variant(frozenset(some), rng.choice([None, None, *behavior.roles]))


def both(model: Decoder, case: Case) -> tuple[Tensor, Tensor]:
    """Logits of random variants `[variant, batch, step, column]`: the engine's, the naive loop's."""
    behavior, rng = case.behavior(), random.Random(case.seed)
    base, source = behavior.clean, behavior.corruptions["everything"].runs[0][1]
    base, source = (source, base) if case.denoise else (base, source)
    if case.values == "from another prompt":
        source = source.take(torch.arange(len(source)).roll(1))
    past = shared_past(model, behavior) if case.past and case.values != "zero" else None
    columns = scorer(behavior).columns
    variants = random_variants(model, behavior, rng)
    background = random_background(model, behavior, rng) if case.background else None
    if background:
        variants += [background, Variant(background.replaced - {next(iter(background.replaced))}, background.role)]
    with torch.inference_mode(), patch.object(climb, "FEW", case.few):
        engine, other = (
            Engine(model, behavior, prompts, columns=columns, steps=case.steps, past=past, budget=case.budget)
            for prompts in (base, source)
        )
        reference = _reference(case.values, engine, other)
        trace = engine.trace(background, reference)
        ours = engine.logits(variants, reference, trace, background)

        expected = {"mean": naive.averaged, "zero": lambda model, base, _: naive.zero(model, base)}
        values = expected.get(case.values, naive.resampled)(model, base, source)
        theirs = [naive.logits(model, base, columns, naive.patches(behavior, base, v, values)) for v in variants]
    return ours, torch.stack(theirs)[:, :, list(case.steps or range(behavior.n_steps))]


def _reference(values: str, engine: Engine, other: Engine) -> Reference:
    """Looked up in the module when called, so that tests can break it there."""
    if values == "zero":
        return reference_file.zeros(engine, engine.trace())
    make = reference_file.slot_means if values == "mean" else reference_file.from_run
    return make(engine, other, other.trace())


def gap(model: Decoder, case: Case) -> float:
    ours, theirs = both(model, case)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())
