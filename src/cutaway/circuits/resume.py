"""What a measurement depends on, said exactly: the names under which a journal keeps it.

The model (every weight, its type and place), the code that measures (every line), the prompts (every token and its role): if
any of them is another one, nothing of what was measured before is found.
"""

from functools import cache
from pathlib import Path

import torch

import cutaway
from cutaway.circuits.behavior import Behavior
from cutaway.core.journal import Journal, digest
from cutaway.decoder import Decoder


def journal_of(model: Decoder, folder: Path) -> Journal:
    """The journal in `folder` of what was measured on this model, by this code, on this kind of device."""
    weights = [part for name, tensor in model.state_dict().items() for part in (name, tensor)]
    return Journal(folder, digest(code(), torch.__version__, model.device.type, repr(model.config), *weights))


@cache
def code() -> str:
    """A digest of the package's source: a value measured by other code is not taken."""
    package = Path(cutaway.__file__).parent
    files = sorted([*package.glob("decoder/**/*.py"), *package.glob("circuits/**/*.py")])
    return digest(*(text for file in files for text in (file.relative_to(package).as_posix(), file.read_text())))


def fingerprint(behavior: Behavior) -> str:
    """A digest of everything in a behaviour that a measurement can depend on: tokens, roles, answers, corruptions."""
    runs = [
        (f"{name} {steps}", prompts)
        for name, corruption in behavior.corruptions.items()
        for steps, prompts in corruption.runs
    ]
    tensors = [
        part
        for about, prompts in [("clean", behavior.clean), *runs]
        for part in (about, prompts.tokens, prompts.slots, prompts.steps)
    ]
    about = repr((behavior.slots, behavior.shared, behavior.reference))
    return digest(about, behavior.answers, behavior.alternatives, *tensors)
