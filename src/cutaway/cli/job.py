"""A long job: on one rank or several, into one run folder, with a journal beside it until the folder is whole."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cutaway.circuits.resume import journal_of
from cutaway.core.journal import Journal
from cutaway.core.progress import Progress, TerminalProgress
from cutaway.core.ranks import Ranks, ranks_of
from cutaway.core.runs import Run, new_run
from cutaway.core.work import Work
from cutaway.decoder import Decoder


@dataclass
class Job:
    """What a command works with."""

    folder: Path
    ranks: Ranks
    progress: Progress
    run: Run | None
    """The folder being written; None on all ranks but the one that leads."""
    journal: Journal | None = field(default=None, init=False)

    def work(self, model: Decoder) -> Work:
        """Measures on this model, with what an earlier start of the same job left in the journal."""
        self.journal = journal_of(model, self.folder.with_name(f".{self.folder.name}.journal"))
        if len(self.journal):
            self.progress.say(f"{len(self.journal)} measurements of an earlier start are in {self.journal.folder}")
        return Work(self.ranks, self.journal)


@contextmanager
def job(folder: Path, device: torch.device, *, config: dict, **about) -> Iterator[Job]:
    """A job whose result appears in `folder`, whole or not at all; `config` and `about` as for `new_run`.

    Whatever ends it early, measurements made so far stay in the journal, and the same command goes on from there.
    """
    with ranks_of(device) as ranks:
        progress = TerminalProgress() if ranks.leads else Progress()
        with new_run(folder, config=config, **about) if ranks.leads else nullcontext() as run:
            made = Job(folder, ranks, progress, run)
            try:
                yield made
            except BaseException:
                if made.journal:
                    progress.say(
                        f"{len(made.journal)} measurements are kept in {made.journal.folder}: the same command goes on from "
                        "there; remove the folder to forget them"
                    )
                raise
        ranks.wait()
        if made.journal is not None:
            made.journal.remove()
