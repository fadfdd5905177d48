"""What is done around `peft`, so that models come back as they were."""

import pytest
import torch
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.tune import tune
from tuning.models import inputs, logits, made

SMALL = {"lora": {"rank": 2}, "oft": {"block": 4}, "ln_tuning": {}, "prompt": {"tokens": 2}}


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("name", ["lora", "oft", "prompt"])
def test_where_activations_are_checkpointed_gradients_flow_and_no_hook_stays(name):
    model = made("gpt2").train()
    model.activation_checkpointing_enable()
    before = hooks(model)
    each = tune(model, name, **SMALL[name])
    logits(each.model, "gpt2").square().sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in each.trained().values())
    each.remove()
    assert hooks(model) == before > 0
    model.activation_checkpointing_disable()


@pytest.mark.parametrize("name", SMALL)
def test_modules_of_the_model_come_back_as_the_same_objects(name):
    model = made("gpt2")
    before, kept = dict(model.named_modules()), dict(model.named_parameters())
    each = tune(model, name, name="other_name", **SMALL[name])
    assert name == "prompt" or any(model.get_submodule(key) is not m for key, m in before.items())
    each.remove()
    assert {key: id(m) for key, m in model.named_modules()} == {key: id(m) for key, m in before.items()}
    assert {key: id(p) for key, p in model.named_parameters()} == {key: id(p) for key, p in kept.items()}


def test_transposed_projections_are_shown_without_a_copy():
    model = made("gpt2")
    own = model.transformer.h[0].attn.c_attn
    each = tune(model, "oft", block=4)
    plain = model.transformer.h[0].attn.c_attn.get_base_layer()
    assert isinstance(plain, nn.Linear)
    assert plain.weight.data_ptr() == own.weight.data_ptr()
    assert torch.equal(plain.weight, own.weight.T)
    with torch.no_grad():
        for parameter in each.trained().values():
            parameter.add_(0.1)
    each.merge()
    assert model.transformer.h[0].attn.c_attn is own
    assert not torch.equal(own.weight, made("gpt2").transformer.h[0].attn.c_attn.weight)


def test_off_has_the_same_learning_after_it_as_before():
    each = tune(made("bert"), "lora", rank=2, also=["classifier"])
    before = {name: p.requires_grad for name, p in each.model.named_parameters()}
    with each.off():
        assert {name: p.requires_grad for name, p in each.model.named_parameters()} == before
    assert {name: p.requires_grad for name, p in each.model.named_parameters()} == before


def test_a_prompt_that_is_off_neither_answers_nor_generates():
    each, plain = tune(made("gpt2"), "prompt", tokens=2), made("gpt2")
    words = inputs("gpt2")["input_ids"]
    held = each.model
    with each.off(), torch.no_grad():
        torch.testing.assert_close(held(input_ids=words).logits, plain(input_ids=words).logits)
        told = held.generate(input_ids=words, max_new_tokens=3, do_sample=False, pad_token_id=0)
        assert torch.equal(told, plain.generate(input_ids=words, max_new_tokens=3, do_sample=False, pad_token_id=0))
    with torch.no_grad():
        assert not torch.allclose(held(input_ids=words).logits, plain(input_ids=words).logits, atol=1e-4)


def test_what_peft_says_is_told_in_one_line(monkeypatch):
    def refuses(*_, **__):
        raise ValueError("one thing\n\tand another")

    monkeypatch.setattr("peft.get_peft_model", refuses)
    model = made("bert")
    with pytest.raises(CutawayError, match=r"peft cannot put this on the model: one thing and another$"):
        tune(model, "lora", rank=2)
    assert not hasattr(model, "tuned_with")
    assert all(p.requires_grad for p in model.parameters())
