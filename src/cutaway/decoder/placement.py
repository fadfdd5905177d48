"""On which devices a model lies: named by the user, or spread layer by layer over several.

A layer computes where its weights are, and moves the residual stream there (`Layer.here`). Everything outside the layers
(embedding, final norm, unembedding) lies on the first device: tokens go in and logits come out there.
"""

import os
import re
from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.decoder.model import Decoder


def devices_of(names: str) -> tuple[torch.device, ...]:
    """The devices meant by `auto`, `cpu`, `cuda`, `cuda:1`, or several with commas between, for one model spread over them.

    `auto` is the accelerator if this machine has one that all operations run on (not mps, which must be asked for), else the
    CPU. A kind without a number is this rank's: ranks of one machine take its devices in turn.

    Raises:
        CutawayError: a device that torch does not know or this machine has not.
    """
    return tuple(_device(name.strip()) for name in names.split(","))


def _device(name: str) -> torch.device:
    here = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        name = here.type if here and here.type != "mps" else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CutawayError(f"no device is called {name!r}: give auto, cpu, cuda, cuda:1, mps …") from error
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.accelerator.device_count() if here and here.type == device.type else 0
    if device.index is None and count and device.type != "mps":
        device = torch.device(device.type, int(os.environ.get("LOCAL_RANK", "0")) % count)
    if (device.index or 0) >= count:
        has = ", ".join(
            ["cpu", *(f"{here.type}:{i}" for i in range(torch.accelerator.device_count()))] if here else ["cpu"]
        )
        raise CutawayError(f"this machine has no device {name}: it has {has}")
    return device


def spread(model: Decoder, devices: Sequence[torch.device]) -> dict[str, torch.device]:
    """The device of every tensor of a model, by name: consecutive layers, about as many weights on each device.

    The model may be on `meta`, so that its weights can be read from disk to where they belong.
    """
    sizes = [sum(weight.numel() for weight in cast(nn.Module, layer).parameters()) for layer in model.layers]
    total = sum(weight.numel() for weight in model.parameters())
    before, places = total - sum(sizes), []  # what is outside the layers lies on the first device
    for size in sizes:
        # by the middle of the layer, so that equal layers are divided evenly
        places.append(devices[min(len(devices) - 1, (2 * before + size) * len(devices) // (2 * total))])
        before += size
    parts = {name: re.match(r"layers\.(\d+)\.", name) for name in model.state_dict()}
    return {name: places[int(layer[1])] if layer else devices[0] for name, layer in parts.items()}


def place(model: Decoder, devices: Sequence[torch.device]) -> Decoder:
    """Moves a model's weights to their devices; returns the model."""
    where = spread(model, devices)
    model.load_state_dict({name: weight.to(where[name]) for name, weight in model.state_dict().items()}, assign=True)
    return model
