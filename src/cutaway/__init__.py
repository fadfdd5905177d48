"""cutaway: see how a pretrained network does what it does, change it, use it, and see what the change did inside.

The public names below are looked up when first used, so that importing the package (and `cutaway --help`) stays instant.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutaway.core.errors import CutawayError as CutawayError
    from cutaway.decoder import Decoder as Decoder
    from cutaway.decoder import Patch as Patch
    from cutaway.decoder import Site as Site
    from cutaway.decoder import load as load
    from cutaway.decoder import parse_site as parse_site

_HOME = {
    "CutawayError": "cutaway.core.errors",
    "Decoder": "cutaway.decoder",
    "Patch": "cutaway.decoder",
    "Site": "cutaway.decoder",
    "load": "cutaway.decoder",
    "parse_site": "cutaway.decoder",
}

__version__ = "0.1.0"
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'cutaway' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
