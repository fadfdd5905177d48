"""Families of models beyond the four that every method is tested on: their parts are found, and methods act on them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import linear
from cutaway.tuning.families import FAMILIES
from cutaway.tuning.methods import lora
from cutaway.tuning.places import layers, places
from cutaway.tuning.tune import tune

USUAL: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
FEW = USUAL | {"num_key_value_heads": 2}
T5: dict[str, Any] = {
    "vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0,
}  # fmt: skip
BART: dict[str, Any] = {
    "vocab_size": 50, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
}  # fmt: skip
OPT = USUAL | {"ffn_dim": 32, "word_embed_proj_dim": 16}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}
GPT: dict[str, Any] = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 4, **ENDS}
DEBERTA = USUAL | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 8}
MODERN = USUAL | {"cls_token_id": 1, "sep_token_id": 2}

ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "roberta": lambda: hf.RobertaModel(hf.RobertaConfig(**USUAL)),
    "electra": lambda: hf.ElectraModel(hf.ElectraConfig(**USUAL, embedding_size=8)),
    "deberta-v2": lambda: hf.DebertaV2Model(hf.DebertaV2Config(**DEBERTA, position_buckets=8)),
    "deberta": lambda: hf.DebertaModel(hf.DebertaConfig(**DEBERTA)),
    "mpnet": lambda: hf.MPNetModel(hf.MPNetConfig(**USUAL)),
    "distilbert": lambda: hf.DistilBertModel(
        hf.DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=4, hidden_dim=32)
    ),
    "modernbert": lambda: hf.ModernBertModel(hf.ModernBertConfig(**MODERN)),
}
DECODERS: dict[str, Callable[[], nn.Module]] = {
    "gpt-neo": lambda: hf.GPTNeoForCausalLM(
        hf.GPTNeoConfig(
            vocab_size=50, hidden_size=16, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], **ENDS
        )
    ),
    "gpt-j": lambda: hf.GPTJForCausalLM(hf.GPTJConfig(**GPT, rotary_dim=4)),
    "gpt-neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**USUAL)),
    "bloom": lambda: hf.BloomForCausalLM(hf.BloomConfig(vocab_size=50, hidden_size=16, n_layer=2, n_head=4)),
    "opt": lambda: hf.OPTForCausalLM(hf.OPTConfig(**OPT)),
    "phi": lambda: hf.PhiForCausalLM(hf.PhiConfig(**USUAL)),
    "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**FEW)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**FEW)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**FEW, head_dim=8)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**FEW)),
    "gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**FEW, head_dim=8)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**FEW, head_dim=8)),
    "gemma3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**FEW, head_dim=8)),
    "starcoder2": lambda: hf.Starcoder2ForCausalLM(hf.Starcoder2Config(**FEW)),
}
BOTH: dict[str, Callable[[], nn.Module]] = {
    "t5 v1.1": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5, feed_forward_proj="gated-gelu")),
    "mt5": lambda: hf.MT5ForConditionalGeneration(hf.MT5Config(**T5)),
    "bart": lambda: hf.BartForConditionalGeneration(hf.BartConfig(**BART)),
}
MODELS = ENCODERS | DECODERS | BOTH
WITHOUT_BIASES = {"modernbert", "phi3", "qwen3", "mistral", "gemma", "gemma2", "gemma3", "t5 v1.1", "mt5"}
OWN_ATTENTION = {"deberta", "deberta-v2", "mpnet", "bloom", "gpt-j", "gpt-neo"}
"""Models that compute attention themselves, where others cannot work in."""
OPTIONS = {
    "lora": {"rank": 2},
    "adapter": {"width": 4},
    "side": {"reduction": 2, "heads": 2},
    "last_layers": {"layers": 1},
}
METHODS = ("lora", "adapter", "bitfit", "ia3", "side", "last_layers")


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def says(model: nn.Module, name: str, padded: bool = False, **changed: torch.Tensor) -> torch.Tensor:
    """What the model makes of two texts, of which one is shorter."""
    tokens = torch.randint(3, 50, (2, 6), generator=torch.Generator().manual_seed(0))
    given = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if padded:
        given["attention_mask"][1, 4:] = 0
    if name in BOTH:
        given["decoder_input_ids"] = tokens[:, :3]
    out = model(**{**given, **changed})
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


@pytest.mark.parametrize("name", MODELS)
def test_attention_and_feed_forward_blocks_are_found(name):
    model = made(name)
    found = places(model)
    roles = {place.role for place in found}
    assert {"layer", "attn", "attn_o", "ffn_up", "ffn_down"} <= roles
    assert {"attn_q", "attn_k", "attn_v"} <= roles or "attn_qkv" in roles
    assert ("ffn_gate" in roles) == (
        name in {"qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3", "t5 v1.1", "mt5"}
    )
    assert ("cross_attn_q" in roles) == (name in BOTH)
    for place in found:
        module = model.get_submodule(place.name)
        if place.role.startswith(("attn_", "ffn_", "cross_attn_")):
            into, out = linear(module)
            assert out == 16 if place.role in {"attn_o", "cross_attn_o", "ffn_down"} else into == 16
    count = 4 if name in BOTH else 2
    assert sorted({place.layer for place in found}) == list(range(count)) == list(range(len(layers(model))))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_methods_of_each_kind_act_on_it(name, method):
    model, options = made(name), OPTIONS.get(method, {})
    with torch.no_grad():
        before = says(model, name)
    if method == "bitfit" and name in WITHOUT_BIASES:
        with pytest.raises(CutawayError, match="no biases"):
            tune(model, method)
        return
    each = tune(model, method, **options)
    assert each.count().trained == each.method.count(made(name), each.options)
    torch.testing.assert_close(says(each.model, name), before, atol=1e-6, rtol=1e-5)
    optimizer = torch.optim.Adam(each.trained().values(), lr=0.03)
    for _ in range(2):
        optimizer.zero_grad()
        says(each.model, name, padded=True).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        assert not torch.allclose(says(each.model, name), before, atol=1e-4)
        torch.testing.assert_close(says(each.remove(), name), before)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["mam", "unipelt"])
def test_a_prefix_acts_or_the_reason_is_told(name, method):
    model = made(name)
    options = {"width": 4, "length": 3} | ({"rank": 2} if method == "unipelt" else {})
    if name in OWN_ATTENTION:
        with pytest.raises(CutawayError, match="a prefix cannot be put into"):
            tune(model, method, **options)
        return
    each = tune(model, method, **options)
    assert each.count().trained == each.method.count(made(name), each.options)
    says(each.model, name).square().mean().backward()
    assert all(p.grad is not None for key, p in each.trained().items() if key.endswith((".keys", ".values")))


@pytest.mark.parametrize("name", MODELS)
def test_the_side_network_looks_where_the_model_may_look(name):
    """Without padding of others, and in decoders not ahead: also where the model's modules do not say whether they are causal."""
    each = tune(made(name), "side", **OPTIONS["side"])
    with torch.no_grad():
        for parameter in each.trained().values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    tokens = torch.randint(3, 50, (2, 6), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[1, 5] = 3 + (other[1, 5] - 2) % 47
    with torch.no_grad():
        a, b = (says(each.model, name, padded=True, input_ids=x) for x in (tokens, other))
        torch.testing.assert_close(a[:, :3], b[:, :3], atol=1e-6, rtol=1e-5)  # masked
        assert a[:, :3].isfinite().all()
        if name in BOTH:
            a, b = (says(each.model, name, decoder_input_ids=x) for x in (tokens, other))
        else:
            a, b = (says(each.model, name, input_ids=x) for x in (tokens, other))
        assert torch.allclose(a[1, :5], b[1, :5], atol=1e-6) == (name not in ENCODERS)


def test_a_gate_stands_beside_the_way_in():
    """T5 v1.1: the activation is of `ffn_gate`, `ffn_up` is what it multiplies."""
    model = made("t5 v1.1")
    by_role = {place.role: model.get_submodule(place.name) for place in places(model) if place.layer == 0}
    x = torch.randn(2, 16)
    inner = by_role["ffn"].act(by_role["ffn_gate"](x)) * by_role["ffn_up"](x)
    torch.testing.assert_close(by_role["ffn"](x), by_role["ffn_down"](inner))
    assert not torch.allclose(by_role["ffn"](x), by_role["ffn_down"](by_role["ffn_gate"](x) * by_role["ffn_up"](x)))


def test_a_layer_that_is_otherwise_than_the_first_makes_another_family():
    model = made("opt")
    del model.model.decoder.layers[1].fc1
    assert places(model) == []


def test_layers_are_of_one_family():
    """OPT's names are among those of BART's decoder: that is one stack, not two."""
    names = [family.name for family in layers(made("bart")).values()]
    assert names == ["bart encoder"] * 2 + ["bart decoder"] * 2
    assert {family.name for family in layers(made("opt")).values()} == {"opt"}
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_lora_is_where_the_family_has_queries_and_values():
    each = tune(copy.deepcopy(made("deberta-v2")), "lora", rank=2)
    assert isinstance(each.attached, lora.Lora)
    assert {name.split(".")[-1] for name in each.attached.replaced} == {"query_proj", "value_proj"}
