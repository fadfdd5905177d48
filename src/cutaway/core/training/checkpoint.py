"""All that a training needs to go on as if nothing had happened: weights, optimiser, random numbers, and where it is.

Tensors lie in safetensors files, the rest in JSON: nothing is unpickled. A checkpoint is a folder that appears whole or not
at all; the one before it goes when it is there.
"""

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cutaway.core.errors import CutawayError
from cutaway.core.runs import put

BEST = "best-{step:08d}.safetensors"


@dataclass
class Position:
    """How far a training has come."""

    step: int = 0
    """Steps done."""
    epoch: int = 0
    """Epochs done."""
    within: int = 0
    """Steps done of the epoch that is under way."""
    best: float | None = None
    """The best score on the dev set so far, and the step after which it was measured."""
    best_step: int = 0
    waited: int = 0
    """Epochs since then."""
    losses: list[float] = field(default_factory=list)
    """Of every step."""
    scores: list[dict] = field(default_factory=list)
    """Of every epoch, on the dev set."""


class Checkpoints:
    """The checkpoints of one training, in one folder.

    Args:
        about: what the training is; one that is to go on must be the same.
    """

    def __init__(self, folder: Path, about: dict):
        self.folder, self.about = folder, json.loads(json.dumps(about))

    def last(self) -> Path | None:
        """The newest whole checkpoint."""
        return max(self.folder.glob("step-*"), default=None)

    def clear(self) -> None:
        """Forgets everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def save(self, position: Position, tensors: dict[str, Tensor]) -> None:
        """Writes a checkpoint and removes what it replaces."""
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / f"step-{position.step:08d}-{position.epoch:05d}"
        if not place.exists():
            building = Path(tempfile.mkdtemp(dir=self.folder, prefix=".new-"))
            save_file(
                {name: x.detach().cpu().contiguous() for name, x in tensors.items()}, building / "tensors.safetensors"
            )
            put(building / "state.json", json.dumps({"about": self.about, **asdict(position)}).encode())
            os.replace(building, place)
        best = BEST.format(step=position.best_step)
        for other in self.folder.iterdir():
            if other.is_dir() and other != place:
                shutil.rmtree(other, ignore_errors=True)
            elif other.is_file() and other.name != best:
                other.unlink(missing_ok=True)

    def load(self) -> tuple[Position, dict[str, Tensor]] | None:
        """The newest checkpoint; None if there is none.

        Raises:
            CutawayError: it is one of another training.
        """
        from safetensors.torch import load_file

        if (place := self.last()) is None:
            return None
        state = json.loads((place / "state.json").read_text())
        about = state.pop("about")
        if changed := sorted(name for name in about | self.about if about.get(name) != self.about.get(name)):
            was = ", ".join(f"{name} was {about.get(name)!r}, is {self.about.get(name)!r}" for name in changed)
            raise CutawayError(
                f"{self.folder} holds another training ({was}): give the same options, or start anew without --resume"
            )
        return Position(**state), load_file(place / "tensors.safetensors")

    def save_best(self, step: int, weights: dict[str, Tensor]) -> None:
        """Keeps the weights that are the best so far."""
        from safetensors.torch import save

        put(
            self.folder / BEST.format(step=step),
            save({name: x.detach().cpu().contiguous() for name, x in weights.items()}),
        )

    def load_best(self, step: int) -> dict[str, Tensor]:
        from safetensors.torch import load_file

        return load_file(self.folder / BEST.format(step=step))


def trained(model: nn.Module) -> dict[str, Tensor]:
    """What training changes: parameters with gradients, and buffers."""
    parameters = {name: x for name, x in model.named_parameters() if x.requires_grad}
    return parameters | {name: x for name, x in model.named_buffers() if x is not None}


def tensors_of(model: nn.Module, optimizer: Optimizer, random: Tensor) -> dict[str, Tensor]:
    """Everything that changes from step to step, by name; `random` is the state of every rank's generator."""
    found = {f"model.{name}": x for name, x in trained(model).items()}
    for name, parameter in model.named_parameters():
        for key, x in optimizer.state.get(parameter, {}).items():
            found[f"optimizer.{key}.{name}"] = torch.as_tensor(x)
    return found | {"random": random}


def restore(model: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts them back."""
    put_back(model, {name.removeprefix("model."): x for name, x in tensors.items() if name.startswith("model.")})
    named = dict(model.named_parameters())
    for name, x in tensors.items():
        if name.startswith("optimizer."):
            _, key, parameter = name.split(".", 2)
            home = named[parameter]
            optimizer.state[home][key] = x.to(home.device, copy=True)


def put_back(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Weights into the places they came from."""
    places = trained(model)
    with torch.no_grad():
        for name, x in weights.items():
            places[name].copy_(x)
