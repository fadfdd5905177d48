"""A distance by name: the trunk with its weights, and the linear weights.

distance(a, b, range=(0, 1))                            of two images or batches, as a record
load_distance("vgg", range=(0, 1))                      a module, to be called often or minimised
load_distance("alex", trunk="alexnet.safetensors")      weights of a file
load_distance("vgg", trunk="random:3")                  random weights, of this seed
load_distance("alex", variant="tune", checkpoint="latest_net_.pth")
"""

from functools import lru_cache
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.similarity.comparison import Comparison, Identity, Variant, Version
from cutaway.similarity.distance import Distance
from cutaway.similarity.inputs import Range
from cutaway.similarity.linear import checkpoint as read_checkpoint
from cutaway.similarity.linear import own_linear, published_linear
from cutaway.similarity.trunk import Net, Trunk, net_named
from cutaway.similarity.weights import Origin, State, fill, own, published


def distance(
    a: Tensor, b: Tensor, net: str = "alex", version: str = "0.1", *, variant: str = "lin", range: Range | None = None
) -> Comparison:
    """How unlike two images are, `[3, h, w]`, or each of a batch and its partner, `[batch, 3, h, w]`.

    Networks are kept for the next call. They compute in float32, for images in float64 in float64.

    Args:
        range: of images that are not uint8: (0, 1), (-1, 1) or another.

    Raises:
        CutawayError: as `load_distance` and `Distance.forward`.
    """
    dtype = torch.float64 if a.dtype == torch.float64 else torch.float32
    kept = _kept(net, version, variant, a.device, dtype)
    return Distance(kept.net, kept.trunk, list(kept.linear), kept.identity, range).compare(a, b)


def load_distance(
    net: str = "alex",
    version: str = "0.1",
    variant: str = "lin",
    *,
    trunk: str | Path = "",
    linear: str | Path = "",
    checkpoint: str | Path = "",
    range: Range | None = None,
    offline: bool = False,
) -> Distance:
    """A distance with its weights, in float32 on the CPU.

    Args:
        net: a trunk; `cutaway similarity nets` lists them.
        version: 0.1, or 0.0, the first release, which did not map images to what the trunk was trained on.
        variant: lin (learned weights), baseline (none), tune or scratch (learned together with the trunk: give `checkpoint`).
        trunk: a file of weights, or "random:SEED"; the published ones unless given.
        linear: a file of weights; the published ones unless given.
        checkpoint: a file of both.
        range: of images that are not uint8: (0, 1), (-1, 1) or another.

    Raises:
        CutawayError: no such net, version or variant; weights that cannot be had, were altered, or do not fit.
    """
    _check(version, variant, linear, checkpoint)
    kind = net_named(net)
    if checkpoint:
        state, weights, origin = read_checkpoint(kind, checkpoint)
        filled = kind.build()
        fill(filled, state, beside=(), what=str(checkpoint))
        return _made(kind, version, variant, (filled, origin), (weights, origin), range)
    found = None
    if variant == "lin":  # the small file first, so that what does not exist is told before anything large is fetched
        found = own_linear(kind, linear) if linear else published_linear(kind, version, offline=offline)
    return _made(kind, version, variant, load_trunk(kind, trunk, offline=offline), found, range)


def load_trunk(net: Net, weights: str | Path = "", *, offline: bool = False) -> tuple[Trunk, Origin]:
    """A trunk with published weights, those of a file, or random ones ("random:SEED"). Raises `CutawayError`."""
    if str(weights).split(":")[0] == "random":
        return _random(net, str(weights))
    state: State
    state, origin = own(weights) if weights else published(net.name, net.weights, offline=offline)
    trunk = net.build()
    fill(trunk, net.convert(state), beside=net.beside, what=f"the weights of {origin.place}")
    return trunk, origin


def _random(net: Net, told: str) -> tuple[Trunk, Origin]:
    """PyTorch's own initial weights, drawn with a seed; the state of the global generator stays as it was."""
    seed = told.partition(":")[2] or "0"
    if not seed.isdecimal():
        raise CutawayError(f"trunk {told!r}: write random:SEED with a whole number")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        return net.build(), Origin(f"random:{seed}")


def _check(version: str, variant: str, linear: str | Path, checkpoint: str | Path) -> None:
    if version not in get_args(Version):
        raise CutawayError(f"there is no version {version!r} of LPIPS; known are {', '.join(get_args(Version))}")
    if variant not in get_args(Variant):
        raise CutawayError(f"there is no variant {variant!r} of LPIPS; known are {', '.join(get_args(Variant))}")
    if (variant in ("tune", "scratch")) != bool(checkpoint):
        raise CutawayError(
            "variants tune and scratch, and no others, want checkpoint=FILE: their trunk was learned too"
        )
    if linear and variant != "lin":
        raise CutawayError(
            f"variant {variant} takes no linear weights of their own: leave them out, or take variant lin"
        )


def _made(
    net: Net,
    version: str,
    variant: str,
    trunk: tuple[Trunk, Origin],
    linear: tuple[list[Tensor], Origin] | None,
    range: Range | None,
) -> Distance:
    layers = tuple(layer.name for layer in net.layers)
    identity = Identity(version, variant, net.name, layers, trunk[1], linear[1] if linear else None)
    return Distance(net, trunk[0], linear[0] if linear else None, identity, range).eval()


@lru_cache(maxsize=4)
def _kept(net: str, version: str, variant: str, device: torch.device, dtype: torch.dtype) -> Distance:
    return load_distance(net, version, variant).to(device, dtype)
