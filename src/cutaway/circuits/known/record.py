"""What a published circuit is: the model, the behaviour, heads with roles, the source, and how certain all that is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from cutaway.core.discovery import discover, pick
from cutaway.decoder import Site, parse_site


@dataclass(frozen=True)
class KnownCircuit:
    """Attention heads that somebody has published as the circuit of a behaviour, in one model."""

    name: str
    model: str
    """As `cutaway.load` takes it, or the name it goes by where no family here reads it."""
    behavior: str
    """A behaviour of this package that asks for the same."""
    roles: Mapping[str, tuple[str, ...]]
    """role → heads as layer.head."""
    citation: str
    certainty: str
    """What is known of the heads, what of it is only somebody's list, and how our prompts differ from those used."""
    shape: tuple[int, int]
    """Layers and heads a layer of the model."""
    options: tuple[str, ...] = ()
    """Options of the behaviour that come nearest to the published prompts, as name=value."""
    loads: bool = True
    """Is there a family here that reads the model?"""
    published: str = ""
    """What an automatic method was reported to find of these heads, to stand beside ours."""

    @property
    def heads(self) -> dict[Site, str]:
        """Every head with its role."""
        return {parse_site(head): role for role, heads in self.roles.items() for head in heads}


@cache
def known_circuits() -> dict[str, KnownCircuit]:
    """Every record of this folder by name."""
    return discover("cutaway.circuits.known", "KNOWN")


def known_circuit(name: str) -> KnownCircuit:
    """A published circuit by name; raises `CutawayError` with the nearest names if there is none such."""
    return pick(known_circuits(), name, "known circuit")
