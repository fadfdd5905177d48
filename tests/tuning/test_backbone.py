"""Backbones by name, in as many bits as asked for; activations computed again: the same losses and gradients in less memory."""

import copy
import sys
from importlib.util import find_spec

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from cutaway.core.errors import CutawayError
from cutaway.core.memory import PeakMemory
from cutaway.tuning.backbone import _Again, _settings, load_backbone, load_model, recompute
from cutaway.tuning.places import places
from cutaway.tuning.tune import tune
from tuning.models import FAMILIES, inputs, logits, made

SMALL = {"side": {"reduction": 2, "heads": 2}, "adapter": {"width": 3}, "prefix": {"tokens": 2}, "lora": {"rank": 2}}


def small_llama():
    """Wide enough for blocks of 64 weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=128, initializer_range=0.1,
        )
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    small_llama().save_pretrained(place)
    tokenizer = Tokenizer(WordLevel({f"w{n}": n for n in range(50)} | {"[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_padding()
    tokenizer.enable_truncation(2)
    tokenizer.save(str(place / "tokenizer.json"))
    return place


# --- loading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_a_model_comes_with_its_tokenizer_in_the_precision_asked_for(folder, weights):
    found = load_backbone(folder, weights=weights)
    assert {p.dtype for p in found.model.parameters()} == {getattr(torch, weights)}
    before = small_llama().to(getattr(torch, weights)).state_dict()
    assert all(torch.equal(x, before[name]) for name, x in found.model.state_dict().items())
    assert [x.ids for x in found.tokenizer.encode_batch(["w3 w4 w5", "w7"])] == [
        [3, 4, 5],
        [7],
    ]  # neither cut nor padded
    assert (found.folder, found.longest) == (folder, found.model.config.max_position_embeddings)


def test_positions_that_are_not_used_are_not_counted(tmp_path):
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=14, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(tmp_path)
    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    found = load_backbone(tmp_path)
    assert found.longest == 12
    with torch.no_grad():
        found.model(torch.full((1, 12), 5))
        with pytest.raises((IndexError, RuntimeError), match="out of"):
            found.model(torch.full((1, 13), 5))


def test_what_cannot_be_loaded_is_told(folder, tmp_path):
    with pytest.raises(CutawayError, match="no model or folder named 'minilm'"):
        load_backbone("minilm")
    with pytest.raises(CutawayError, match="weights is 'int2': give float32, bfloat16, int8, int4"):
        _settings("int2")
    small_llama().save_pretrained(tmp_path)
    with pytest.raises(CutawayError, match=r"has no tokenizer\.json"):
        load_backbone(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CutawayError, match=r"tokenizer\.json cannot be read"):
        load_backbone(tmp_path)
    file = next(tmp_path.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CutawayError, match="is not a model that can be read"):
        load_model(tmp_path)


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_fewer_bits_are_refused_in_one_line_where_they_cannot_be_had(folder, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(
        CutawayError, match=f"weights in {weights} need bitsandbytes.*pip install bitsandbytes.*bfloat16"
    ):
        load_model(folder, weights=weights)


needs_bits = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")


@needs_bits
@pytest.mark.parametrize(("weights", "bits", "most"), [("int8", 8, 0.03), ("int4", 4, 0.3)])
def test_linear_layers_in_fewer_bits_say_nearly_the_same(folder, weights, bits, most):
    whole, small = load_model(folder).eval(), load_model(folder, weights=weights).eval()
    tokens = torch.arange(2, 22).view(2, 10)
    with torch.no_grad():
        a, b = whole(tokens).logits, small(tokens).logits
    assert 0 < (a - b).norm() / a.norm() < most
    for place in places(small):
        if place.role.startswith(("attn_", "ffn_")):
            weight, before = (model.get_submodule(place.name).weight for model in (small, whole))
            assert weight.numel() * weight.element_size() * 8 == bits * before.numel()


@needs_bits
@pytest.mark.parametrize(("weights", "method"), [("int4", "qlora"), ("int8", "lora")])
def test_what_is_beside_weights_in_fewer_bits_learns_and_they_do_not(folder, weights, method):
    model = load_model(folder, weights=weights)
    before = {name: x.clone() for name, x in model.state_dict().items()}
    tuned = tune(model, method, rank=2)
    optimizer = torch.optim.AdamW(tuned.trained().values(), lr=0.02)
    tokens, losses = torch.arange(2, 22).view(2, 10), []
    for _ in range(8):
        losses.append(tuned.model(tokens, labels=tokens).loss)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.9 * losses[0]
    tuned.remove()
    after = model.state_dict()
    assert all(torch.equal(x, after[name]) for name, x in before.items())


@needs_bits
@pytest.mark.parametrize(("weights", "method"), [("int4", "qlora"), ("int8", "lora")])
def test_gradients_are_the_same_after_a_look_in_evaluation(folder, weights, method):
    tuned = tune(load_model(folder, weights=weights), method, rank=2, dropout=0.0)
    torch.manual_seed(0)
    for p in tuned.trained().values():
        torch.nn.init.normal_(p, std=0.1)
    tokens = torch.arange(2, 22).view(2, 10)

    def gradients():
        tuned.model.train()
        return torch.autograd.grad(tuned.model(tokens, labels=tokens).loss, list(tuned.trained().values()))

    before = gradients()
    tuned.model.eval()
    with torch.no_grad():
        tuned.model(tokens)
    torch.testing.assert_close(gradients(), before)


@needs_bits
def test_four_bits_compute_again(folder):
    def gradients(again):
        tuned = tune(load_model(folder, weights="int4"), "qlora", rank=2, dropout=0.0)
        torch.manual_seed(0)
        for p in tuned.trained().values():
            torch.nn.init.normal_(p, std=0.1)
        if again:
            recompute(tuned.attached.host)
        tokens = torch.arange(2, 22).view(2, 10)
        return torch.autograd.grad(tuned.model(tokens, labels=tokens).loss, list(tuned.trained().values()))

    torch.testing.assert_close(gradients(True), gradients(False))


# --- activations computed again ---------------------------------------------------------------------------------------


def step(family, method, *, again, dropout=0.0, cache=True):
    """Loss and gradients of one step; recomputing is asked for before the method is put on, or afterwards, or not at all."""
    model = made(family)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    if again == "before":
        recompute(model)
    tuned = tune(model, method, **SMALL.get(method, {}))
    if again == "after":
        recompute(tuned.attached.host)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in tuned.trained().values():
            p.add_(0.1 * torch.randn(p.shape, generator=draw))
    tuned.model.train()
    torch.manual_seed(2)
    more = {"use_cache": cache} if family != "bert" and method != "prefix" else {}
    loss = tuned.model(**inputs(family), **more).logits.logsumexp(-1).square().sum()
    return loss.detach(), torch.autograd.grad(loss, list(tuned.trained().values()), allow_unused=True)


@pytest.mark.parametrize("method", ["full", "lora", "adapter", "side", "prefix"])
@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_are_the_same(family, method):
    loss, gradients = step(family, method, again="")
    assert any(x is not None and x.abs().sum() > 0 for x in gradients)
    for again in ("before", "after"):
        torch.testing.assert_close(step(family, method, again=again), (loss, gradients))
    torch.testing.assert_close(step(family, method, again="after", cache=False), (loss, gradients))


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_dropout_draws_the_same(family):
    a, b = (step(family, "lora", again=again, dropout=0.3) for again in ("", "after"))
    torch.testing.assert_close(a, b)
    assert not torch.allclose(a[0], step(family, "lora", again="")[0])


def test_a_cache_that_is_written_to_twice_would_be_noticed(monkeypatch):
    """Without a copy of its own, a layer would find its first keys and values there when it is computed again."""
    wanted = step("llama", "prefix", again="")
    monkeypatch.setattr("cutaway.tuning.backbone._own", lambda x: x)
    with pytest.raises(Exception, match=r"recomput|not close|must match"):
        torch.testing.assert_close(step("llama", "prefix", again="after"), wanted)


def test_generation_writes_its_cache_as_ever():
    model = made("llama")
    given = {**inputs("llama"), "max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    wanted = model.generate(**given)
    recompute(model)
    assert torch.equal(model.generate(**given), wanted)


def test_it_ends_and_leaves_no_trace():
    model = made("llama")
    before = [dict(vars(layer)) for layer in model.model.layers]
    end, again = recompute(model), recompute(model)
    assert all(isinstance(layer.forward, _Again) for layer in model.model.layers)
    again()  # took nothing over, and ends nothing
    assert all(isinstance(layer.forward, _Again) for layer in model.model.layers)
    twin = copy.deepcopy(model)
    assert twin.model.layers[0].forward.__wrapped__.__self__ is twin.model.layers[0]
    end()
    assert [dict(vars(layer)) for layer in model.model.layers] == before


def test_a_model_whose_layers_are_not_known_is_refused():
    with pytest.raises(CutawayError, match="Sequential cannot recompute"):
        recompute(torch.nn.Sequential(torch.nn.Linear(3, 3)))


@pytest.mark.parametrize("method", ["full", "lora", "adapter", "prefix"])
def test_the_peak_falls(method):
    def peak(again):
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=8, num_attention_heads=2, intermediate_size=64
        )
        tuned = tune(LlamaForCausalLM(config).train(), method, **SMALL.get(method, {}))
        if again:
            recompute(tuned.attached.host)
        tokens = torch.ones(4, 32, dtype=torch.long)
        with PeakMemory() as memory:
            memory.hold(*tuned.model.parameters(), *tuned.model.buffers(), tokens)
            held = memory.now
            tuned.model(tokens).logits.sum().backward()
        return memory.peak - held

    assert peak(True) < 0.6 * peak(False)


def test_a_layer_is_what_it_was_without_gradients():
    model = made("gpt2")
    before = logits(model, "gpt2")
    recompute(model)
    with torch.no_grad():
        assert torch.equal(logits(model, "gpt2"), before)
