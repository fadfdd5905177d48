"""Gemma 2 (Gemma Team 2024, arXiv 2408.00118, §2): Gemma with second norms, soft caps, half its layers sliding."""

from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.family import LLAMA_WEIGHTS, Family, activation, must_be, rope_of, windows


def config(hf: dict) -> DecoderConfig:
    must_be(hf, use_bidirectional_attention=False)
    width, layers, d_head = hf["hidden_size"], hf["num_hidden_layers"], hf.get("head_dim", 256)
    alternating = ["full_attention" if layer % 2 else "sliding_attention" for layer in range(layers)]
    return DecoderConfig(
        family="gemma2",
        n_layers=layers,
        n_heads=hf["num_attention_heads"],
        n_kv_heads=hf["num_key_value_heads"],
        d_model=width,
        d_head=d_head,
        d_mlp=hf["intermediate_size"],
        n_ctx=hf.get("max_position_embeddings", 8192),
        vocab=hf["vocab_size"],
        activation=activation(hf.get("hidden_activation", "gelu_pytorch_tanh")),
        norm="rms",
        norm_eps=hf.get("rms_norm_eps", 1e-6),
        norm_offset=1.0,
        rope=rope_of(hf, d_head),
        gated=True,
        post_norms=True,
        attn_scale=hf.get("query_pre_attn_scalar", 256) ** -0.5,
        attn_softcap=hf.get("attn_logit_softcapping", 50.0),
        logit_softcap=hf.get("final_logit_softcapping", 30.0),
        windows=windows(hf.get("layer_types") or alternating, hf.get("sliding_window", 4096)),
        embed_scale=width**0.5,
        biases=("q", "k", "v", "o") if hf.get("attention_bias") else (),
        tied=hf.get("tie_word_embeddings", True),
        bos=hf.get("bos_token_id"),
    )


FAMILY = Family(
    name="Gemma 2",
    model_types=("gemma2",),
    config=config,
    prefix="model.",
    # what Llama calls post_attention_layernorm stands before the MLP; here it stands on what attention writes
    weights=LLAMA_WEIGHTS
    | {
        "layers.{}.post1": "layers.{}.post_attention_layernorm",
        "layers.{}.norm2": "layers.{}.pre_feedforward_layernorm",
        "layers.{}.post2": "layers.{}.post_feedforward_layernorm",
    },
)
