"""Training: one loop for every room that learns.

options.py      what can be set; defaults are the rooms' to choose
task.py         what a room brings: samples, losses, a score on its dev set
order.py        which samples make up each step: the same for one process and for many
schedule.py     the learning rate at a step, a plain function
checkpoint.py   everything a training needs to go on, in files without pickle
loop.py         the loop: read this first
"""

from typing import TYPE_CHECKING

from cutaway.core.training.options import Training as Training

if TYPE_CHECKING:
    from cutaway.core.training.loop import Trained as Trained
    from cutaway.core.training.loop import train as train
    from cutaway.core.training.task import Task as Task

_HOME = {"Trained": "loop", "train": "loop", "Task": "task"}


def __getattr__(name: str):
    """The rest when first used, so that options can be shown without importing torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
