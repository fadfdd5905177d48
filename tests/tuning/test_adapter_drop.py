"""AdapterDrop: which adapters there are, which take part, and where no gradient goes."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.adapter_drop import METHOD
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def drawn(tuned):
    with torch.no_grad():
        for p in tuned.trained().values():
            p.normal_(std=0.4, generator=torch.Generator().manual_seed(p.numel()))
    return tuned


def layers(tuned):
    return sorted({int(name.split(".h.")[1][0]) for name in tuned.attached.besides})


def test_the_first_layers_have_none():
    tuned = drawn(tune(made("gpt2"), METHOD.name, first=1, width=4))
    assert layers(tuned) == [1]
    whole = drawn(tune(made("gpt2"), "adapter", at=("*h.1.attn.c_proj", "*h.1.mlp.c_proj"), width=4))
    with torch.no_grad():
        torch.testing.assert_close(logits(tuned.model, "gpt2"), logits(whole.model, "gpt2"))


def test_none_left_out_is_the_adapter():
    tuned, whole = (
        drawn(tune(made("bert"), name, width=4, **o)) for name, o in ((METHOD.name, {"first": 0}), ("adapter", {}))
    )
    with torch.no_grad():
        torch.testing.assert_close(logits(tuned.model, "bert"), logits(whole.model, "bert"))


def test_no_gradient_goes_below_the_first_adapter():
    tuned, states = drawn(tune(made("gpt2"), METHOD.name, first=1, width=4)), []
    tuned.model.transformer.h[0].register_forward_hook(lambda m, a, out: states.append(out.requires_grad))
    assert logits(tuned.model, "gpt2").requires_grad
    assert states == [False]


def test_both_halves_are_counted_from_their_beginning():
    tuned = tune(made("t5"), METHOD.name, first=1, width=4)
    assert {name.split(".")[2] for name in tuned.attached.besides} == {"1"}
    assert {name.split(".")[0] for name in tuned.attached.besides} == {"encoder", "decoder"}


def test_in_training_a_robust_one_draws_how_many_are_left_out():
    tuned = drawn(tune(made("gpt2"), METHOD.name, first=0, width=4, robust=True))
    assert layers(tuned) == [0, 1]
    tuned.model.train()
    for m in tuned.model.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0
    torch.manual_seed(0)
    with torch.no_grad():
        drawn_ones = [logits(tuned.model, "gpt2") for _ in range(12)]
        tuned.model.eval()
        uses = []
        for n in (0, 1):
            tuned.attached.leave_out(n)
            uses.append(logits(tuned.model, "gpt2"))
    which = [[torch.allclose(x, use, atol=1e-6) for use in uses] for x in drawn_ones]
    assert all(sum(fits) == 1 for fits in which)
    assert {tuple(fits) for fits in which} == {(True, False), (False, True)}


def test_more_can_be_left_out_in_use():
    tuned = drawn(tune(made("gpt2"), METHOD.name, first=0, width=4))
    with torch.no_grad():
        tuned.attached.leave_out(1)
        fewer = logits(tuned.model, "gpt2")
        tuned.remove()
        expected = logits(drawn(tune(made("gpt2"), METHOD.name, first=1, width=4)).model, "gpt2")
    torch.testing.assert_close(fewer, expected)


def test_leaving_out_without_effect_would_be_noticed(monkeypatch):
    from cutaway.tuning.methods.adapter_drop import Dropped, adapter

    tuned = drawn(tune(made("gpt2"), METHOD.name, first=0, width=4, robust=True))
    with torch.no_grad():
        tuned.attached.leave_out(1)
        right = logits(tuned.model, "gpt2")
        monkeypatch.setattr(Dropped, "around", adapter.Bottleneck.around)
        assert not torch.allclose(logits(tuned.model, "gpt2"), right, atol=1e-3)


def test_at_least_one_layer_keeps_its_adapters():
    for first in (-1, 2):
        with pytest.raises(CutawayError, match="at least one"):
            tune(made("bert"), METHOD.name, first=first, width=4)
    with pytest.raises(CutawayError, match="at least one"):
        tune(made("bert"), METHOD.name, first=1, width=4).attached.leave_out(2)
