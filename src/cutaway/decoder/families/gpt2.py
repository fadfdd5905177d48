"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm, plain MLP, tied unembedding."""

from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.family import Family, Take, activation, must_be, third, transposed


def config(hf: dict) -> DecoderConfig:
    must_be(hf, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    width = hf["n_embd"]
    return DecoderConfig(
        family="gpt2",
        n_layers=hf["n_layer"],
        n_heads=hf["n_head"],
        n_kv_heads=hf["n_head"],
        d_model=width,
        d_head=width // hf["n_head"],
        d_mlp=hf.get("n_inner") or 4 * width,
        n_ctx=hf.get("n_positions", 1024),
        vocab=hf["vocab_size"],
        activation=activation(hf.get("activation_function", "gelu_new")),
        norm_eps=hf.get("layer_norm_epsilon", 1e-5),
        attn_scale=None if hf.get("scale_attn_weights", True) else 1.0,
        biases=("q", "k", "v", "o", "up", "down"),
        tied=hf.get("tie_word_embeddings", True),
        bos=hf.get("bos_token_id"),
    )


FAMILY = Family(
    name="GPT-2",
    model_types=("gpt2",),
    config=config,
    prefix="transformer.",
    ignored=(".attn.bias", ".attn.masked_bias"),
    weights={
        "embed": "wte",
        "pos": "wpe",
        "layers.{}.norm1": "h.{}.ln_1",
        "layers.{}.norm2": "h.{}.ln_2",
        "layers.{}.q": Take("h.{}.attn.c_attn", third(0)),
        "layers.{}.k": Take("h.{}.attn.c_attn", third(1)),
        "layers.{}.v": Take("h.{}.attn.c_attn", third(2)),
        "layers.{}.o": Take("h.{}.attn.c_proj", transposed),
        "layers.{}.up": Take("h.{}.mlp.c_fc", transposed),
        "layers.{}.down": Take("h.{}.mlp.c_proj", transposed),
        "final_norm": "ln_f",
        "unembed": "lm_head",
    },
)
