"""Folders that are whole or not there: filled aside, stamped last, moved into place in one step.

A stamp is a small JSON file which says where its files came from and what each must weigh and hash to.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

SUFFIX = ".source.json"


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new empty folder that takes the place of `folder` in one step if the block ends without an exception."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(".partial-*"):  # of a process that was killed
        if left.stat().st_mtime < time.time() - 86_400:
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=".partial-", dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        fresh = Path(temporary, "new")
        fresh.mkdir()
        yield fresh
        if folder.exists():
            os.replace(folder, Path(temporary, "old"))
        try:
            os.replace(fresh, folder)
        except OSError:
            if not folder.exists():
                raise
            os.replace(folder, Path(temporary, "theirs"))  # another process did the same just now
            os.replace(fresh, folder)


def write_stamp(stamp: Path, path: Path, *, origin: str, licence: str, patterns: Sequence[str] = ("*",)) -> None:
    """Vouch for `path`, or for the files under it, as they are now.

    Args:
        origin: a kind and a requirement, as in "wheel some-model==1.0".
        patterns: the file names to vouch for, when `path` is a folder that others may put files into.
    """
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    kind, _, requirement = origin.partition(" ")
    record = {
        "kind": kind,
        "requirement": requirement,
        "licence": licence,
        "path": str(path.relative_to(stamp.parent) if path.is_relative_to(stamp.parent) else path.absolute()),
        "files": {
            file.relative_to(path).as_posix(): {"size": file.stat().st_size, "sha256": sha256(file)}
            for file in files
            if file != stamp and any(fnmatch(file.name, pattern) for pattern in patterns)
        },
    }
    temporary = stamp.with_name(f"{stamp.name}.{os.getpid()}")
    temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(temporary, stamp)


def whole(stamp: Path, *, deep: bool = False) -> Path | None:
    """The path a stamp vouches for; `None` without a stamp, or when a file has another size (`deep`: or checksum)."""
    path, spoilt = inspect(stamp, deep=deep)
    return None if spoilt else path


def inspect(stamp: Path, *, deep: bool = False) -> tuple[Path | None, list[Path]]:
    """The path a stamp vouches for (`None` without a readable one), and those of its files that are not as it says."""
    try:
        record = json.loads(stamp.read_text(encoding="utf-8"))
        path = stamp.parent / record["path"]
        files = {path / name: (expected["size"], expected["sha256"]) for name, expected in record["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, []
    spoilt = [file for file, (size, digest) in files.items() if not _as_stamped(file, size, digest if deep else None)]
    return (path if files else None), spoilt


def _as_stamped(file: Path, size: int, digest: str | None) -> bool:
    return file.is_file() and file.stat().st_size == size and (digest is None or sha256(file) == digest)


def sha256(file: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
