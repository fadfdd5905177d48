"""Exact activation patching over a grid of sites and roles, for all k answer tokens of every prompt."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch

from cutaway.circuits.behavior import Behavior, Prompts
from cutaway.circuits.effects import Convention, EffectMap
from cutaway.circuits.engine import RESUME, TOKEN_BUDGET, Engine, shared_past
from cutaway.circuits.inputs import Source, as_variant, reference_of
from cutaway.circuits.metrics import scorer
from cutaway.circuits.resume import fingerprint
from cutaway.circuits.variant import REPLACEABLE, Trace, head_sites
from cutaway.core.errors import CutawayError
from cutaway.core.journal import name_of
from cutaway.core.work import Groups, Work
from cutaway.decoder import Decoder, Site

Tick = Callable[[int], None]
"""Called with the number of cells just done."""

SIGNS = {
    "noising": "patched − clean: negative helps the answer",
    "denoising": "patched − corrupted: positive helps the answer",
}


def sweep(
    model: Decoder,
    behavior: Behavior,
    corruption: str,
    *,
    sites: Sequence[Site] | None = None,
    roles: Sequence[str | None] = (None,),
    direction: Literal["noising", "denoising"] = "noising",
    metric: str = "logit_diff",
    budget: int = TOKEN_BUDGET,
    work: Work | None = None,
    tick: Tick = lambda done: None,
) -> EffectMap:
    """Patches every site, at each role (None: at all tokens), and measures what it does to each answer token.

    Args:
        corruption: one of the behaviour's; each of its runs is measured on the answer steps that it is about.
        sites: heads (`z`, or their `q`, `k`, `v`, `pattern`), `attn_out`, `mlp_out` or `resid_pre`; all heads if None.
        direction: noising patches corrupted values into the clean run; denoising clean values into the corrupted run.
        work: deals the cells out to ranks and keeps them in a journal; None is one process without a journal.
        tick: called with the number of cells done, for progress.

    Returns:
        Exact effects `[site, role, batch, step]`; NaN at steps the corruption says nothing about.

    Raises:
        CutawayError: no such corruption, role, direction or metric, or a site that the model has not or that is of
            another kind.
    """
    if corruption not in behavior.corruptions:
        known = ", ".join(behavior.corruptions)
        raise CutawayError(f"behaviour {behavior.name!r} has no corruption {corruption!r}: it has {known}")
    if direction not in SIGNS:
        raise CutawayError(f"direction is {direction!r}: give {' or '.join(SIGNS)}")
    sites = tuple(site.check(model.config) for site in (head_sites(model) if sites is None else sites))
    roles = tuple(roles)
    work = work or Work()
    # role by role, so that neighbours cost alike
    cells = [(site, role) for role in roles for site in sites]
    variants = [as_variant(site, role, model.config) for site, role in cells]
    values = torch.full((len(cells), len(behavior), behavior.n_steps), torch.nan)
    past, prompts = shared_past(model, behavior), fingerprint(behavior)
    all_runs = behavior.corruptions[corruption].runs
    engine = partial(Engine, model, behavior, columns=scorer(behavior).columns, past=past, budget=budget)
    runs = _Runs(engine, [behavior.clean] * len(all_runs) + [corrupt for _, corrupt in all_runs])
    for number, (steps, corrupt) in enumerate(all_runs):
        base, source = (behavior.clean, corrupt) if direction == "noising" else (corrupt, behavior.clean)
        score = scorer(behavior).steps(steps)

        def patched(mine: list[int], steps=steps, base=base, source=source, score=score) -> Groups:
            (engine, trace), (other, found) = runs(base, steps, RESUME), runs(source, steps, REPLACEABLE)
            before = score.measure(metric, trace.logits)
            alike: dict[Source, list[int]] = {}
            for place, i in enumerate(mine):
                alike.setdefault(variants[i][0], []).append(place)
            for kind, places in alike.items():
                reference = reference_of(kind, engine, trace, other, found)
                for some, logits in engine.run([variants[mine[p]][1] for p in places], reference, trace):
                    yield [places[i] for i in some], score.measure(metric, logits) - before

        about = ("sweep", model.source, prompts, corruption, number, direction, metric)
        names = [name_of(*about, str(site), role) for site, role in cells]
        with torch.inference_mode():
            values[:, :, list(steps)] = work.measure(names, (len(behavior), len(steps)), patched, tick)
    values = values.unflatten(0, (len(roles), len(sites))).transpose(0, 1)
    convention = Convention(
        "exact",
        direction,
        corruption,
        metric,
        SIGNS[direction],
        model.source,
        len(behavior),
        int(behavior.recipe.get("seed", 0)),
        tuple(role for role in roles if role),
    )
    return EffectMap(sites, roles, behavior.step_names, values, convention)


class _Runs:
    """The runs that cells start from: prompts that several runs of a grid are about are run once, and each takes as much
    of that as it scores."""

    def __init__(self, engine: Callable[..., Engine], prompts: Sequence[Prompts]):
        self.engine = engine
        self._uses = Counter(map(id, prompts))
        self._whole: dict[tuple, Trace] = {}

    def __call__(self, prompts: Prompts, steps: Sequence[int], keep: Sequence[str]) -> tuple[Engine, Trace]:
        some, key = self.engine(prompts=prompts, steps=steps), (id(prompts), keep)
        if self._uses[id(prompts)] == 1:
            return some, some.trace(keep=keep)
        if key not in self._whole:
            self._whole[key] = self.engine(prompts=prompts).trace(keep=keep)
        return some, self._whole[key].until(some.prompts.tokens.shape[1], steps)
