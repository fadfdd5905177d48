"""Every family against `transformers` on the same folder: float32 logits agree to 1e-4; broken parts are noticed."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file, save_file

import cutaway
from cutaway.core.errors import CutawayError
from cutaway.decoder import model as model_file
from cutaway.decoder import rope
from cutaway.decoder.family import activation, families, family_of, third
from cutaway.decoder.load import describe

from .oracle import LIMIT, SITUATIONS, Situation, gap, load_oracle
from .tiny import VARIANTS, VOCAB, random_tokens, rewrite, write

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(cutaway's model, the oracle) of a variant; each is written and loaded once."""
    made = {}

    def get(name: str):
        if name not in made:
            folder = write(VARIANTS[name], tmp_path_factory.mktemp("model"))
            made[name] = cutaway.load(folder), load_oracle(folder)
        return made[name]

    return get


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_the_oracles(pair, variant, situation):
    model, oracle = pair(variant)
    how = SITUATIONS[situation]
    tokens = random_tokens(how.batch, how.pos)
    assert gap(model, oracle, tokens, how) <= LIMIT
    assert model(tokens).std() > 0.05, "logits this flat would agree whatever the model did"


def test_every_model_type_has_a_variant():
    assert {variant.model_type for variant in VARIANTS.values()} == set(families())


# --- broken on purpose -----------------------------------------------------------------------------------------------
# Each function breaks a copy of the model, or (through monkeypatch) a function that it calls.


def reconfigured(**changes) -> Callable:
    """The model believes to be made of something else."""

    def broken(model, monkeypatch):
        model.config = dataclasses.replace(model.config, **changes)
        for layer in model.layers:
            layer.config = model.config

    return broken


def norms(**changes) -> Callable:
    def broken(model, monkeypatch):
        for part in model.modules():
            if isinstance(part, model_file.Norm):
                vars(part).update(changes)

    return broken


def swapped(one: str, other: str) -> Callable:
    def broken(model, monkeypatch):
        for layer in model.layers:
            a, b = getattr(layer, one), getattr(layer, other)
            setattr(layer, one, b)
            setattr(layer, other, a)

    return broken


def without_bias(part: str) -> Callable:
    def broken(model, monkeypatch):
        for layer in model.layers:
            getattr(layer, part).bias = None

    return broken


def acting(name: str) -> Callable:
    def broken(model, monkeypatch):
        for layer in model.layers:
            layer.act = model_file.ACTIVATIONS[name]

    return broken


def rotated_backwards(model, monkeypatch):
    monkeypatch.setattr(model_file, "rotate", lambda x, cos, sin: rope.rotate(x, cos, -sin))


def rotated_in_neighbours(model, monkeypatch):
    """Pairs (0, 1), (2, 3), … as GPT-J has them, instead of (i, i + dim/2)."""

    def rotate(x, cos, sin):
        dim, half = cos.shape[-1], cos.shape[-1] // 2
        order = torch.arange(dim).view(half, 2).t().flatten()
        turned = rope.rotate(x[..., :dim][..., order], cos, sin)
        return torch.cat([turned[..., order.argsort()], x[..., dim:]], -1)

    monkeypatch.setattr(model_file, "rotate", rotate)


def unrotated(model, monkeypatch):
    monkeypatch.setattr(model_file, "rotate", lambda x, cos, sin: x)


def with_rope(**changes) -> Callable:
    def broken(model, monkeypatch):
        reconfigured(rope=dataclasses.replace(model.config.rope, **changes))(model, monkeypatch)

    return broken


def windows_one_wider(model, monkeypatch):
    reconfigured(windows=tuple(size and size + 1 for size in model.config.windows))(model, monkeypatch)


def windows_on_the_other_layers(model, monkeypatch):
    size = next(filter(None, model.config.windows))
    reconfigured(windows=tuple(None if window else size for window in model.config.windows))(model, monkeypatch)


def heads_share_the_wrong_keys(model, monkeypatch):
    """Key-value heads dealt out in turn (0 1 0 1) instead of in blocks (0 0 1 1)."""
    kv, d_head = model.config.n_kv_heads, model.config.d_head
    for layer in model.layers:
        layer.q.weight.data = layer.q.weight.unflatten(0, (kv, -1, d_head)).transpose(0, 1).flatten(0, 2)
        layer.o.weight.data = layer.o.weight.unflatten(1, (kv, -1, d_head)).transpose(1, 2).flatten(1, 3)


def positions_one_late(model, monkeypatch):
    model.pos.weight.data = model.pos.weight.roll(-1, 0)


def no_second_norms(model, monkeypatch):
    for layer in model.layers:
        layer.post1 = layer.post2 = torch.nn.Identity()


