"""GPT-NeoX and Pythia (Black et al. 2022, arXiv 2204.06745, §2.1): parallel residual, partial rotary, fused qkv."""

from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.family import Family, Take, activation, interleaved_third, rope_of


def config(hf: dict) -> DecoderConfig:
    heads, width = hf["num_attention_heads"], hf["hidden_size"]
    attention = ("q", "k", "v", "o") if hf.get("attention_bias", True) else ()
    older = {"rope_theta": hf.get("rotary_emb_base", 10_000), "partial_rotary_factor": hf.get("rotary_pct", 0.25)}
    return DecoderConfig(
        family="neox",
        n_layers=hf["num_hidden_layers"],
        n_heads=heads,
        n_kv_heads=heads,
        d_model=width,
        d_head=width // heads,
        d_mlp=hf["intermediate_size"],
        n_ctx=hf.get("max_position_embeddings", 2048),
        vocab=hf["vocab_size"],
        activation=activation(hf.get("hidden_act", "gelu")),
        norm_eps=hf.get("layer_norm_eps", 1e-5),
        rope=rope_of(older | hf, width // heads, partial=True),
        parallel=hf.get("use_parallel_residual", True),
        biases=(*attention, "up", "down"),
        tied=hf.get("tie_word_embeddings", False),
        bos=hf.get("bos_token_id"),
    )


FAMILY = Family(
    name="GPT-NeoX, Pythia",
    model_types=("gpt_neox",),
    config=config,
    prefix="gpt_neox.",
    ignored=(".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"),
    weights={
        "embed": "embed_in",
        "layers.{}.norm1": "layers.{}.input_layernorm",
        "layers.{}.norm2": "layers.{}.post_attention_layernorm",
        "layers.{}.q": Take("layers.{}.attention.query_key_value", interleaved_third(0)),
        "layers.{}.k": Take("layers.{}.attention.query_key_value", interleaved_third(1)),
        "layers.{}.v": Take("layers.{}.attention.query_key_value", interleaved_third(2)),
        "layers.{}.o": "layers.{}.attention.dense",
        "layers.{}.up": "layers.{}.mlp.dense_h_to_4h",
        "layers.{}.down": "layers.{}.mlp.dense_4h_to_h",
        "final_norm": "final_layer_norm",
        "unembed": "embed_out",
    },
)
