"""Parallel adapters against their equation, computed from the model's own parts."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.parallel_adapter import METHOD
from cutaway.tuning.tune import tune
from tuning.models import FAMILIES, inputs, made

BLOCKS = {
    "bert": ("bert.encoder.layer.1.intermediate.dense", "bert.encoder.layer.1.output.dense"),
    "gpt2": ("transformer.h.1.mlp", "transformer.h.1.mlp"),
    "llama": ("model.layers.1.mlp", "model.layers.1.mlp"),
    "t5": ("decoder.block.1.layer.2.DenseReluDense", "decoder.block.1.layer.2.DenseReluDense"),
}
"""Where the feed-forward block begins and where it ends."""


def moved(tuned):
    """Nothing is zero any more."""
    with torch.no_grad():
        for parameter in tuned.trained().values():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    return tuned


def difference(family, scale):
    """What the second layer's adapter adds, as seen and as the equation says."""
    model = made(family)
    tuned = moved(tune(model, "parallel_adapter", width=4, scale=scale))
    first, last = BLOCKS[family]
    seen = {}

    def enter(module, args):
        seen["x"] = args[0]

    def leave(module, args, output):
        seen["y"] = output

    model.get_submodule(first).register_forward_pre_hook(enter)
    model.get_submodule(last).register_forward_hook(leave)
    with torch.no_grad():
        model(**inputs(family))
        with_it, x = seen["y"], seen["x"]
        with tuned.off():
            if first == last:
                without = model.get_submodule(first)(x)
            else:
                inner = torch.nn.functional.gelu(model.get_submodule(first)(x))
                without = model.get_submodule(last)(inner)
    (down, b_down, up, b_up) = list(tuned.trained().values())[-4:]
    expected = scale * (torch.relu(x @ down.T + b_down) @ up.T + b_up)
    return with_it - without, expected.detach()


@pytest.mark.parametrize("family", FAMILIES)
def test_it_adds_to_the_output_what_it_makes_of_the_input(family):
    seen, expected = difference(family, scale=4.0)
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-4)


def test_an_adapter_that_reads_the_output_would_be_noticed(monkeypatch):
    from cutaway.tuning.methods.parallel_adapter import Parallel

    monkeypatch.setattr(Parallel, "around", lambda self, host, x, y: y + self.scale * self(y))
    seen, expected = difference("gpt2", scale=4.0)
    assert not torch.allclose(seen, expected, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_beside_attention_it_reads_what_goes_into_attention(family):
    model = made(family)
    tuned = moved(tune(model, "parallel_adapter", at=("attn_o", "ffn_down"), width=4))
    heard = {}
    name = next(name for name in tuned.attached.besides if "att" in name.lower() or "c_proj" in name)
    beside, block = tuned.attached.besides[name], name.rpartition(".")[0]
    if family == "bert":
        block = block.replace("output", "self")
    beside.register_forward_pre_hook(lambda module, args: heard.update(beside=args[0]))
    model.get_submodule(block).register_forward_pre_hook(
        lambda module, args, kwargs: heard.update(block=args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    with torch.no_grad():
        model(**inputs(family))
    assert torch.equal(heard["beside"], heard["block"])


def test_what_is_not_the_end_of_a_block_is_refused():
    with pytest.raises(CutawayError, match="does not end a block"):
        tune(made("gpt2"), METHOD.name, at=("attn_qkv",), width=4)
