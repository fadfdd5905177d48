"""Gradients of the metric at every site, and what two runs of the same prompts differ in: the stuff of attributions.

An attribution is a first-order estimate of an exact effect: (value patched in − value there) · ∂metric/∂value, taken in
the base run. It has the sign of `patched − base`, so that it compares with the exact effect number by number. One backward
pass for each answer token serves every site at once.

Nothing here is a second forward pass: it is `Decoder.run`, whose patches may be functions and whose captured activations
carry gradients.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.circuits.behavior import Behavior, Prompts, align
from cutaway.circuits.engine import shared_past
from cutaway.circuits.metrics import Scorer, scorer
from cutaway.circuits.patching import SIGNS
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Past, Patch, Run, Site

EMBEDDING = Site(0, "resid_pre")

SMOOTH = ("logit_diff", "log_prob")
"""Metrics with a gradient that says something."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """One run of a corruption: the prompts that are run, and the other form of each, of which values are taken.

    Prompts are cut: the shared tokens in front are in `past`, tokens after the last scored one are dropped. Sites are
    asked for whole (all heads): `Site(3, "z")`.
    """

    model: Decoder
    behavior: Behavior
    base: Prompts
    other: Prompts
    steps: tuple[int, ...]
    """Answer steps that are scored."""
    metric: str
    past: Past | None

    @property
    def score(self) -> Scorer:
        return scorer(self.behavior).steps(self.steps)

    @cached_property
    def there(self) -> Int[Tensor, "batch pos"]:
        """For each token of the base the position of the token in its slot in the other form; −1 where there is none."""
        return align(self.base, self.other, len(self.behavior.slots))

    def run(self, prompts: Prompts, sites: Iterable[Site] = (), patches: Sequence[Patch] = ()) -> Run:
        return self.model.run(
            prompts.tokens,
            mask=prompts.mask,
            past=self.past,
            patches=patches,
            capture=sites,
            scored=prompts.steps,
            columns=self.score.columns,
        )

    @torch.no_grad()
    def pair(self, sites: Sequence[Site]) -> dict[Site, tuple[Tensor, Tensor]]:
        """For each site what is there in the base run, and what would stand there if it were patched everywhere."""
        here, there = self.run(self.base, sites).sites, self.run(self.other, sites).sites
        return {site: (here[site], self._placed(here[site], there[site])) for site in sites}

    def _placed(self, here: Tensor, there: Tensor) -> Tensor:
        """Values of the other run at the places of the base; what is there already where no token answers it."""
        shape = (*self.there.shape, *[1] * (here.ndim - 2))
        index = self.there.clamp(min=0).reshape(shape).expand(-1, -1, *here.shape[2:])
        return torch.where((self.there >= 0).reshape(shape), there.gather(1, index), here)

    @torch.no_grad()
    def deltas(self, sites: Sequence[Site]) -> dict[Site, Float[Tensor, "batch pos *axes"]]:
        """What patching each site everywhere would add to it."""
        return {site: there - here for site, (here, there) in self.pair(sites).items()}

    def gradients(
        self, sites: Sequence[Site], patches: Sequence[Patch] = (), shift: Tensor | None = None
    ) -> "Gradients":
        """∂(metric of each step)/∂(each site) in the base run; one backward pass for each step.

        Args:
            patches: changes of the run, such as a layer that passes no gradient on.
            shift: what to add to the embeddings (for integrated gradients).

        Raises:
            CutawayError: a metric that has no gradient.
        """
        if self.metric not in SMOOTH:
            raise CutawayError(f"metric {self.metric!r} has no useful gradient: give {' or '.join(SMOOTH)}")

        def leaf(x: Tensor) -> Tensor:
            # the weights ask for no gradient, so the first stream is where the graph begins
            return (x if shift is None else x + shift).detach().requires_grad_()

        with torch.enable_grad():
            run = self.run(self.base, sites, [Patch(EMBEDDING, leaf), *patches])
            score = self.score.measure(self.metric, run.logits)
            captured = [run.sites[site] for site in sites]
            steps = [
                torch.autograd.grad(score[:, i].sum(), captured, retain_graph=True, materialize_grads=True)
                for i in range(score.shape[1])
            ]
        slopes = {site: torch.stack([grads[i] for grads in steps]) for i, site in enumerate(sites)}
        return Gradients(score.detach(), {site: x.detach() for site, x in run.sites.items()}, slopes)


@dataclass(frozen=True)
class Gradients:
    """The metric of a run, what stood at each site, and the slope of every step's metric there."""

    score: Float[Tensor, "batch step"]
    values: dict[Site, Tensor]
    """site → `[batch, pos, …]`"""
    slopes: dict[Site, Tensor]
    """site → `[step, batch, pos, …]`"""


def contrasts(
    model: Decoder,
    behavior: Behavior,
    corruption: str,
    *,
    direction: Literal["noising", "denoising"] = "noising",
    metric: str = "logit_diff",
    rows: int | None = None,
) -> Iterator[tuple[slice, Contrast]]:
    """Every run of a corruption, some prompts at a time: (which prompts, the contrast).

    Args:
        rows: prompts at a time; all if None.

    Raises:
        CutawayError: no such corruption or direction.
    """
    if corruption not in behavior.corruptions:
        known = ", ".join(behavior.corruptions)
        raise CutawayError(f"behaviour {behavior.name!r} has no corruption {corruption!r}: it has {known}")
    if direction not in SIGNS:
        raise CutawayError(f"direction is {direction!r}: give {' or '.join(SIGNS)}")
    with torch.no_grad():
        past = shared_past(model, behavior)
    rows = rows or len(behavior)
    for start in range(0, len(behavior), rows):
        which = slice(start, start + rows)
        part = behavior.take(which)
        for steps, corrupt in part.corruptions[corruption].runs:
            base, other = (part.clean, corrupt) if direction == "noising" else (corrupt, part.clean)
            base, other = (cut(prompts, past.length if past else 0, steps) for prompts in (base, other))
            yield which, Contrast(model, part, base, other, steps, metric, past)


def cut(prompts: Prompts, offset: int, steps: Sequence[int]) -> Prompts:
    """Without the first `offset` tokens and those after the last scored one; positions count from what is left."""
    scored = prompts.steps[:, list(steps)]
    keep = slice(offset, int(scored.max()) + 1)
    return Prompts(prompts.tokens[:, keep], prompts.slots[:, keep], scored - offset)
