"""GPT-Neo (Black et al. 2021): GPT-2's shape with unscaled attention, and every other layer seeing a window only."""

from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.family import Family, activation, windows


def config(hf: dict) -> DecoderConfig:
    width, heads = hf["hidden_size"], hf["num_heads"]
    # [[["global", "local"], 12]] is twelve times this pair
    spelled = hf.get("attention_types") or [[["global", "local"], 12]]
    kinds = [kind for pattern, times in spelled for _ in range(times) for kind in pattern]
    return DecoderConfig(
        family="gpt_neo",
        n_layers=hf["num_layers"],
        n_heads=heads,
        n_kv_heads=heads,
        d_model=width,
        d_head=width // heads,
        d_mlp=hf.get("intermediate_size") or 4 * width,
        n_ctx=hf.get("max_position_embeddings", 2048),
        vocab=hf["vocab_size"],
        activation=activation(hf.get("activation_function", "gelu_new")),
        norm_eps=hf.get("layer_norm_epsilon", 1e-5),
        attn_scale=1.0,
        windows=windows(kinds, hf.get("window_size", 256)),
        biases=("o", "up", "down"),
        tied=hf.get("tie_word_embeddings", True),
        bos=hf.get("bos_token_id"),
    )


FAMILY = Family(
    name="GPT-Neo",
    model_types=("gpt_neo",),
    config=config,
    prefix="transformer.",
    ignored=(".attn.attention.bias", ".attn.attention.masked_bias"),
    weights={
        "embed": "wte",
        "pos": "wpe",
        "layers.{}.norm1": "h.{}.ln_1",
        "layers.{}.norm2": "h.{}.ln_2",
        "layers.{}.q": "h.{}.attn.attention.q_proj",
        "layers.{}.k": "h.{}.attn.attention.k_proj",
        "layers.{}.v": "h.{}.attn.attention.v_proj",
        "layers.{}.o": "h.{}.attn.attention.out_proj",
        "layers.{}.up": "h.{}.mlp.c_fc",
        "layers.{}.down": "h.{}.mlp.c_proj",
        "final_norm": "ln_f",
        "unembed": "lm_head",
    },
)
