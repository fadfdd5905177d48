"""SparseAdapter: adapters that are pruned before they are trained, so that a wider one costs no more.

He, Ding, Dong, Zhang & Tao 2022, SparseAdapter: an easy approach for improving the parameter-efficiency of adapters (Findings of
EMNLP, arXiv 2210.04284), §2: with masks of fixed zeros and ones,

    h ← h + (M_up ⊙ W_up) σ((M_down ⊙ W_down) h + b_down) + b_up        W_up = b_up = 0 at the beginning

Of all weights z of all adapters a share 1 − s is kept, those with the highest scores; the scores are taken of a draw of both
matrices from N(0, 0.01²), after which W_up begins as zero:

    random        by lot
    magnitude     |z|
    erdos_renyi   by lot, but of a matrix a share in proportion to (in + out) / (in · out)
    snip          |z ∂L/∂z|; looks at the data: `Tuned.prepare` before training

The paper's Large-Sparse is a wider adapter of the same size: the default here, twice as wide and half as dense. With K the number
of all weights it trains the round((1 − s) K) that are kept, and m + d biases behind each of the chosen projections.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Beside, Losses, linear
from cutaway.tuning.method import Method
from cutaway.tuning.methods.adapter import ACTIVATIONS
from cutaway.tuning.places import chosen
from cutaway.tuning.sparse import Scatter, apart, budget

STD = 0.01
"""Of the draw that scores are taken of."""


@dataclass(frozen=True)
class Options:
    """Of SparseAdapter."""

    at: tuple[str, ...] = ("attn_o", "ffn_down")
    """Behind which projections: roles or patterns."""
    width: int = 96
    """Of the adapter, m."""
    sparsity: float = 0.5
    """s: the share of weights that are pruned."""
    criterion: Literal["random", "magnitude", "erdos_renyi", "snip"] = "erdos_renyi"
    """By what they are scored."""
    batches: int = 8
    """For snip: by how many, at most."""
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    """σ."""


class SparseLinear(nn.Module):
    """A linear map of which only some weights are there."""

    def __init__(self, into: int, out: int):
        super().__init__()
        self.shape = out, into
        self.entries = Scatter(torch.zeros(self.shape), torch.arange(0))
        self.bias = nn.Parameter(torch.zeros(out))
        self.dense: Tensor | None = None
        """All weights, while they are scored."""

    def keep(self, places: Tensor, values: Tensor) -> None:
        """Begins with these weights."""
        self.entries.choose(self.bias.new_zeros(self.shape), places)
        self.entries.values.data.copy_(values)

    def forward(self, x: Float[Tensor, "*some into"]) -> Float[Tensor, "*some out"]:
        weight = self.entries(self.bias.new_zeros(self.shape)) if self.dense is None else self.dense
        return nn.functional.linear(x, weight, self.bias)


class Pruned(Beside):
    """Raises `CutawayError` for a width that is none, or not below that of the model."""

    def __init__(self, d_model: int, options: Options):
        super().__init__()
        if not 1 <= options.width < d_model:
            raise CutawayError(f"width is {options.width}: give at least 1, and less than the model's {d_model}")
        self.down, self.up = SparseLinear(d_model, options.width), SparseLinear(options.width, d_model)
        self.activation = ACTIVATIONS[options.activation]

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self.up(self.activation(self.down(y)))


class Pruning(Attached):
    """Chooses which weights there are."""

    options: Options
    prepared = True

    def matrices(self) -> Iterator[tuple[str, SparseLinear]]:
        for name, beside in self.besides.items():
            yield from ((f"{name}.{half}", getattr(beside, half)) for half in ("down", "up"))

    def begin(self, options: Options) -> None:
        """Prunes; for snip by lot, until the data was looked at."""
        self.options, self.prepared = options, options.criterion != "snip"
        draws = self.draw()
        self.keep(draws, {name: _score(z, options.criterion) for name, z in draws.items()})

    def draw(self) -> dict[str, Tensor]:
        return {name: STD * torch.randn_like(each.bias.new_zeros(each.shape)) for name, each in self.matrices()}

    def keep(self, draws: dict[str, Tensor], scores: dict[str, Tensor]) -> None:
        """The weights with the highest scores, of all together."""
        every = torch.cat([scores[name].flatten() for name in draws])
        best = every.topk(budget(len(every), 1 - self.options.sparsity)).indices.sort().values
        places = apart(draws, [z.numel() for z in draws.values()], best)
        for name, each in self.matrices():
            values = draws[name].flatten()[places[name]]
            each.keep(places[name], values if name.endswith("down") else torch.zeros_like(values))

    def prepare(self, batches: Iterable[Any], losses: Losses) -> None:
        """For snip: scores all weights by the gradient of the batches' mean loss. Raises `CutawayError` if there are none."""
        if self.options.criterion != "snip":
            return
        draws, seen, before = {name: z.requires_grad_() for name, z in self.draw().items()}, 0, self.host.training
        gradients = {name: torch.zeros_like(z) for name, z in draws.items()}
        self.host.eval()
        try:
            for name, each in self.matrices():
                each.dense = draws[name]
            for batch in islice(batches, self.options.batches):
                of_batch = losses(batch)
                for total, g in zip(
                    gradients.values(), torch.autograd.grad(of_batch.sum(), list(draws.values())), strict=True
                ):
                    total += g
                seen += len(of_batch)
        finally:
            self.host.train(before)
            for _, each in self.matrices():
                each.dense = None
        if not seen:
            raise CutawayError(
                "there are no examples to choose by: give batches, and at least 1 for the option of that name"
            )
        with torch.no_grad():
            self.keep(draws, {name: (z * gradients[name]).abs() for name, z in draws.items()})
        self.prepared = True

    def after_step(self, step: int, total: int) -> None:
        """Raises `CutawayError` if nothing was chosen."""
        if not self.prepared:
            raise CutawayError("snip chooses by the data: call tuned.prepare(batches, losses) before training")

    def put(self, tensors: dict[str, Tensor]) -> None:
        """Other weights may have been kept than here."""
        before = {name: (each.entries.places, each.entries.values) for name, each in self.matrices()}
        places = {name: tensors.get(f"{name}.entries.places", now) for name, (now, _) in before.items()}
        here, given = sum(len(now) for now, _ in before.values()), sum(map(len, places.values()))
        if here != given:
            raise CutawayError(f"{given} weights were kept, wanted are {here}: give the options it was made with")
        for name, each in self.matrices():
            if len(places[name]) and not 0 <= places[name].min() <= places[name].max() < each.shape[0] * each.shape[1]:
                raise CutawayError(f"{name} has places that it does not have: the file is damaged, or of another model")
        for name, each in self.matrices():
            each.entries.choose(each.bias.new_zeros(each.shape), places[name])
        try:
            super().put(tensors)
        except CutawayError:
            for name, each in self.matrices():
                each.entries.places, each.entries.values = before[name]
            raise
        self.prepared = True


