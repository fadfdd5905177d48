"""Every head patched from the second phrase, one at a time, by the engine: what each does to each answer token."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behavior import Behavior, Prompts
from cutaway.circuits.engine import Engine
from cutaway.circuits.explore.changes import Untouched
from cutaway.circuits.explore.findings import likeliest
from cutaway.circuits.explore.phrase import Phrase, Slot
from cutaway.circuits.metrics import Scorer
from cutaway.circuits.reference import from_run
from cutaway.circuits.variant import REPLACEABLE, Variant, head_sites
from cutaway.decoder import Decoder, Past

PORTION = 64
"""Heads between two looks whether the answer is still wanted."""


def sweep(
    model: Decoder,
    phrase: Phrase,
    other: Phrase,
    against: Sequence[Sequence[int]],
    *,
    past: Past | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Float[Tensor, " step"], Float[Tensor, "step layer head"]]:
    """The logit difference with nothing patched, and what patching each head changes in it.

    Args:
        other: the phrase that a patched head takes its value on; it must line up with `phrase` (`line_up`).
        against: for each step the tokens that the answer's is compared with; the largest logit of them counts.
        past: the run of tokens that both phrases begin with.
        check: called between portions; whatever it raises ends the sweep.
    """
    behavior, theirs = _pair(phrase, other, past.length if past else 0)
    score = _scorer(phrase, against, model.device)
    behavior, theirs = behavior.to(model.device), theirs.to(model.device)
    engine, source = (
        Engine(model, behavior, prompts, columns=score.columns, past=past) for prompts in (behavior.clean, theirs)
    )
    base = engine.trace()
    check()
    reference = from_run(engine, source, source.trace(keep=REPLACEABLE))
    before = score.logit_diff(base.logits)
    sites, found = head_sites(model), []
    for start in range(0, len(sites), PORTION):
        check()
        variants = [Variant(frozenset([site])) for site in sites[start : start + PORTION]]
        found.append(score.logit_diff(engine.logits(variants, reference, base)) - before)
    effects = torch.cat(found)[:, 0].float().cpu()  # [site, step]
    return before[0].float().cpu(), effects.T.unflatten(1, (model.config.n_layers, model.config.n_heads))


def rivals(ours: Untouched, theirs: Untouched) -> tuple[list[list[int]], str]:
    """What the answer's tokens are compared with at each step, and how that is called: the answers that the behaviour
    compares, if the answer is one of them; else what is likeliest on either phrase."""
    answer, prompt = ours.phrase.answer, ours.phrase.prompt
    if prompt.rivals and len(prompt.expected) == len(answer):
        known = [{*some, own} for some, own in zip(prompt.rivals, prompt.expected, strict=True)]
        if all(token in some for token, some in zip(answer, known, strict=True)):
            return _others(known, answer), "the other answers"
    tops = [likeliest(made.plain.logits).indices.tolist() for made in (ours, theirs)]
    likely = [{i for top in tops for some in top[step : step + 1] for i in some} for step in range(len(answer))]
    return _others(likely, answer), "the likeliest other tokens"


def _others(tokens: Sequence[set[int]], answer: Sequence[int]) -> list[list[int]]:
    return [sorted(some - {token}) for some, token in zip(tokens, answer, strict=True)]


def _pair(phrase: Phrase, other: Phrase, shared: int) -> tuple[Behavior, Prompts]:
    """Both phrases as prompts of one behaviour, lined up as `line_up` does."""
    read = phrase.prompt.read and other.prompt.read
    ours, theirs = (p.slots if read else tuple(("", i) for i in range(len(p.tokens))) for p in (phrase, other))
    slots = tuple(dict.fromkeys((*ours, *theirs)))
    clean = _prompts(phrase, ours, slots)
    behavior = Behavior(
        name="the phrase",
        about="one phrase",
        clean=clean,
        answers=torch.tensor([phrase.answer]),
        alternatives=torch.full((1, phrase.steps, 1), -1),
        corruptions={},
        roles=tuple(dict.fromkeys(role for role, _ in slots)),
        slots=slots,
        texts=(phrase.prompt.text,),
        shared=shared,
    )
    return behavior, _prompts(other, theirs, slots)


def _prompts(phrase: Phrase, own: Sequence[Slot], slots: Sequence[Slot]) -> Prompts:
    index = {slot: i for i, slot in enumerate(slots)}
    n = len(phrase.tokens)
    return Prompts(
        torch.tensor([phrase.tokens]),
        torch.tensor([[index[slot] for slot in own]]),
        torch.arange(n - phrase.steps, n)[None],
    )


def _scorer(phrase: Phrase, against: Sequence[Sequence[int]], device: torch.device) -> Scorer:
    columns = torch.tensor(sorted({*phrase.answer, *(i for some in against for i in some)}), device=device)
    widest = max(map(len, against))
    answer = torch.searchsorted(columns, torch.tensor([phrase.answer], device=device))
    padded = torch.tensor([[[*some, *[-1] * (widest - len(some))] for some in against]], device=device)
    return Scorer(columns, answer, torch.searchsorted(columns, padded.clamp(min=0)).masked_fill(padded < 0, -1))
