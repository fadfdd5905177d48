"""Ladder side-tuning: its equation, step by step; that no gradient enters the model; and what it keeps for one."""

import pytest
import torch
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.side import METHOD, Quiet
from cutaway.tuning.places import places
from cutaway.tuning.tune import tune
from tuning.models import FAMILIES, inputs, logits, made

SMALL = {"reduction": 2, "heads": 2}


def moved(family, **options):
    """A tuned model in which nothing is as it began."""
    tuned, draw = tune(made(family), METHOD.name, **(SMALL | options)), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in tuned.trained().values():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return tuned


def layers(model):
    return [model.get_submodule(place.name) for place in places(model) if place.role == "layer"]


# --- the equation -----------------------------------------------------------------------------------------------------


def norm(x, module):
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * module.weight + module.bias


def attend(x, module, causal):
    """Head by head."""
    heads = []
    for q, k, v in zip(*(w.weight.chunk(module.heads) for w in (module.q, module.k, module.v)), strict=True):
        scores = (x @ q.T) @ (x @ k.T).transpose(1, 2) / len(q) ** 0.5
        if causal:
            scores = scores + torch.full(scores.shape[-2:], float("-inf")).triu(1)
        heads.append(scores.softmax(-1) @ (x @ v.T))
    return torch.cat(heads, -1) @ module.o.weight.T


