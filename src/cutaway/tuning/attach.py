"""How a method acts on a model: beside a module, on a weight, or by saying which parameters learn.

    beside     y = module(x)  becomes  beside.around(module, x, y)       adapters, LoRA, scales
    on_weight  W              becomes  change(W) wherever it is used     sparse and low-rank differences
    free       a parameter of the model itself learns                    biases, norms, heads

Everything is done by hooks and parametrisations of torch and can be taken back: names of the model's own weights stay what they
are, no module is replaced, and after `remove` nothing is left.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cutaway.core.errors import CutawayError
from cutaway.tuning.places import SLOT

AROUND = "tuned_around"
"""An attachment that has to wrap the model, as prompts do, leaves its name under this one: others go under it, not upon it."""

ON_DISK = "base_model.model."
"""What stands before every name in a file, as in those of the library `peft`."""

Losses = Callable[[Any], Float[Tensor, "batch"]]
"""From a batch to the loss of each of its examples, by the model as it is now."""


class Beside(nn.Module):
    """Parameters beside one module of the model, which change what comes out of it."""

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """What comes out instead of `y = host(x)`."""
        raise NotImplementedError

    def merged(self, host: nn.Module) -> dict[str, Tensor]:
        """What the host's own parameters become, so that it says by itself what it says now; for methods that are mergeable."""
        raise NotImplementedError


class Change(nn.Module):
    """Parameters that change a weight wherever it is used."""

    def forward(self, weight: Tensor) -> Tensor:
        raise NotImplementedError


