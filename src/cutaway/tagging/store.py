"""A tagger on disk: weights in safetensors, everything else in JSON. It opens without the encoder it was made from.

model.json            configuration, labels, calibration, whether weights are of 8 bits
weights.safetensors   all of them
INPUT/NAME.json       what an input knows: an encoder's config and tokenizer, a vocabulary
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cutaway.core.configs import configured, table
from cutaway.core.errors import CutawayError
from cutaway.core.runs import put
from cutaway.tagging.calibration import Calibration
from cutaway.tagging.config import Config
from cutaway.tagging.model import Labels, Tagger, same_tagger
from cutaway.tagging.shrink import in_int8

FORMAT = 1


def save(tagger: Tagger, folder: Path) -> None:
    """Writes a tagger into a folder."""
    from safetensors.torch import save as packed

    about = {
        "format": FORMAT,
        "config": table(tagger.config),
        "labels": asdict(tagger.labels),
        "calibration": asdict(tagger.calibration),
        "int8": tagger.int8,
    }
    for name, each in tagger.inputs.items():
        for key, known in each.known().items():
            put(folder / name / f"{key}.json", json.dumps(known, ensure_ascii=False).encode())
    weights = {name: x.detach().cpu().contiguous() for name, x in tagger.state_dict().items()}
    put(folder / "weights.safetensors", packed(weights))
    put(folder / "model.json", (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())


def load(folder: str | Path) -> Tagger:
    """A tagger from a run folder or from the `model` folder within it; ready to predict.

    Raises:
        CutawayError: there is none, or its files are damaged or not of one another.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    place = folder / "model" if (folder / "model" / "model.json").is_file() else folder
    if not (place / "model.json").is_file():
        seeds = sorted(x.parent.name for x in folder.glob("seed-*/model"))
        hint = f"one of its runs, such as {folder / seeds[0]}" if seeds else "a run folder of `cutaway tagging fit`"
        raise CutawayError(f"{folder} is not a tagger: give {hint}")
    try:
        about = json.loads((place / "model.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise CutawayError(f"its format is {about['format']}, this version of cutaway reads {FORMAT}")
        tagger = _shape(place, about)
        tagger.load_state_dict(load_file(place / "weights.safetensors"))
        return tagger.eval()
    except KeyError as error:
        raise CutawayError(f"{place} cannot be opened (there is no {error}): fit it again") from error
    except (CutawayError, OSError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise CutawayError(f"{place} cannot be opened ({' '.join(str(error).split())[:200]}): fit it again") from error


def _shape(place: Path, about: dict[str, Any]) -> Tagger:
    """The tagger that `about` tells of, its weights to be filled."""
    config = configured(Config, about["config"])
    labels = Labels(tuple(about["labels"]["spans"]), tuple(about["labels"]["intents"]))
    known = {
        name: {
            file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted((place / name).glob("*.json"))
        }
        for name in config.inputs
    }
    tagger = same_tagger(config, labels, known)
    tagger.calibration = Calibration(**{name: float(x) for name, x in about["calibration"].items()})
    return in_int8(tagger) if about.get("int8") else tagger
