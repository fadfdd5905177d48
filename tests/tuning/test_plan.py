"""What methods cost: counted and measured, the model afterwards as it was; the command that shows it."""

import json

import pytest
import torch

from cutaway.cli import run as cutaway
from cutaway.core.errors import CutawayError
from cutaway.tuning.backbone import load_model
from cutaway.tuning.plan import Cost, Refused, plan
from tuning.models import FAMILIES, made


@pytest.mark.parametrize("family", FAMILIES)
def test_every_cost_is_that_of_the_method_and_the_model_is_left_as_it_was(family):
    model = made(family)
    before = {name: x.clone() for name, x in model.state_dict().items()}
    costs = plan(model, ("bitfit", "lora"), batch=2, length=6, steps=1)
    assert {x.method for x in costs} == {"bitfit", "lora"}
    for cost in costs:
        if isinstance(cost, Refused):
            assert (cost.method, family) in {("bitfit", "llama"), ("bitfit", "t5")}
            continue
        assert cost.optimiser_bytes == 8 * cost.trained
        assert cost.disk_bytes == 4 * cost.trained
        assert cost.peak_bytes > 4 * cost.trained / cost.share + cost.optimiser_bytes
        assert cost.step_seconds > 0
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(x, before[name]) for name, x in after.items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_counting_alone_runs_nothing(monkeypatch):
    model = made("bert")
    monkeypatch.setattr(model, "forward", None)
    (cost,) = plan(model, ("lora",), steps=0)
    assert isinstance(cost, Cost)
    assert (cost.peak_bytes, cost.step_seconds) == (0, 0.0)


def test_what_makes_no_sense_is_told():
    model = made("bert")
    with pytest.raises(CutawayError, match="no tuning method 'loar'"):
        plan(model, ("loar",))
    with pytest.raises(CutawayError, match="batch 0"):
        plan(model, batch=0)
    with pytest.raises(CutawayError, match="no model or folder named 'minilm'"):
        load_model("minilm")


def test_the_commands(tmp_path, capsys):
    place = tmp_path / "model"
    made("llama").save_pretrained(place)
    words = [
        "tuning",
        "plan",
        str(place),
        "--method",
        "lora",
        "bitfit",
        "--batch",
        "2",
        "--length",
        "6",
        "--steps",
        "1",
    ]
    assert cutaway(words) == 0
    said = capsys.readouterr().out
    assert "lora" in said
    assert "bitfit: this model has no biases: take another method, such as lora" in said
    assert cutaway([*words, "--json"]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert row["method"] == "lora"
    assert cutaway(["tuning", "methods", "--json"]) == 0
    names = [json.loads(line)["method"] for line in capsys.readouterr().out.splitlines()]
    assert {"adapter", "bitfit", "lora"} <= set(names)
    assert cutaway(["tuning", "methods"]) == 0
    assert "Houlsby" in capsys.readouterr().out


def test_options_of_a_method_are_measured():
    small, large = (
        plan(made("bert"), ["lora"], batch=2, length=5, steps=0, options={"lora": {"rank": rank}})[0] for rank in (2, 4)
    )
    assert isinstance(small, Cost)
    assert isinstance(large, Cost)
    assert 2 * small.trained == large.trained


def test_a_model_without_a_head_has_costs_too():
    """AdaMix compares what comes out, whatever that is."""
    (found,) = plan(made("bert").base_model, ["adamix"], batch=2, length=5, steps=1, options={"adamix": {"width": 4}})
    assert isinstance(found, Cost)
    assert found.peak_bytes > 0
