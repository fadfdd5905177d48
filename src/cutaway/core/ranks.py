"""Several processes on one job, started by `torchrun`: who I am among them, and how all get what each has.

`Ranks()` is a process on its own. Nothing here is global: who works with others is handed the object.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor

from cutaway.core.errors import CutawayError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """The processes of one job, `world` of them, of which this is number `rank`; `device` is where it computes."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Is this the one that writes and prints?"""
        return self.rank == 0

    def sum(self, mine: Tensor) -> Tensor:
        """The sum of what all ranks give, element by element; the same bits on every rank, on the CPU.

        Raises:
            CutawayError: another rank has gone.
        """
        if self.world == 1:
            return mine
        import torch.distributed as dist

        total = mine.to(self.device, copy=True)
        try:
            dist.all_reduce(total)
            return total.cpu()
        except RuntimeError as error:
            raise CutawayError(f"rank {self.rank} of {self.world} lost the others: start the job again") from error

    def gather(self, mine: Tensor) -> Tensor:
        """What every rank gives, `[rank, *axes]`; the same bits on every rank. Raises as `sum` does."""
        rows = mine.new_zeros(self.world, *mine.shape)
        rows[self.rank] = mine
        return self.sum(rows)

    def wait(self) -> None:
        """Until every rank is here."""
        self.sum(torch.zeros(1))


@contextmanager
def ranks_of(device: torch.device) -> Iterator[Ranks]:
    """The ranks that `torchrun` started, connected for the time of the block: nccl where they compute on CUDA, else gloo.

    Without torchrun this is a process on its own. `device` is this rank's (`placement.devices_of` picks it).
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(device=device)
        return
    import torch.distributed as dist

    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, world = next(dist.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        # torchrun keeps its store when it starts ranks again: without this they might read the addresses of dead ones
        store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    # a rank that has gone is noticed at once; one whose share takes long is waited for
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=world, timeout=timedelta(days=7)
    )
    try:
        where = device if device.type == "cuda" else CPU
        yield Ranks(rank, world, where)
    finally:
        dist.destroy_process_group()
