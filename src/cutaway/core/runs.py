"""A run is a folder: what was asked, what was used, what came out. It appears whole or not at all."""

import csv
import glob
import io
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from cutaway.core.errors import CutawayError

if TYPE_CHECKING:
    import numpy as np


def put(path: Path, content: bytes) -> Path:
    """Writes a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
    os.replace(temporary, path)
    return path


def leads() -> bool:
    """Is this process, among those that `torchrun` may have started, the one that writes and prints?"""
    return os.environ.get("RANK", "0") == "0"


class Run:
    """A run folder being written. Every file appears atomically."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.facts: dict = {}
        """What the manifest is to say beside what was known at the start."""

    def text(self, name: str, text: str) -> Path:
        return put(self.folder / name, text.encode())

    def json(self, name: str, data) -> Path:
        return self.text(name, json.dumps(data, indent=1, default=_plain, ensure_ascii=False) + "\n")

    def csv(self, name: str, rows: Sequence[dict]) -> Path:
        """Rows of one shape; the keys of the first are the columns."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return self.text(name, text.getvalue())

    def arrays(self, name: str, arrays: "Mapping[str, np.ndarray]") -> Path:
        """Arrays as one safetensors file."""
        import numpy as np
        from safetensors.numpy import save

        whole = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        return put(self.folder / name, save(whole))


@contextmanager
def new_run(folder: str | Path, *, config: dict, command: str = "", **about) -> Iterator[Run]:
    """A new run folder, built beside its place and moved there when all went well.

    Writes `config.toml` and `manifest.json` (`about` goes into the latter). An error or Ctrl-C leaves nothing.

    Raises:
        CutawayError: the folder exists already and is not empty, or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CutawayError(f"{folder} exists already and is not empty: choose another --out, or remove it")
    first = not folder.parent.exists()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise CutawayError(f"cannot write to {folder.parent} ({error.strerror}): choose another --out") from error
    _sweep(folder)
    started = time.time()
    try:
        run = Run(building)
        run.text("config.toml", toml(config))
        yield run
        spent = {"seconds": round(time.time() - started, 1), "peak_memory_gib": round(peak_memory() / 2**30, 2)}
        run.json("manifest.json", manifest(command, **spent, **about, **run.facts))
        os.chmod(building, 0o755)
        if folder.exists():
            folder.rmdir()
        os.replace(building, folder)
        run.folder = folder
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        if first and not any(folder.parent.iterdir()):
            folder.parent.rmdir()
        raise


def finished(folder: Path, *, config: dict, **about) -> dict | None:
    """The scores of a run that is there already; None if it is not.

    Raises:
        CutawayError: it was made with other settings, or `about` says otherwise than its manifest.
    """
    if not (folder / "scores.json").is_file():
        return None
    try:
        made = json.loads((folder / "manifest.json").read_text())
        scores = json.loads((folder / "scores.json").read_text())
        same = (folder / "config.toml").read_text() == toml(config)
    except (OSError, ValueError) as error:
        raise CutawayError(f"{folder} is a damaged run ({error}): choose another --out, or remove it") from error
    other = [name for name, x in about.items() if made.get(name) != x] + ["config.toml"] * (not same)
    if other:
        raise CutawayError(f"{folder} is another run ({', '.join(other)} differ): choose another --out, or remove it")
    return scores


def _sweep(folder: Path) -> None:
    """Removes what processes that were killed, more than a day ago, left half-built beside a run folder."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}-*"):
        if left.is_dir() and left.stat().st_mtime < time.time() - 86_400:
            shutil.rmtree(left, ignore_errors=True)


def manifest(command: str = "", **about) -> dict:
    """What a reader needs to make the run again: versions, hardware, command, and whatever else is given."""
    packages = ("cutaway", "torch", "numpy", "safetensors", "tokenizers", "transformers", "accelerate", "peft")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    import torch

    hardware = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    return {
        "command": command,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **about,
        "versions": versions,
        "hardware": hardware,
    }


def peak_memory() -> int:
    """Most memory this process has held, in bytes (0 where the system does not say)."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def toml(config: dict) -> str:
    """A flat or one-level nested dictionary as TOML; None is left out, as TOML has no word for it."""
    plain = {key: _plain(value) if is_dataclass(value) else value for key, value in config.items()}
    lines = [
        f"{key} = {_value(value)}" for key, value in plain.items() if value is not None and not isinstance(value, dict)
    ]
    for key, table in plain.items():
        if isinstance(table, dict):
            lines += ["", f"[{key}]", *(f"{k} = {_value(v)}" for k, v in table.items() if v is not None)]
    return "\n".join(lines) + "\n"


def _value(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    # a JSON string is a TOML basic string, but for one character that TOML wants escaped
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(value):
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
