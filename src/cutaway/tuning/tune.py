"""Tuning a model: one call, and what comes back.

    tuned = tune(model, "adapter", width=32)        freezes the model, attaches the method
    optimizer = AdamW(tuned.trained().values())     train as you like: the model is called as ever
    tuned.save("folder")                            and in the end tuned.merge() or tuned.remove()

Nothing is wrapped unless the method has to (prompts): keep the model that you have.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cutaway.core.configs import options_of
from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Losses
from cutaway.tuning.method import Method, method, methods
from cutaway.tuning.places import chosen


@dataclass(frozen=True)
class Count:
    """Parameters."""

    trained: int
    total: int
    """Those of the model and of what was attached."""

    @property
    def share(self) -> float:
        return self.trained / self.total


class Tuned:
    """A model with a method on it. Made by `tune` or `format.load_tuned`."""

    def __init__(self, made_by: Method, options: Any, attached: Attached, also: Sequence[str]):
        self.method, self.options, self.attached, self.also = made_by, options, attached, tuple(also)

    @property
    def model(self) -> nn.Module:
        """To be called as before."""
        return self.attached.model

    def trained(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""
        return self.attached.trained()

    def count(self) -> Count:
        every = {id(p): p.numel() for p in self.model.parameters()}
        return Count(sum(p.numel() for p in self.trained().values()), sum(every.values()))

    def prepare(self, batches: Iterable[Any], losses: Losses) -> None:
        """To be called once before training, for methods that choose by the data what learns (`method.needs_data`).

        Args:
            batches: of the training set; a method takes as many as its options say.
            losses: given a batch, calls the model and gives the loss of each example.
        """
        self.attached.prepare(batches, losses)

    def loss(self) -> Tensor | None:
        """What the method adds to a step's loss, asked for after the model was called; None for nothing."""
        return self.attached.loss()

    def after_step(self, step: int, total: int) -> None:
        """To be called after every step of the optimiser, before gradients are cleared, with its number from 1 and that of all."""
        self.attached.after_step(step, total)

    @contextmanager
    def off(self) -> Iterator[nn.Module]:
        """The model as it was, for a while."""
        self.attached.switch(False)
        try:
            yield self.model
        finally:
            self.attached.switch(True)

    def merge(self) -> nn.Module:
        """What was learned becomes the model's own weights; nothing is left beside them.

        Raises:
            CutawayError: the method cannot.
        """
        if not self.method.mergeable:
            able = ", ".join(name for name, each in methods().items() if each.mergeable)
            raise CutawayError(
                f"{self.method.name} cannot be merged into the model's weights; those that can are {able}"
            )
        return self.attached.merge()

    def remove(self) -> nn.Module:
        """The model as it was before."""
        return self.attached.remove()

    def save(self, folder: str | Path) -> Path:
        """Writes what was learned into a folder, in the format of `peft`; see `format.save`."""
        from cutaway.tuning.format import save

        return save(self, folder)

    def about(self) -> dict[str, Any]:
        """Method and options as plain data."""
        return {"method": self.method.name, "options": asdict(self.options), "also": list(self.also)}


def tune(
    model: nn.Module, method_name: str = "lora", *, also: Sequence[str] = (), name: str = "default", **options: Any
) -> Tuned:
    """Freezes a model and attaches a method to it; nothing is changed if that cannot be done.

    Args:
        method_name: `cutaway tuning methods` lists them.
        also: modules that learn as a whole beside it, by name or pattern: a new head.
        name: to put a second method on a tuned model, give it another name.
        options: of the method.

    Raises:
        CutawayError: no such method or option, a value that makes no sense, a place that the model does not have, or a model
            that is tuned under this name already.
    """
    made_by = method(method_name)
    chosen_options = options_for(made_by, options)
    heads = [place.name for place in chosen(model, also)] if also else []
    attached = made_by.attached(model, name)
    try:
        made_by.attach(attached, chosen_options)
        attached.free(f"{head}.{key}" for head in heads for key, _ in model.get_submodule(head).named_parameters())
    except BaseException:
        attached.remove()
        raise
    return Tuned(made_by, chosen_options, attached, also)


def options_for(made_by: Method, given: Mapping[str, Any]) -> Any:
    """The options of a method; raises `CutawayError` for one it does not have, and says whose it is."""
    own = {f.name for f in fields(made_by.options)}
    if wrong := next((name for name in given if name not in own), None):
        near = difflib.get_close_matches(wrong, own, 1)
        owners = [other.name for other in methods().values() if wrong in {f.name for f in fields(other.options)}]
        hint = f"; did you mean {near[0]}" if near else f"; it is one of {', '.join(owners[:4])}" if owners else ""
        raise CutawayError(f"{made_by.name} has no option {wrong!r}{hint}. It has: {', '.join(sorted(own)) or 'none'}")
    return options_of(made_by.options, made_by.name, {f"{made_by.name}.{key}": x for key, x in given.items()})
