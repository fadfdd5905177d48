"""Llama 1–3, SmolLM, TinyLlama, and Mistral: rotary positions, RMSNorm, grouped-query attention, gated MLP."""

from cutaway.decoder.config import DecoderConfig, Rope
from cutaway.decoder.family import LLAMA_WEIGHTS, Family, rope_settings, windows


def config(hf: dict) -> DecoderConfig:
    heads, width, layers = hf["num_attention_heads"], hf["hidden_size"], hf["num_hidden_layers"]
    d_head = hf.get("head_dim") or width // heads
    base, scaling = rope_settings(hf)
    attention = ("q", "k", "v", "o") if hf.get("attention_bias") else ()
    mlp = ("gate", "up", "down") if hf.get("mlp_bias") else ()
    return DecoderConfig(
        family="llama",
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=hf.get("num_key_value_heads") or heads,
        d_model=width,
        d_head=d_head,
        d_mlp=hf["intermediate_size"],
        n_ctx=hf.get("max_position_embeddings", 2048),
        vocab=hf["vocab_size"],
        activation="silu",
        norm="rms",
        norm_eps=hf.get("rms_norm_eps", 1e-6),
        rope=Rope(d_head, base, scaling),
        gated=True,
        windows=windows(hf, layers, every=hf["model_type"] == "mistral"),
        biases=attention + mlp,
        tied=hf.get("tie_word_embeddings", False),
        bos=hf.get("bos_token_id"),
    )


FAMILY = Family(
    name="Llama, SmolLM, Mistral",
    model_types=("llama", "mistral"),
    config=config,
    weights=LLAMA_WEIGHTS,
    prefix="model.",
)
