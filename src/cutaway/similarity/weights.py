"""Files of weights: where they are fetched from, by which checksum they are known, and reading them without unpickling anything.

Read are safetensors, PyTorch's files (`weights_only=True`) and Deep Compression's `.net`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.core.sources import Folder, Hub, Source, fetch, verify
from cutaway.core.stamps import sha256
from cutaway.similarity.compressed import read_compressed

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Published:
    """One file that somebody has published, known to the bit."""

    source: Source
    sha256: str
    """Of the file itself."""
    data: str = ""
    """Where it lies below `$CUTAWAY_DATA`, if it does."""
    member: str = ""
    """Which file, where the source is a folder of several."""


@dataclass(frozen=True)
class Origin:
    """Where weights came from."""

    place: str
    sha256: str = ""
    """Of the file; empty if there was none."""

    def __str__(self) -> str:
        return f"{self.place} ({self.sha256[:8]})" if self.sha256 else self.place

    def to_dict(self) -> dict:
        return {"place": self.place, "sha256": self.sha256}


def published(name: str, files: Sequence[Published], *, offline: bool = False) -> tuple[State, Origin]:
    """The weights of the first of `files` that can be had.

    Raises:
        CutawayError: none can, or what there is has another checksum and cannot be fetched again.
    """
    failures = []
    for file in files:
        try:
            path = _located(file, offline)
        except CutawayError as error:
            failures.append(str(error))
            continue
        return read_state(path), Origin(f"{file.source}", file.sha256)
    raise CutawayError(f"cannot get the weights of {name}; tried {' | '.join(failures)}; or give a file of them")


def own(path: str | Path) -> tuple[State, Origin]:
    """The weights of a file of the user's.

    Raises:
        CutawayError: there is none, it cannot be read, or it is not what the checksum in its name says: torchvision's files
            are named `alexnet-owt-7be5be79.pth`, by the first eight digits of their SHA-256.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CutawayError(f"there is no file of weights {path}; check the path")
    digest = sha256(path)
    named = re.search(r"-([0-9a-f]{8})\.(?:pth|pt)$", path.name)
    if named and not digest.startswith(named[1]):
        raise CutawayError(
            f"{path} was altered: its name says that its sha256 begins with {named[1]}, it is {digest[:8]}…; fetch it again"
        )
    return read_state(path), Origin(str(path), digest)


def read_state(path: Path) -> State:
    """Names and tensors of a file, on the CPU. Raises `CutawayError` if it is damaged or of another kind."""
    try:
        match path.suffix.lower():
            case ".safetensors":
                from safetensors.torch import load_file

                state = load_file(path)
            case ".net":
                return read_compressed(path)
            case ".pth" | ".pt":
                state = torch.load(path, map_location="cpu", weights_only=True)
            case other:
                raise CutawayError(
                    f"{path}: weights are read from .safetensors, .pth, .pt or .net, not {other or 'this'}"
                )
    except CutawayError:
        raise
    except UnpicklingError as error:
        raise CutawayError(f"{path} holds more than weights, or is damaged; it is not unpickled") from error
    except Exception as error:  # both libraries raise many kinds
        raise CutawayError(
            f"{path} is damaged or not a file of weights: {' '.join(str(error).split())[:150]}"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(x, Tensor) for x in state.values()):
        raise CutawayError(f"{path} is not a file of weights by name; save a state_dict")
    if spoilt := next((name for name, x in state.items() if x.is_floating_point() and not x.isfinite().all()), None):
        raise CutawayError(f"{path}: {spoilt} is not finite everywhere; the file is damaged")
    return state


def fill(module: torch.nn.Module, state: State, *, beside: tuple[str, ...], what: str) -> None:
    """Copies weights into a module, each of which must be there in its shape.

    Args:
        beside: beginnings of names that may be there and are not used.

    Raises:
        CutawayError: one is missing, has another shape, or is not known.
    """
    wanted = module.state_dict()
    for name, x in wanted.items():
        if name not in state:
            raise CutawayError(
                f"{what} do not fit: {name} is missing; they have {', '.join(list(state)[:3]) or 'nothing'} …"
            )
        if state[name].shape != x.shape:
            raise CutawayError(f"{what} do not fit: {name} is {tuple(state[name].shape)}, it must be {tuple(x.shape)}")
    if strange := next((name for name in state if name not in wanted and not name.startswith(beside)), None):
        raise CutawayError(f"{what} do not fit: there is no place for {strange}")
    module.load_state_dict({name: state[name] for name in wanted})


def _located(file: Published, offline: bool) -> Path:
    """A path whose bytes are those that were published."""
    if (data := os.environ.get("CUTAWAY_DATA")) and file.data:
        path = Path(data, file.data)
        if path.is_file():
            return _as_published(path, file)
    path = fetch(file.source, offline=offline)
    path = path / file.member if file.member else path
    if isinstance(file.source, Folder | Hub) or (path.is_file() and sha256(path) == file.sha256):
        return _as_published(path, file)
    verify(file.source, offline=offline)  # what was spoilt in the cache is fetched again
    return _as_published(path, file)


def _as_published(path: Path, file: Published) -> Path:
    if not path.is_file():
        raise CutawayError(f"{file.source}: there is no {path}")
    if (got := sha256(path)) != file.sha256:
        raise CutawayError(f"{path} is not what was published: sha256 expected {file.sha256}, got {got}; remove it")
    return path
