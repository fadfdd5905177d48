"""A transformer encoder of any size, learned from nothing: every word attends to every word of its sentence.

Vaswani et al. (2017, §3.1–3.3), normalised before each part as Xiong et al. (2020) do. Sinusoids do not tell left from right once
they are projected, which names need (Yan et al. 2019, §3): here each head learns a bias for every distance, with its sign
(Shaw, Uszkoreit & Vaswani 2018, §3.2; as a scalar in Raffel et al. 2020, §2.1). Beyond `far` words all distances are one.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.parts import Context, Features, InContext, Lengths, Part, inside


@dataclass(frozen=True)
class Options:
    """Options of the encoder."""

    d_model: int = 128
    """Width of a word."""
    heads: int = 4
    """Of attention; they share the width."""
    layers: int = 2
    """One on the other."""
    d_mlp: int = 256
    """Width within the feed-forward part."""
    far: int = 16
    """The largest distance that is told apart."""
    dropout: float = 0.2
    """Of what goes in, of the attention weights, and of what each part adds, in training."""


class Transformer(Context):
    """Raises `CutawayError` for a width that the heads cannot share, or no layers."""

    def __init__(self, width: int, options: Options):
        super().__init__()
        if options.heads < 1 or options.d_model < 1 or options.d_model % options.heads:
            raise CutawayError(
                f"transformer: {options.heads} heads cannot share a width of {options.d_model}: give a multiple of the heads"
            )
        if options.layers < 1 or options.d_mlp < 1 or options.far < 1:
            raise CutawayError(
                f"transformer: layers {options.layers}, d_mlp {options.d_mlp}, far {options.far}: give at least 1 of each"
            )
        self.width = options.d_model
        self.first = nn.Linear(width, options.d_model)
        self.layers = nn.ModuleList(_Layer(options) for _ in range(options.layers))
        self.norm = nn.LayerNorm(options.d_model)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, features: Features, lengths: Lengths) -> InContext:
        real = inside(lengths, features.shape[1])
        x = self.first(self.dropout(features))
        for layer in self.layers:
            x = layer(x, real)
        return self.norm(x) * real[..., None]


class _Layer(nn.Module):
    def __init__(self, options: Options):
        super().__init__()
        self.heads, self.far = options.heads, options.far
        self.before = nn.LayerNorm(options.d_model)
        self.qkv = nn.Linear(options.d_model, 3 * options.d_model)
        self.distance = nn.Parameter(torch.zeros(options.heads, 2 * options.far + 1))
        self.out = nn.Linear(options.d_model, options.d_model)
        self.mlp = nn.Sequential(
            nn.LayerNorm(options.d_model), nn.Linear(options.d_model, options.d_mlp), nn.GELU(),
            nn.Linear(options.d_mlp, options.d_model),
        )  # fmt: skip
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Features, real: Bool[Tensor, "batch word"]) -> Features:
        x = x + self.dropout(self.attention(self.before(x), real))
        return x + self.dropout(self.mlp(x))

    def attention(self, x: Features, real: Bool[Tensor, "batch word"]) -> Features:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / q.shape[3] ** 0.5 + self.bias(x.shape[1])
        pattern = scores.masked_fill(~real[:, None, None], -torch.inf).softmax(3)
        return self.out((self.dropout(pattern) @ v).transpose(1, 2).flatten(2))

    def bias(self, words: int) -> Float[Tensor, "head query key"]:
        place = torch.arange(words, device=self.distance.device)
        distance = (place[None] - place[:, None]).clamp(-self.far, self.far) + self.far
        return self.distance[:, distance]


CONTEXT = Part(
    name="transformer",
    build=Transformer,
    about="a transformer encoder learned from nothing, with a bias for every distance",
    citation="Vaswani et al. 2017, §3; Shaw, Uszkoreit & Vaswani 2018, §3.2; Yan et al. 2019, §3",
    options=Options,
)
