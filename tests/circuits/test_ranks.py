"""Several ranks find what one process finds; a rank or a process that is killed goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cutaway.core.ranks import Ranks

from .find_on_ranks import plain, search

HERE = Path(__file__).parent
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--monitor-interval", "0.1")
TORCHRUN += ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
ALONE = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")} | {
    "OMP_NUM_THREADS": "1"
}


@cache
def alone() -> tuple[dict, int]:
    """What one process finds, and how many different cells it measures for it."""
    with TemporaryDirectory() as folder:
        findings, work = search(Ranks(), Path(folder))
    return json.loads(json.dumps(plain(findings))), work.measured


def gap(x, y) -> float:
    """Largest difference of two numbers anywhere in two plain structures, which are the same in all else."""
    if isinstance(x, dict):
        assert x.keys() == y.keys()
        return max((gap(x[key], y[key]) for key in x), default=0.0)
    if isinstance(x, list):
        assert len(x) == len(y)
        return max((gap(a, b) for a, b in zip(x, y, strict=True)), default=0.0)
    if isinstance(x, float):
        return abs(x - y)
    assert x == y
    return 0.0


def on_two(folder: Path, *words: str) -> list[dict]:
    """Both ranks' results."""
    script = [str(HERE / "find_on_ranks.py"), str(folder), *words]
    done = subprocess.run(
        [*TORCHRUN, "--max-restarts", "1", *script], env=ALONE, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


def results(found: dict) -> dict:
    return {key: found[key] for key in alone()[0]}


def test_two_ranks_find_what_one_process_finds(tmp_path):
    both = on_two(tmp_path)
    assert gap(results(both[0]), alone()[0]) <= 1e-5
    assert results(both[0]) == results(both[1])  # to the last bit, or they would part ways
    shares = both[0]["cells"]
    assert sum(shares) == alone()[1]
    assert min(shares) > 0.4 * sum(shares)
    assert "2 ranks: " in both[0]["scaling"]


def test_a_rank_that_is_killed_comes_back_and_nothing_is_measured_twice(tmp_path):
    found = on_two(tmp_path, "--kill", "1", "60")[0]
    assert found["kept"] > 0
    assert gap(results(found), alone()[0]) <= 1e-5
    assert sum(found["cells"]) <= alone()[1] - 60


def test_a_process_that_is_killed_goes_on_when_started_again(tmp_path):
    script = [sys.executable, str(HERE / "find_on_ranks.py"), str(tmp_path)]
    assert subprocess.run([*script, "--kill", "0", "100"], env=ALONE, timeout=60).returncode == -signal.SIGKILL
    subprocess.run(script, env=ALONE, timeout=60, check=True)
    found = json.loads((tmp_path / "rank-0.json").read_text())
    assert gap(results(found), alone()[0]) <= 1e-5
    assert found["cells"][0] <= alone()[1] - 100


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks of torchrun through /proc")
def test_the_command_survives_a_kill_of_one_rank(tmp_path):
    words = ["circuits", "find", "acronyms", "-m", "planted:acronyms@1", "-o", str(tmp_path / "run")]
    sizes = ["--n-sweep", "4", "--n-search", "8", "--n-verify", "8", "--n-random", "5"]
    command = [*TORCHRUN, "--max-restarts", "1", "-m", "cutaway", *words, *sizes]
    job = subprocess.Popen(command, env=ALONE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".run.journal/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(_rank(job.pid, 1), signal.SIGKILL)
    printed, said = job.communicate(timeout=120)
    assert job.returncode == 0, said
    assert "measurements of an earlier start" in said
    assert "2 ranks: " in said
    assert printed.count("letter mover") == 3, "one rank prints"
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".run-")] == ["run"]
    ranks = json.loads((tmp_path / "run" / "manifest.json").read_text())["ranks"]
    assert len(ranks["busy"]) == 2
    circuit = json.loads((tmp_path / "run" / "circuit.json").read_text())
    assert [head["site"] for head in circuit["heads"]] == [head["site"] for head in alone()[0]["circuit"]["heads"]]


def _rank(parent: int, rank: int) -> int:
    """The process id of one of torchrun's children."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            above = int(folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
            if above == parent and f"RANK={rank}".encode() in folder.joinpath("environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except (OSError, ValueError):
            continue
    raise AssertionError("no such rank")
