"""Prefix tuning against its equation: attention to a few keys and values more."""

import pytest
import torch

from cutaway.tuning.methods import prefix
from cutaway.tuning.prompts import cached
from cutaway.tuning.tune import tune
from tuning.models import LENGTH, inputs, logits, made


def test_attention_goes_to_the_prefix():
    each = tune(made("bert"), "prefix", tokens=3)
    (vectors,) = each.trained().values()
    block = each.attached.host.bert.encoder.layer[0].attention
    seen = {}
    parts = {"q": block.self.query, "k": block.self.key, "v": block.self.value}
    hooks = [m.register_forward_hook(lambda _, a, y, name=name: seen.__setitem__(name, y)) for name, m in parts.items()]
    hooks.append(block.output.dense.register_forward_hook(lambda _, a, y: seen.__setitem__("z", a[0])))
    with torch.no_grad():
        logits(each.model, "bert")

    def heads(x):
        return x.view(len(x), -1, 2, 8).transpose(1, 2)

    q, k, v = (heads(seen[name]) for name in "qkv")
    pk, pv = (x.view(1, 3, 2, 8).transpose(1, 2).expand(3, -1, -1, -1) for x in vectors.view(3, 4, 16)[:, :2].unbind(1))
    weights = (q @ torch.cat([pk, k], 2).mT / 8**0.5).softmax(-1)
    z = (weights @ torch.cat([pv, v], 2)).transpose(1, 2).reshape(3, LENGTH, 16)
    torch.testing.assert_close(seen["z"], z)
    assert weights.shape[-1] == LENGTH + 3
    without = ((q @ k.mT / 8**0.5).softmax(-1) @ v).transpose(1, 2).reshape(3, LENGTH, 16)
    assert not torch.allclose(seen["z"], without, atol=1e-3)


@pytest.mark.parametrize(
    ("family", "shape"), [("bert", (2, 2, 16)), ("gpt2", (2, 2, 16)), ("llama", (2, 2, 8)), ("t5", (2, 2, 16))]
)
def test_where_keys_and_values_are_kept(family, shape):
    assert cached(made(family)) == shape


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_a_network_makes_it_while_it_trains(family):
    options = prefix.Options(tokens=3, hidden=7)
    each = tune(made(family), "prefix", tokens=3, hidden=7)
    layers, _, width = cached(made(family))
    assert (
        each.count().trained
        == prefix.count(made(family), options)
        == 3 * width + 7 * (width + 1) + 2 * layers * width * 8
    )
    assert logits(each.model, family).shape == logits(made(family), family).shape


def test_padding_is_not_attended_to():
    each = tune(made("gpt2"), "prefix", tokens=3)
    given = inputs("gpt2")["input_ids"]
    padded = torch.cat([given, torch.zeros(3, 2, dtype=torch.long)], 1)
    mask = torch.cat([torch.ones(3, LENGTH), torch.zeros(3, 2)], 1)
    with torch.no_grad():
        torch.testing.assert_close(
            each.model(input_ids=padded, attention_mask=mask).logits[:, :LENGTH], each.model(input_ids=given).logits
        )
