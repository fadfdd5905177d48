"""Several devices on a machine that has none: CPU tensors that remember where they believe to be.

Under `FakeDevices` a tensor moved with `.to(device)` is a CPU tensor with a note of that device; what comes of it is there as
well; and an operation on tensors of two devices fails, as it would on real ones. The numbers are real.
"""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")
DEVICE = Tensor.device.__get__
WHERE_MADE = (torch.arange, torch.tensor, torch.zeros, torch.ones, torch.empty, torch.full, torch.as_tensor)


class FakeDevices(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.places: dict[int, torch.device] = {}
        self.alive: list = []
        """Storages are kept, so that no address is used twice."""
        self.moves = 0

    def place_of(self, x: Tensor) -> torch.device:
        return self.places.get(x.untyped_storage()._cdata, CPU)

    def note(self, x, device: torch.device):
        """Notes the place of a result, or of all of several."""
        for part in tensors(x):
            storage = part.untyped_storage()
            self.places[storage._cdata] = device
            self.alive.append(storage)
        return x

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func == DEVICE:
            return self.place_of(args[0])
        if func in (Tensor.to, Tensor.cpu):
            return self.move(CPU if func is Tensor.cpu else None, *args, **kwargs)
        device = kwargs.pop("device", None)
        given = tensors((args, kwargs))
        # a single number may come from anywhere
        places = {self.place_of(x) for x in given if x.ndim} or {self.place_of(x) for x in given[:1]}
        assert len(places) < 2, f"{getattr(func, '__name__', func)} got tensors on {' and '.join(map(str, places))}"
        out = func(*args, **kwargs)
        return self.note(out, torch.device(device) if device is not None else places.pop() if places else CPU)

    def move(self, device, x: Tensor, *to, **more) -> Tensor:
        for word in (*to, more.get("device")):
            if isinstance(word, Tensor):
                device, to = self.place_of(word), (word.dtype,)
            elif isinstance(word, str | torch.device):
                device = torch.device(word)
        dtype = next((word for word in (*to, more.get("dtype")) if isinstance(word, torch.dtype)), x.dtype)
        if device is None or device == self.place_of(x):
            return self.note(x.to(dtype), self.place_of(x))
        self.moves += 1
        return self.note(x.to(dtype, copy=True), device)


def tensors(x) -> list[Tensor]:
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, dict):
        x = list(x.values())
    return [part for item in x for part in tensors(item)] if isinstance(x, list | tuple) else []
