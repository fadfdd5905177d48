"""A tuned model on disk: what was learned and for what, not the model it was learned on.

model.json            the configuration, what the answers are
adapter/              the method's parameters, in the format of `peft` (format.py)
head.safetensors      the new head, if there is one
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cutaway.core.configs import configured, table
from cutaway.core.errors import CutawayError
from cutaway.core.runs import put
from cutaway.tuning import format as adapters
from cutaway.tuning.backbone import load_backbone
from cutaway.tuning.config import Config
from cutaway.tuning.model import Task, TunedModel, host_of

FORMAT = 1


def save(model: TunedModel, folder: Path) -> None:
    """Writes a tuned model into a folder."""
    from safetensors.torch import save as packed

    adapters.save(model.tuned, folder / "adapter")
    if model.head is not None:
        weights = {name: x.detach().cpu().contiguous() for name, x in model.head.state_dict().items()}
        put(folder / "head.safetensors", packed(weights))
    about = {"format": FORMAT, "config": table(model.config), "task": asdict(model.task)}
    put(folder / "model.json", (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())


def load(folder: str | Path) -> TunedModel:
    """A tuned model from a run folder or from the `model` folder within it; ready to predict. The pretrained model is fetched
    anew by its name, and has to be the same.

    Raises:
        CutawayError: there is none, its files are damaged, or the pretrained model is not to be had or another one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    place, about = read(folder)
    try:
        config, task = configured(Config, about["config"]), _task(about["task"])
        backbone = load_backbone(config.model, weights=config.weights)
        tuned = adapters.load_tuned(host_of(backbone, task), place / "adapter")
        model = TunedModel(config, task, backbone, tuned)
        if model.head is not None:
            model.head.load_state_dict(load_file(place / "head.safetensors"))
        return model.eval()
    except KeyError as error:
        raise CutawayError(f"{place} cannot be opened (there is no {error}): fit it again") from error
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise CutawayError(f"{place} cannot be opened ({' '.join(str(error).split())[:200]}): fit it again") from error


def read(folder: str | Path) -> tuple[Path, dict[str, Any]]:
    """Where the model of a run lies, and what model.json says.

    Raises:
        CutawayError: there is none, or it is of another version.
    """
    folder = Path(folder)
    place = folder / "model" if (folder / "model" / "model.json").is_file() else folder
    if not (place / "model.json").is_file() or not (place / "adapter").is_dir():
        seeds = sorted(x.parent.name for x in folder.glob("seed-*/model"))
        hint = f"one of its runs, such as {folder / seeds[0]}" if seeds else "a run folder of `cutaway tuning fit`"
        raise CutawayError(f"{folder} is not a tuned model: give {hint}")
    try:
        about = json.loads((place / "model.json").read_text(encoding="utf-8"))
        found = about["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CutawayError(f"{place / 'model.json'} is damaged ({error}): fit it again") from error
    if found != FORMAT:
        raise CutawayError(f"{place} has the format {found}, this version of cutaway reads {FORMAT}")
    return place, about


def _task(told: dict[str, Any]) -> Task:
    return Task(str(told["kind"]), tuple(told["labels"]), float(told["center"]), float(told["scale"]))
