"""Where in a model a method acts: the parts of its layers by their role, whatever the family (families.py) calls them.

    attn        the attention block of a layer       ffn          its feed-forward block
    attn_q/k/v  projections of the attention         ffn_up       into the feed-forward block's inner width
    attn_qkv    the three in one (GPT-2, NeoX)       ffn_gate     beside it, where there is a gate (Llama)
    attn_o      out of the attention                 ffn_down     back out
    layer       the whole layer                      norm         what normalises

Encoder-decoders have the layers of both halves, the encoder's first; the decoder's second attention has `cross_` before its roles.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.families import FAMILIES, Family

SLOT = "tuned"
"""Under this name, and that of the attachment, what is beside a module is registered in it, so that it is moved with it."""
ROLES = {role for family in FAMILIES for role in family.roles} | {"layer", "norm"}


@dataclass(frozen=True)
class Place:
    """A module of a model, and what it is there for."""

    name: str
    """Its full name in the model."""
    role: str
    layer: int
    """Counted over all layers; −1 for a module that a pattern has found outside them."""


def places(model: nn.Module) -> list[Place]:
    """All parts of a model's layers, layer by layer; none if no family fits."""
    names, found = dict(model.named_modules()), []
    for at, (layer, family) in enumerate(layers(model).items()):
        found.append(Place(layer, "layer", at))
        found += [Place(f"{layer}.{name}", role, at) for role, name in family.roles.items()]
        found += [
            Place(name, "norm", at)
            for name, module in names.items()
            if name.startswith(f"{layer}.") and "norm" in type(module).__name__.lower()
        ]
    return found


def layers(model: nn.Module) -> dict[str, Family]:
    """A model's layers in order, and how each names its parts; none if no family fits."""
    names, found = dict(model.named_modules()), {}
    for family in FAMILIES:
        mine = _numbered(family.layers, names)
        if all(layer not in found and f"{layer}.{name}" in names for layer in mine for name in family.roles.values()):
            found |= dict.fromkeys(mine, family)
    return found


def chosen(model: nn.Module, at: Sequence[str]) -> list[Place]:
    """The parts that are named: by role, or by a pattern of module names (`*.query`, `encoder.layer.0.*`). Roles that this family
    does not have are left out, as long as another one is there: one default serves all families.

    Raises:
        CutawayError: a pattern matches nothing, or no role is there; says the nearest names.
    """
    known, names, found = places(model), [name for name, _ in model.named_modules() if name], []
    there = {place.role for place in known}
    for word in at:
        if word in ROLES and word not in there and there.intersection(at):
            continue
        mine = [place for place in known if place.role == word]
        if not mine:
            mine = [Place(name, word, _layer_of(name, known)) for name in names if _fits(name, word)]
        if not mine:
            roles = list(dict.fromkeys(place.role for place in known))
            ends = list(dict.fromkeys(re.sub(r"\.\d+(?=\.)", ".*", name) for name in names))
            near = difflib.get_close_matches(word, roles + ends, 3, 0.4)
            hint = f"; nearest are {', '.join(near)}" if near else ""
            raise CutawayError(
                f"nothing in the model is called {word!r}{hint}; roles here: {', '.join(roles) or 'none known'}"
            )
        found += [place for place in mine if place.name not in {other.name for other in found}]
    return found


def inside(model: nn.Module, at: Sequence[str]) -> list[str]:
    """Names of the parameters inside the chosen parts, in the model's order; all, if no parts are named. A tied one is there once;
    what a tuning has put there is not among them. Raises as `chosen`, and `CutawayError` if the parts have no parameters."""
    parts = tuple(f"{place.name}." for place in chosen(model, at)) if at else ("",)
    found: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if ".parametrizations." in name:  # under a change: what is changed is one, what changes it is not
            name = (
                name.replace(".parametrizations.", ".").removesuffix(".original") if name.endswith(".original") else ""
            )
        if name and f".{SLOT}_" not in f".{name}" and name.startswith(parts) and parameter.is_floating_point():
            found.setdefault(id(parameter), name)
    if not found:
        raise CutawayError(f"there are no parameters in {', '.join(at) or 'this model'}: choose other parts")
    return list(found.values())


def _numbered(layer: str, names: Mapping[str, nn.Module]) -> list[str]:
    """The full names of modules with a number for the pattern's star, in order."""
    pattern = re.compile(rf"(?:.*\.)?{re.escape(layer[:-1])}(\d+)")
    matched = [(int(match[1]), name) for name in names if (match := pattern.fullmatch(name))]
    return [name for _, name in sorted(matched)]


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch(name, pattern) or fnmatch(name, f"*.{pattern}")


def _layer_of(name: str, known: Sequence[Place]) -> int:
    inside = (place.layer for place in known if place.role == "layer" and f"{name}.".startswith(f"{place.name}."))
    return next(inside, -1)


def by_layer(found: Sequence[Place]) -> Iterator[tuple[int, dict[str, Place]]]:
    """Layer and its parts by role."""
    for layer in sorted({place.layer for place in found}):
        yield layer, {place.role: place for place in found if place.layer == layer}
