"""OPT (Zhang et al. 2022, arXiv 2205.01068): GPT-2's shape with ReLU; its positions begin in the third row."""

from torch import Tensor

from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.family import Family, Take, activation, must_be


def config(hf: dict) -> DecoderConfig:
    width, heads = hf["hidden_size"], hf["num_attention_heads"]
    # the 350M model projects its embeddings and normalises after each part: another architecture under the same name
    must_be(hf, word_embed_proj_dim=width, do_layer_norm_before=True)
    must_be(hf, _remove_final_layer_norm=False, layer_norm_elementwise_affine=True)
    return DecoderConfig(
        family="opt",
        n_layers=hf["num_hidden_layers"],
        n_heads=heads,
        n_kv_heads=heads,
        d_model=width,
        d_head=width // heads,
        d_mlp=hf["ffn_dim"],
        n_ctx=hf.get("max_position_embeddings", 2048),
        vocab=hf["vocab_size"],
        activation=activation(hf.get("activation_function", "relu")),
        biases=("q", "k", "v", "o", "up", "down") if hf.get("enable_bias", True) else (),
        tied=hf.get("tie_word_embeddings", True),
        bos=hf.get("bos_token_id"),
    )


def from_third_row(table: Tensor, config: DecoderConfig) -> Tensor:
    return table[2:]


FAMILY = Family(
    name="OPT",
    model_types=("opt",),
    config=config,
    prefix="model.",
    weights={
        "embed": "decoder.embed_tokens",
        "pos": Take("decoder.embed_positions", from_third_row),
        "layers.{}.norm1": "decoder.layers.{}.self_attn_layer_norm",
        "layers.{}.norm2": "decoder.layers.{}.final_layer_norm",
        "layers.{}.q": "decoder.layers.{}.self_attn.q_proj",
        "layers.{}.k": "decoder.layers.{}.self_attn.k_proj",
        "layers.{}.v": "decoder.layers.{}.self_attn.v_proj",
        "layers.{}.o": "decoder.layers.{}.self_attn.out_proj",
        "layers.{}.up": "decoder.layers.{}.fc1",
        "layers.{}.down": "decoder.layers.{}.fc2",
        "final_norm": "decoder.final_layer_norm",
        "unembed": "lm_head",
    },
)
