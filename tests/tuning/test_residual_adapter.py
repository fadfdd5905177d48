"""Residual adapters against their equation."""

import pytest
import torch
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.residual_adapter import METHOD, Residual
from cutaway.tuning.tune import tune
from tuning.models import FAMILIES, logits, made


def drawn(module):
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.4, generator=torch.Generator().manual_seed(p.numel()))
    return module


def equation(adapter, h, normed=True):
    x = h
    if normed:
        x = h - h.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * adapter.norm.weight + adapter.norm.bias
    inner = (x @ adapter.down.weight.T + adapter.down.bias).clamp(min=0)
    return h + inner @ adapter.up.weight.T + adapter.up.bias


def test_it_is_what_the_equation_says():
    adapter, h = drawn(Residual(8, 3, "relu")), torch.randn(2, 3, 8)
    out = adapter.around(nn.Identity(), h, h)
    torch.testing.assert_close(out, equation(adapter, h), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(out, equation(adapter, h, normed=False), atol=1e-2), "a missing norm would be noticed"


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_on_top_of_every_layer(family):
    model, seen = made(family), []
    for name, adapter in tune(model, METHOD.name, width=4).attached.besides.items():
        drawn(adapter)
        layer = model.get_submodule(name)
        before = next(iter(layer._forward_hooks))
        layer.register_forward_hook(lambda m, a, out: seen.append(out[0] if isinstance(out, tuple) else out))
        layer._forward_hooks.move_to_end(before)
        layer.register_forward_hook(lambda m, a, out: seen.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        logits(model, family)
    adapters = [m for m in model.modules() if isinstance(m, Residual)]
    assert len(seen) == 2 * len(adapters) == (8 if family == "t5" else 4)
    for adapter, h, out in zip(adapters, seen[::2], seen[1::2], strict=True):
        torch.testing.assert_close(out, equation(adapter, h), atol=1e-5, rtol=1e-4)


def test_a_model_whose_layers_are_not_known_is_refused():
    with pytest.raises(CutawayError, match="layer"):
        tune(nn.Sequential(nn.Linear(4, 4)), METHOD.name, width=2)
