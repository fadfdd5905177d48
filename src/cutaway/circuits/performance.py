"""How well the model does the behaviour, answer token by answer token, beside what the letters' frequencies alone would do."""

from collections import Counter, defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.engine import Engine, shared_past
from cutaway.circuits.metrics import greedy_matches, scorer
from cutaway.circuits.verify import per_step
from cutaway.core.scores import Estimate
from cutaway.decoder import Decoder


@dataclass(frozen=True)
class Performance:
    """One `Estimate` per answer step."""

    logit_diff: tuple[Estimate, ...]
    correct: tuple[Estimate, ...]
    """Share of prompts where the answer beats its alternatives."""
    greedy: tuple[Estimate, ...]
    """Share where it is the most likely token of the whole vocabulary."""
    log_prob: tuple[Estimate, ...]
    prior: tuple[Estimate, ...]
    """Accuracy of always saying the most frequent token of that step, counted on other prompts."""
    pair_prior: tuple[Estimate, ...]
    """The same given the token before."""


def performance(model: Decoder, behavior: Behavior, others: Behavior) -> Performance:
    """Measures `behavior`; the frequency baselines are counted on `others`."""
    score = scorer(behavior)
    with torch.inference_mode():
        everything = torch.arange(model.config.vocab, device=behavior.answers.device)
        engine = Engine(model, behavior, behavior.clean, columns=everything, past=shared_past(model, behavior))
        logits = torch.cat(list(_in_parts(engine, 16)))
    some = logits[..., score.columns]
    return Performance(
        per_step(score.logit_diff(some).float().cpu()),
        per_step(score.correct(some).cpu()),
        per_step(greedy_matches(logits, behavior).float().cpu()),
        per_step(score.log_prob(some).float().cpu()),
        per_step(prior(behavior, others)),
        per_step(pair_prior(behavior, others)),
    )


def _in_parts(engine: Engine, rows: int):
    """The vocabulary is wide: a few prompts at a time."""
    model, prompts = engine.model, engine.prompts
    for i in range(0, len(prompts), rows):
        part = prompts.take(slice(i, i + rows))
        yield model.run(part.tokens, past=engine.past, scored=part.steps).logits


def prior(behavior: Behavior, others: Behavior) -> Float[Tensor, "batch step"]:
    """1 where the most frequent answer token of `others` at that step is right."""
    guess = torch.stack([others.answers[:, step].mode().values for step in range(others.n_steps)])
    return (behavior.answers == guess).float().cpu()


def pair_prior(behavior: Behavior, others: Behavior) -> Float[Tensor, "batch step"]:
    """1 where the most frequent answer token of `others` after the same token before it is right; the prior at step 1."""
    after: dict[tuple[int, int], Counter] = defaultdict(Counter)
    for answer in others.answers.tolist():
        for step in range(1, len(answer)):
            after[step, answer[step - 1]][answer[step]] += 1
    right = prior(behavior, others)
    for row, answer in enumerate(behavior.answers.tolist()):
        for step in range(1, len(answer)):
            if seen := after.get((step, answer[step - 1])):
                right[row, step] = float(seen.most_common(1)[0][0] == answer[step])
    return right
