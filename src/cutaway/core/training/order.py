"""Which samples make up each step of an epoch.

Every rank draws the same order and takes its own part of each batch, so that two processes with batches of 16 see what one with
batches of 32 sees. Where lengths are known, samples of like length are put together, which leaves little padding: the order is
cut into pools of some batches, each pool is sorted, and its batches are shuffled.
"""

import random
from collections.abc import Sequence

POOL = 50
"""Batches in a pool: enough to find samples of like length, few enough that the order stays a random one."""


def epoch_order(n: int, batch: int, *, seed: int, epoch: int, lengths: Sequence[int] | None = None) -> list[list[int]]:
    """The batches of an epoch, over all ranks: every sample once; the last batch may be smaller."""
    rng = random.Random(f"{seed} {epoch}")
    order = list(range(n))
    rng.shuffle(order)
    if lengths is None:
        return [order[i : i + batch] for i in range(0, n, batch)]
    batches = []
    for start in range(0, n, POOL * batch):
        pool = sorted(order[start : start + POOL * batch], key=lambda i: lengths[i])
        cut = [pool[i : i + batch] for i in range(0, len(pool), batch)]
        rng.shuffle(cut)
        batches += cut
    # an incomplete batch comes last, wherever its pool was
    return sorted(batches, key=lambda some: len(some) < batch)


def part(batch: Sequence[int], rank: int, world: int) -> list[int]:
    """The samples of one rank; none, where there are fewer samples than ranks."""
    return list(batch[rank::world])
