"""Linear weights, a weight for each channel of each layer: those that were published with LPIPS, and a user's.

Versions 0.1 and 0.0 lie in the wheel of the package `lpips`, whose names are `lin0.model.1.weight` and so on. A checkpoint of a
trunk that was tuned, or learned from scratch, holds both, the trunk's weights named `net.slice1.0.weight`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.core.sources import Wheel
from cutaway.similarity.trunk import Net
from cutaway.similarity.weights import Origin, Published, own, published

Linear = list[Float[Tensor, " channel"]]

SHA256 = {
    "0.1": {
        "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        "squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    },
    "0.0": {
        "alex": "18720f55913d0af89042f13faa7e536a6ce1444a0914e6db9461355ece1e8cd5",
        "vgg": "b9e4236260c3dd988fc79d2a48d645d885afcbb21f9fd595e6744cf7419b582c",
        "squeeze": "c27abd3a0145541baa50990817df58d3759c3f8154949f42af3b59b4e042d0bf",
    },
}
"""Of each published file, by version and trunk."""
_WHEEL = Wheel(
    requirement="lpips==0.1.4",
    sha256="fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e",
    member="lpips/weights/",
    licence="BSD-2-Clause",
)


def published_linear(net: Net, version: str, *, offline: bool = False) -> tuple[Linear, Origin]:
    """The published weights of a trunk.

    Raises:
        CutawayError: none were published for it, or they cannot be had.
    """
    if net.name not in SHA256[version]:
        there = ", ".join(SHA256[version])
        raise CutawayError(
            f"no linear weights were published for {net.name}, only for {there}: give a file of them, or take variant baseline"
        )
    name = f"v{version}/{net.name}.pth"
    file = Published(_WHEEL, SHA256[version][net.name], data=f"lpips/weights/{name}", member=name)
    state, origin = published(f"LPIPS {version} {net.name}", [file], offline=offline)
    return linear_of(net, state, str(origin)), Origin(f"{origin.place} {name}", origin.sha256)


def own_linear(net: Net, path: str | Path) -> tuple[Linear, Origin]:
    """The weights of a user's file; raises `CutawayError` if it cannot be read or does not fit the trunk."""
    state, origin = own(path)
    return linear_of(net, state, str(path)), origin


def checkpoint(net: Net, path: str | Path) -> tuple[dict[str, Tensor], Linear, Origin]:
    """Trunk and linear weights of one file, as the published code saves them when both were learned.

    Raises:
        CutawayError: the file cannot be read, or holds no trunk.
    """
    state, origin = own(path)
    trunk = {}
    for name, x in state.items():
        if found := re.fullmatch(r"net\.slice\d+\.(\d+\..+)", name):
            trunk[f"features.{found[1]}"] = x
        elif name.startswith("trunk."):
            trunk[name.removeprefix("trunk.")] = x
    if not trunk:
        raise CutawayError(
            f"{path} holds no trunk (net.slice1.0.weight …): give it as linear weights, with variant lin"
        )
    return trunk, linear_of(net, state, str(path)), origin


def linear_of(net: Net, state: Mapping[str, Tensor], what: str) -> Linear:
    """The weights of each layer; raises `CutawayError` if one is missing, has another shape, or if one is too many."""
    found: dict[int, Tensor] = {}
    for name, x in state.items():
        if at := re.fullmatch(r"(?:lin|linear\.)(\d+)(?:\.model\.[01]\.weight)?", name):
            found[int(at[1])] = x.flatten().float()
    for k, layer in enumerate(net.layers):
        if k not in found:
            raise CutawayError(f"{what} has no linear weights for {layer.name}, layer {k} of {net.name}")
        if len(found[k]) != layer.channels:
            raise CutawayError(
                f"{what} has {len(found[k])} linear weights for {layer.name} of {net.name}, it must be {layer.channels}"
            )
    if len(found) > len(net.layers):
        raise CutawayError(f"{what} has linear weights for {len(found)} layers, {net.name} has {len(net.layers)}")
    return [found[k] for k in range(len(net.layers))]
