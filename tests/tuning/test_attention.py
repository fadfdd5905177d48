"""Prefixes inside attention against attention computed step by step, and against a cache that holds the prefix."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning import attention
from cutaway.tuning.methods import mam, unipelt
from cutaway.tuning.places import places
from cutaway.tuning.tune import tune
from tuning.models import FAMILIES, inputs, logits, made


def moved(tuned):
    """Nothing is as it began."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in tuned.trained().values():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
    return tuned


def prefixed(family, method=mam.METHOD.name, implementation="sdpa", **options):
    model = made(family)
    model.set_attn_implementation(implementation)
    small = {"length": 3, "width": 4} | ({"rank": 2} if method == "unipelt" else {})
    return moved(tune(model, method, **(small | options)))


def by_hand(seen, prefix, gate):
    """He et al. 2022, eq. 5: attention to the tokens and attention to the prefix, weighed by their shares of the softmax."""
    query, key, value, mask, more = seen
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    heads = key.shape[1] // groups
    own = query @ key.transpose(-1, -2) * more["scaling"]
    if more.get("position_bias") is not None:
        own = own + more["position_bias"]
    if mask is None and seen.causal and query.shape[2] > 1:
        mask = torch.ones(own.shape[-2:], dtype=torch.bool).tril()
    if mask is not None:
        own = own.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else own + mask
    keys, values = (
        torch.stack(x.chunk(heads, -1)).repeat_interleave(groups, 0)[None] for x in (prefix.keys, prefix.values)
    )
    gate = 1.0 if gate is None else gate[:, None]
    added = gate * (query @ keys.transpose(-1, -2)) * more["scaling"]
    share = torch.sigmoid(added.logsumexp(-1, keepdim=True) - own.logsumexp(-1, keepdim=True))
    z = (1 - share) * (own.softmax(-1) @ value) + share * gate * (added.softmax(-1) @ values)
    return z.transpose(1, 2).flatten(2)


class Seen(tuple):
    """What the function of attention was given."""

    causal: bool