BREAKS = {
    "rotation turns backwards": ("llama", rotated_backwards),
    "rotation pairs neighbours": ("llama", rotated_in_neighbours),
    "no rotation": ("llama", unrotated),
    "another rope base": ("llama", with_rope(base=20_000.0)),
    "linear rope not rescaled": ("llama linear rope", with_rope(scaling={})),
    "llama3 rope not rescaled": ("llama llama3 rope", with_rope(scaling={})),
    "rotary is not partial": ("neox", with_rope(dim=8)),
    "norm epsilon, rms": ("llama tied", norms(eps=1e-6)),
    "norm epsilon, layer": ("gpt2 unscaled attention", norms(eps=1e-5)),
    "norm offset": ("gemma", norms(offset=0.0)),
    "norm offset where none is": ("llama", norms(offset=1.0)),
    "no second norms": ("gemma2", no_second_norms),
    "gate and up swapped": ("llama", swapped("gate", "up")),
    "q and k swapped": ("gpt2", swapped("q", "k")),
    "k and v swapped": ("neox", swapped("k", "v")),
    "norms swapped": ("neox", swapped("norm1", "norm2")),
    "query and key norms swapped": ("qwen3", swapped("q_norm", "k_norm")),
    "query and key norms missing": ("qwen3", reconfigured(qk_norm=False)),
    "shared keys dealt out wrongly": ("llama", heads_share_the_wrong_keys),
    "bias of q": ("qwen2", without_bias("q")),
    "bias of v": ("gpt2", without_bias("v")),
    "bias of o": ("gpt_neo", without_bias("o")),
    "bias of up": ("opt", without_bias("up")),
    "activation": ("opt", acting("silu")),
    "gelu's two forms, tanh": ("gpt2", acting("gelu")),
    "gelu's two forms, exact": ("neox", acting("gelu_tanh")),
    "serial instead of parallel": ("neox", reconfigured(parallel=False)),
    "parallel instead of serial": ("neox serial", reconfigured(parallel=True)),
    "attention scaled": ("gpt_neo", reconfigured(attn_scale=None)),
    "attention scaled by another width": ("gemma2", reconfigured(attn_scale=None)),
    "no soft cap on attention": ("gemma2", reconfigured(attn_softcap=None)),
    "no soft cap on logits": ("gemma2", reconfigured(logit_softcap=None)),
    "embeddings not scaled": ("gemma", reconfigured(embed_scale=1.0)),
    "no window": ("mistral", reconfigured(windows=())),
    "window one wider": ("mistral", windows_one_wider),
    "window on the wrong layers": ("gpt_neo", windows_on_the_other_layers),
    "positions one late": ("opt", positions_one_late),
}


@pytest.mark.parametrize("name", BREAKS)
def test_oracle_notices_a_broken_part(pair, monkeypatch, name):
    variant, broken = BREAKS[name]
    model, oracle = pair(variant)
    how = SITUATIONS["in a batch"]
    tokens = random_tokens(how.batch, how.pos)
    model = copy.deepcopy(model)
    broken(model, monkeypatch)
    assert gap(model, oracle, tokens, how) > 5 * LIMIT


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gpt_neo"])
@pytest.mark.parametrize("padding", ["left", "right"])
def test_oracle_notices_padding_that_is_seen(pair, monkeypatch, variant, padding):
    model, oracle = pair(variant)
    how = Situation(batch=3, padding=padding)
    tokens = random_tokens(how.batch, how.pos)
    frame = model.frame
    monkeypatch.setattr(model, "frame", lambda positions, mask=None, before=0: frame(positions, before=before))
    seen = gap(model, oracle, tokens, how)
    # what stands right of a token is out of its sight anyway
    assert seen > 5 * LIMIT if padding == "left" else seen <= LIMIT


@pytest.mark.parametrize("variant", ["gpt2", "opt"])
def test_oracle_notices_positions_that_count_padding(pair, monkeypatch, variant):
    model, oracle = pair(variant)
    how = SITUATIONS["padded left"]
    tokens = random_tokens(how.batch, how.pos)
    order = torch.arange(how.pos).expand(how.batch, -1)
    start = model.start
    monkeypatch.setattr(model, "start", lambda tokens, **said: start(tokens, **said | {"positions": order}))
    assert gap(model, oracle, tokens, how) > 5 * LIMIT


def test_oracle_notices_the_wrong_third_of_a_fused_tensor(tmp_path, monkeypatch):
    folder = write(VARIANTS["gpt2"], tmp_path)
    table = families()["gpt2"].weights
    wrong = dataclasses.replace(table["layers.{}.q"], how=third(2))
    monkeypatch.setitem(table, "layers.{}.q", wrong)
    how = SITUATIONS["alone"]
    assert gap(cutaway.load(folder), load_oracle(folder), random_tokens(how.batch, how.pos), how) > 5 * LIMIT


