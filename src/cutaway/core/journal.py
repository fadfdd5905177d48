"""What has been measured already, on disk, so that a job that was killed goes on instead of starting again.

A journal is a folder of small safetensors files. Each is one batch of measurements and appears whole or not at all; each
measurement stands under a key made of everything that it depends on. A job that is given the same things to measure reads
them; one that is given anything else finds nothing under its keys. Several processes may write into one journal.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cutaway.core.runs import put


class Journal:
    """Measurements by name. `about` names what all of them share (model, code); the folder is made when first needed."""

    def __init__(self, folder: Path, about: str):
        self.folder, self.about = folder, about
        self._kept: dict[str, Tensor] = {}
        for file in sorted(folder.glob("*.safetensors")):
            try:
                self._kept |= load(file.read_bytes())
            except SafetensorError:  # cut short by a power failure: measured again
                file.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str, shape: tuple[int, ...]) -> Tensor | None:
        """A measurement of this shape, if it has been made."""
        value = self._kept.get(self._key(name))
        return value if value is not None and value.shape == shape else None

    def add(self, names: Iterable[str], values: Tensor) -> None:
        """Writes measurements, one for each name."""
        fresh = {self._key(name): value.clone() for name, value in zip(names, values, strict=True)}
        put(self.folder / f"{digest(*sorted(fresh))}.safetensors", save(fresh))
        self._kept |= fresh

    def remove(self) -> None:
        """Forgets everything; for when the job's result is in its place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _key(self, name: str) -> str:
        return digest(self.about, name)


def name_of(*parts: str | int | list[str] | None) -> str:
    """Parts to one name, so that no two lists of parts give the same."""
    return json.dumps(parts, ensure_ascii=False)


def digest(*parts: str | Tensor) -> str:
    """The SHA-256 of texts and tensors (type, shape and every byte), in hexadecimal."""
    hashed = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            content = part.encode()
            head = f"text {len(content)}"
        else:
            content = part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            head = f"{part.dtype} {tuple(part.shape)}"
        hashed.update(head.encode() + b"\n")
        hashed.update(content)
    return hashed.hexdigest()
