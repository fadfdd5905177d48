"""QLoRA where it cannot run: what it would put on, on a model that says it is in four bits."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods import qlora
from cutaway.tuning.places import chosen
from cutaway.tuning.tune import tune
from tuning.models import logits, made


@pytest.fixture
def four_bits(monkeypatch):
    monkeypatch.setattr("peft.import_utils.is_bnb_4bit_available", lambda: True)
    model = made("llama")
    model.is_loaded_in_4bit = True
    return model


def test_it_is_lora_at_every_projection_and_not_merged(four_bits):
    options = qlora.Options(rank=2)
    wanted = [place.name for place in chosen(four_bits, options.at)]
    before = logits(four_bits, "llama")
    each = tune(four_bits, "qlora", rank=2)
    assert sorted(each.attached.replaced) == sorted(wanted)
    assert len(wanted) == 2 * 7
    assert each.count().trained == qlora.count(made("llama"), options)
    torch.testing.assert_close(logits(each.model, "llama"), before)
    with pytest.raises(CutawayError, match="qlora cannot be merged"):
        each.merge()
    each.remove()


def test_a_model_in_full_precision_is_not_taken(four_bits):
    four_bits.is_loaded_in_4bit = False
    with pytest.raises(CutawayError, match="load_in_4bit=True"):
        tune(four_bits, "qlora", rank=2)