# --- what real files carry besides weights ---------------------------------------------------------------------------

BUFFERS = {
    "gpt2": ("transformer.h.0.attn.bias", "transformer.h.2.attn.masked_bias"),
    "gpt_neo": ("transformer.h.0.attn.attention.bias", "transformer.h.1.attn.attention.masked_bias"),
    "neox": (
        "gpt_neox.layers.0.attention.bias",
        "gpt_neox.layers.1.attention.masked_bias",
        "gpt_neox.layers.2.attention.rotary_emb.inv_freq",
    ),
    "llama": ("model.layers.0.self_attn.rotary_emb.inv_freq",),
}


@pytest.mark.parametrize("variant", BUFFERS)
def test_stored_masks_and_frequencies_are_no_weights(tmp_path, variant):
    file = write(VARIANTS[variant], tmp_path) / "model.safetensors"
    expected = cutaway.load(tmp_path)(random_tokens(1, 5))
    tensors = load_file(file)
    save_file(tensors | {name: torch.ones(3) for name in BUFFERS[variant]}, file)
    assert torch.equal(cutaway.load(tmp_path)(random_tokens(1, 5)), expected)
    bias = next(name for name in families()[VARIANTS[variant].model_type].weights.values() if isinstance(name, str))
    save_file(tensors | {f"{bias}.bias": torch.ones(3)}, file)
    with pytest.raises(CutawayError, match="left over"):
        cutaway.load(tmp_path)


# --- what a table cannot express is refused --------------------------------------------------------------------------

REFUSED = {
    "activation": ("llama", {"hidden_act": "mish"}, "activation 'mish' is not supported"),
    "yarn": ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "rope scaling 'yarn' is not supported"),
    "dynamic": ("qwen2", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic' is not supported"),
    "no factor": ("llama", {"rope_scaling": {"type": "linear"}}, "'linear' needs factor"),
    "rope by layer": ("qwen3", {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "differ by layer"),
    "partial rotary": ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
    "odd rotary": ("neox", {"rope_parameters": {"partial_rotary_factor": 0.4}}, "3 rotated dimensions"),
    "kind of attention": ("gemma2", {"layer_types": ["chunked_attention"] * 3}, "'chunked_attention' is not supported"),
    "count of windows": ("gemma2", {"layer_types": ["sliding_attention"] * 2}, "2 attention windows for 3 layers"),
    "both directions": ("gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
    "scaled by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    "cross attention": ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
    "projected embedding": ("opt", {"word_embed_proj_dim": 16}, "word_embed_proj_dim = 16"),
    "norm after": ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before = False"),
    "no last norm": ("opt", {"_remove_final_layer_norm": True}, "_remove_final_layer_norm"),
    "norms without weights": ("opt", {"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine"),
    "quantised": ("llama", {"quantization_config": {"quant_method": "awq"}}, "the weights are quantised (awq)"),
    "heads": ("llama", {"num_key_value_heads": 3}, "4 heads cannot share 3 key-value heads"),
    "no layers": ("llama", {"num_hidden_layers": 0}, "n_layers must be a whole number above 0"),
    "absent size": ("llama", {"vocab_size": ...}, "has no 'vocab_size'"),
    "size that is no number": ("gpt2", {"n_embd": "large"}, "holds a value that no GPT-2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_table_cannot_express_is_refused(tmp_path, name):
    variant, change, message = REFUSED[name]
    folder = write(VARIANTS[variant], tmp_path)
    rewrite(folder, lambda config: {key: value for key, value in (config | change).items() if value is not ...})
    with pytest.raises(CutawayError) as caught:
        describe(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_family_names_the_nearest():
    with pytest.raises(CutawayError, match=r"'gpt_neoxx' is not a known decoder family \(nearest: gpt_neox\)"):
        family_of({"model_type": "gpt_neoxx"})
    with pytest.raises(CutawayError, match="is not a known decoder family"):
        family_of({})


def test_activation_names_are_torchs_functions():
    from transformers.activations import ACT2FN

    x = torch.linspace(-6, 6, 101)
    for name in ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "silu", "swish", "relu"):
        torch.testing.assert_close(model_file.ACTIVATIONS[activation(name)](x), ACT2FN[name](x), atol=1e-6, rtol=1e-5)


def test_positions_beyond_a_learned_table_and_unknown_tokens_are_refused(pair):
    model, _ = pair("gpt2")
    with pytest.raises(CutawayError, match="positions up to 48"):
        model(random_tokens(1, 49))
    with pytest.raises(CutawayError, match=f"tokens up to {VOCAB}"):
        model(torch.tensor([[VOCAB]]))
