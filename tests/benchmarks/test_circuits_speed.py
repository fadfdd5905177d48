"""The speed benchmark without its peers: prompts, tasks, samples, the talk between processes, and the table."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _scripts():
    """The scripts are not a package: they are found as they are when one of them is run."""
    sys.path[:0] = [str(FOLDER), str(FOLDER / "peers")]
    yield
    del sys.path[:2]


def test_prompts_are_laid_out_as_in_the_paper_and_corrupted_completely():
    from tasks import GRIDS, ROLES, behavior_of, runs

    behavior = behavior_of("gpt2-shape", Path(), 5)
    assert behavior.roles == ROLES
    assert behavior.shared == 2
    assert {int(t) for t in behavior.answers.unique()} <= set(range(32, 58))
    assert behavior.alternatives.shape == (5, 3, 25)
    _, steps, task, positions = next(runs(behavior, GRIDS[0]))
    changed = (task.clean != task.corrupt)[:, [2, 3, 4, 5, 6, 7, 9, 10]]
    assert changed.all()
    assert torch.equal(task.clean[:, [0, 1, 8]], task.corrupt[:, [0, 1, 8]])
    assert (steps, positions, task.positions.tolist()) == ((0, 1, 2), [-1], [8, 9, 10])


def test_each_letter_has_its_run_and_its_position():
    from tasks import GRIDS, behavior_of, runs

    behavior = behavior_of("gpt2-shape", Path(), 2)
    by_name = {grid.name: [(steps, at) for _, steps, _, at in runs(behavior, grid)] for grid in GRIDS}
    assert by_name["answer position"] == [((0,), [8]), ((1,), [9]), ((2,), [10])]
    assert by_name["current word"] == [((0,), [-1]), ((1,), [-1]), ((2,), [-1])]
    assert by_name["heads × positions"] == [((i,), list(range(11))) for i in range(3)]


def test_a_task_is_the_same_after_it_was_written(tmp_path):
    from protocol import Task
    from tasks import GRIDS, behavior_of, runs

    _, _, task, _ = next(runs(behavior_of("gpt2-shape", Path(), 2), GRIDS[0]))
    task.write(tmp_path / "task.npz")
    again = Task.read(tmp_path / "task.npz")
    assert all(torch.equal(getattr(task, name), getattr(again, name)) for name in vars(task))
    logits = torch.zeros(2, 3, 60)
    logits[:, :, task.answers[0, 0]] = 2.0
    assert task.logit_diff(logits)[0].tolist() == [2, -2, -2]


def test_a_sample_holds_the_cell_that_does_most():
    from race import sample

    cells = [(layer, head, -1) for layer in range(12) for head in range(12)]
    effects = {cell: np.full((2, 1), 0.01) for cell in cells} | {(7, 3, -1): np.full((2, 1), -0.5)}
    for seed in range(5):
        drawn = sample(cells, 3, random.Random(seed), effects)
        assert (7, 3, -1) in drawn
        assert len(drawn) == len(set(drawn)) == 3
    assert sample(cells, 0, random.Random(0), effects) == cells
    assert sample(cells, 3, random.Random(0), effects) == sample(cells, 3, random.Random(0), effects)


def test_values_that_differ_are_noticed():
    from race import Measured

    theirs = np.array([[[0.5, -0.2]]])
    for off, passed in ((0.0, True), (5e-5, True), (1e-3, False)):
        measured = Measured(total=10, seconds=[2.0], cells=[0.2], peaks=[1])
        measured.compare(theirs + off, theirs)
        assert measured.to_dict()["equal"]["passed"] is passed


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_worker_answers_jobs_and_says_why_it_fails(tmp_path):
    """A peer of a few lines, which prints where it should not, and fails when asked for layer 9."""
    from tasks import GRIDS, behavior_of, runs

    (tmp_path / "peer.py").write_text(
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "import torch; from protocol import serve\n"
        "class Peer:\n"
        "    def __init__(self, folder): print('loading', folder)\n"
        "    def forward(self, task): return torch.zeros(*task.answers.shape, 60)\n"
        "    def values(self, task): return None\n"
        "    def cell(self, task, values, layer, head, position):\n"
        "        if layer == 9: raise ValueError('no such layer')\n"
        "        return self.forward(task).scatter(-1, task.answers[..., None], float(layer))\n"
        "serve(Peer, ('torch',))\n"
    )
    _, _, task, _ = next(runs(behavior_of("gpt2-shape", Path(), 2), GRIDS[0]))
    task.write(tmp_path / "task.npz")
    out, about = tmp_path / "out.npy", {"task": str(tmp_path / "task.npz")}
    jobs = [
        about | {"do": "warm"},
        about | {"do": "forward"},
        about | {"do": "cells", "cells": [[1, 0, -1], [2, 0, 5]], "out": str(out)},
        about | {"do": "cells", "cells": [[9, 0, -1]], "out": str(out)},
    ]
    done = subprocess.run(
        [sys.executable, tmp_path / "peer.py", "model", FOLDER / "peers"],
        input="".join(json.dumps(job) + "\n" for job in jobs), capture_output=True, text=True, check=True,
    )  # fmt: skip
    hello, warm, forward, cells, failed = map(json.loads, done.stdout.splitlines())
    assert hello["versions"]["torch"] == torch.__version__
    assert "failed" not in warm
    assert forward["seconds"] > 0
    assert len(cells["cells"]) == 2
    assert np.load(out)[:, 0, 0].tolist() == [1, 2]
    assert failed["failed"] == "ValueError: no such layer"


def test_the_table_has_a_line_for_each_grid_and_the_failed_are_said_to_have_failed():
    from circuits_speed import table, unequal
    from race import Measured, row
    from systems import PEERS
    from tasks import GRIDS

    peers = {peer.name: Measured(total=10, seconds=[12.0 + i], cells=[1.2], peaks=[5]) for i, peer in enumerate(PEERS)}
    for measured in peers.values():
        measured.compare(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)))
    peers[PEERS[1].name] = Measured(total=10, failed="no")
    peers[PEERS[4].name].seconds = [1.0]
    peers[PEERS[2].name].compare(np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
    flops = {"done_over_fewest": 1.02, "flops": 3e9, "planned_bytes": 30}
    made = row(GRIDS[0], [{"seconds": 2.0, "peak_bytes": 30}], peers, plain=20, flops=flops)
    assert made["fastest_peer"] == PEERS[0].name  # the trimmed loop is told beside the target, not under it
    assert made["ratio"] == pytest.approx(6)
    made["cutaway"]["over_floor"] = 1.25
    found = {"prompts": 4, "tokens_each": 11, "grids": {"g": made}}
    said = table({"models": {"m": found}})
    assert "failed" in said.splitlines()[-1]
    assert "6.0×" in said.splitlines()[-1]
    assert said.splitlines()[-1].endswith("1.25×            0.50")
    assert unequal({"models": {"m": found}}) == [f"m, g: {PEERS[2].name} differs by 1"]
