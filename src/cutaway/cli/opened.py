"""A model by whatever name a command is given: the decoder's own names, and runs of `cutaway tuning fit`.

The decoder knows no room, so what a run has learned is put into a folder of weights before it is opened. Results go on to call
the model by the name that was given, which is what later commands open again.
"""

from pathlib import Path
from typing import Any


def opened(model: str, *, offline: bool = False) -> str:
    """What `cutaway.load` takes for this name: a tuned run becomes its merged folder, any other name stays as it is.

    Args:
        offline: use no network to merge.

    Raises:
        CutawayError: a tuned run that is no decoder, cannot be merged, or is several.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir() or (folder / "config.json").is_file():
        return model
    from cutaway.tuning.merge import is_tuned
    from cutaway.tuning.merge import opened as merged

    return str(merged(folder, offline=offline)) if is_tuned(folder) else model


def load(model: str, **how: Any):
    """The decoder of this name; `how` and errors as for `cutaway.load`, and those of `opened`."""
    from cutaway.decoder import load as load_decoder

    loaded = load_decoder(opened(model), **how)
    loaded.source = model
    return loaded
