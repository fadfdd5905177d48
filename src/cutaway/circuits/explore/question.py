"""What the page may ask, read from JSON with every bound checked. Nothing here is ever a path or a name of a file."""

import unicodedata
from dataclasses import dataclass, fields
from typing import Literal, get_args

from cutaway.core.errors import CutawayError
from cutaway.decoder import Site, parse_site

Ablation = Literal["role", "mean", "zero", "second"]
"""What an ablated head gets: its mean by role and place over the run's reference corruption, its mean over all tokens,
zero, or its value on the second phrase."""

Place = str | int | None
"""Where a patch goes: the tokens of a role, one token, or (None) everywhere."""

KEPT, ABLATED, PATCHED = ".", "a", "p"
"""The states of a head, as the page writes them: one text a layer, one sign a head."""

CHARACTERS = 600
"""Most that a phrase may have; more where a prompt of the run has more."""

STREAMS = ("resid_pre", "mlp_out")
"""Sites that a patch may move from the second phrase, besides heads."""


@dataclass(frozen=True)
class Patch:
    """A site of the residual stream, or the output of an MLP, that takes its value on the second phrase."""

    site: Site
    at: Place = None


@dataclass(frozen=True)
class Bounds:
    """What a question must keep to: the sizes of the model, and how long a phrase may be."""

    layers: int
    heads: int
    characters: int = CHARACTERS


@dataclass(frozen=True)
class Question:
    """One question. `heads` is layer by layer the state of every head.

    `answer` is what the phrase is followed by; empty for what the model itself says. `second` is the phrase that patched
    heads, and `patch`, take their values on.
    """

    phrase: str
    answer: str = ""
    second: str = ""
    heads: tuple[str, ...] = ()
    ablation: Ablation = "role"
    patch: Patch | None = None

    def in_state(self, state: str) -> frozenset[Site]:
        """The heads that are `ABLATED`, say."""
        return frozenset(
            Site(layer, "z", head)
            for layer, states in enumerate(self.heads)
            for head, sign in enumerate(states)
            if sign == state
        )

    @property
    def needs_second(self) -> bool:
        """Does anything take its value on the second phrase?"""
        ablated = self.ablation == "second" and self.in_state(ABLATED)
        return bool(self.patch or self.in_state(PATCHED) or ablated)

    @classmethod
    def read(cls, data: object, bounds: Bounds) -> "Question":
        """A question from what a page sent.

        Raises:
            CutawayError: a field that is unknown, missing, of another kind, too long or out of range.
        """
        data = _record(data, {field.name for field in fields(cls)}, "a question")
        if "phrase" not in data:
            raise CutawayError("the phrase is missing: type one")
        phrase, answer, second = (_text(data.get(name, ""), name, bounds) for name in ("phrase", "answer", "second"))
        if not phrase.strip():
            raise CutawayError("the phrase is empty: type one")
        ablation = data.get("ablation", "role")
        if ablation not in get_args(Ablation):
            raise CutawayError(f"ablation must be one of {', '.join(get_args(Ablation))}")
        return cls(phrase, answer, second, _heads(data.get("heads", []), bounds), ablation, _patch(data, bounds))


def head_of(text: object, bounds: Bounds) -> Site:
    """One head, as in `9.9`; raises `CutawayError` if it is none of the model's."""
    site = _site(text)
    if site.kind != "z" or site.head is None or site.layer >= bounds.layers or site.head >= bounds.heads:
        raise CutawayError(
            f"heads are written 0.0 to {bounds.layers - 1}.{bounds.heads - 1}, the layer first; this is none of them"
        )
    return site


def _record(data: object, known: set[str], what: str) -> dict:
    if not isinstance(data, dict):
        raise CutawayError(f"{what} is a JSON object with {', '.join(sorted(known))}")
    if not data.keys() <= known:
        raise CutawayError(f"{what} has the fields {', '.join(sorted(known))}, and no others")
    return data


def _text(value: object, name: str, bounds: Bounds) -> str:
    if not isinstance(value, str):
        raise CutawayError(f"{name} must be a text")
    if len(value) > bounds.characters:
        raise CutawayError(f"{name} has {len(value)} characters: give at most {bounds.characters}")
    kinds = {unicodedata.category(c) for c in value if c not in "\n\t"}
    if kinds & {"Cc", "Cs"}:  # control characters, and halves of what is one character in UTF-16
        raise CutawayError(
            f"{name} has characters that are no text (control characters, or half of a pair): remove them"
        )
    return value


def _heads(value: object, bounds: Bounds) -> tuple[str, ...]:
    """Nothing at all stands for all heads kept."""
    rows = [KEPT * bounds.heads] * bounds.layers if value == [] else value
    fits = isinstance(rows, list) and len(rows) == bounds.layers
    if not fits or not all(isinstance(row, str) and len(row) == bounds.heads for row in rows):
        raise CutawayError(f"heads must be {bounds.layers} texts of {bounds.heads} signs, one a layer")
    if set("".join(rows)) - {KEPT, ABLATED, PATCHED}:
        raise CutawayError(f"a head is {KEPT!r} (kept), {ABLATED!r} (ablated) or {PATCHED!r} (patched)")
    return tuple(rows)


def _patch(data: dict, bounds: Bounds) -> Patch | None:
    if data.get("patch") is None:
        return None
    patch = _record(data["patch"], {"site", "at"}, "a patch")
    site, at = _site(patch.get("site")), patch.get("at")
    if site.kind not in STREAMS or site.layer >= bounds.layers:
        raise CutawayError(f"a patch goes to 0.resid_pre or m0, with layers up to {bounds.layers - 1}")
    if isinstance(at, bool) or not isinstance(at, str | int | None):
        raise CutawayError("a patch goes to a role (its name), to one token (its number from 0), or everywhere (null)")
    if isinstance(at, str):
        at = _text(at, "the role", bounds)
    return Patch(site, at)


def _site(text: object) -> Site:
    if not isinstance(text, str) or len(text) > 20:
        raise CutawayError("a site is a short text such as 9.9, 3.resid_pre or m3")
    try:
        return parse_site(text)
    except ValueError as error:  # digits that are no number, or too many of them
        raise CutawayError("a site is a short text such as 9.9, 3.resid_pre or m3") from error
