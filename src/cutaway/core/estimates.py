"""Numbers with their uncertainty, as data; how they are estimated is in `scores.py`, which needs torch where this does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan
from statistics import mean, stdev


@dataclass(frozen=True)
class Estimate:
    """A mean, or a ratio of sums, over `n` samples and its 95 % percentile-bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict:
        return {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True)
class OverSeeds:
    """One number measured with several seeds: their mean and sample standard deviation (nan for a single or diverged seed)."""

    mean: float
    sd: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "OverSeeds":
        sd = stdev(values) if len(values) > 1 and all(map(isfinite, values)) else nan
        return cls(mean(values), sd, tuple(values))

    def __str__(self) -> str:
        return f"{self.mean:.4f}" + (f" ± {self.sd:.4f}" if len(self.values) > 1 else "")

    def to_dict(self) -> dict:
        return {"mean": self.mean, "sd": None if isnan(self.sd) else self.sd, "values": list(self.values)}
