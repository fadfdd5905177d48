"""Llama 1–3, SmolLM, TinyLlama, and Mistral: rotary positions, RMSNorm, grouped-query attention, gated MLP.

Touvron et al. 2023, arXiv 2302.13971, §2.2; Mistral's window: Jiang et al. 2023, arXiv 2310.06825, §2.
"""

from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.family import LLAMA_WEIGHTS, Family, activation, rope_of, windows


def config(hf: dict) -> DecoderConfig:
    heads, width, layers = hf["num_attention_heads"], hf["hidden_size"], hf["num_hidden_layers"]
    d_head = hf.get("head_dim") or width // heads
    attention = ("q", "k", "v", "o") if hf.get("attention_bias") else ()
    mlp = ("gate", "up", "down") if hf.get("mlp_bias") else ()
    # Mistral's classes fill in what its files leave out: every layer slides, 8 key-value heads
    mistral = hf["model_type"] == "mistral"
    kinds = ["sliding_attention" if mistral else "full_attention"] * layers
    return DecoderConfig(
        family="llama",
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=hf.get("num_key_value_heads", 8 if mistral else None) or heads,
        d_model=width,
        d_head=d_head,
        d_mlp=hf["intermediate_size"],
        n_ctx=hf.get("max_position_embeddings", 131_072 if mistral else 2048),
        vocab=hf["vocab_size"],
        activation=activation(hf.get("hidden_act", "silu")),
        norm="rms",
        norm_eps=hf.get("rms_norm_eps", 1e-6),
        rope=rope_of(hf, d_head),
        gated=True,
        windows=windows(kinds, hf.get("sliding_window", 4096)),
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
