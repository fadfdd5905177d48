"""Qwen 2 and 2.5 (biases on q, k and v) and Qwen 3 (norms on queries and keys instead); otherwise as Llama.

Yang et al. 2024, arXiv 2407.10671, §2.2; Yang et al. 2025, arXiv 2505.09388, §2.
"""

from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.family import LLAMA_WEIGHTS, Family, activation, rope_of, windows


def config(hf: dict) -> DecoderConfig:
    heads, width, layers = hf["num_attention_heads"], hf["hidden_size"], hf["num_hidden_layers"]
    qwen3 = hf["model_type"] == "qwen3"
    d_head = hf.get("head_dim", 128) if qwen3 else hf.get("head_dim") or width // heads
    qwen3_biases = ("q", "k", "v", "o") if hf.get("attention_bias") else ()
    first_window = hf.get("max_window_layers", 28)
    kinds = hf.get("layer_types") or [
        "sliding_attention" if layer >= first_window else "full_attention" for layer in range(layers)
    ]
    return DecoderConfig(
        family="qwen",
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=hf["num_key_value_heads"] or heads,
        d_model=width,
        d_head=d_head,
        d_mlp=hf["intermediate_size"],
        n_ctx=hf.get("max_position_embeddings", 32_768),
        vocab=hf["vocab_size"],
        activation=activation(hf.get("hidden_act", "silu")),
        norm="rms",
        norm_eps=hf.get("rms_norm_eps", 1e-6),
        rope=rope_of(hf, d_head),
        gated=True,
        qk_norm=qwen3,
        windows=windows(kinds, hf.get("sliding_window", 4096) if hf.get("use_sliding_window") else None),
        biases=qwen3_biases if qwen3 else ("q", "k", "v"),
        tied=hf.get("tie_word_embeddings", False),
        bos=hf.get("bos_token_id"),
    )


FAMILY = Family(
    name="Qwen 2, 2.5, 3",
    model_types=("qwen2", "qwen3"),
    config=config,
    prefix="model.",
    weights=LLAMA_WEIGHTS
    | {
        "layers.{}.q_norm": "layers.{}.self_attn.q_norm",
        "layers.{}.k_norm": "layers.{}.self_attn.k_norm",
    },
)
