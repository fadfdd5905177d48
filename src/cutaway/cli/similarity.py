"""`cutaway similarity`: how alike images look."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from cutaway.cli.terminal import listing, new_console
from cutaway.core.errors import CutawayError

similarity = App(name="similarity", help="How alike two images look, by the features of a pretrained network (LPIPS).")


@similarity.command
def compare(
    a: Path,
    b: Path,
    *,
    net: Annotated[str, Parameter(alias="-n")] = "alex",
    version: str = "0.1",
    variant: str = "lin",
    trunk: str = "",
    linear: str = "",
    checkpoint: str = "",
    map: Annotated[Path | None, Parameter(alias="-m")] = None,
    json: bool = False,
) -> None:
    """The perceptual distance of two images, or of the images of the same names in two folders. 0 is the same.

    Parameters
    ----------
    a
        An image, or a folder.
    b
        Another.
    net
        The network whose features are compared; `cutaway similarity nets` lists them.
    version
        0.1, or 0.0, the first release of LPIPS.
    variant
        lin: with learned weights; baseline: without; tune, scratch: with those of a checkpoint.
    trunk
        A file of the network's weights, or random:SEED; default: the published ones.
    linear
        A file of learned weights; default: the published ones.
    checkpoint
        A file of both, for tune and scratch.
    map
        Where to draw what differs over the second image: a .png file, or a folder if A and B are folders.
    json
        One JSON object a line, with the name of every part that was used.
    """
    import json as writing

    from cutaway.similarity.images import pairs
    from cutaway.similarity.load import load_distance

    found = pairs(a, b)
    targets = _targets([pair.name for pair in found], map, many=a.is_dir())
    opened = _opened(found[0])  # what is wrong with it is told before a network is fetched
    measure = load_distance(net, version, variant, trunk=trunk, linear=linear, checkpoint=checkpoint, range=(0, 255))
    rows = []
    for i, (pair, target) in enumerate(zip(found, targets, strict=True)):
        row = _measured(measure, pair, opened if i == 0 else _opened(pair), target)
        rows.append(row)
        if json:
            print(writing.dumps(row | {"identity": measure.identity.to_dict()}, ensure_ascii=False), flush=True)
    if not json:
        _tell(rows, str(measure.identity))


@similarity.command(name="nets")
def show_nets() -> None:
    """The networks whose features can be compared, and which published linear weights fit them."""
    from cutaway.similarity.linear import SHA256
    from cutaway.similarity.trunk import nets

    rows = [
        (
            net.name,
            net.about,
            " ".join(map(str, net.channels)),
            ", ".join(version for version, files in SHA256.items() if net.name in files) or "–",
            net.citation,
        )
        for net in nets().values()
    ]
    new_console().print(listing(("net", "what it is", "channels", "linear weights", "source"), rows))


def _opened(pair: Any) -> list[Any]:
    from cutaway.similarity.images import read_image

    return [read_image(path) for path in (pair.a, pair.b)]


def _measured(measure: Any, pair: Any, images: list[Any], target: Path | None) -> dict:
    import torch

    from cutaway.similarity.heat import draw, write_png

    with torch.inference_mode():
        try:
            found = measure.compare(*images, maps=target is not None)
        except CutawayError as error:
            raise CutawayError(f"{pair.name}: {error}") from error
    layers = dict(zip(measure.identity.layers, found.terms[0].tolist(), strict=True))
    row = {"name": pair.name, "a": str(pair.a), "b": str(pair.b), "distance": float(found), "layers": layers}
    if target is None:
        return row
    most = found.maps[0].max().item()
    write_png(target, draw(images[1].float() / 255, found.maps[0], most))
    return row | {"map": str(target), "map_max": most}


def _targets(names: list[str], map: Path | None, *, many: bool) -> list[Path | None]:
    """Where each map goes."""
    if map is None:
        return [None for _ in names]
    if many:
        if map.is_file():
            raise CutawayError(f"--map {map} is a file: give a folder, since folders are compared")
        return [map / f"{name}.png" for name in names]
    if map.suffix.lower() != ".png" or map.is_dir():
        raise CutawayError(f"--map {map}: give the name of a .png file")
    return [map]


def _tell(rows: list[dict], identity: str) -> None:
    from cutaway.core.scores import estimate

    console, layers = new_console(), list(rows[0]["layers"])
    table = [(row["name"], f"{row['distance']:.4f}", *(f"{x:.4f}" for x in row["layers"].values())) for row in rows]
    console.print(listing(("image", "distance", *layers), table))
    if len(rows) > 1:
        import torch

        console.print(
            f"mean of {len(rows)}: {estimate(torch.tensor([row['distance'] for row in rows]))}", highlight=False
        )
    console.print(identity, highlight=False, markup=False, style="dim")
    if maps := [row["map"] for row in rows if "map" in row]:
        where = maps[0] if len(maps) == 1 else str(Path(maps[0]).parent)
        console.print(f"Written to {where}; the brightest place of each has its largest distance.", highlight=False)
