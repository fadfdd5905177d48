"""AdaLoRA: differences of low rank in the form of singular values, whose budget goes to where it matters most.

Zhang et al. 2023, Adaptive budget allocation for parameter-efficient fine-tuning (ICLR, arXiv 2303.10512), §3.1–3.3:

    h = W x + (α / r) P Λ Q x        P [out, r], Q [r, in], Λ diagonal = 0 at the beginning
    loss + γ mean ‖Pᵀ P − I‖, ‖Q Qᵀ − I‖        the paper's eq. 4; of norms, as in the authors' code, not of their squares

During training those entries of Λ become 0 that matter least, by how much the loss is said to change without them; how many are
left falls along a cubic curve (eq. 12) from r to `rank` on average. It trains r (in + out + 1) parameters for each projection, with
r = `start_rank`. Through `peft`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, widths

AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
"""What `peft` keeps of each entry: by how much the loss is said to change without it, its average, and how unsure that is."""


@dataclass(frozen=True)
class Options:
    """Of AdaLoRA."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    rank: int = 8
    """On average, in the end."""
    start_rank: int = 12
    """r."""
    alpha: int = 16
    """α."""
    dropout: float = 0.0
    """Of what goes into Q."""
    orthogonality: float = 0.5
    """γ."""
    warmup: float = 0.1
    """Share of the steps before anything is taken away."""
    final: float = 0.3
    """Share of the steps after the last."""
    every: int = 1
    """Steps from one allocation to the next."""


class AdaLora(ThroughPeft):
    """AdaLoRA, by `peft`."""

    config = "AdaLoraConfig"
    names: ClassVar = {
        "rank": "target_r", "start_rank": "init_r", "alpha": "lora_alpha", "dropout": "lora_dropout",
        "orthogonality": "orth_reg_weight", "every": "deltaT",
    }  # fmt: skip
    harmless: ClassVar = {"rank_pattern", "tinit", "tfinal", "total_step", "r"}
    shares = (0.0, 0.0)

    def loss(self) -> Tensor | None:
        """γ times the mean distance of P and Q from orthogonal matrices."""
        if not self.active:
            return None
        sides = [layer.lora_A[self.name] for _, layer in self.layers()]
        sides += [layer.lora_B[self.name].T for _, layer in self.layers()]
        away = [torch.linalg.matrix_norm(q @ q.T - torch.eye(len(q), device=q.device)) for q in sides]
        return self.described.orth_reg_weight * torch.stack(away).mean()

    def after_step(self, step: int, total: int) -> None:
        """Takes away what matters least; in a training of so few steps that there is none for it, nothing."""
        config = self.described
        config.total_step = total
        config.tinit, config.tfinal = (int(share * total) for share in self.shares)
        if total - config.tinit - config.tfinal >= 2:
            self.wrapped.base_model.update_and_allocate(step)

    def state(self) -> dict[str, Tensor]:
        """How much each entry matters, and what was taken away."""
        allocator = self.wrapped.base_model.rankallocator
        averages = {f"{key}.{name}": x for key in AVERAGES for name, x in getattr(allocator, key).items()}
        left = {f"left.{name}": torch.tensor(x) for name, x in (self.described.rank_pattern or {}).items()}
        return averages | left

    def put_state(self, state: dict[str, Tensor]) -> None:
        allocator = self.wrapped.base_model.rankallocator
        for key in AVERAGES:
            setattr(allocator, key, {name: x.to(self._device(name)) for name, x in _of(state, key).items()})
        self.described.rank_pattern = {name: x.tolist() for name, x in _of(state, "left").items()} or None

    def _device(self, name: str) -> torch.device:
        return self.wrapped.base_model.model.get_parameter(name).device

    def own_tensors(self) -> dict[str, Tensor]:
        """All of them: `peft` would leave out what was taken away, and change shapes thereby."""
        config = self.described
        pattern, config.rank_pattern = config.rank_pattern, None
        try:
            return super().own_tensors()
        finally:
            config.rank_pattern = pattern

    def to_disk_config(self) -> Any:
        config = super().to_disk_config()
        config.rank_pattern = None
        return config

    @classmethod
    def opened(cls, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Puts zeros where `peft` has left out what was taken away."""
        found = dict(tensors)
        for name, left in (config.get("rank_pattern") or {}).items():
            mask = torch.tensor(left)
            place = f"base_model.model.{name.partition('.lora_E')[0]}"
            for key, across in ((f"{place}.lora_E", 0), (f"{place}.lora_A", 0), (f"{place}.lora_B", 1)):
                if key in tensors and tensors[key].shape[across] == mask.sum():
                    x = tensors[key].movedim(across, 0)
                    whole = x.new_zeros(len(mask), *x.shape[1:])
                    whole[mask] = x
                    found[key] = whole.movedim(0, across).contiguous()
        return found


def _of(state: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    start = f"{key}."
    return {name.removeprefix(start): x for name, x in state.items() if name.startswith(start)}


def attach(attached: AdaLora, options: Options) -> None:
    narrowest = min(min(each) for each in widths(attached.host, options.at))
    if not 1 <= options.rank < options.start_rank <= narrowest:
        raise CutawayError(
            f"rank is {options.rank}, start_rank {options.start_rank}: give 1 ≤ rank < start_rank ≤ {narrowest}, "
            "the width of the narrowest projection"
        )
    if min(options.warmup, options.final) < 0 or options.warmup + options.final >= 1:
        raise CutawayError(f"warmup is {options.warmup}, final {options.final}: give shares whose sum is below 1")
    if options.every < 1:
        raise CutawayError(f"every is {options.every}: give at least 1 step")
    attached.shares = options.warmup, options.final
    attached.give(options, total_step=1)


def count(model: nn.Module, options: Options) -> int:
    return sum(options.start_rank * (into + out + 1) for into, out in widths(model, options.at))


METHOD = Method(
    name="adalora",
    kind="reparameterised",
    about="LoRA whose rank goes to where it matters most",
    citation="Zhang et al. 2023, AdaLoRA (ICLR, arXiv 2303.10512), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=AdaLora,
    mergeable=True,
)
