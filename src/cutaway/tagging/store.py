"""A tagger on disk: weights in safetensors, everything else in JSON. It opens without the encoder it was made from.

model.json            configuration, labels, calibration, whether weights are of 8 bits
weights.safetensors   all of them
INPUT/NAME.json       what an input knows: an encoder's config and tokenizer, a vocabulary
"""

import json
from dataclasses import asdict
from pathlib import Path

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
        raise CutawayError(f"{folder} is not a tagger: give a run folder of `cutaway tagging fit`")
    try:
        about = json.loads((place / "model.json").read_text())
        config = configured(Config, about["config"])
        labels = Labels(tuple(about["labels"]["spans"]), tuple(about["labels"]["intents"]))
        known = {
            name: {file.stem: json.loads(file.read_text()) for file in sorted((place / name).glob("*.json"))}
            for name in config.inputs
        }
        tagger = same_tagger(config, labels, known)
        if about.get("int8"):
            in_int8(tagger)
        tagger.load_state_dict(load_file(place / "weights.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise CutawayError(f"{place} cannot be opened ({' '.join(str(error).split())[:200]}): fit it again") from error
    tagger.calibration = Calibration(**about["calibration"])
    return tagger.eval()
