"""On which devices a model lies: named by the user, or spread layer by layer over several.

A layer computes where its weights are, and moves the residual stream there (`Layer.here`). Everything outside the layers
(embedding, final norm, unembedding) lies on the first device: tokens go in and logits come out there.
"""

import os
from collections.abc import Sequence

import torch

from cutaway.core.errors import CutawayError


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


def assign(sizes: Sequence[int], n: int) -> list[int]:
    """Which of `n` devices each layer goes to: consecutive layers, about as many bytes on each device.

    Args:
        sizes: of each layer.
    """
    total, before, places = sum(sizes), 0, []
    for size in sizes:
        # by the middle of the layer, so that equal layers are divided evenly
        places.append(min(n - 1, (2 * before + size) * n // (2 * total)))
        before += size
    return places
