"""How a head of a role looks: its shape, its letter, its colour; never by colour alone."""

from dataclasses import dataclass

OUTLINES = {
    "mover": "M-10,0a10,10 0 1,0 20,0a10,10 0 1,0 -20,0z",
    "negative": "M0,11L-11.5,-8L11.5,-8z",
    "previous": "M-9,-9H9V9H-9z",
    "fuzzy": "M-4,-10H4L10,-4V4L4,10H-4L-10,4V-4z",
    "positional": "M0,-12.5L12.5,0L0,12.5L-12.5,0z",
    "other": "M-11.5,0L-5.5,-9.5H5.5L11.5,0L5.5,9.5H-5.5z",
}
"""A shape for every kind of role, around 0, 0: circle, triangle, square, octagon, diamond, hexagon."""


@dataclass(frozen=True)
class Mark:
    """How heads of one role look; never by colour alone."""

    role: str
    kind: str
    letter: str
    about: str

    @property
    def outline(self) -> str:
        return OUTLINES[self.kind]


MARKS = {
    "negative": ("negative", "N", "writes against the answer"),
    "previous-token": ("previous", "P", "attends to the token before"),
    "fuzzy previous-token": ("fuzzy", "F", "attends to one of the few tokens before"),
    "positional": ("positional", "L", "tells how far the answer is: its location"),
    "other": ("other", "O", "none of these"),
}


def mark(role: str) -> Mark:
    """Roles that no rule but the first gives are movers, whatever their behaviour calls them."""
    if role in MARKS:
        return Mark(role, *MARKS[role])
    initial = (role.split() or ["?"])[-1][0].upper()
    letter = initial if initial not in {other for _, other, _ in MARKS.values()} else "M"
    return Mark(role, "mover", letter, "carries the answer from where it stands in the prompt")
