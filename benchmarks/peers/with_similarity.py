"""The perceptual distance of one library, by its name, with weights that are drawn by seed: values to compare, and times.

This file runs in an environment that holds `lpips`, `piq` and torchvision; cutaway is read from the sources beside it.
"""

import ctypes
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from protocol import forget_peak, serve
from seeded_trunks import linear, pairs, weights
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

CHANNELS = {
    "alex": (64, 192, 384, 256, 256),
    "vgg": (64, 128, 256, 512, 512),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
}
PACKAGES = {"cutaway": ("torch",), "lpips": ("lpips", "torch", "torchvision"), "piq": ("piq", "torch", "torchvision")}


class Peer(NamedTuple):
    """Images are in −1 to 1. `module` computes; the others are what the library offers of layers and maps."""

    module: nn.Module
    distance: Callable[[Tensor, Tensor], Tensor]
    layers: Callable[[Tensor, Tensor], Tensor] | None = None
    maps: Callable[[Tensor, Tensor], Tensor] | None = None
    broadcasts: bool = True


def cutaway(job: dict) -> Peer:
    from cutaway.similarity.comparison import Identity
    from cutaway.similarity.distance import Distance
    from cutaway.similarity.linear import published_linear
    from cutaway.similarity.trunk import net_named
    from cutaway.similarity.weights import Origin

    net = net_named(job["net"])
    trunk = net.build()
    trunk.load_state_dict(weights({name: tuple(x.shape) for name, x in trunk.state_dict().items()}, job["seed"]))
    drawn = job["linear"] == "drawn"
    some = linear(net.channels, job["seed"]) if drawn else published_linear(net, job["version"])[0]
    names = tuple(layer.name for layer in net.layers)
    drawn_by = Origin(f"drawn:{job['seed']}")
    identity = Identity(job["version"], "lin", net.name, names, drawn_by, drawn_by if drawn else Origin("published"))
    made = Distance(net, trunk, some, identity, (-1, 1)).eval()
    return Peer(made, made, made.terms, lambda a, b: made.layer_maps(a, b).sum(1))


def lpips(job: dict) -> Peer:
    import lpips as library

    made = library.LPIPS(net=job["net"], version=job["version"], pnet_rand=True, verbose=False)
    state = made.state_dict()
    torchvision = {name: re.sub(r"^net\.slice\d+", "features", name) for name in state if name.startswith("net.")}
    drawn = weights({torchvision[name]: tuple(state[name].shape) for name in torchvision}, job["seed"])
    state |= {name: drawn[torchvision[name]] for name in torchvision}
    if job["linear"] == "drawn":
        for k, w in enumerate(linear(CHANNELS[job["net"]], job["seed"])):
            state[f"lin{k}.model.1.weight"] = state[f"lins.{k}.model.1.weight"] = w[None, :, None, None]
    made.load_state_dict(state)

    def layers(a: Tensor, b: Tensor) -> Tensor:
        return torch.cat(made(a, b, retPerLayer=True)[1], 1)[..., 0, 0]

    def maps(a: Tensor, b: Tensor) -> Tensor:
        made.spatial = True
        try:
            return made(a, b)[:, 0]
        finally:
            made.spatial = False

    return Peer(made, lambda a, b: made(a, b).flatten(), layers, maps)


def piq(job: dict) -> Peer:
    """What its class LPIPS does: that one fetches its weights from the network."""
    from piq.perceptual import ContentLoss
    from torchvision.models import vgg16

    features = vgg16(weights=None).features
    shapes = {f"features.{name}": tuple(x.shape) for name, x in features.state_dict().items()}
    features.load_state_dict({name[9:]: x for name, x in weights(shapes, job["seed"]).items()})
    some = [w[None, :, None, None] for w in linear(CHANNELS["vgg"], job["seed"])]
    made = ContentLoss(
        features, ("3", "8", "15", "22", "29"), some, reduction="none", normalize_features=True,
        mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    return Peer(made.eval(), lambda a, b: made((a + 1) / 2, (b + 1) / 2), broadcasts=False)


PEERS = {"cutaway": cutaway, "lpips": lpips, "piq": piq}
MADE: dict[tuple, Peer] = {}


def made(name: str, job: dict) -> Peer:
    """The library's distance, made once."""
    key = (job["net"], job["version"], job["linear"], job["seed"], job["dtype"])
    if key not in MADE:
        MADE.clear()
        with torch.inference_mode(False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = PEERS[name](job)
            peer.module.to(getattr(torch, job["dtype"]))
        MADE[key] = peer
    return MADE[key]


def fresh() -> None:
    """Gives freed memory back, so that a peak is that of one job (glibc)."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    forget_peak()


def given(job: dict) -> tuple[Tensor, Tensor]:
    if job.get("fresh"):
        fresh()
    with torch.inference_mode(False):
        return tuple(x.to(getattr(torch, job["dtype"])) for x in pairs(job["n"], tuple(job["size"]), job["seed"]))


def compare(name: str, job: dict) -> dict:
    """Values, layers and maps of some pairs."""
    peer, (a, b) = made(name, job), given(job)
    found = {"values": peer.distance(a, b), "layers": peer.layers(a, b), "maps": peer.maps(a, b)}
    np.savez(job["out"], **{key: x.double().numpy() for key, x in found.items()})
    return {}


def timed(job: dict, do: Callable[[], Tensor]) -> dict:
    spent = []
    for _ in range(job["repeats"]):
        started = time.perf_counter()
        found = do()
        spent.append(time.perf_counter() - started)
    np.savez(job["out"], found=found.double().numpy())
    return {"seconds": spent}


def forward(name: str, job: dict) -> dict:
    """Distances of a batch of pairs."""
    peer, (a, b) = made(name, job), given(job)
    return timed(job, lambda: peer.distance(a, b))


def many(name: str, job: dict) -> dict:
    """Distances of one image to all of a batch. `expand`: where a library reads both batches whole, as it is mostly used."""
    peer, (a, b) = made(name, job), given(job)
    one = b[:1].expand_as(b).contiguous() if job["expand"] and name != "cutaway" else b[:1]
    if len(one) == 1 and not peer.broadcasts:
        return {"failed": "it does not compare one with many"}
    return timed(job, lambda: peer.distance(a, one))


def learn(name: str, job: dict) -> dict:
    """Distances of a batch of pairs, and their slope by one side."""
    peer, (a, b) = made(name, job), given(job)

    def once() -> Tensor:
        x = a.clone().requires_grad_()
        peer.distance(x, b).sum().backward()
        return x.grad

    with torch.inference_mode(False), torch.enable_grad():
        return timed(job, once)


def warm(name: str, job: dict) -> dict:
    """One small pair, so that weights are in memory; peaks count from here."""
    peer, (a, b) = made(name, job), given(job | {"n": 1, "size": (64, 64)})
    peer.distance(a, b)
    fresh()
    return {}


JOBS = {"compare": compare, "warm": warm, "forward": forward, "many": many, "learn": learn}

if __name__ == "__main__":
    serve(lambda name: name, PACKAGES[sys.argv[1]], JOBS)
