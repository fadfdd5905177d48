"""What a room brings to the loop."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Batch = Mapping[str, Any]
"""Tensors by name (whatever is a tensor is moved to the device), and what else the task wants to know of its samples."""


class Task(ABC):
    """Samples, a model, and what is to become better.

    The loss of a step is the mean of `losses` over its samples, on however many ranks they lie.
    """

    model: nn.Module

    @property
    @abstractmethod
    def n_samples(self) -> int:
        """Samples to train on."""

    @property
    def lengths(self) -> Sequence[int] | None:
        """How long each is, if batches are to be made of like ones."""
        return None

    @abstractmethod
    def collate(self, samples: Sequence[int]) -> Batch:
        """One batch."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> Float[Tensor, " batch"]:
        """The loss of each sample; `model` is `self.model`, perhaps wrapped."""

    @abstractmethod
    def groups(self) -> Sequence[dict]:
        """Parameter groups for AdamW; `multiple` is how many times as fast as the others a group learns (`usual_groups`)."""

    def after_step(self, step: int, total: int) -> None:  # noqa: B027 - most tasks have nothing to do then
        """Called after each step of the optimiser, with its number from 1 and that of all steps; gradients are still there."""

    def settled(self) -> bool:
        """May the weights as they are be kept as the best? Asked after each epoch; true after the last one at the latest."""
        return True

    def state(self) -> dict[str, Tensor]:
        """What changes from step to step and is neither a parameter nor a buffer: a checkpoint keeps it, for `put_state`."""
        return {}

    def put_state(self, state: dict[str, Tensor]) -> None:  # noqa: B027 - most tasks keep nothing
        """Takes up `state` again."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Scores on the dev set; `score` is the one that chooses the best weights, higher is better. Never the test set."""


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device."""
    return {name: x.to(device) if isinstance(x, Tensor) else x for name, x in batch.items()}


def usual_groups(model: nn.Module, weight_decay: float, *, multiples: Mapping[str, float] | None = None) -> list[dict]:
    """Parameters that are trained, in groups: vectors (biases, norms) are not decayed, and those whose name begins with a key of
    `multiples` learn so many times as fast."""
    groups: dict[tuple[float, float], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            fast = next((x for prefix, x in (multiples or {}).items() if name.startswith(prefix)), 1.0)
            groups.setdefault((weight_decay if parameter.ndim > 1 else 0.0, fast), []).append(parameter)
    return [{"params": some, "weight_decay": decay, "multiple": fast} for (decay, fast), some in groups.items()]
