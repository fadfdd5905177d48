"""Peak memory is counted to the byte, in known cases."""

import torch
from torch import nn

from cutaway.core.memory import PeakMemory


def test_what_is_alive_counts_once_and_what_is_gone_does_not():
    weight = torch.randn(100, 100, requires_grad=True)
    with PeakMemory() as memory:
        memory.hold(weight, weight)
        assert memory.now == 40_000
        x = torch.randn(50, 100)
        assert memory.now == 60_000
        y = (x @ weight).tanh()
        assert (memory.now, memory.peak) == (80_000, 100_000)  # the product is gone, tanh keeps its own answer
        view = y[:10].T
        assert memory.now == 80_000, "a view takes nothing"
        y.sum().backward()
        assert memory.now >= 120_000, "the gradient has come"
        del x, y, view
        assert memory.now == 80_000
    z = torch.zeros(10**6)
    assert memory.peak < 200_000, "nothing is counted outside"
    assert z.sum() == 0


def test_checkpointing_needs_less():
    from torch.utils.checkpoint import checkpoint_sequential

    torch.manual_seed(0)
    layers = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Tanh(), nn.Tanh()) for _ in range(8)))
    x = torch.randn(256, 64)

    def peak(segments: int) -> int:
        layers.zero_grad()
        with PeakMemory() as memory:
            memory.hold(x, *layers.parameters())
            out = checkpoint_sequential(layers, segments, x, use_reentrant=False) if segments else layers(x)
            out.sum().backward()
        return memory.peak

    assert peak(8) < 0.6 * peak(0)
