"""Many independent measurements, made once: dealt out to the ranks, kept in a journal, known to all in the end.

Every grid and every search measures *cells* (one patched site, one circuit) that do not depend on each other. They all call
`Work.measure`, and so run on several ranks and go on after a kill without knowing it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.core.journal import Journal, digest
from cutaway.core.ranks import Ranks

Groups = Iterable[tuple[list[int], Tensor]]
"""Results as they are ready: (indices into the cells that were given, their values)."""


@dataclass(frozen=True)
class Scaling:
    """How well several ranks kept each other company; all in seconds."""

    busy: tuple[float, ...]
    """For each rank, measuring its share."""
    own: float
    """What every rank does for itself, and one process would do once: loading, runs that all cells start from, explaining."""
    elapsed: float
    cells: tuple[int, ...] = ()
    """For each rank, cells measured: those that the journal did not have."""

    @property
    def speedup(self) -> float:
        """Against one rank doing all of it at the same pace."""
        return (sum(self.busy) + self.own) / self.elapsed

    @property
    def share_busy(self) -> float:
        """Of the ranks' time, the part not spent waiting for each other."""
        return (sum(self.busy) / len(self.busy) + self.own) / self.elapsed

    def __str__(self) -> str:
        low, high = min(self.busy), max(self.busy)
        each = f"{low:.1f} s" if len(self.busy) == 1 else f"{low:.1f} to {high:.1f} s"
        return (
            f"{len(self.busy)} rank{'s' * (len(self.busy) > 1)}: {each} of shared work each, {self.own:.1f} s that each does "
            f"itself, {self.elapsed:.1f} s elapsed; {self.share_busy:.0%} busy, {self.speedup:.2f} × one rank"
        )


class Work:
    """Measures cells. `Work()` is one process without a journal."""

    def __init__(self, ranks: Ranks = Ranks(), journal: Journal | None = None):  # noqa: B008 - frozen
        self.ranks, self.journal = ranks, journal
        self.measured = 0
        """Cells that this rank measured, and did not read from the journal."""
        self._busy, self._together, self._began = 0.0, 0.0, time.monotonic()

    def measure(
        self,
        names: Sequence[str],
        shape: tuple[int, ...],
        run: Callable[[list[int]], Groups],
        tick: Callable[[int], None] = lambda done: None,
    ) -> Float[Tensor, "cell *axes"]:
        """One value of `shape` for each cell; the same bits on every rank.

        Args:
            names: what each cell is, made by `name_of` from all that its value depends on beside the journal's `about`.
            run: gets the cells left to this rank and returns their values, group by group. What it does before it
                returns counts as each rank's own; it is not called if nothing is left.
            tick: called with the number of cells done, of `len(names)`.

        Raises:
            CutawayError: ranks that do not measure the same, or one that has gone.
        """
        known = self._known(names, shape)
        owner = self._deal(names, torch.tensor([value is not None for value in known], dtype=torch.bool))
        values, left = torch.zeros(len(names), *shape), []
        for i in (owner == self.ranks.rank).nonzero().flatten().tolist():
            if (value := known[i]) is None:
                left.append(i)
            else:
                values[i] = value
        done = self._tell(tick, 0, len(names), len(left))
        groups = iter(run(left)) if left else iter(())
        waiting = len(left)
        while (found := self._timed(groups)) is not None:
            at = [left[i] for i in found[0]]
            values[at] = found[1].float().cpu()
            self.measured += len(at)
            if self.journal is not None:
                self.journal.add([names[i] for i in at], values[at])
            waiting -= len(at)
            done = self._tell(tick, done, len(names), waiting)
        return self._joined(values)

    def agree(self, values: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """What the rank that leads has, on every rank: for values that each computes itself, if decisions hang on them."""
        return self.ranks.sum(values if self.ranks.leads else torch.zeros_like(values))

    def scaling(self) -> Scaling:
        """Since this object was made; every rank must ask."""
        elapsed = time.monotonic() - self._began
        rows = self.ranks.gather(torch.tensor([self._busy, elapsed - self._together, elapsed, float(self.measured)]))
        cells = tuple(int(count) for count in rows[:, 3])
        return Scaling(tuple(rows[:, 0].tolist()), rows[:, 1].min().item(), rows[:, 2].max().item(), cells)

    def _known(self, names: Sequence[str], shape: tuple[int, ...]) -> list[Tensor | None]:
        return [None if self.journal is None else self.journal.get(name, shape) for name in names]

    def _deal(self, names: Sequence[str], known: Bool[Tensor, " cell"]) -> Int[Tensor, " cell"]:
        """Whose each cell is: the first rank's that knows it, else in turn, so that neighbours (which cost alike) are split."""
        if self.ranks.world == 1:
            return torch.zeros(len(names), dtype=torch.long)
        started = time.monotonic()
        same = self.ranks.gather(torch.tensor(int(digest(*names)[:15], 16)))
        if (same != same[0]).any():
            raise CutawayError(
                "the ranks do not measure the same: give all the same command, model, files and versions"
            )
        knows = self.ranks.gather(known.long())
        owner = knows.argmax(0)
        unknown = knows.sum(0) == 0
        owner[unknown] = torch.arange(int(unknown.sum())) % self.ranks.world
        self._together += time.monotonic() - started
        return owner

    def _tell(self, tick: Callable[[int], None], done: int, cells: int, waiting: int) -> int:
        """Progress, if all ranks are as far as this one, which has `waiting` cells before it."""
        now = max(done, cells - waiting * self.ranks.world)
        tick(now - done)
        return now

    def _timed(self, groups: Iterator[tuple[list[int], Tensor]]) -> tuple[list[int], Tensor] | None:
        started = time.monotonic()
        found = next(groups, None)
        spent = time.monotonic() - started
        self._busy += spent
        self._together += spent
        return found

    def _joined(self, values: Tensor) -> Tensor:
        """Every cell stands in one rank's values, and is zero in the others'."""
        started = time.monotonic()
        joined = self.ranks.sum(values)
        self._together += time.monotonic() - started
        return joined
