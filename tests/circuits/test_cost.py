"""What a grid costs is what it is counted to cost while it runs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cutaway.circuits import climb
from cutaway.circuits.behavior import ANSWER
from cutaway.circuits.cost import cost, whole_pass
from cutaway.circuits.patching import sweep
from cutaway.circuits.variant import head_sites
from cutaway.decoder import Site
from decoder.decoders import CONFIGS

from .behaviors_by_hand import random_behavior
from .cases import build


def counted(work) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        work()
    kinds = counter.get_flop_counts()["Global"]
    return float(sum(n for kind, n in kinds.items() if "mm" in str(kind) and "bmm" not in str(kind)))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_whole_pass(name):
    model, tokens = build(name), torch.arange(12).reshape(3, 4)
    assert counted(lambda: model(tokens)) == whole_pass(model.config, 12, model.config.vocab)


@pytest.mark.parametrize("name", ["learned positions", "shared keys"])
@pytest.mark.parametrize("roles", [(None,), ("R1", "R3", ANSWER)])
@pytest.mark.parametrize("corruption", ["everything", "step by step"])
def test_a_grid_does_no_more_than_it_must(name, roles, corruption, monkeypatch):
    """But for the last layer of the runs that cells start from, where all positions ask."""
    monkeypatch.setattr(climb, "FEW", 0)
    model, behavior = build(name), random_behavior(5, prompts=4, steps=2, shared=0, even=True)
    sites = [*head_sites(model)[::3], Site(1, "mlp_out"), Site(2, "resid_pre"), Site(0, "resid_pre")]
    done = counted(lambda: sweep(model, behavior, corruption, sites=sites, roles=roles))
    least = cost(model, behavior, corruption, sites=sites, roles=roles)
    assert least.flops <= done <= 1.05 * least.flops
    assert least.flops < least.naive


def test_cells_that_change_nothing_are_not_counted():
    model, behavior = build("parallel"), random_behavior(prompts=3, steps=2, shared=3, even=True)
    some = cost(model, behavior, "everything", sites=[Site(0, "z", 0), Site(2, "z", 0)], roles=("example", "R1"))
    assert (some.cells, some.run) == (2 * 2 * 3, 3)  # R1 in the first layer; above the last one nothing reads it
