"""UniPELT: LoRA and adapter against their equations, and what the gates do. What a prefix does is tested in test_attention.py."""

import torch
from torch import nn

from cutaway.tuning.attention import Gate, Prefix
from cutaway.tuning.methods.unipelt import METHOD, GatedAdapter, GatedLora, Options
from cutaway.tuning.tune import tune
from tuning.models import logits, made

SMALL = {"rank": 2, "length": 3, "width": 4}


def parts(tuned, kind):
    return [x for x in tuned.attached.besides.values() if isinstance(x, kind)]


def drawn(*modules):
    with torch.no_grad():
        for module in modules:
            for p in module.parameters():
                p.normal_(std=0.4)


def test_a_projection_is_what_the_equation_says():
    lora, host, x = GatedLora(6, 5, Options(rank=2, alpha=6.0), Gate(6)), nn.Linear(6, 5), torch.randn(2, 3, 6)
    drawn(lora)
    gate = 1 / (1 + torch.exp(-(x @ lora.gate.linear.weight[0] + lora.gate.linear.bias)))
    expected = host(x) + gate[..., None] * (6.0 / 2) * torch.einsum("or,ri,bpi->bpo", lora.B, lora.A, x)
    torch.testing.assert_close(lora.around(host, x, host(x)), expected, atol=1e-5, rtol=1e-4)


def test_an_adapters_gate_reads_what_went_into_the_block():
    adapter, x, h = GatedAdapter(6, Options(width=3)), torch.randn(2, 3, 6), torch.randn(2, 3, 6)
    drawn(adapter)

    def equation(read):
        gate = 1 / (1 + torch.exp(-(read @ adapter.gate.linear.weight[0] + adapter.gate.linear.bias)))
        inner = nn.functional.gelu(h @ adapter.down.weight.T + adapter.down.bias)
        return h + gate[..., None] * (inner @ adapter.up.weight.T + adapter.up.bias)

    out = adapter.around(nn.Identity(), x, h)
    torch.testing.assert_close(out, equation(x), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(out, equation(h), atol=1e-2), "a gate that reads the output would be noticed"


def test_closed_gates_leave_only_the_attention_that_the_prefix_takes():
    model = made("llama")
    with torch.no_grad():
        tuned = tune(model, METHOD.name, **SMALL)
        drawn(*parts(tuned, GatedLora), *parts(tuned, GatedAdapter), *parts(tuned, Prefix))
        for gate in (m for m in model.modules() if isinstance(m, Gate)):
            nn.init.zeros_(gate.linear.weight), nn.init.constant_(gate.linear.bias, -100.0)
        closed = logits(model, "llama")
        for prefix in parts(tuned, Prefix):
            prefix.keys.zero_(), prefix.values.zero_()
        torch.testing.assert_close(logits(model, "llama"), closed, atol=1e-5, rtol=1e-4)


def test_there_are_three_gates_in_a_layer():
    tuned = tune(made("bert"), METHOD.name, **SMALL)
    assert len({id(m) for m in tuned.model.modules() if isinstance(m, Gate)}) == 2 * 3
    first, _, second, _ = parts(tuned, GatedLora)
    assert first.gate is second.gate
