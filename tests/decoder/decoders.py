"""Small random decoders built straight from a config: one for each way the parts of a layer can be put together."""

import torch

from cutaway.decoder import Decoder, DecoderConfig
from cutaway.decoder.config import Rope

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
