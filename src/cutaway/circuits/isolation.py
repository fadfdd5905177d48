"""A circuit on its own: every other head ablated, and the metric of what is left."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.engine import TOKEN_BUDGET, Engine, shared_past
from cutaway.circuits.metrics import scorer
from cutaway.circuits.reference import from_run, slot_means, zeros
from cutaway.circuits.resume import fingerprint
from cutaway.circuits.variant import REPLACEABLE, Trace, Variant, head_sites, without
from cutaway.core.journal import name_of
from cutaway.core.work import Groups, Work
from cutaway.decoder import Decoder, Site

Ablation = Literal["mean", "resample", "zero"]
"""What stands in for an ablated head: its mean over the reference corruption, slot by slot (the paper's choice); its value
in that corrupted run of the same prompt; or zero."""

Heads = frozenset[Site]


class Isolation:
    """Measures circuits of attention heads in isolation. MLPs, embeddings and norms stay untouched (§4.2 of the paper).

    Every measurement is exact; consecutive ones share the run of the last `base`. `work` deals them out to ranks and keeps
    them in a journal; None is one process without a journal.
    """

    def __init__(
        self,
        model: Decoder,
        behavior: Behavior,
        *,
        ablation: Ablation = "mean",
        metric: str = "logit_diff",
        budget: int = TOKEN_BUDGET,
        work: Work | None = None,
    ):
        self.model, self.behavior, self.ablation, self.metric = model, behavior, ablation, metric
        self.work = work or Work()
        self._about = ("circuit", model.source, fingerprint(behavior), ablation)
        self.every_head: Heads = frozenset(head_sites(model))
        self._score = scorer(behavior)
        with torch.inference_mode():
            # zeros would go to the shared tokens as well, so these are run with the rest
            past = None if ablation == "zero" else shared_past(model, behavior)
            _, corrupt = behavior.corruptions[behavior.reference].runs[0]
            self._engine, source = (
                Engine(model, behavior, prompts, columns=self._score.columns, past=past, budget=budget)
                for prompts in (behavior.clean, corrupt)
            )
            self._clean = self._engine.trace()
            if ablation == "zero":
                self._reference = zeros(self._engine, self._clean)
            else:
                values = slot_means if ablation == "mean" else from_run
                self._reference = values(self._engine, source, source.trace(keep=REPLACEABLE))
            self._base: tuple[Heads, Trace | None] = (self.every_head, self._clean)
            self._last = (self.every_head, self._clean)
            self._known: dict[Heads, Tensor] = {}
            self._full: dict[str, Tensor] = {}

    def _measure(self, logits: Tensor, metric: str | None = None) -> Tensor:
        return self._score.measure(metric or self.metric, logits).float().cpu()

    def full(self, metric: str | None = None) -> Float[Tensor, "batch step"]:
        """The metric of the whole model."""
        name = metric or self.metric
        if name not in self._full:
            self._full[name] = self.work.agree(self._measure(self._clean.logits, name))
        return self._full[name]

    def empty(self) -> Float[Tensor, "batch step"]:
        """The metric with every head ablated."""
        return self.scores([frozenset()])[0]

    def base(self, heads: Iterable[Site]) -> None:
        """From now on circuits are measured from where they differ from this one, which is run when it is first needed."""
        last, trace = self._base
        if trace is not None:
            self._last = (last, trace)
        heads = frozenset(heads)
        self._base = (heads, self._clean if heads == self.every_head else None)

    def rest(self) -> None:
        """Lets go of all runs but the whole model's. What was measured stays known."""
        self._base = self._last = (self.every_head, self._clean)

    def _trace(self) -> tuple[Heads, Trace]:
        heads, trace = self._base
        if trace is None:
            like = without(self._last[0], self.model), self._last[1]
            trace = self._engine.trace(without(heads, self.model), self._reference, like=like)
            self._base = (heads, trace)
        return heads, trace

    def scores(
        self, circuits: Sequence[Iterable[Site]], metric: str | None = None
    ) -> Float[Tensor, "circuit batch step"]:
        """The metric of each circuit on its own."""
        return self._measure(self.logits(circuits), metric)

    def logits(self, circuits: Sequence[Iterable[Site]]) -> Float[Tensor, "circuit batch step column"]:
        """What each circuit on its own says of the answers and their alternatives. No circuit is run twice."""
        wanted = [frozenset(heads) for heads in circuits]
        fresh = [heads for heads in dict.fromkeys(wanted) if heads not in self._known]
        variants = [without(heads, self.model) for heads in fresh]

        def alone(mine: list[int]) -> Groups:
            heads, trace = self._trace()
            background = Variant(self.every_head - heads)
            return self._engine.run([variants[i] for i in mine], self._reference, trace, background)

        # a circuit's value does not depend on the base it is measured from
        names = [name_of(*self._about, sorted(map(str, heads))) for heads in fresh]
        with torch.inference_mode():
            measured = self.work.measure(names, tuple(self._clean.logits.shape), alone) if fresh else ()
        self._known |= zip(fresh, measured, strict=True)
        return torch.stack([self._known[heads] for heads in wanted]).to(self._clean.logits.device)

    def faithfulness(self, score: Float[Tensor, "*circuit batch step"]) -> Float[Tensor, "*circuit step"]:
        """(circuit − nothing) / (model − nothing), of the means over prompts: 0 is no circuit, 1 the whole model."""
        empty, full = self.empty().mean(0), self.full().mean(0)
        return (score.mean(-2) - empty) / (full - empty)
