"""What is said of memory beforehand is what is held."""

import pytest
import torch

from cutaway.circuits import engine as engine_file
from cutaway.circuits.climb import Climb
from cutaway.circuits.engine import TOKEN_BUDGET, Engine
from cutaway.circuits.memory import GIB, plan
from cutaway.circuits.metrics import scorer
from cutaway.circuits.reference import from_run
from cutaway.circuits.variant import REPLACEABLE
from cutaway.core.errors import CutawayError
from decoder.decoders import CONFIGS

from .behaviors_by_hand import random_behavior
from .cases import build


@pytest.mark.parametrize("name", CONFIGS)
def test_kept_runs_are_as_large_as_said(name):
    """The model's run, a circuit's and the one before it, and the values that replace."""
    behavior, model = random_behavior(steps=2, shared=0), build(name)
    engine, other = (
        Engine(model, behavior, prompts, columns=scorer(behavior).columns)
        for prompts in (behavior.clean, behavior.corruptions["everything"].runs[0][1])
    )
    reference = from_run(engine, other, other.trace(keep=REPLACEABLE))
    runs = [engine.trace() for _ in range(3)]
    held = [x for run in runs for name in engine_file.RESUME for x in getattr(run, name)]
    held += [x for name in REPLACEABLE for x in getattr(reference, name)] + [reference.written(x) for x in model.layers]
    held_bytes = sum(x.numel() * x.element_size() for x in held)
    assert plan(model.config, engine.prompts.tokens.numel(), 1).kept == held_bytes


def test_less_memory_is_fewer_tokens_in_flight_and_too_little_is_refused():
    config = CONFIGS["shared keys"]
    assert plan(config, 1000, 1).tokens == TOKEN_BUDGET
    whole = plan(config, 1000, 1)
    less = (whole.kept + 300 * whole.per_token) / GIB
    assert plan(config, 1000, less * 1.0001).tokens == 300
    with pytest.raises(CutawayError, match=r"give at least --memory 0\.\d\d, or fewer prompts"):
        plan(config, 1000, whole.kept / GIB)


def test_half_the_precision_is_half_the_memory():
    config = CONFIGS["parallel"]
    assert 2 * plan(config, 100, 1, torch.bfloat16).kept == plan(config, 100, 1).kept


def test_a_plan_reads_as_one_line():
    said = str(plan(CONFIGS["parallel"], 10**6, 50))
    assert said == "6.71 GiB above the model: 6.71 for kept runs, 0.00 for 2,048 tokens in flight"


def test_find_keeps_to_its_plan(monkeypatch):
    """No block has more tokens than were planned."""
    from cutaway.circuits.behaviors.acronyms import Acronyms
    from cutaway.circuits.behaviors.acronyms import build as acronyms
    from cutaway.circuits.config import Find
    from cutaway.circuits.find import find
    from cutaway.decoder.planted import planted

    model, tokens = planted("planted:acronyms"), []
    real = Climb.__init__
    monkeypatch.setattr(
        Climb,
        "__init__",
        lambda self, engine, block, *rest: (
            tokens.append((block.tokens, len(block))),
            real(self, engine, block, *rest),
        )[1],
    )
    few = Find(n_sweep=2, n_search=4, n_verify=4, n_random=3)
    behavior = acronyms(model.tokenizer, Acronyms(n=8, example=""))
    needed = plan(model.config, behavior.clean.tokens[:4].numel(), 1)
    memory = (needed.kept + 120 * needed.per_token) / GIB
    find(model, behavior, Find(**(vars(few) | {"memory": memory * 1.001})))
    assert max(n for n, cells in tokens if cells > 1) <= 121
    assert max(n for n, _ in tokens) > 60
