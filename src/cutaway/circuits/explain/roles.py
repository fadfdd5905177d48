"""Automatic roles of heads, each with its evidence.

The rules, in this order, with the groups of García-Carrasco et al. 2024 (§4.3, §5) in mind; `docs/circuits.md` discusses them:

mover             copies: attending to the source of the answer alone, it puts the right answer on top for at least COPY_TOP of
                  the prompts; attends there: to the source of some step more than to any other step's source, at least
                  LOOKS; and its direct effect on that step's logit difference is positive
negative          its direct effect on the logit difference is negative on average, at least NEGATIVE strong
previous-token    attends to the token before, PREVIOUS on average over all tokens; *fuzzy* from FUZZY on, or if it
                  attends to the three tokens before with NEARBY
positional        from a written answer token, attends (at least LOOKS, the most of all sources' words) back to the word that
                  it came from, or on to the one that is next, without carrying the answer: it tells how far the answer is
other             none of these
"""

from dataclasses import dataclass

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.explain.attention import Attention
from cutaway.circuits.explain.direct import Direct
from cutaway.decoder import Site

COPY_TOP, LOOKS, NEGATIVE = 0.5, 0.15, 0.05
PREVIOUS, FUZZY, NEARBY = 0.9, 0.5, 0.7

ROLES = ("mover", "negative", "previous-token", "fuzzy previous-token", "positional", "other")


@dataclass(frozen=True)
class Role:
    """What a head seems to do, and the numbers that say so."""

    name: str
    evidence: dict[str, float]


def role_of(site: Site, behavior: Behavior, attention: Attention, direct: Direct) -> Role:
    """The first rule that fits."""
    at = site.layer, site.head
    looks = {step: attention.of(site, step) for step in range(behavior.n_steps)}
    writes = direct.logit_diff[at].tolist()
    previous, nearby = attention.previous[at].item(), attention.nearby[at].item()
    if behavior.sources:
        copies = direct.copy_top[at].mean().item()
        for step in sorted(looks, key=lambda step: -looks[step][behavior.sources[step]]):
            own = looks[step][behavior.sources[step]]
            most = own >= LOOKS and own == max(looks[step][source] for source in behavior.sources)
            if copies >= COPY_TOP and most and writes[step] > 0:
                evidence = {
                    f"attention {_arrow(behavior, step)}{behavior.sources[step]}": own,
                    "copies right answer": copies,
                }
                return Role(behavior.mover, evidence | {f"writes to {behavior.step_names[step]}": writes[step]})
    mean = sum(writes) / len(writes)
    if mean <= -NEGATIVE:
        return Role("negative", {"writes against the answer": mean})
    if previous >= PREVIOUS:
        return Role("previous-token", {"attention to previous token": previous})
    if previous >= FUZZY or nearby >= NEARBY:
        return Role("fuzzy previous-token", {"attention to previous token": previous, "to the three before": nearby})
    if found := _positional(behavior, looks):
        return Role("positional", found)
    seen = {f"attention {_arrow(behavior, s)}{role}": value for s, role, value in _strongest(looks)}
    return Role("other", seen | {"writes to the answer": mean})


def _positional(behavior: Behavior, looks: dict[int, dict[str, float]]) -> dict[str, float]:
    """Attention from written answer tokens to the word they came from, or to the next; the strongest step's."""
    best: dict[str, float] = {}
    for step in range(1, behavior.n_steps):
        if not behavior.sources:
            break
        words = {
            i: sum(looks[step].get(role, 0) for role in _word(source, behavior))
            for i, source in enumerate(behavior.sources)
        }
        for i in (step - 1, step):
            if words[i] >= LOOKS and words[i] == max(words.values()) and words[i] > max(best.values(), default=0):
                best = {f"attention {_arrow(behavior, step)}{'+'.join(_word(behavior.sources[i], behavior))}": words[i]}
    return best


def _word(source: str, behavior: Behavior) -> list[str]:
    """The roles of the word that a source role begins: `C2` and `T2`."""
    return [role for role in (source, source.replace("C", "T", 1)) if role in behavior.roles]


def _arrow(behavior: Behavior, step: int) -> str:
    return f"{behavior.step_names[step]} → "


def _strongest(looks: dict[int, dict[str, float]]) -> list[tuple[int, str, float]]:
    every = [(step, role, value) for step, roles in looks.items() for role, value in roles.items()]
    return sorted(every, key=lambda item: -item[2])[:1]
