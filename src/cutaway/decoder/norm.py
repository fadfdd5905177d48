"""The norms of the families: LayerNorm (Ba et al. 2016), RMSNorm (Zhang & Sennrich 2019), or none."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.decoder.config import DecoderConfig


class Norm(nn.Module):
    """LayerNorm, RMSNorm or nothing, computed in float32 whatever the weights are."""

    def __init__(self, size: int, config: DecoderConfig, kind: str | None = None):
        super().__init__()
        self.kind, self.eps, self.offset = kind or config.norm, config.norm_eps, config.norm_offset
        self.weight = nn.Parameter(torch.ones(size)) if self.kind != "none" else None
        self.bias = nn.Parameter(torch.zeros(size)) if self.kind == "layer" else None

    def forward(self, x: Float[Tensor, "*axes width"]) -> Float[Tensor, "*axes width"]:
        if self.weight is None:
            return x
        y, weight = x.float(), self.weight.float()
        if self.bias is not None:
            return F.layer_norm(y, weight.shape, weight, self.bias.float(), self.eps).to(x.dtype)
        mean_square = torch.linalg.vector_norm(y, dim=-1, keepdim=True).square() / y.shape[-1]
        return (y * torch.rsqrt(mean_square + self.eps) * (weight + self.offset)).to(x.dtype)
