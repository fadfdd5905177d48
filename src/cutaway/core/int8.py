"""Linear layers and embeddings in 8 bits, for running on a CPU: a quarter of the size, and faster where sentences are short.

A weight row w is kept as round(127 · w / max|w|) and one scale. Inputs of a linear layer are rounded the same way, each row by
itself, when they come (dynamic quantisation); products are summed exactly in 32 bits and scaled back:

    y = x W^T + b  ≈  s_x · s_w · (x_8 W_8^T) + b

(Jacob et al. 2018, Quantization and training of neural networks, §2; by row and symmetric as Dettmers et al. 2022, LLM.int8(), §2.)
"""

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

TOP = 127
TINY = 1e-12


def to_int8(x: Float[Tensor, "*axes width"]) -> tuple[Int8[Tensor, "*axes width"], Float[Tensor, "*axes 1"]]:
    """Whole numbers from −127 to 127, and what each row is to be multiplied by."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(TINY) / TOP
    return (x / scale).round().to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer whose weights are int8; no gradients."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        weight, scale = to_int8(layer.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale[:, 0].clone())
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())

    def forward(self, x: Float[Tensor, "*axes d_in"]) -> Float[Tensor, "*axes d_out"]:
        rows, scale = to_int8(x.reshape(-1, x.shape[-1]))
        y = torch._int_mm(rows, self.weight.t()) * scale * self.scale
        return (y if self.bias is None else y + self.bias).view(*x.shape[:-1], -1)


class Int8Embedding(nn.Module):
    """An embedding whose rows are int8."""

    def __init__(self, layer: nn.Embedding):
        super().__init__()
        weight, scale = to_int8(layer.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def forward(self, ids: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes width"]:
        return self.weight[ids] * self.scale[ids]


def quantise(model: nn.Module, *, least: int = 1024) -> nn.Module:
    """Puts int8 layers in the place of all linear layers and embeddings with at least so many weights; the model itself changes.
    Layers of classes that are made of these (attention of `torch.nn`, recurrent ones) stay as they are."""
    for name, child in model.named_children():
        if type(child) is nn.Linear and child.weight.numel() >= least:
            setattr(model, name, Int8Linear(child))
        elif type(child) is nn.Embedding and child.weight.numel() >= least:
            setattr(model, name, Int8Embedding(child))
        elif not isinstance(child, nn.MultiheadAttention | nn.RNNBase):
            quantise(child, least=least)
    return model
