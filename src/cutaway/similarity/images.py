"""Images from files, as bytes of red, green and blue; and pairs of files, by name in two folders.

Whatever cannot be read as it was meant is refused: transparency has no colour until it lies on something, and Pillow cuts colour
of 16 bits to 8. Grey is repeated, a camera's rotation is applied.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cutaway.core.errors import CutawayError

LARGEST = 50_000_000
"""Pixels of an image that is read: its features take some hundred times its bytes."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
GREY_16 = ("I", "I;16", "I;16L", "I;16B", "I;16N")
BITS_PER_SAMPLE = 258
"""The tag of TIFF."""


@dataclass(frozen=True)
class Pair:
    """Two files to be compared."""

    name: str
    a: Path
    b: Path


def read_image(path: str | Path) -> Tensor:
    """An image `[3, h, w]`, uint8; for grey in 16 bits float32 in 0 to 255.

    Raises:
        CutawayError: there is no such file, it is no image or a damaged one, it is huge, it has transparent pixels, 16 bits of
            colour, several frames, or colours that are not red, green and blue.
    """
    from PIL import Image

    path = Path(path).expanduser()
    if not path.is_file():
        raise CutawayError(f"there is no image {path}" + (": it is a folder" if path.is_dir() else "; check the path"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # LARGEST is below
            with Image.open(path) as image:
                return _pixels(image, path)
    except CutawayError:
        raise
    except Image.DecompressionBombError as error:
        raise CutawayError(f"{path} is huge, more than {LARGEST:,} pixels: make it smaller first") from error
    except Image.UnidentifiedImageError as error:
        raise CutawayError(f"{path} is not an image that Pillow can read") from error
    except Exception as error:  # each format's reader raises its own kinds
        raise CutawayError(f"{path} is damaged or truncated: {' '.join(str(error).split())[:120]}") from error


def pairs(a: Path, b: Path) -> list[Pair]:
    """The pairs of two files, or of two folders: files of the same name, whatever their format.

    Raises:
        CutawayError: one is a file and one a folder, a folder has two images of one name, or one that the other has not.
    """
    for path in (a, b):
        if not path.exists():
            raise CutawayError(f"there is no image or folder {path}; check the path")
    if a.is_dir() != b.is_dir():
        folder, file = (a, b) if a.is_dir() else (b, a)
        raise CutawayError(f"{folder} is a folder and {file} a file: give two of one kind")
    if not a.is_dir():
        return [Pair(a.name if a.name == b.name else f"{a.name} – {b.name}", a, b)]
    left, right = _images_of(a), _images_of(b)
    for folder, extra in ((b, left.keys() - right.keys()), (a, right.keys() - left.keys())):
        if extra:
            more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
            raise CutawayError(f"{folder} has no image {min(extra)}{more}: both folders must have the same names")
    return [Pair(name, left[name], right[name]) for name in sorted(left)]


def _images_of(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise CutawayError(
                    f"{folder} has two images named {path.stem}, {found[path.stem].name} and {path.name}"
                )
            found[path.stem] = path
    if not found:
        raise CutawayError(f"{folder} has no images ({', '.join(SUFFIXES)})")
    return found


def _pixels(image: Any, path: Path) -> Tensor:
    from PIL import ImageOps

    w, h = image.size
    if w * h > LARGEST:
        raise CutawayError(f"{path} is {w}×{h} pixels, more than {LARGEST:,}: make it smaller first")
    if getattr(image, "n_frames", 1) > 1:
        raise CutawayError(f"{path} has {image.n_frames} frames: save the one that is meant")
    if _deep_colour(image, path):
        raise CutawayError(f"{path} has 16 bits a colour, of which Pillow keeps 8: save it with 8 bits, or as grey")
    image = ImageOps.exif_transpose(image)
    if image.mode in GREY_16:
        values = np.asarray(image).astype(np.float32)
        if values.min() < 0 or values.max() > 65535:
            raise CutawayError(f"{path} has values outside 0 to 65535: its range is not known")
        return torch.from_numpy(values / 257).expand(3, -1, -1)
    if image.mode in ("P", "PA", "LA", "La", "RGBa"):
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        if np.asarray(image.getchannel("A")).min() < 255:
            raise CutawayError(f"{path} has transparent pixels: put it on a background first")
        image = image.convert("RGB")
    if image.mode in ("1", "L"):
        image = image.convert("RGB")
    if image.mode != "RGB":
        raise CutawayError(f"{path} is in mode {image.mode}: save it as RGB or as grey, with 8 bits")
    return torch.from_numpy(np.array(image)).movedim(-1, 0)


def _deep_colour(image: Any, path: Path) -> bool:
    """Has it more than 8 bits for each of several colours? Pillow does not say once it has opened a file."""
    if image.format == "PNG":
        header = path.open("rb").read(26)
        bits, kind = header[24], header[25]
        return bits == 16 and kind != 0  # 0 is grey alone
    if image.format == "TIFF":
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (8,))
        return len(bits) > 1 and max(bits) > 8
    return False
