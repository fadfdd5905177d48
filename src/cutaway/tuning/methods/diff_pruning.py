"""Diff pruning: a difference for every entry of the weights, of which a penalty switches most off.

Guo, Rush & Kim 2021, Parameter-efficient transfer learning with diff pruning (ACL, arXiv 2012.07463). The difference is δ = z ⊙ w,
with z a hard-concrete variable (Louizos et al. 2018, arXiv 1712.01312) that is drawn anew in each pass of the training,

    s = σ(log u − log(1 − u) + α), u ~ U(0, 1)        z = min(1, max(0, s (r − l) + l))        l = −1.5, r = 1.5

and the penalty is λ times the expected number of entries that are not zero, λ Σ σ(α − log(−l / r)), added by `loss()`. Structured,
each entry has a second factor that all entries of its tensor share. Then comes magnitude pruning: after `search` of the steps the k
entries with the largest |δ| stay, k = share × all, and in the steps that are left only these are tuned.

It trains w and α, 2 n parameters for n entries, and one for each tensor if it is structured: the most of all methods. What is left
in the end, and on disk, are k values and their places. Outside training z is what it is at u = 1/2.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import ON_DISK, Attached, Change
from cutaway.tuning.method import Method
from cutaway.tuning.places import inside
from cutaway.tuning.sparse import apart, budget

LOW, HIGH = -1.5, 1.5
"""l and r: what s is stretched to."""


@dataclass(frozen=True)
class Options:
    """Of diff pruning."""

    at: tuple[str, ...] = ("layer",)
    """In which parts, as roles or patterns."""
    share: float = 0.005
    """Of their entries, that are left."""
    penalty: float = 1.25e-7
    """λ."""
    search: float = 0.5
    """Share of the steps before entries are chosen."""
    structured: bool = True
    """Are the entries of a tensor also switched together?"""
    start: float = 5.0
    """α at the beginning: almost all entries are on."""


class Diff(Change):
    """δ on one weight. An α of ±∞ is one that is decided."""

    def __init__(self, weight: Tensor, start: float, structured: bool):
        super().__init__()
        self.w = nn.Parameter(torch.zeros_like(weight))
        self.alpha = nn.Parameter(torch.full_like(weight, start))
        self.together = nn.Parameter(weight.new_full((), start)) if structured else None

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.delta(drawn=self.training)

    def delta(self, *, drawn: bool) -> Tensor:
        z = concrete(self.alpha, drawn=drawn)
        return self.w * (z if self.together is None else z * concrete(self.together, drawn=drawn))

    def expected(self) -> Float[Tensor, ""]:
        """How many entries are not zero."""
        shift = math.log(-LOW / HIGH)
        entries = (self.alpha - shift).sigmoid().sum()
        return entries if self.together is None else entries * (self.together - shift).sigmoid()

    @torch.no_grad()
    def decide(self, places: Tensor, values: Tensor) -> None:
        """From now on there are differences at these places alone, and always."""
        self.w.zero_().view(-1)[places] = values
        self.alpha.fill_(-math.inf).view(-1)[places] = math.inf
        if self.together is not None:
            self.together.fill_(math.inf)


def concrete(alpha: Tensor, *, drawn: bool) -> Tensor:
    """z, from 0 to 1 with both ends."""
    u = torch.rand_like(alpha).clamp(1e-6, 1 - 1e-6) if drawn else torch.full_like(alpha, 0.5)
    return ((u.logit() + alpha).sigmoid() * (HIGH - LOW) + LOW).clamp(0, 1)


class Pruned(Attached):
    changes: dict[str, Diff]  # type: ignore[assignment]
    options: Options

    def loss(self) -> Tensor | None:
        return self.options.penalty * torch.stack([change.expected() for change in self.changes.values()]).sum()

    def after_step(self, step: int, total: int) -> None:
        if step == math.ceil(self.options.search * total):
            self.prune()

    @torch.no_grad()
    def prune(self) -> None:
        """Of all differences together the largest stay."""
        sizes = [change.w.numel() for change in self.changes.values()]
        deltas = {name: change.delta(drawn=False).flatten() for name, change in self.changes.items()}
        largest = torch.cat(list(deltas.values())).abs().topk(budget(sum(sizes), self.options.share), sorted=False)
        for name, places in apart(self.changes, sizes, largest.indices.sort().values).items():
            self.changes[name].decide(places, deltas[name][places])

    def settled(self) -> bool:
        """Was it pruned?"""
        return all(bool(change.alpha.isinf().all()) for change in self.changes.values())

    def to_disk(self) -> dict[str, Tensor]:
        """Before it is pruned all that is kept, afterwards places and values."""
        if not self.settled():
            return super().to_disk()
        found = {name: self.host.get_parameter(name).detach() for name in self.freed}
        for name, change in self.changes.items():
            places = change.alpha.flatten().isposinf().nonzero().flatten().int()
            found |= {f"{name}.places": places, f"{name}.values": change.w.detach().flatten()[places]}
        return {f"{ON_DISK}{name}": x for name, x in found.items()}

    def from_disk(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors = super().from_disk(tensors)
        for name, change in self.changes.items():
            places, values = tensors.pop(f"{name}.places", None), tensors.pop(f"{name}.values", None)
            if places is None or values is None:
                continue
            if places.shape != values.shape or (
                len(places) and not 0 <= places.min() <= places.max() < change.w.numel()
            ):
                raise CutawayError(f"{name}.places are not places of this weight: the file is of another model")
            other = Diff(change.w.detach(), 0.0, change.together is not None)
            other.decide(places.to(change.w.device), values.to(change.w))
            tensors |= {f"{name}.{key}": x for key, x in other.state_dict().items()}
        return tensors


def attach(attached: Pruned, options: Options) -> None:
    budget(1, options.share)
    if not 0 < options.search < 1:
        raise CutawayError(f"search is {options.search}: give a share of the steps, above 0 and below 1")
    attached.options = options
    for name in inside(attached.host, options.at):
        attached.on_weight(name, Diff(attached.own(name).detach(), options.start, options.structured))


def count(model: nn.Module, options: Options) -> int:
    names = inside(model, options.at)
    return sum(2 * model.get_parameter(name).numel() for name in names) + options.structured * len(names)


METHOD = Method(
    name="diff_pruning",
    kind="partial",
    about="differences that a penalty switches off",
    citation="Guo, Rush & Kim 2021, Parameter-efficient transfer learning with diff pruning (ACL, arXiv 2012.07463)",
    options=Options,
    attach=attach,
    count=count,
    attached=Pruned,
    mergeable=True,
)
