"""A tuned model as one that any tool opens: what was learned goes into the pretrained model's own weights."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import method, methods
from cutaway.tuning.store import load, read

BESIDE = ("tokenizer", "special_tokens", "vocab", "merges", "added_tokens", "generation_config")
"""How files begin that are taken over as they are."""


def merged_folder(run: str | Path, out: str | Path) -> Path:
    """Writes the merged model in Hugging Face layout; the folder appears whole or not at all. Returns it.

    Raises:
        CutawayError: not a tuned model, a method that cannot be merged, or the folder is there already.
    """
    out = Path(out)
    if out.exists():
        raise CutawayError(f"{out} exists already: choose another name, or remove it")
    _, about = read(run)
    name = str(about.get("config", {}).get("method", ""))
    if not method(name).mergeable:
        able = ", ".join(other for other, each in methods().items() if each.mergeable)
        raise CutawayError(f"{run} is tuned by {name}, which cannot be merged; those that can are {able}")
    model = load(run)
    merged: Any = model.tuned.merge()
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        merged.save_pretrained(building, safe_serialization=True)
        for file in model.reader.folder.iterdir():
            if file.is_file() and file.name.startswith(BESIDE) and not (building / file.name).exists():
                shutil.copyfile(file, building / file.name)
        building.chmod(0o755)
        os.replace(building, out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return out
