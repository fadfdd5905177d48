"""Small random decoders built straight from a config: one for each way the parts of a layer can be put together."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from cutaway.decoder import Decoder, DecoderConfig
from cutaway.decoder.config import Rope
from cutaway.decoder.families import llama

SIZES = {"n_layers": 3, "n_heads": 4, "d_model": 24, "d_mlp": 32, "n_ctx": 32, "vocab": 37}
CONFIGS = {
    "learned positions": DecoderConfig(
        family="test",
        **SIZES,
        n_kv_heads=4,
        d_head=6,
        activation="gelu_tanh",
        biases=("q", "k", "v", "o", "up", "down"),
        tied=True,
    ),
    "shared keys": DecoderConfig(
        family="test", **SIZES, n_kv_heads=2, d_head=8, activation="silu", norm="rms", rope=Rope(8), gated=True
    ),
    "parallel": DecoderConfig(
        family="test",
        **SIZES,
        n_kv_heads=4,
        d_head=6,
        activation="gelu",
        rope=Rope(4),
        parallel=True,
        biases=("o", "up", "down", "unembed"),
    ),
    "second norms": DecoderConfig(
        family="test",
        **SIZES,
        n_kv_heads=1,
        d_head=8,
        activation="gelu_tanh",
        norm="rms",
        norm_offset=1.0,
        rope=Rope(8, 500.0),
        gated=True,
        post_norms=True,
        qk_norm=True,
        attn_scale=0.3,
        attn_softcap=2.0,
        logit_softcap=5.0,
        windows=(3, None, 3),
        embed_scale=2.0,
    ),
}


def fill(model: Decoder, seed: int = 0) -> Decoder:
    """Random weights, large enough that every part matters."""
    draw = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        weight.data = 0.3 * torch.randn(weight.shape, generator=draw)
        if "norm" in name and name.endswith("weight") and not model.config.norm_offset:
            weight.data += 1
    return model.eval().requires_grad_(False)


def decoder(name: str, seed: int = 0) -> Decoder:
    return fill(Decoder(CONFIGS[name]), seed)


def llama_folder(folder: Path, *, tied: bool = False) -> Decoder:
    """Writes a tiny Llama checkpoint without the help of `transformers`; returns the decoder it should load as."""
    said = {
        "model_type": "llama",
        "vocab_size": 37,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "tie_word_embeddings": tied,
    }
    (folder / "config.json").write_text(json.dumps(said))
    model = fill(Decoder(llama.config(said)))
    save_file(
        {_llama_name(name): tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "model.safetensors",
    )
    return model


def _llama_name(ours: str) -> str:
    module, part = ours.rsplit(".", 1)
    layer = next((word for word in module.split(".") if word.isdigit()), "")
    theirs = llama.FAMILY.weights[module.replace(f".{layer}.", ".{}.") if layer else module].format(layer)
    return f"{theirs}.{part}" if theirs == "lm_head" else f"model.{theirs}.{part}"
