"""S-BitFit: whole biases, by the sum of what U-BitFit looks at entry by entry."""

import torch

from cutaway.tuning.method import methods
from cutaway.tuning.methods.s_bitfit import METHOD, Options
from cutaway.tuning.tune import tune
from tuning.models import made
from tuning.test_u_bitfit import SEEDS, importance, losses, undropped


def chosen(share):
    each = tune(undropped(), METHOD.name, share=share, rate=1e-2)
    each.prepare(SEEDS, lambda seed: losses(each.model, seed))
    sizes = {name: len(change.places) for name, change in each.attached.changes.items()}
    assert all(n in (0, each.attached.base[name].numel()) for name, n in sizes.items())
    assert all(change.places.tolist() == list(range(sizes[name])) for name, change in each.attached.changes.items())
    assert each.count().trained == METHOD.count(made("bert"), each.options) == sum(sizes.values())
    return {name for name, n in sizes.items() if n}


def best(scores, share):
    """Of each width those with the highest scores."""
    found = set()
    for width in (16, 32):
        alike = sorted((name for name, x in scores.items() if x.numel() == width), key=lambda n: -score(scores[n]))
        found |= set(alike[: max(1, round(share * len(alike)))])
    return found


def score(x):
    return abs(x.sum().item())


def test_whole_biases_are_chosen_by_the_sum_over_their_entries():
    """An entry that matters for the better makes up for one that matters for the worse: magnitudes make another choice."""
    signed, shares = importance(signed=True), (0.1, 0.3, 0.5, 0.7)
    found = [chosen(share) for share in shares]
    assert found == [best(signed, share) for share in shares]
    assert found != [best({name: x.abs() for name, x in signed.items()}, share) for share in shares]


def test_the_least_share_is_one_of_each_width():
    assert METHOD.count(made("bert"), Options(share=1e-6)) == 16 + 32
    assert len(chosen(1e-6)) == 2
    assert METHOD.count(made("bert"), Options(share=1.0)) == methods()["bitfit"].count(
        made("bert"), methods()["bitfit"].options(at=("layer",))
    )


def test_biases_that_were_not_chosen_stay():
    each = tune(undropped(), METHOD.name, share=0.3, rate=1e-2)
    each.prepare(SEEDS, lambda seed: losses(each.model, seed))
    kept = {name for name, change in each.attached.changes.items() if len(change.places)}
    with torch.no_grad():
        for p in each.trained().values():
            p.add_(1.0)
    own = dict(made("bert").named_parameters())
    moved = {name for name, p in each.merge().named_parameters() if not torch.equal(p, own[name])}
    assert moved == kept
