"""Where replacing values come from: another run of the prompts, means over prompts, zero."""

from collections.abc import Callable

import torch
from torch import Tensor

from cutaway.circuits.behavior import align
from cutaway.circuits.engine import Engine
from cutaway.circuits.variant import Reference, Trace


def from_run(engine: Engine, source: Engine, trace: Trace) -> Reference:
    """Each token takes the value of the token in its slot in another run of the same prompts (resample ablation)."""
    index = align(engine.prompts, source.prompts, len(engine.behavior.slots))

    alike = torch.equal(engine.prompts.slots, source.prompts.slots)

    def pick(x: Tensor) -> Tensor:
        if alike:
            return x
        i = index.to(x.device).clamp(min=0).reshape(*index.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        return x.gather(1, i)

    width = min(engine.prompts.tokens.shape[1], source.prompts.tokens.shape[1])
    differs = (engine.prompts.tokens[:, :width] != source.prompts.tokens[:, :width]) | (
        engine.prompts.slots[:, :width] != source.prompts.slots[:, :width]
    )
    first = torch.where(differs.any(1), differs.int().argmax(1), width)
    return _reference(trace, pick, (index >= 0) | ~engine.prompts.mask, first)


def slot_means(engine: Engine, source: Engine, trace: Trace) -> Reference:
    """Each token takes the mean over `source`'s prompts of the tokens in its slot (mean ablation by position)."""
    n = len(engine.behavior.slots)
    flat = source.prompts.slots.flatten()
    real = flat >= 0
    count = torch.bincount(flat[real], minlength=n)

    def mean(x: Tensor) -> Tensor:
        some, slots = real.to(x.device), engine.prompts.slots.to(x.device).clamp(min=0)
        total = x.new_zeros(n, *x.shape[2:]).index_add_(0, flat.to(x.device)[some], x.flatten(0, 1)[some])
        return (total / count.to(x.device).clamp(min=1).reshape(-1, *[1] * (x.ndim - 2)))[slots]

    has = (count > 0)[engine.prompts.slots.clamp(min=0)] | ~engine.prompts.mask
    return _reference(trace, mean, has)


def zeros(engine: Engine, trace: Trace) -> Reference:
    """Every value is zero (zero ablation)."""
    return _reference(trace, torch.zeros_like, torch.ones_like(engine.prompts.mask))


def _reference(trace: Trace, value: Callable[[Tensor], Tensor], where: Tensor, first: Tensor | int = 0) -> Reference:
    """A reference whose values are made from a trace, tensor by tensor."""
    z, mlp_out, resid_pre = (tuple(map(value, part)) for part in (trace.z, trace.mlp_out, trace.resid_pre))
    return Reference(z, mlp_out, resid_pre, where, first)
