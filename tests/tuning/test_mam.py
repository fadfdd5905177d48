"""Mix-and-match adapters: what they are put together from. What a prefix does is tested in test_attention.py."""

import torch

from cutaway.tuning.attention import Prefix
from cutaway.tuning.methods.mam import METHOD, Options
from cutaway.tuning.methods.parallel_adapter import Parallel
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def test_the_defaults_are_the_papers():
    assert (Options().length, Options().scale, Options().activation, Options().at) == (30, 4.0, "relu", ("ffn_down",))


def test_a_prefix_is_in_every_attention_and_an_adapter_beside_every_feed_forward_block():
    besides = tune(made("t5"), METHOD.name, length=3, width=4).attached.besides.values()
    assert sum(isinstance(x, Prefix) for x in besides) == 6
    assert sum(isinstance(x, Parallel) for x in besides) == 4


def test_without_its_prefix_it_is_the_scaled_parallel_adapter():
    model = made("gpt2")
    mam = tune(model, METHOD.name, length=3, width=4)
    adapters = [x for x in mam.attached.besides.values() if isinstance(x, Parallel)]
    with torch.no_grad():
        for x in adapters:
            for p in x.parameters():
                p.normal_(std=0.3)
        weights = [p.detach().clone() for x in adapters for p in x.parameters()]
        for x in mam.attached.besides.values():
            if isinstance(x, Prefix):
                x.keys.zero_(), x.values.zero_()
        with_prefix = logits(model, "gpt2")
    mam.remove()
    alone = tune(model, "parallel_adapter", width=4, scale=4.0)
    with torch.no_grad():
        for p, x in zip(alone.trained().values(), weights, strict=True):
            p.copy_(x)
        without = logits(model, "gpt2")
        assert not torch.allclose(with_prefix, without, atol=1e-3), "even an empty prefix takes attention away"
        alone.remove()
        mam = tune(model, METHOD.name, length=3, width=4)
        own = [x for x in mam.attached.besides.values() if isinstance(x, Parallel)]
        for p, weight in zip((p for x in own for p in x.parameters()), weights, strict=True):
            p.copy_(weight)
        for x in mam.attached.besides.values():
            if isinstance(x, Prefix):
                x.attached = type("Off", (), {"active": False})
        torch.testing.assert_close(logits(model, "gpt2"), without)
