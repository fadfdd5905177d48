"""Options of the main job. This file imports nothing heavy, so that the command line can show them at once."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Find:
    """What to do, and how much of it."""

    method: str = "prune"
    """How to search (`cutaway circuits methods`)."""
    floor: float = 0.9
    """Faithfulness that the circuit must keep on every answer token while heads are dropped."""
    ablation: Literal["mean", "resample", "zero"] = "mean"
    """What stands in for heads outside the circuit: mean, resample or zero."""
    direction: Literal["noising", "denoising"] = "noising"
    """Patch corrupted values into clean runs, or clean values into corrupted ones."""
    n_sweep: int = 8
    """Prompts for the patching grids."""
    n_search: int = 24
    """Prompts that the search looks at; the grids' are the first of them."""
    n_verify: int = 48
    """Prompts for verification, none of which the search has seen."""
    n_paths: int = 4
    """Prompts on which the edges among the circuit's heads are patched, the first of the search's; 0 leaves that out."""
    n_random: int = 20
    """Random circuits of the same size to compare with."""
    seed: int = 0
    memory: float = 2.0
    """GiB for runs that are kept and tokens in flight, above the model itself."""

    @property
    def n_prompts(self) -> int:
        """Prompts that a behaviour must bring."""
        return self.n_search + self.n_verify
