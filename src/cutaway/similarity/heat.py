"""A map of distances over an image: the image in grey, and where it differs in colour."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.core.runs import put

COLOURS = "magma"
"""A scale of matplotlib that is even to the eye and reads in grey."""
DEPTH = 0.85
"""How much of the image is covered where the difference is largest."""


def draw(image: Float[Tensor, "3 h w"], differences: Float[Tensor, "h w"], most: float) -> Tensor:
    """Red, green and blue `[h, w, 3]`, uint8.

    Args:
        image: in 0 to 1.
        most: the difference that is drawn brightest.
    """
    from matplotlib import colormaps

    share = (differences / most).clamp(0, 1) if most > 0 else torch.zeros_like(differences)
    colour = torch.from_numpy(colormaps[COLOURS](share.numpy())[..., :3]).float()
    grey = (image * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)[..., None].expand(-1, -1, 3)
    covered = DEPTH * share.sqrt()[..., None]
    return ((1 - covered) * grey + covered * colour).mul(255).round().to(torch.uint8)


def write_png(path: Path, picture: Tensor) -> None:
    """Writes red, green and blue `[h, w, 3]`, uint8; raises `CutawayError` if the file cannot be written."""
    import io

    from PIL import Image

    made = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.numpy())).save(made, "PNG")
    try:
        put(path, made.getvalue())
    except OSError as error:
        raise CutawayError(f"--map {path} cannot be written ({error.strerror}); choose another place") from error
