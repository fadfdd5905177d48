"""Learned masks: a gate on every head, trained to close as many as the answer can do without, then exact elimination.

A head's output is g · z + (1 − g) · (what ablation puts there), for all heads at once. The gates are hard concrete variables
(Louizos, Welling & Kingma 2018, arXiv 1712.01312): drawn anew for each prompt and round, exactly 0 or 1 much of the time. Adam
minimises

    mean over answer tokens of max(0, 1 − faithfulness)  +  price · (expected number of open gates) / (number of heads)

and a head's score is log α of its gate, so that heads rank by how hard they were to close. Gates learned together see heads that
only work together, which effects measured one by one do not.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.engine import Engine, shared_past
from cutaway.circuits.metrics import Scorer, scorer
from cutaway.circuits.reference import from_run, slot_means, zeros
from cutaway.circuits.search.record import Found, Method, Options, Problem, Say, silent
from cutaway.circuits.search.screen import screened
from cutaway.circuits.variant import Reference, head_sites
from cutaway.core.errors import CutawayError
from cutaway.decoder import Patch, Site

TEMPERATURE, LOW, HIGH = 2 / 3, -0.1, 1.1
"""β, γ and ζ of the hard concrete distribution, as its authors set them."""

OPEN = 2.0
"""log α before training: nearly every gate is open."""


@dataclass(frozen=True)
class Masks(Options):
    """Options of the search."""

    rounds: int = 150
    """Steps of gradient descent."""
    price: float = 1.0
    """What all heads together cost, in faithfulness."""
    rate: float = 0.1
    """Learning rate."""


def search(problem: Problem, options: Masks = Masks(), tick: Say = silent) -> Found:
    """The circuit found; scores are log odds. `problem.seed` draws the gates.

    Raises:
        CutawayError: no rounds, or a floor that no heads reach.
    """
    log_alpha = learn(problem, options, tick).tolist()
    return screened(problem, dict(zip(head_sites(problem.model), log_alpha, strict=True)), options, tick, "learned")


def learn(problem: Problem, options: Masks, tick: Say = silent) -> Float[Tensor, " site"]:
    """log α of every head's gate after training."""
    if options.rounds < 1:
        raise CutawayError(f"{options.rounds} rounds of training: give at least 1")
    model, isolation, device = problem.model, problem.isolation, problem.model.device
    shape = (model.config.n_layers, model.config.n_heads)
    gated = Gated(problem)
    empty, full = (score.mean(0).to(device) for score in (isolation.empty(), isolation.full()))
    draw = torch.Generator().manual_seed(problem.seed)
    log_alpha = torch.full(shape, OPEN, device=device, requires_grad=True)
    adam = torch.optim.Adam([log_alpha], lr=options.rate)
    for number in range(options.rounds):
        noise = torch.rand((len(problem.behavior), *shape), generator=draw).clamp(1e-6, 1 - 1e-6).to(device)
        with torch.enable_grad():
            score = gated.score(gates(log_alpha, noise))
            lost = (1 - (score.mean(0) - empty) / (full - empty)).clamp(min=0).mean()
            loss = lost + options.price * likely_open(log_alpha).mean()
            adam.zero_grad()
            loss.backward()
        adam.step()
        if number % 10 == 9:
            tick(f"{int((log_alpha > 0).sum())} gates more open than closed")
    return log_alpha.detach().flatten().float().cpu()


def gates(log_alpha: Float[Tensor, "layer head"], noise: Tensor) -> Float[Tensor, "batch layer head"]:
    """Hard concrete gates from uniform noise."""
    soft = torch.sigmoid((noise.logit() + log_alpha) / TEMPERATURE)
    return (soft * (HIGH - LOW) + LOW).clamp(0, 1)


def likely_open(log_alpha: Tensor) -> Tensor:
    """Probability that a gate is not exactly 0."""
    return torch.sigmoid(log_alpha - TEMPERATURE * torch.log(torch.tensor(-LOW / HIGH)))


class Gated:
    """The model on the clean prompts, with a gate between every head and what ablation puts in its place."""

    def __init__(self, problem: Problem):
        self.problem, self.scorer = problem, scorer(problem.behavior)
        with torch.no_grad():
            self.engine, self.reference = _ablated(problem, self.scorer)

    def score(self, gate: Float[Tensor, "batch layer head"]) -> Float[Tensor, "batch step"]:
        """The metric, with a gradient for the gates."""
        prompts, where = self.engine.prompts, self.reference.where[..., None]

        def through(layer: int, z: Tensor) -> Tensor:
            # tokens without a value to take keep their own
            g = torch.where(where, gate[:, None, layer], 1.0)[..., None].to(z.dtype)
            return g * z + (1 - g) * self.reference.z[layer]

        patches = [
            Patch(Site(i, "z"), lambda z, layer=i: through(layer, z)) for i in range(self.problem.model.config.n_layers)
        ]
        run = self.problem.model.run(
            prompts.tokens, mask=prompts.mask, past=self.engine.past, patches=patches,
            scored=prompts.steps, columns=self.scorer.columns,
        )  # fmt: skip
        return self.scorer.measure(self.problem.metric, run.logits)


def _ablated(problem: Problem, score: Scorer) -> tuple[Engine, Reference]:
    """The clean prompts, and what stands in for an ablated head: as in `isolation.py`."""
    model, behavior = problem.model, problem.behavior
    past = None if problem.ablation == "zero" else shared_past(model, behavior)
    _, corrupt = behavior.corruptions[behavior.reference].runs[0]
    engine, source = (
        Engine(model, behavior, prompts, columns=score.columns, past=past) for prompts in (behavior.clean, corrupt)
    )
    if problem.ablation == "zero":
        return engine, zeros(engine, engine.trace())
    values = slot_means if problem.ablation == "mean" else from_run
    return engine, values(engine, source, source.trace())


METHOD = Method(
    name="masks",
    search=search,
    options=Masks,
    about="learned masks: a gate on every head, trained to close what the answer can do without, then exact pruning",
    citation="gates on heads: Michel et al. 2019 (arXiv 1905.10650), Bhaskar et al. 2024 (arXiv 2406.16778); "
    "hard concrete: Louizos et al. 2018 (arXiv 1712.01312)",
    kind="learned",
)
