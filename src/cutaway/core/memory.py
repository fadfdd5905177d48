"""How much memory tensors take up at most while something runs, counted byte by byte.

The operating system's peak is rounded, keeps what was freed, and counts libraries; this counts the storages of tensors as they come
and go, so that two methods can be compared to the byte, on any device.
"""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class PeakMemory(TorchDispatchMode):
    """Counts while it is entered.

        with PeakMemory() as memory:
            memory.hold(*model.parameters())    # what was there before, and counts
            loss = model(x).sum()
            loss.backward()
        memory.peak                             # bytes

    What an operation needs inside it and gives back is not seen, on the CPU as on other devices.
    """

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        """Bytes."""
        self._seen: set[int] = set()

    def hold(self, *tensors: Tensor) -> None:
        """Counts tensors that are there already."""
        for tensor in tensors:
            self._see(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tree_flatten(out)[0]:
            if isinstance(x, Tensor):
                self._see(x)
        return out

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size