def _score(z: Float[Tensor, "out into"], criterion: str) -> Float[Tensor, "out into"]:
    """Without data. By Erdős and Rényi the n-th entry of a matrix's lot is worth −n / (in + out): the best of all matrices together
    are then as many of each as its in + out has a share in the whole."""
    if criterion == "magnitude":
        return z.abs()
    if criterion == "erdos_renyi":
        return -(torch.randperm(z.numel(), device=z.device) + 1).to(z).view_as(z) / sum(z.shape)
    return torch.rand_like(z)


def attach(attached: Pruning, options: Options) -> None:
    if not 0 <= options.sparsity < 1:
        raise CutawayError(f"sparsity is {options.sparsity}: give 0 or more, and less than 1")
    for place in chosen(attached.host, options.at):
        _, d_model = linear(attached.host.get_submodule(place.name))
        attached.beside(place.name, Pruned(d_model, options))
    attached.begin(options)


def count(model: nn.Module, options: Options) -> int:
    widths = [linear(model.get_submodule(place.name))[1] for place in chosen(model, options.at)]
    weights = sum(2 * options.width * d for d in widths)
    return budget(weights, 1 - options.sparsity) + sum(options.width + d for d in widths)


METHOD = Method(
    name="sparse_adapter",
    kind="unified",
    about="adapters pruned before they are trained, so that wider ones cost no more",
    citation="He et al. 2022, SparseAdapter (Findings of EMNLP, arXiv 2210.04284), §2",
    options=Options,
    attach=attach,
    count=count,
    attached=Pruning,
)
