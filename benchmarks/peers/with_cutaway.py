"""cutaway: one `sweep` for each corruption of a grid, always the whole grid.

python with_cutaway.py FOLDER MODEL PROMPTS OPTIONS    # options of `sweep` as JSON, such as {"budget": 4096}
"""

import json
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from protocol import JOBS, serve
from tasks import GRIDS, behavior_of
from torch.utils.flop_counter import FlopCounterMode

import cutaway
from cutaway.circuits import memory
from cutaway.circuits.cost import Cost, cost
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
    return {"seconds": spent}


def flops(peer: Sweeps, job: dict) -> dict:
    """Operations of a grid: done on its first prompts (as torch counts them), the fewest possible on those and on all; the
    memory that was planned."""
    (wanted,) = (grid for grid in GRIDS if grid.name == job["grid"])
    few = peer.behavior.take(slice(0, 4))
    with FlopCounterMode(display=False) as counter:
        for corruption, roles in wanted.sweeps:
            sweep(peer.model, few, corruption, roles=roles, **peer.options)
    done = sum(n for kind, n in counter.get_flop_counts()["Global"].items() if "bmm" not in str(kind))

    def fewest(behavior) -> Cost:
        costs = [cost(peer.model, behavior, corruption, roles=roles) for corruption, roles in wanted.sweeps]
        return Cost(*(sum(getattr(each, f.name) for each in costs) for f in fields(Cost)))

    planned = memory.plan(peer.model.config, peer.behavior.clean.tokens.numel(), 64)
    return {
        "done_over_fewest": done / fewest(few).flops,
        **asdict(fewest(peer.behavior)),
        "planned_bytes": planned.kept + planned.per_token * peer.options["budget"],
    }


if __name__ == "__main__":
    serve(Sweeps, ("torch", "cutaway"), {**JOBS, "grid": grid, "flops": flops})
