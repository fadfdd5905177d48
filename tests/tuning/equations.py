"""One projection of a tuned model at work, to be computed again from the equation of a paper."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cutaway.tuning.attach import transposed
from cutaway.tuning.places import chosen
from cutaway.tuning.tune import Tuned, tune
from tuning.models import logits, made


@dataclass
class Work:
    """What a projection has, what comes in and what comes out."""

    each: Tuned
    weight: Tensor
    """As it is without tuning, [out, in]."""
    bias: Tensor
    x: Tensor
    y: Tensor
    tensors: dict[str, Tensor]
    """What is kept of it, by the end of its name."""

    def says(self, weight: Tensor) -> bool:
        """Is what comes out what this weight [out, in] gives?"""
        return self.gives(self.x @ weight.T + self.bias)

    def gives(self, y: Tensor) -> bool:
        return torch.allclose(self.y, y, atol=1e-5, rtol=1e-4)


def at_work(family: str, name: str, role: str, away: float = 0.3, **options: Any) -> Work:
    """Tunes with a method, gives all that learns values so far `away`, looks at the first projection of that role."""
    model = made(family)
    place = chosen(model, [role])[0].name
    own = model.get_submodule(place)
    weight = own.weight.detach().clone().T if transposed(own) else own.weight.detach().clone()
    bias = torch.zeros(len(weight)) if own.bias is None else own.bias.detach().clone()
    torch.manual_seed(3)
    each = tune(model, name, at=(role,), **options)
    with torch.no_grad():
        for parameter in each.trained().values():
            parameter.add_(away * torch.randn_like(parameter))
    seen: list[Tensor] = []
    hook = model.get_submodule(place).register_forward_hook(lambda _, args, out: seen.extend((args[0], out)))
    with torch.no_grad():
        logits(each.model, family)
    hook.remove()
    before = f"base_model.model.{place}."
    tensors = {key.removeprefix(before): x for key, x in each.attached.kept().items() if key.startswith(before)}
    return Work(each, weight, bias, seen[0], seen[1], tensors)
