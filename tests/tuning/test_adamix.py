"""AdaMix: which expert is at work, what their average is, and how far two draws are from each other."""

import pytest
import torch
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.adamix import METHOD, Experts, Options, apart
from cutaway.tuning.tune import tune
from tuning.models import FAMILIES, inputs, logits, made


def drawn(module):
    with torch.no_grad():
        for p in module.parameters():
            if p.requires_grad:
                p.normal_(std=0.4, generator=torch.Generator().manual_seed(p.numel()))
    return module


def quiet(model):
    """In training, without dropout."""
    model.train()
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.p = 0.0
    return model


def one(experts, i, j, h):
    inner = nn.functional.gelu(h @ experts.down[i].T + experts.down_bias[i])
    return h + inner @ experts.up[j].T + experts.up_bias[j]


def test_in_training_both_halves_are_drawn_by_themselves():
    experts, h = drawn(Experts(6, Options(experts=3, width=4))), torch.randn(5, 6)
    torch.manual_seed(0)
    seen = set()
    for _ in range(80):
        out = experts.around(nn.Identity(), h, h)
        fits = [(i, j) for i in range(3) for j in range(3) if torch.allclose(out, one(experts, i, j, h), atol=1e-6)]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) == 9


def test_in_use_it_is_the_adapter_of_mean_weights():
    experts, h = drawn(Experts(6, Options(experts=3, width=4))).eval(), torch.randn(5, 6)
    down, b_down, up, b_up = (sum(x) / 3 for x in (experts.down, experts.down_bias, experts.up, experts.up_bias))
    expected = h + nn.functional.gelu(h @ down.T + b_down) @ up.T + b_up
    torch.testing.assert_close(experts.around(nn.Identity(), h, h), expected)
    mean_of_outputs = sum(one(experts, i, i, h) for i in range(3)) / 3
    assert not torch.allclose(expected, mean_of_outputs, atol=1e-2), "an average of outputs would be noticed"


def test_a_shared_half_is_there_once():
    for half in ("down", "up"):
        experts = drawn(Experts(6, Options(experts=3, width=4, shared=half)))
        assert len(getattr(experts, half)) == 1
        assert len(experts.down) + len(experts.up) == 4
        experts.around(nn.Identity(), torch.randn(2, 6), torch.randn(2, 6))


def test_the_divergence_is_the_mean_of_both_directions():
    first, second = torch.randn(4, 3, 5), torch.randn(4, 3, 5)
    p, q = first.softmax(-1), second.softmax(-1)
    both = (p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)
    torch.testing.assert_close(apart(first, second), both.mean() / 2)
    one_way = (p * (p / q).log()).sum(-1).mean()
    assert not torch.allclose(apart(first, second), one_way, atol=1e-3), "one direction alone would be noticed"
    torch.testing.assert_close(apart(first[..., :1], second[..., :1]), (first - second)[..., 0].square().mean())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_compares_two_draws_for_the_same_batch(family):
    tuned = tune(made(family), METHOD.name, width=4, experts=2, consistency=3.0)
    drawn(quiet(tuned.model))
    assert tuned.loss() is None
    torch.manual_seed(0)
    first = logits(tuned.model, family)
    more = tuned.loss()
    torch.manual_seed(0)
    again, second = logits(tuned.model, family), logits(tuned.model, family)
    torch.testing.assert_close(again, first)
    torch.testing.assert_close(more, 3.0 * apart(first, second))
    assert more.requires_grad
    tuned.loss()
    assert tuned.loss() is None, "it is asked for once a call"


def test_nothing_is_compared_outside_training_or_when_it_is_not_wanted():
    tuned = tune(made("bert"), METHOD.name, width=4, experts=2)
    logits(tuned.model, "bert")
    assert tuned.loss() is None
    tuned = tune(made("bert"), METHOD.name, width=4, experts=2, consistency=0.0)
    logits(quiet(tuned.model), "bert")
    assert tuned.loss() is None


def test_a_model_without_a_head_is_told_so():
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    tuned = tune(T5EncoderModel(config).train(), METHOD.name, width=4)
    with pytest.raises(CutawayError, match="no logits"):
        tuned.model(input_ids=inputs("t5")["input_ids"])
    with pytest.raises(CutawayError, match="at least 1"):
        tune(made("bert"), METHOD.name, experts=0, width=4)
