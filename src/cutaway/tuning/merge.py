"""A tuned model as one that any tool opens: what was learned goes into the pretrained model's own weights.

merged_folder   where it was asked for
opened          in the cache, once for each run, for rooms that look into decoders
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from cutaway.core.encoders import without_bars
from cutaway.core.errors import CutawayError
from cutaway.core.sources import announce, cache_folder
from cutaway.core.stamps import SUFFIX, replacing, sha256, whole, write_stamp
from cutaway.tuning.method import method, methods
from cutaway.tuning.store import load, read

BESIDE = ("tokenizer", "special_tokens", "vocab", "merges", "added_tokens", "generation_config")
"""How files begin that are taken over as they are."""
FORMAT = 1
"""Of the folders in the cache: another number if they are made in another way."""


def merged_folder(run: str | Path, out: str | Path) -> Path:
    """Writes the merged model in Hugging Face layout; the folder appears whole or not at all. Returns it.

    Raises:
        CutawayError: not a tuned model, a method or weights that cannot be merged, or the folder is there already.
    """
    out = Path(out)
    if out.exists():
        raise CutawayError(f"{out} exists already: choose another name, or remove it")
    _mergeable(run)
    try:
        with replacing(out) as fresh:
            _write(run, fresh)
    except OSError as error:
        raise CutawayError(f"cannot write {out} ({error.strerror or error}): choose another folder") from error
    return out


def opened(run: str | Path, *, offline: bool = False) -> Path:
    """The merged decoder of a run that writes text: a folder in the cache, kept under a checksum of what was learned and of what
    the adapter says of its base model, so that a run made anew is merged anew.

    Args:
        offline: use no network to get the pretrained model.

    Raises:
        CutawayError: as `merged_folder`; or a model of labels or scores, which no decoder is.
    """
    place, about = _mergeable(run)
    kind, name = about["task"]["kind"], about["config"]["model"]
    if kind != "text":
        raise CutawayError(
            f"{run} answers with {kind}, not text, so there is no decoder in it: give a run tuned on text"
        )
    files = [place / "model.json", *sorted((place / "adapter").iterdir())]
    digest = hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()
    kept = cache_folder() / "merged" / f"{about['config']['method']}-{digest[:16]}-{FORMAT}"
    try:
        if not whole(kept / f"merged{SUFFIX}"):
            if offline:
                _at_hand(name)
            announce(f"merging {run} into weights of its own, once, into {kept}")
            with replacing(kept) as fresh:
                _write(run, fresh)
                write_stamp(
                    fresh / f"merged{SUFFIX}", fresh, origin=f"merged {name} sha256:{digest}", licence=f"that of {name}"
                )
    except OSError as error:
        raise CutawayError(
            f"cannot keep the merged model in {kept} ({error.strerror or error}): free some space or set CUTAWAY_CACHE to a "
            "writable folder"
        ) from error
    return kept


def is_tuned(folder: Path) -> bool:
    """Does a folder look like one of `cutaway tuning fit`, of one seed or several?"""
    places = (folder / "model", folder, *folder.glob("seed-*/model"))
    return any((place / "adapter").is_dir() for place in places)


def _mergeable(run: str | Path) -> tuple[Path, dict[str, Any]]:
    """As `read`; raises `CutawayError` if it cannot be merged."""
    place, about = read(run)
    try:
        name, weights, _ = about["config"]["method"], about["config"]["weights"], about["task"]["kind"]
    except (KeyError, TypeError) as error:
        raise CutawayError(f"{place / 'model.json'} is damaged (there is no {error}): fit it again") from error
    if not method(name).mergeable:
        able = ", ".join(other for other, each in methods().items() if each.mergeable)
        raise CutawayError(f"{run} is tuned by {name}, which cannot be merged; those that can are {able}")
    if weights not in ("float32", "bfloat16"):
        raise CutawayError(
            f"{run} is tuned on weights in {weights}, which would be rounded again if merged: fit it with --weights float32 or "
            "bfloat16"
        )
    return place, about


def _write(run: str | Path, folder: Path) -> None:
    """The merged model, and what its base has beside the weights."""
    model = load(run)
    merged: Any = model.tuned.merge()
    with without_bars():
        merged.save_pretrained(folder, safe_serialization=True)
    for file in model.reader.folder.iterdir():
        if file.is_file() and file.name.startswith(BESIDE) and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)


def _at_hand(model: str) -> None:
    """Raises `CutawayError` if a pretrained decoder is not on this machine."""
    from cutaway.decoder.catalog import locate

    locate(model, offline=True)