class Attached:
    """What a method has put on a model. Methods build it; `Tuned` drives it.

    Args:
        model: all its parameters are frozen until `remove`, unless it has an attachment already, beside which this one stands.
        name: several attachments on one model have different names.

    Raises:
        CutawayError: the model has an attachment of this name, or the name is no word.
    """

    compares = False
    """Does it look at what comes out of the model?"""
    answers: Callable[[Any], Tensor] | None = None
    """From what comes out of the model to the answers that are compared; for who has put a head of their own behind it."""

    def __init__(self, model: nn.Module, name: str = "default"):
        self.host, self.name, self.slot = model, name, f"{SLOT}_{name}"
        self.active = True
        if not name.isidentifier():
            raise CutawayError(f"{name!r} is no name for a tuning: give letters, digits and _")
        stack = _stack(model)
        if name in stack:
            raise CutawayError(f"the model is tuned already, as {name!r}: remove that first, or give another name")
        self.besides: dict[str, Beside] = {}
        self.changes: dict[str, Change] = {}
        self._spots: dict[str, list[tuple[nn.Module, str]]] = {}
        """Where each changed weight is used: module, and the weight's name in it."""
        self.freed: dict[str, Tensor] = {}
        """Name → value before."""
        if (around := vars(model).get(AROUND)) is not None:
            raise CutawayError(f"the model is tuned as {around!r}, which has to be put on last: remove that first")
        self.base = dict(model.named_parameters())
        """What stands on the other side: the model's parameters by the names they had before."""
        self._learned = {name: p.requires_grad for name, p in self.base.items()}
        self._handles: list[Any] = []
        if not stack:
            model.requires_grad_(False)
        stack.append(name)

    @property
    def model(self) -> nn.Module:
        """What is to be called: the model itself, but for methods that have to wrap it."""
        return self.host

    # --- for methods, while they build --------------------------------------------------------------------------------

    def beside(self, name: str, module: Beside, *, reads: str | None = None) -> None:
        """Puts a module beside the one of that name; `x` is what comes into that one, or into the one that `reads` names."""
        host = self.host.get_submodule(name)
        weight = next(host.parameters(), None)
        if weight is not None:
            module.to(weight.device, weight.dtype if weight.dtype.is_floating_point else None)
        host.add_module(self.slot, module.train(host.training))
        self.besides[name] = module
        link = _Link(self, module)
        if reads is not None and reads != name:
            self._handles.append(self.host.get_submodule(reads).register_forward_pre_hook(link.hear, with_kwargs=True))
        self._handles.append(host.register_forward_hook(link.around, with_kwargs=True))

    def on_weight(self, name: str, change: Change) -> None:
        """Changes a parameter of the model (`encoder.layer.0.output.dense.weight`) wherever it is used, tied weights in all places.

        Raises:
            CutawayError: the parameter is changed already.
        """
        parameter = self.own(name)
        self._spots[name] = [
            (module, leaf)
            for module in self.host.modules()
            for leaf, other in module.named_parameters(recurse=False)
            if other is parameter
        ]
        self.changes[name] = change
        for module, leaf in self._spots[name]:
            parametrize.register_parametrization(module, leaf, _Switched(self, change).train(module.training))

    def free(self, names: Iterable[str]) -> None:
        """Lets parameters of the model itself learn. Raises `CutawayError` for one that is changed already."""
        for name in names:
            parameter = self.own(name)
            self.freed.setdefault(name, parameter.detach().clone())
            parameter.requires_grad_(True)

    def own(self, name: str) -> nn.Parameter:
        """A parameter of the model that nothing changes yet."""
        plain = name.replace(".parametrizations.", ".").removesuffix(".original")
        owner, _, leaf = plain.rpartition(".")
        if plain != name or parametrize.is_parametrized(self.host.get_submodule(owner), leaf):
            raise CutawayError(f"{plain} is changed by a method already: choose other places for one of the two")
        return self.host.get_parameter(name)

    def hold(self, handle: Any) -> None:
        """Keeps something that has a `remove`, such as a hook of the method's own: called when the attachment is taken off."""
        self._handles.append(handle)

    # --- its life -----------------------------------------------------------------------------------------------------

    def trained(self) -> dict[str, nn.Parameter]:
        """All that learns, by the name under which it is kept; what is shared is there once."""
        found = {f"{name}.{key}": p for name, x in self.besides.items() for key, p in x.named_parameters()}
        found |= {f"{name}.{key}": p for name, x in self.changes.items() for key, p in x.named_parameters()}
        found |= {name: self.host.get_parameter(name) for name in self.freed}
        once: dict[int, str] = {}
        return {name: p for name, p in found.items() if p.requires_grad and once.setdefault(id(p), name) == name}

    def kept(self) -> dict[str, Tensor]:
        """What has to be saved: what learns, and what was drawn at random or chosen and does not; what is shared is there once."""
        found = {f"{name}.{key}": x for name, each in self.besides.items() for key, x in each.state_dict().items()}
        found |= {f"{name}.{key}": x for name, each in self.changes.items() for key, x in each.state_dict().items()}
        return _once(found) | {name: self.host.get_parameter(name).detach() for name in self.freed}

    def put(self, tensors: dict[str, Tensor]) -> None:
        """Fills in what was kept. Nothing is changed if names or shapes differ.

        Raises:
            CutawayError: tensors are missing, are too many, or have other shapes.
        """
        mine = self.check(tensors)
        with torch.no_grad():
            for name, x in mine.items():
                x.copy_(tensors[name])

    def check(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is kept now, if names and shapes are those of `tensors`. Raises as `put`."""
        mine = self.kept()
        missing, extra = sorted(mine.keys() - tensors.keys()), sorted(tensors.keys() - mine.keys())
        if missing or extra:
            both = (("missing", missing), ("too many", extra))
            told = ", ".join(f"{word} {len(some)} (first {some[0]})" for word, some in both if some)
            raise CutawayError(f"these tensors are of another tuning: {told}")
        if other := [name for name, x in mine.items() if x.shape != tensors[name].shape]:
            a, b = tensors[other[0]].shape, mine[other[0]].shape
            raise CutawayError(
                f"{other[0]} has the shape {list(a)}, wanted is {list(b)}: give the options it was made with"
            )
        return mine

    def to_disk(self) -> dict[str, Tensor]:
        """What is kept, by the names it has in a file."""
        return {f"{ON_DISK}{name}": x for name, x in self.kept().items()}

    def from_disk(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What a file has, by the names of `kept`."""
        return {name.removeprefix(ON_DISK): x for name, x in tensors.items()}

    def prepare(self, batches: Iterable[Any], losses: Losses) -> None:
        """What the method wants to know of the data before training begins; nothing, unless `Method.needs_data`."""

    def loss(self) -> Tensor | None:
        """What the method adds to the loss of a step, after the model was called; None for nothing."""
        return None

    def after_step(self, step: int, total: int) -> None:
        """What the method does after each step of the optimiser, whose gradients are still there."""

    def settled(self) -> bool:
        """Is what there is now of the size that the method promises? It may take some steps until it is."""
        return True

    def state(self) -> dict[str, Tensor]:
        """What changes in training and is neither a parameter nor a buffer, so that a training can be taken up again."""
        return {}

    def put_state(self, state: dict[str, Tensor]) -> None:
        """Takes it up."""

    def switch(self, on: bool) -> None:
        """Off: the model says what it said before, the attachment stays."""
        if on == self.active:
            return
        self.active = on
        with torch.no_grad():
            for name, other in self.freed.items():
                parameter = self.host.get_parameter(name)
                now = parameter.detach().clone()
                parameter.copy_(other)
                self.freed[name] = now

    def merge(self) -> nn.Module:
        """Puts all that was learned into the model's own weights and lets go of it; returns the model. Raises as `remove`."""
        self._on_top()
        if below := [
            x for x in self.besides if parametrize.is_parametrized(self.host.get_submodule(x)) and x not in self.changes
        ]:
            raise CutawayError(f"{below[0]} is changed by a tuning under this one: it can be removed, but not merged")
        self.switch(True)
        with torch.no_grad():
            self.fold()
        self._let_go()
        return self.host

    def remove(self) -> nn.Module:
        """The model as it was before; returns it. Raises `CutawayError` if another attachment was put on later."""
        self._on_top()
        self.switch(True)
        with torch.no_grad():
            for name, before in self.freed.items():
                self.host.get_parameter(name).copy_(before)
            self.take_off()
        self._let_go()
        return self.host

    def fold(self) -> None:
        """What is beside modules and on weights becomes part of the weights."""
        for name, each in self.besides.items():
            host = self.host.get_submodule(name)
            for key, x in each.merged(host).items():
                _assign(host, key, x)
        self._take_changes(keep=True)

    def take_off(self) -> None:
        """The weights become what they were."""
        self._take_changes(keep=False)

    def _take_changes(self, *, keep: bool) -> None:
        for name, spots in self._spots.items():
            module, leaf = spots[0]
            self.changes[name].eval()  # what it says outside training is what is kept
            value = getattr(module, leaf).clone() if keep else None
            for module, leaf in spots:
                parametrize.remove_parametrizations(module, leaf, leave_parametrized=False)
            if value is not None:
                self.host.get_parameter(name).copy_(value)

    def _on_top(self) -> None:
        if (stack := _stack(self.host))[-1:] != [self.name]:
            later = stack[stack.index(self.name) + 1 :] if self.name in stack else []
            told = f"remove {', '.join(reversed(later))} first" if later else "it was removed or merged before"
            raise CutawayError(f"{self.name!r} cannot be taken off the model: {told}")

    def _let_go(self) -> None:
        for handle in self._handles:
            handle.remove()
        for name in self.besides:
            delattr(self.host.get_submodule(name), self.slot)
        for name, parameter in self.host.named_parameters():
            parameter.requires_grad_(self._learned.get(name, True))
            parameter.grad = None
        _stack(self.host).remove(self.name)
        if not _stack(self.host):
            del vars(self.host)["tuned_with"]
        self._handles, self.besides, self.changes, self._spots, self.freed = [], {}, {}, {}, {}


class _Link:
    """The hooks of one thing beside a module."""

    def __init__(self, attached: Attached, beside: Beside):
        self.attached, self.beside = attached, beside
        self.heard: Tensor | None = None

    def hear(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.heard = _first(args, kwargs)

    def around(self, host: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        if not self.attached.active:
            return output
        x, self.heard = (_first(args, kwargs) if self.heard is None else self.heard), None
        if isinstance(output, tuple):
            return (self.beside.around(host, x, output[0]), *output[1:])
        return self.beside.around(host, x, output)


class _Switched(nn.Module):
    """A change that can be switched off."""

    def __init__(self, attached: Attached, change: Change):
        super().__init__()
        self.change = change
        self.attached = attached

    def forward(self, weight: Tensor) -> Tensor:
        return self.change(weight) if self.attached.active else weight


def _stack(model: nn.Module) -> list[str]:
    """Names of what is attached to a model, in order."""
    return vars(model).setdefault("tuned_with", [])


def _once(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without those that are the same piece of memory as one before them."""
    first: dict[tuple, str] = {}
    return {
        name: x
        for name, x in found.items()
        if not x.data_ptr() or first.setdefault((x.data_ptr(), x.shape), name) == name
    }


def _first(args: tuple, kwargs: dict) -> Tensor:
    """The hidden states that come into a module."""
    return args[0] if args else kwargs["hidden_states"]


def _assign(host: nn.Module, key: str, x: Tensor) -> None:
    """A bias may be new: then the host had none."""
    parameter = getattr(host, key)
    if parameter is None:
        host.register_parameter(key, nn.Parameter(x))
    else:
        parameter.copy_(x)


def linear(host: Any) -> tuple[int, int]:
    """Width in and out of a linear map, whatever its class; raises `CutawayError` for what is none."""
    if hasattr(host, "in_features"):  # also where the weight is packed into fewer bits
        return host.in_features, host.out_features
    weight = getattr(host, "weight", None)
    if weight is None or weight.dim() != 2:
        raise CutawayError(
            f"{type(host).__name__} is no linear map: choose projections, such as attn_q, attn_v, ffn_up"
        )
    out, into = weight.shape if not transposed(host) else weight.shape[::-1]
    return into, out


def transposed(host: nn.Module) -> bool:
    """GPT-2 in `transformers` keeps its weights as [in, out]."""
    return any(kind.__name__ == "Conv1D" for kind in type(host).__mro__)