def first_layer(tuned, family, monkeypatch, given):
    """What goes out of the first attention to its last projection, and what it was computed from, without the prefix."""
    model, calls, outputs = tuned.model, {}, []
    last = next(place for place in places(model) if place.role == "attn_o")
    function = attention._function

    def spied(base, module):
        def call(module, query, key, value, mask, **more):
            seen = Seen((query, key, value, mask, more))
            seen.causal = module.is_causal
            calls.setdefault("seen", seen)
            return function(base, module)(module, query, key, value, mask, **more)

        return call

    model.get_submodule(last.name).register_forward_pre_hook(lambda module, args: outputs.append(args[0]))
    (block, prefix) = next((n, x) for n, x in tuned.attached.besides.items() if isinstance(x, attention.Prefix))
    heard = []
    model.get_submodule(block).register_forward_pre_hook(
        lambda module, args, kwargs: heard.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    for lora in (b for b in tuned.attached.besides.values() if isinstance(b, unipelt.GatedLora)):
        torch.nn.init.zeros_(lora.B)
    with torch.no_grad():
        model(**given)
        with tuned.off(), monkeypatch.context() as patch:
            patch.setattr(attention, "_function", spied)
            model(**given)
        gate = None if prefix.gate is None else torch.sigmoid(prefix.gate.linear(heard[0]))
    return outputs[0], by_hand(calls["seen"], prefix, gate)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("method", ["mam", "unipelt"])
@pytest.mark.parametrize("family", FAMILIES)
def test_attention_with_a_prefix_is_what_the_equation_says(family, method, implementation, monkeypatch):
    given = inputs(family)
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    if method == "mam":
        given["attention_mask"][0, -2:] = 0
    z, expected = first_layer(prefixed(family, method, implementation), family, monkeypatch, given)
    torch.testing.assert_close(z, expected.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("broken", ["_seen", "_before"])
def test_a_prefix_that_is_hidden_or_put_behind_would_be_noticed(broken, monkeypatch):
    ways = {
        "_seen": lambda mask, query, key, length, causal: torch.cat(
            (mask.new_zeros((*mask.shape[:-1], length)), mask), dim=-1
        ),
        "_before": lambda prefix, x, second_half: torch.cat(
            (x, prefix.unflatten(-1, (x.shape[1], -1)).transpose(0, 1).expand(len(x), -1, -1, -1)), dim=-2
        ),
    }
    monkeypatch.setattr(attention, broken, ways[broken])
    given = inputs("llama") | {"attention_mask": torch.tensor([[1] * 7, [0, 0, 1, 1, 1, 1, 1], [1] * 7])}
    z, expected = first_layer(prefixed("llama"), "llama", monkeypatch, given)
    assert not torch.allclose(z, expected, atol=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_it_is_what_a_cache_that_holds_the_prefix_gives(family):
    from transformers import DynamicCache

    tuned = prefixed(family)
    given, length = inputs(family), 3
    cache, heads = DynamicCache(), 2
    with torch.no_grad():
        for parallel in (x for x in tuned.attached.besides.values() if not isinstance(x, attention.Prefix)):
            torch.nn.init.zeros_(parallel.up.weight)
            torch.nn.init.zeros_(parallel.up.bias)
        ours = tuned.model(**given).logits
        prefixes = [x for x in tuned.attached.besides.values() if isinstance(x, attention.Prefix)]
        for layer, prefix in enumerate(prefixes):
            keys, values = (
                x.unflatten(-1, (heads, -1)).transpose(0, 1).expand(3, -1, -1, -1) for x in (prefix.keys, prefix.values)
            )
            cache.update(keys, values, layer)
        batch, pos = given["input_ids"].shape
        theirs = tuned.remove()(
            **given,
            past_key_values=cache,
            position_ids=torch.arange(pos).expand(batch, -1),
            attention_mask=torch.ones(batch, length + pos),
        ).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["mam", "unipelt"])
def test_words_written_with_a_cache_are_those_written_without(method):
    tuned = prefixed("llama", method)
    given = inputs("llama", batch=2)
    with_cache, without = (
        tuned.model.generate(**given, max_new_tokens=5, do_sample=False, use_cache=cached, pad_token_id=0)
        for cached in (True, False)
    )
    assert torch.equal(with_cache, without)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("method", ["mam", "unipelt"])
def test_nothing_comes_from_what_is_later(family, method):
    tuned, given = prefixed(family, method), inputs(family)
    other = given["input_ids"].clone()
    other[:, 4:] = 3
    with torch.no_grad():
        a, b = tuned.model(**given).logits, tuned.model(input_ids=other).logits
    torch.testing.assert_close(a[:, :4], b[:, :4])
    assert not torch.allclose(a[:, 4:], b[:, 4:], atol=1e-4)


@pytest.mark.parametrize("method", ["mam", "unipelt"])
def test_nothing_comes_from_padding(method):
    tuned, given = prefixed("bert", method), inputs("bert")
    more = torch.cat((given["input_ids"], torch.full((3, 4), 7)), 1)
    mask = torch.cat((torch.ones(3, 7), torch.zeros(3, 4)), 1)
    with torch.no_grad():
        torch.testing.assert_close(
            tuned.model(input_ids=more, attention_mask=mask).logits, tuned.model(**given).logits, atol=1e-5, rtol=1e-4
        )


def test_two_prefixes_in_one_block_are_one_long_one():
    model = made("gpt2")
    long = moved(tune(model, "mam", length=5, width=4))
    with torch.no_grad():
        for x in long.attached.besides.values():
            if not isinstance(x, attention.Prefix):
                torch.nn.init.zeros_(x.up.weight), torch.nn.init.zeros_(x.up.bias)
        together = logits(model, "gpt2")
    halves = [
        (x.keys.detach().clone(), x.values.detach().clone())
        for x in long.attached.besides.values()
        if hasattr(x, "keys")
    ]
    long.remove()
    first, second = (tune(model, "mam", length=n, width=4, name=name) for n, name in ((2, "first"), (3, "second")))
    with torch.no_grad():
        for tuned, span in ((first, slice(0, 2)), (second, slice(2, 5))):
            mine = [x for x in tuned.attached.besides.values() if isinstance(x, attention.Prefix)]
            for prefix, (keys, values) in zip(mine, halves, strict=True):
                prefix.keys.copy_(keys[span]), prefix.values.copy_(values[span])
        torch.testing.assert_close(logits(model, "gpt2"), together, atol=1e-5, rtol=1e-4)
    second.remove()
    first.remove()
    assert model.transformer.h[0].attn.config is model.config


def test_where_no_prefix_can_be_is_told():
    with pytest.raises(CutawayError, match="no attention block"):
        tune(made("gpt2"), "mam", prefix_at=("ffn",), width=4)
    with pytest.raises(CutawayError, match="at least 1"):
        tune(made("gpt2"), "mam", length=0, width=4)
    model = made("gpt2")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(CutawayError, match="not sdpa or eager"):
        tune(model, "mam", width=4)
