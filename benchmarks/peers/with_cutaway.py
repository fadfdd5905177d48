"""cutaway: one `sweep` for each corruption of a grid, always the whole grid.

python with_cutaway.py FOLDER MODEL PROMPTS OPTIONS    # options of `sweep` as JSON, such as {"budget": 4096}
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from protocol import JOBS, serve
from tasks import GRIDS, behavior_of

import cutaway
from cutaway.circuits.patching import sweep


class Sweeps:
    def __init__(self, folder: str):
        model, prompts, self.options = sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
        self.model = cutaway.load(folder)
        self.behavior = behavior_of(model, Path(folder), prompts)

    def forward(self, task):
        return self.model(task.clean)[:, task.positions]


def grid(peer: Sweeps, job: dict) -> dict:
    """Times a whole grid; the values `[head, role, batch, step]` of its sweeps go into one file."""
    (wanted,) = (grid for grid in GRIDS if grid.name == job["grid"])
    started = time.perf_counter()
    maps = [
        sweep(peer.model, peer.behavior, corruption, roles=roles, **peer.options) for corruption, roles in wanted.sweeps
    ]
    spent = time.perf_counter() - started
    np.savez(job["out"], *(effects.values.numpy() for effects in maps))
    return {"seconds": spent, "flops": None}


if __name__ == "__main__":
    serve(Sweeps, ("torch", "cutaway"), {**JOBS, "grid": grid})
