"""Sparse differences: some entries of the model's weights learn, all others stay what they are.

    W  becomes  W + scatter(places, values)        values = 0 at the beginning

For each weight are kept the places that were chosen in it and what was learned there, nothing for the rest: no gradient, no
averages of the optimiser, no decay; and a decay of the values draws towards the pretrained weight, not towards zero.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Change, Losses

Step = Callable[[Float[Tensor, ""]], None]


class Scatter(Change):
    """Values at some places of a weight."""

    values: Float[Tensor, "chosen"]
    places: Int[Tensor, "chosen"]
    """In the weight as one row, ascending."""

    def __init__(self, weight: Tensor, places: Int[Tensor, "chosen"]):
        super().__init__()
        self.choose(weight, places)

    def choose(self, weight: Tensor, places: Int[Tensor, "chosen"]) -> None:
        """Begins again, at other places."""
        small = weight.numel() <= torch.iinfo(torch.int32).max
        self.register_buffer("places", places.to(weight.device, torch.int32 if small else torch.int64))
        values = torch.zeros(len(places), device=weight.device, dtype=weight.dtype)
        self.values = nn.Parameter(values, requires_grad=len(places) > 0)

    def forward(self, weight: Tensor) -> Tensor:
        return weight.flatten().index_add(0, self.places, self.values.to(weight.dtype)).view_as(weight)


class Sparse(Attached):
    """An attachment of sparse differences. A method says where (`spread`) and then which entries (`choose`); until then they are
    spread evenly, so that what it costs can be told without data."""

    changes: dict[str, Scatter]  # type: ignore[assignment]
    prepared = False

    def spread(self, names: Sequence[str], share: float) -> None:
        """Makes room for a share of the entries of these parameters."""
        sizes = [self.own(name).numel() for name in names]
        k = budget(sum(sizes), share)
        for name, places in apart(names, sizes, torch.arange(k) * sum(sizes) // k).items():
            self.on_weight(name, Scatter(self.base[name], places))

    def choose(self, scores: Mapping[str, Tensor]) -> None:
        """Of all entries together those with the highest scores, as many as there is room for."""
        k = sum(len(change.values) for change in self.changes.values())
        flat = torch.cat([scores[name].flatten() for name in self.changes])
        best = flat.topk(k, sorted=False).indices.sort().values
        sizes = [self.base[name].numel() for name in self.changes]
        for name, places in apart(self.changes, sizes, best).items():
            self.changes[name].choose(self.base[name], places)
        self.prepared = True

    @contextmanager
    def dense(self, *, training: bool) -> Iterator[dict[str, nn.Parameter]]:
        """The weights themselves, for a while with gradients, and the model in the mode that is wanted."""
        weights, before = {name: self.base[name] for name in self.changes}, self.host.training
        for weight in weights.values():
            weight.requires_grad_(True)
        self.host.train(training)
        try:
            yield weights
        finally:
            self.host.train(before)
            for weight in weights.values():
                weight.requires_grad_(False)

    @contextmanager
    def rehearsal(self, rate: float) -> Iterator[tuple[dict[str, nn.Parameter], dict[str, Tensor], Step]]:
        """A training of the weights themselves, and of heads that learn beside, that is taken back afterwards: the weights, what
        they were before, and what makes a step of AdamW, given a loss."""
        with self.dense(training=True) as weights:
            learn = weights | {name: self.host.get_parameter(name) for name in self.freed}
            before = {name: p.detach().clone() for name, p in learn.items()}
            optimizer = torch.optim.AdamW(learn.values(), lr=rate, weight_decay=0.0)

            def step(loss: Float[Tensor, ""]) -> None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

            try:
                yield weights, before, step
            finally:
                for name, p in learn.items():
                    p.data.copy_(before[name])
                    p.grad = None
                for change in self.changes.values():
                    change.values.grad = None

    def put(self, tensors: dict[str, Tensor]) -> None:
        before = {name: (change.places, change.values) for name, change in self.changes.items()}
        chosen = {name: tensors.get(f"{name}.places", places) for name, (places, _) in before.items()}
        k, given = sum(len(places) for places, _ in before.values()), sum(map(len, chosen.values()))
        if k != given:
            raise CutawayError(f"{given} entries were chosen, wanted are {k}: give the options it was made with")
        for name, places in chosen.items():
            if len(places) and not 0 <= places.min() <= places.max() < self.base[name].numel():
                raise CutawayError(
                    f"{name}.places are not places of this weight: the file is damaged, or of another model"
                )
        for name, places in chosen.items():
            self.changes[name].choose(self.base[name], places)
        try:
            super().put(tensors)
        except CutawayError:
            for name, (places, values) in before.items():
                self.changes[name].places, self.changes[name].values = places, values
            raise
        self.prepared = True

    def after_step(self, step: int, total: int) -> None:
        """Raises `CutawayError` if nothing was chosen."""
        if not self.prepared:
            raise CutawayError("what learns is chosen by the data: call tuned.prepare(batches, losses) before training")


class ByFisher(Sparse):
    """Where the empirical Fisher information is largest."""

    samples: int

    def prepare(self, batches: Iterable[Any], losses: Losses) -> None:
        with self.dense(training=False) as weights:
            self.choose(fisher(weights, batches, losses, self.samples))


def fisher(
    weights: Mapping[str, nn.Parameter], batches: Iterable[Any], losses: Losses, samples: int
) -> dict[str, Tensor]:
    """The diagonal of the empirical Fisher information: the mean over examples of the squared gradient of their loss.

    One backward pass for each example, through the graph of its batch: small batches are fastest.

    Raises:
        CutawayError: there are no examples.
    """
    found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    seen = 0
    for batch in batches:
        each = losses(batch)[: samples - seen]
        for i, loss in enumerate(each):
            gradients = torch.autograd.grad(
                loss, list(weights.values()), retain_graph=i + 1 < len(each), allow_unused=True
            )
            for total, gradient in zip(found.values(), gradients, strict=True):
                if gradient is not None:
                    total.addcmul_(gradient, gradient)
        seen += len(each)
        if seen >= samples:
            break
    if not seen:
        raise CutawayError("there are no examples to choose by: give batches, and at least 1 for samples")
    return {name: total / seen for name, total in found.items()}


def budget(entries: int, share: float) -> int:
    """How many entries a share is, at least one. Raises `CutawayError` for a share that is none."""
    if not 0 < share <= 1:
        raise CutawayError(f"share is {share}: give more than 0, at most 1")
    return max(1, round(share * entries))


def count(model: nn.Module, names: Sequence[str], share: float) -> int:
    """Of what `Sparse.spread` makes room for."""
    return budget(sum(model.get_parameter(name).numel() for name in names), share)


def apart(names: Iterable[str], sizes: list[int], places: Int[Tensor, "chosen"]) -> dict[str, Int[Tensor, "..."]]:
    """Places in all weights, one behind the other, as places in each; ascending."""
    ends = torch.tensor(sizes, device=places.device).cumsum(0)
    parts = places.tensor_split(torch.searchsorted(places, ends[:-1]).tolist())
    firsts = [0, *ends[:-1].tolist()]
    return {name: part - first for name, part, first in zip(names, parts, firsts, strict=True)}
