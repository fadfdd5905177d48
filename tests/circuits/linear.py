"""Decoders on which first-order estimates are exact: no norms, attention that does not move, MLPs in their linear part."""

import torch

from cutaway.decoder import Decoder, DecoderConfig
from cutaway.decoder.config import Rope
from decoder.decoders import SIZES, fill

KINDS = {
    "plain": {"n_kv_heads": 4},
    "shared values": {"n_kv_heads": 2, "rope": Rope(6)},
    "parallel": {"n_kv_heads": 4, "parallel": True},
}
BIAS = 1e3
"""Of every hidden unit, taken off again behind it."""


def linear_decoder(kind: str, seed: int = 0) -> Decoder:
    """Queries are zero, so attention is uniform whatever the keys; a large bias keeps every ReLU on its straight side."""
    config = DecoderConfig(
        family="test",
        **SIZES,
        d_head=6,
        activation="relu",
        norm="none",
        biases=("up", "down", "o", "unembed"),
        **KINDS[kind],
    )
    model = fill(Decoder(config), seed).double()
    with torch.no_grad():
        for layer in model.layers:
            layer.q.weight.zero_()
            layer.up.bias.fill_(BIAS)
            layer.down.bias.sub_(BIAS * layer.down.weight.sum(1))
    return model
