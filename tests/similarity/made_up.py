"""Images, weights and distances for tests: drawn by seed, so that nothing is fetched."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cutaway.similarity import linear
from cutaway.similarity.distance import Distance
from cutaway.similarity.load import load_distance
from cutaway.similarity.trunk import net_named


def images(n: int = 2, side: int = 64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pairs in −1 to 1, the second a noisy copy of the first."""
    draw = torch.Generator().manual_seed(seed)
    a = 2 * torch.rand(n, 3, side, side, generator=draw) - 1
    return a, (a + 0.3 * torch.randn(a.shape, generator=draw)).clamp(-1, 1)


def linear_file(folder: Path, net: str, seed: int = 0, name: str = "") -> Path:
    """Linear weights as LPIPS's files have them."""
    draw = torch.Generator().manual_seed(seed)
    channels = net_named(net).channels
    state = {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1, generator=draw) for k, c in enumerate(channels)}
    path = folder / (name or f"{net}.pth")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def publish(folder: Path, monkeypatch, net: str, version: str = "0.1") -> Path:
    """Makes weights that a test wrote the published ones: they lie below `$CUTAWAY_DATA`, and their checksum is known."""
    path = linear_file(folder, net, name=f"lpips/weights/v{version}/{net}.pth")
    monkeypatch.setenv("CUTAWAY_DATA", str(folder))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(linear.SHA256, version, linear.SHA256[version] | {net: digest})
    return path


def measure(folder: Path, net: str = "alex", **given) -> Distance:
    """A distance with random weights."""
    given = {"trunk": "random:0", "linear": linear_file(folder / "made", net), "range": (-1, 1)} | given
    return load_distance(net, **given)


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (64, 64)) -> Path:
    """A smooth image of random colours in a file."""
    small = np.random.RandomState(seed).randint(0, 256, (6, 6, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)
    return path
