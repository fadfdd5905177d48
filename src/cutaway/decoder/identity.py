"""Which weights are these? One hash over all of them, whatever file they came from."""

import hashlib

import torch

from cutaway.decoder.model import Decoder


def weights_sha256(model: Decoder) -> str:
    """SHA-256 over every parameter: its name, dtype, shape and bytes, in order of the names.

    The same weights give the same hash on every device, and for however many devices they are spread over; another dtype
    gives another.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
