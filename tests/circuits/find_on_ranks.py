"""Run by `torchrun` in test_ranks.py: the whole search on a planted model; what it found goes into a JSON file.

find_on_ranks.py FOLDER [--kill RANK CELLS]    one rank kills itself, at its first start, after so many cells
"""

import json
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import cutaway
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.config import Find
from cutaway.circuits.find import Findings, find
from cutaway.circuits.resume import journal_of
from cutaway.core.progress import Progress
from cutaway.core.ranks import Ranks, ranks_of
from cutaway.core.work import Work

CONFIG = Find(n_sweep=3, n_search=4, n_verify=4, n_random=3)


class Fatal(Progress):
    """Kills its own process once the work has measured so many cells."""

    def __init__(self, work: Work, cells: int):
        self.work, self.cells = work, cells

    @contextmanager
    def stage(self, about, total=None):
        def tick(done: int) -> None:
            if self.work.measured >= self.cells:
                os.kill(os.getpid(), signal.SIGKILL)

        yield tick


def search(ranks: Ranks, folder: Path, kill: int | None = None) -> tuple[Findings, Work]:
    model = cutaway.load("planted:acronyms@1")
    work = Work(ranks, journal_of(model, folder / "journal"))
    behavior = build(model.tokenizer, Acronyms(n=CONFIG.n_prompts))
    return find(model, behavior, CONFIG, Progress() if kill is None else Fatal(work, kill), work), work


def plain(findings: Findings) -> dict:
    """The table: circuit, every effect, verification."""
    kinds = {"heads": findings.heads, "stream": findings.stream, "mlps": findings.mlps}
    return {
        "circuit": findings.circuit.to_dict(),
        "effects": {
            kind: {name: m.values.nan_to_num().tolist() for name, m in maps.items()} for kind, maps in kinds.items()
        },
        "random": findings.verification.random_circuits,
        "positional": findings.positional.to_dict(),
    }


def main(folder: Path, rank: int = -1, cells: int = 0) -> None:
    with ranks_of(cutaway.load("planted:acronyms@1").device) as ranks:
        kept = len(list((folder / "journal").glob("*.safetensors")))
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        findings, work = search(ranks, folder, cells if ranks.rank == rank and first else None)
        found = {**plain(findings), "cells": work.scaling().cells, "scaling": str(work.scaling()), "kept": kept}
        (folder / f"rank-{ranks.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(word) for word in sys.argv[3:]))
