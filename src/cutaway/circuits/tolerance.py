"""A published number beside ours: standard errors, the tolerance, the table.

**Tolerance** of a line = max(what the published number was read with, SIGMAS × the standard error of our own).

- Reading: half a unit of the last decimal, and for heat maps READING_ERROR of the colour bar on top.
- Standard error: of the mean over prompts (or of the sd, or of the ratio of two means). Never that of more prompts than
  the paper has, because its own number then is the uncertain one.
- The corruption is a shuffle of the prompts without a published seed. Where it enters, two independent draws are
  compared, theirs and ours, and the variance of the difference is up to twice that of one: DRAWS.
- Shares of 26 letters were counted on matrices read through the colour bar, where a near tie may fall the other way:
  LETTERS_OFF letters (and half a one for the rounding).
- In the joint swap, the heads that take part are those beyond a threshold, and those near it differ from sample to
  sample: SELECTION, in attention. What a figure shows as "no change" is a change below VISIBLE.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from cutaway.circuits.paper import N_PROMPTS, Reading

READING_ERROR = 0.01
SIGMAS = 3.0
DRAWS = 2.0
LETTERS_OFF = 2
SELECTION = 0.02
VISIBLE = 0.02
"""Every one is explained above; the first is a share, the last two are attention."""


@dataclass(frozen=True)
class Line:
    """One published number beside ours; `note` says how the published one was read."""

    section: str
    what: str
    published: float
    ours: float
    tolerance: float
    note: str = ""

    @property
    def difference(self) -> float:
        return self.ours - self.published

    @property
    def holds(self) -> bool:
        """Do the two differ by no more than the tolerance? A NaN never holds."""
        return abs(self.difference) <= self.tolerance


@dataclass(frozen=True)
class Measured:
    """A number of ours and its standard error over prompts."""

    value: float
    error: float = 0.0


def mean_of(values: Float[Tensor, " batch"]) -> Measured:
    return Measured(values.mean().item(), values.std().item() / math.sqrt(_prompts(values)))


def sd_of(values: Float[Tensor, " batch"]) -> Measured:
    """The standard deviation; its own error is that of a normal sample."""
    sd = values.std().item()
    return Measured(sd, sd / math.sqrt(2 * (_prompts(values) - 1)))


def ratio_of(above: Float[Tensor, " batch"], below: Float[Tensor, " batch"]) -> Measured:
    """The ratio of two means; its error by linearisation."""
    ratio = above.mean() / below.mean()
    return Measured(ratio.item(), mean_of((above - ratio * below) / below.mean()).error)


def _prompts(values: Tensor) -> int:
    """Ours or the paper's, whichever are fewer."""
    return min(len(values), N_PROMPTS)


def compare(
    section: str,
    what: str,
    published: float,
    ours: Measured,
    read: Reading,
    *,
    corrupted: bool = False,
    floor: float = 0.0,
    note: str = "",
) -> Line:
    """One line with its tolerance.

    Args:
        corrupted: do the shuffled prompts enter?
        floor: what else the published number leaves open.
        note: how it was read, if neither exactly nor through a colour bar.
    """
    reading = 0.5 * 10**-read.decimals + READING_ERROR * (read.span or 0.0)
    chance = SIGMAS * ours.error * math.sqrt(DRAWS if corrupted else 1.0)
    how = "colour bar" if read.span else "exact"
    return Line(f"{section} ({read.where})", what, published, ours.value, max(reading, chance, floor), note or how)


def table(lines: Sequence[Line]) -> Group:
    """Section by section: what, published, ours, difference, tolerance, whether it holds, how the number was read."""
    parts: list[RenderableType] = []
    for name in dict.fromkeys(line.section for line in lines):
        group = [line for line in lines if line.section == name]
        parts += [Text(f"{name}: {sum(line.holds for line in group)} of {len(group)} hold", "bold"), _rows(group), ""]
    return Group(*parts)


def _rows(lines: Sequence[Line]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("", width=56)
    for column in ("published", "ours", "difference", "tolerance"):
        made.add_column(column, justify="right", width=10)
    made.add_column("", width=1)
    made.add_column("read")
    for line in lines:
        numbers = (f"{line.published:.3f}", f"{line.ours:.3f}", f"{line.difference:+.3f}", f"{line.tolerance:.3f}")
        made.add_row(Text(line.what), *numbers, "✓" if line.holds else "✗", line.note)
    return made
