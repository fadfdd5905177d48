"""Gemma 1 (Gemma Team 2024, arXiv 2403.08295, §2): norm weights around zero, scaled embeddings, wide heads."""

from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.family import LLAMA_WEIGHTS, Family, activation, must_be, rope_of


def config(hf: dict) -> DecoderConfig:
    must_be(hf, use_bidirectional_attention=False)
    width, d_head = hf["hidden_size"], hf.get("head_dim", 256)
    named = hf.get("hidden_activation") or hf.get("hidden_act", "gelu")
    return DecoderConfig(
        family="gemma",
        n_layers=hf["num_hidden_layers"],
        n_heads=hf["num_attention_heads"],
        n_kv_heads=hf["num_key_value_heads"],
        d_model=width,
        d_head=d_head,
        d_mlp=hf["intermediate_size"],
        n_ctx=hf.get("max_position_embeddings", 8192),
        vocab=hf["vocab_size"],
        # the first files said "gelu" and meant its tanh form
        activation=activation("gelu_pytorch_tanh" if named == "gelu" else named),
        norm="rms",
        norm_eps=hf.get("rms_norm_eps", 1e-6),
        norm_offset=1.0,
        rope=rope_of(hf, d_head),
        gated=True,
        embed_scale=width**0.5,
        biases=("q", "k", "v", "o") if hf.get("attention_bias") else (),
        tied=hf.get("tie_word_embeddings", True),
        bos=hf.get("bos_token_id"),
    )


FAMILY = Family(
    name="Gemma 1",
    model_types=("gemma",),
    config=config,
    weights=LLAMA_WEIGHTS,
    prefix="model.",
)
