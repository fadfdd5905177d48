"""The parts of a decoder-only transformer, as data: one frozen record that every family's table fills in."""

from dataclasses import dataclass, field
from typing import Literal

from cutaway.core.errors import CutawayError

Activation = Literal["gelu", "gelu_tanh", "silu", "relu"]


@dataclass(frozen=True)
class Rope:
    """Rotary positions (Su et al. 2021, arXiv 2104.09864, §3.2)."""

    dim: int
    """Dimensions of each head that are rotated; fewer than `d_head` for partial rotary (GPT-NeoX)."""
    base: float = 10_000.0
    """The wave lengths grow geometrically from 2π to 2π·base."""
    scaling: dict = field(default_factory=dict)
    """Llama-3 / linear / YaRN rescaling of the frequencies, in the checkpoint's own words; empty for none."""


@dataclass(frozen=True)
class DecoderConfig:
    """What a decoder is made of. Sizes are counts; every switch is a property of the architecture, not a preference.

    Raises:
        CutawayError: sizes that no decoder can have together.
    """

    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    n_ctx: int
    vocab: int
    activation: Activation
    norm: Literal["layer", "rms", "none"] = "layer"
    """`none` only in decoders built by hand (planted/), where it keeps every number exact."""
    norm_eps: float = 1e-5
    norm_offset: float = 0.0
    """Gemma stores RMS weights around zero: the scale is `weight + 1`."""
    rope: Rope | None = None
    """Rotary positions; `None` means a learned table of `n_ctx` positions."""
    gated: bool = False
    """MLP is `down(act(gate(x)) * up(x))` instead of `down(act(up(x)))`."""
    parallel: bool = False
    """Attention and MLP both read `resid_pre` and their outputs are added together (GPT-NeoX)."""
    post_norms: bool = False
    """A second norm stands on what attention and MLP write (Gemma 2)."""
    qk_norm: bool = False
    """RMS norm over `d_head` on queries and keys (Qwen 3)."""
    attn_scale: float | None = None
    """What multiplies q·k; `None` means 1/√d_head."""
    attn_softcap: float | None = None
    logit_softcap: float | None = None
    windows: tuple[int | None, ...] = ()
    """Per layer, how many tokens back attention sees; `()` means everything everywhere."""
    embed_scale: float = 1.0
    biases: tuple[str, ...] = ()
    """Which of q, k, v, o, gate, up, down and unembed carry a bias."""
    tied: bool = False
    """The unembedding is the embedding."""
    bos: int | None = None
    """The id the checkpoint declares as start of text. It is never added silently; behaviours may ask for it."""

    def __post_init__(self):
        for name in ("n_layers", "n_heads", "n_kv_heads", "d_model", "d_head", "d_mlp", "n_ctx", "vocab"):
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise CutawayError(f"{self.family}: {name} must be a whole number above 0, got {size!r}")
        if self.n_heads % self.n_kv_heads:
            raise CutawayError(f"{self.family}: {self.n_heads} heads cannot share {self.n_kv_heads} key-value heads")
        if self.rope and (self.rope.dim % 2 or not 0 < self.rope.dim <= self.d_head):
            raise CutawayError(
                f"{self.family}: {self.rope.dim} rotated dimensions must be even and at most {self.d_head}"
            )
        if self.windows and len(self.windows) != self.n_layers:
            raise CutawayError(f"{self.family}: {len(self.windows)} attention windows for {self.n_layers} layers")

    @property
    def scale(self) -> float:
        return self.d_head**-0.5 if self.attn_scale is None else self.attn_scale

    def window(self, layer: int) -> int | None:
        return self.windows[layer] if self.windows else None