@pytest.mark.parametrize("block", ["transformer", "adapter"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_the_side_network_is_what_the_equation_says(family, block):
    tuned, seen = moved(family, block=block), []
    with torch.no_grad():
        mine = layers(tuned.model)
        mine[0].register_forward_pre_hook(
            lambda m, a, k: seen.append(a[0] if a else k["hidden_states"]), with_kwargs=True
        )
        for layer in mine:
            layer.register_forward_hook(lambda m, a, out: seen.append(out[0] if isinstance(out, tuple) else out))
        logits(tuned.model, family)
        with_side = seen[-1]
        seen.clear()
        with tuned.off():
            logits(tuned.model, family)
        rungs = list(tuned.attached.besides.values())
        s = seen[0] @ rungs[0].start.weight.T
        for h, rung in zip(seen[1:], rungs, strict=True):
            mu = 1 / (1 + torch.exp(-rung.gate / 0.1))
            s = mu * (h @ rung.down.weight.T) + (1 - mu) * s
            norms = iter(rung.block.norms)
            if block == "transformer":
                s = s + attend(norm(s, next(norms)), rung.block.attn, causal=family != "bert")
            up, _, down = rung.block.ffn
            s = s + nn.functional.gelu(norm(s, next(norms)) @ up.weight.T) @ down.weight.T
        expected = seen[-1] + norm(s, rungs[-1].norm) @ rungs[-1].up.weight.T
    torch.testing.assert_close(with_side, expected, atol=1e-4, rtol=1e-4)


# --- no gradient enters the model -------------------------------------------------------------------------------------


def recorded(tuned, family):
    """Names of the model's modules, up to the last layer, whose output a gradient could go through."""
    model, found = tuned.model, []
    own = [name for name, _ in model.named_modules() if "tuned" not in name]
    inside = [place.name for place in places(model) if place.role == "layer"]

    def hook(name):
        def look(module, args, output):
            output = output[0] if isinstance(output, tuple) else output
            if isinstance(output, torch.Tensor) and output.requires_grad:
                found.append(name)

        return look

    last = inside[-1]
    for name in own:
        if any(name.startswith(f"{layer}.") for layer in inside) or (name in inside and name != last):
            model.get_submodule(name).register_forward_hook(hook(name))
    given = inputs(family)
    embedding = model.get_input_embeddings()
    embedding.register_forward_hook(lambda m, a, out: out.requires_grad_())
    out = model(**given).logits
    out.square().mean().backward()
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_no_state_of_the_model_can_have_a_gradient(family):
    tuned = moved(family)
    assert recorded(tuned, family) == []
    assert all(p.grad is not None for p in tuned.trained().values())


def test_layers_that_record_would_be_noticed(monkeypatch):
    monkeypatch.setattr(Quiet, "enter", lambda self, layer, args, kwargs: setattr(self.flow, "masks", (None, None)))
    assert len(recorded(moved("gpt2"), "gpt2")) > 10


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_a_gradient_does_not_come_out_at_the_other_end(family):
    tuned = moved(family)
    x = tuned.model.get_input_embeddings()(inputs(family)["input_ids"]).detach().requires_grad_()
    tuned.model(inputs_embeds=x).logits.sum().backward()
    assert x.grad is None


def kept_for_a_gradient(model, family):
    """Bytes of all that is kept between forward and backward, without parameters."""
    sizes, own = {}, {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = model(**inputs(family)).last_hidden_state
        total = sum(sizes.values())
        out.sum().backward()
    return total


def test_it_keeps_little_for_a_gradient():
    from transformers import GPT2Config, GPT2Model

    def fresh():
        return GPT2Model(GPT2Config(vocab_size=50, n_embd=64, n_layer=6, n_head=4, n_positions=32)).train()

    full = kept_for_a_gradient(fresh(), "gpt2")
    lora = kept_for_a_gradient(tune(fresh(), "lora", rank=4).model, "gpt2")
    ladder = kept_for_a_gradient(tune(fresh(), "side", reduction=8, heads=2).model, "gpt2")
    assert ladder < 0.5 * lora
    assert ladder < 0.35 * full


def test_recording_is_as_it_was_after_a_layer_failed():
    tuned = moved("gpt2")
    handle = layers(tuned.model)[1].mlp.register_forward_pre_hook(lambda module, args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        logits(tuned.model, "gpt2")
    assert torch.is_grad_enabled()
    handle.remove()
    assert logits(tuned.model, "gpt2").requires_grad


# --- who sees whom ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", ["transformer", "adapter"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_nothing_comes_from_what_is_later(family, block):
    tuned, given = moved(family, block=block), inputs(family)
    name = "decoder_input_ids" if family == "t5" else "input_ids"
    other = given[name].clone()
    other[:, 2:] = 3
    with torch.no_grad():
        a, b = tuned.model(**given).logits, tuned.model(**(given | {name: other})).logits
    torch.testing.assert_close(a[:, :2], b[:, :2])
    assert not torch.allclose(a[:, 2:], b[:, 2:], atol=1e-4)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_nothing_comes_from_padding(family, implementation):
    tuned, given = moved(family), inputs(family)
    tuned.model.set_attn_implementation(implementation)
    more = torch.cat((given["input_ids"], torch.full((3, 4), 7)), 1)
    mask = torch.cat((torch.ones(3, 7), torch.zeros(3, 4)), 1)
    with torch.no_grad():
        a = tuned.model(**given).logits
        b = tuned.model(**(given | {"input_ids": more, "attention_mask": mask})).logits
    torch.testing.assert_close(b[:, :7] if family == "llama" else b, a, atol=1e-4, rtol=1e-4)


def test_the_decoders_side_reads_the_encoders():
    tuned, given = moved("t5"), inputs("t5")
    encoder = next(x for x in tuned.attached.besides.values() if x.block.cross is None and x.top)
    with torch.no_grad():
        before = tuned.model(**given).logits
        encoder.norm.weight.mul_(-1)
        assert not torch.allclose(tuned.model(**given).logits, before, atol=1e-3)


def test_words_are_written_one_by_one_and_in_beams():
    tuned, given = moved("t5"), {"input_ids": inputs("t5")["input_ids"]}
    said = tuned.model.generate(**given, max_new_tokens=4, do_sample=False, use_cache=False)
    words = torch.zeros(3, 1, dtype=torch.long)
    with torch.no_grad():
        for _ in range(said.shape[1] - 1):
            out = tuned.model(**given, decoder_input_ids=words, use_cache=False).logits
            words = torch.cat((words, out[:, -1:].argmax(-1)), 1)
    ends = (said == 1).cumsum(1).bool()
    assert torch.equal(words.masked_fill(ends, 0), said.masked_fill(ends, 0))
    assert len(tuned.model.generate(**given, max_new_tokens=4, num_beams=2, use_cache=False)) == 3


def test_a_cache_is_refused_by_attention_and_taken_by_adapters():
    given = {**inputs("llama"), "max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    with pytest.raises(CutawayError, match="use_cache=False"):
        moved("llama").model.generate(**given)
    tuned = moved("llama", block="adapter")
    assert torch.equal(tuned.model.generate(**given), tuned.model.generate(**given, use_cache=False))


def test_what_cannot_be_is_told():
    for options, told in (
        ({"reduction": 3}, "must divide 16"),
        ({"heads": 3}, "must divide 8"),
        ({"reduction": 0}, "must divide 16"),
    ):
        model = made("gpt2")
        with pytest.raises(CutawayError, match=told):
            tune(model, "side", **(SMALL | options))
        assert not hasattr(model, "tuned_with")
    with pytest.raises(CutawayError, match="layers are known"):
        tune(nn.Linear(3, 3), "side")
    tuned = moved("bert")
    tuned.model.train()
    layers(tuned.model)[0].gradient_checkpointing = True
    with pytest.raises(CutawayError, match="saves nothing"):
        logits(tuned.model, "bert")
