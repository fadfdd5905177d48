"""Rank correlation against counting by hand and, where it is installed, scipy; chance overlap against every possible draw."""

import math
import random
from collections import Counter
from collections.abc import Callable
from itertools import combinations

import pytest
import torch

from cutaway.circuits.compare import rank
from cutaway.circuits.compare.overlap import chances, overlap
from cutaway.circuits.compare.rank import agreement, kendall, midranks, pearson, spearman
from cutaway.decoder import parse_site

Plain = Callable[[list[float], list[float]], float]


def plain_ranks(values: list[float]) -> list[float]:
    """The mean of the places that equal values take up in order."""
    ordered = sorted(values)
    places = {v: [i for i, other in enumerate(ordered, 1) if other == v] for v in values}
    return [sum(places[v]) / len(places[v]) for v in values]


def plain_pearson(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    both = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return both / math.sqrt(sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))


def plain_spearman(x: list[float], y: list[float]) -> float:
    return plain_pearson(plain_ranks(x), plain_ranks(y))


def plain_kendall(x: list[float], y: list[float]) -> float:
    """τ-b by its definition: concordant, discordant and untied pairs, counted."""
    signs = [((x[i] > x[j]) - (x[i] < x[j]), (y[i] > y[j]) - (y[i] < y[j])) for i, j in combinations(range(len(x)), 2)]
    untied = math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))
    return sum(a * b for a, b in signs) / untied


PAIRS = ((spearman, plain_spearman), (kendall, plain_kendall), (pearson, plain_pearson))


def lists(seed: int, n: int = 40, levels: int = 7) -> tuple[list[float], list[float]]:
    """Two lists with many ties."""
    rng = random.Random(seed)
    x = [float(rng.randrange(levels)) for _ in range(n)]
    return x, [float(round(0.6 * a + rng.gauss(0, 2))) for a in x]


def check(coefficient, plain: Plain) -> None:
    """A list as it is, and bootstrap samples given by their multiplicities beside the same samples written out."""
    for seed in range(5):
        (x, y), rng = lists(seed), random.Random(seed)
        drawn = [list(range(len(x))), *([rng.randrange(len(x)) for _ in x] for _ in range(4))]
        weights = torch.tensor([[float(Counter(sample)[i]) for i in range(len(x))] for sample in drawn]).double()
        found = coefficient(torch.tensor(x).double(), torch.tensor(y).double(), weights)
        wanted = [plain([x[i] for i in sample], [y[i] for i in sample]) for sample in drawn]
        assert found.tolist() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("coefficient", "plain"), PAIRS, ids=lambda f: f.__name__)
def test_coefficients_are_those_of_the_plain_formulas_and_of_samples_written_out(coefficient, plain):
    check(coefficient, plain)


def least_ranks(values, weights):
    """Ranks in which ties take the first place, as a hurried sort would give them."""
    _, group = values.unique(return_inverse=True)
    shape = (*weights.shape[:-1], int(group.max()) + 1)
    mass = torch.zeros(shape, dtype=weights.dtype).index_add(-1, group, weights)
    return (mass.cumsum(-1) - mass + 1)[..., group]


def test_ranks_that_do_not_share_ties_are_noticed(monkeypatch):
    monkeypatch.setattr(rank, "midranks", least_ranks)
    with pytest.raises(AssertionError):
        check(spearman, plain_spearman)


def test_tau_that_forgets_ties_is_noticed():
    def tau_a(x, y, weights):
        signs = (x[:, None] - x).sign() * (y[:, None] - y).sign()
        n = weights.sum(-1)
        return ((weights @ signs) * weights).sum(-1) / (n * (n - 1))

    with pytest.raises(AssertionError):
        check(tau_a, plain_kendall)


def test_by_hand():
    ones = torch.ones(4).double()
    x, y = torch.tensor([1.0, 2.0, 2.0, 3.0]).double(), torch.tensor([1.0, 3.0, 2.0, 2.0]).double()
    assert midranks(x, ones).tolist() == [1.0, 2.5, 2.5, 4.0]
    # pairs: 1-2 and 1-3, 1-4 agree; 2-3 tied in x; 2-4 disagrees; 3-4 tied in y: (3 − 1) / √(5 · 5)
    assert kendall(x, y, ones).item() == pytest.approx(0.4)
    # ranks 1 2.5 2.5 4 and 1 4 2.5 2.5: centred products 2.25 + 0 + 0 + 0, squares 4.5 and 4.5
    assert spearman(x, y, ones).item() == pytest.approx(0.5)


def test_scipy_says_the_same():
    stats = pytest.importorskip("scipy.stats")
    x, y = lists(7)
    found = agreement(torch.tensor(x), torch.tensor(y))
    assert found.spearman[0] == pytest.approx(stats.spearmanr(x, y)[0])
    assert found.kendall[0] == pytest.approx(stats.kendalltau(x, y)[0])
    assert found.pearson[0] == pytest.approx(stats.pearsonr(x, y)[0])
    law = stats.hypergeom(30, 8, 11)
    assert chances(30, 8, 11) == pytest.approx({k: law.pmf(k) for k in range(9)})


def test_agreement_of_equal_opposite_and_unrelated_lists():
    x = torch.randn(270, generator=torch.Generator().manual_seed(0))
    other = torch.randn(270, generator=torch.Generator().manual_seed(1))
    same, opposite, unrelated = agreement(x, 2 * x + 1), agreement(x, -(x**3)), agreement(x, other)
    for point in (same.spearman, same.kendall, same.pearson):
        assert point == pytest.approx((1.0, 1.0, 1.0))
    for point in (opposite.spearman, opposite.kendall):
        assert point == pytest.approx((-1.0, -1.0, -1.0))
    for value, low, high in (unrelated.spearman, unrelated.kendall, unrelated.pearson):
        assert low < value < high
        assert low < 0 < high
    assert abs(unrelated.spearman[0]) < 2 * unrelated.chance < 0.3


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Of 60 samples of normal pairs with correlation 0.6, most intervals of 95 % hold it; those of half the width do not."""
    held = narrow = 0
    for seed in range(60):
        x, noise = torch.randn(2, 100, generator=torch.Generator().manual_seed(seed))
        value, low, high = agreement(x, 0.6 * x + 0.8 * noise).pearson
        held += low < 0.6 < high
        narrow += value - (value - low) / 3 < 0.6 < value + (high - value) / 3
    assert held >= 52 > narrow


def test_what_is_unknown_or_constant():
    nan = float("nan")
    x = torch.tensor([1.0, nan, 3.0, 4.0, 9.0, 7.0])
    y = torch.tensor([1.0, 2.0, nan, 5.0, 6.0, 8.0])
    found = agreement(x, y)
    assert found.n == 4
    assert found.kendall[0] == pytest.approx((5 - 1) / 6)
    assert agreement(x, torch.full((6,), 2.0)).spearman is None
    assert agreement(x[:2], y[:2]).pearson is None


# --- overlap -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "a", "b"), [(7, 3, 4), (6, 5, 4), (5, 0, 2), (4, 4, 4)])
def test_chance_is_what_every_possible_draw_gives(n, a, b):
    ours = set(range(a))
    counts = Counter(len(ours & set(drawn)) for drawn in combinations(range(n), b))
    total = math.comb(n, b)
    assert chances(n, a, b) == pytest.approx({k: counts[k] / total for k in sorted(counts)})


def roles(text: str) -> dict:
    pairs = (pair.split(":") for pair in text.split())
    return {parse_site(site): role for site, role in pairs}


def test_overlap_by_hand():
    a, b = roles("0.0:mover 1.0:mover 2.0:other 3.0:other"), roles("0.0:mover 1.0:other 2.0:other 3.1:mover")
    found = overlap(("a", a), ("b", b), 8)
    assert (found.shared, found.union, found.same_role) == (3, 5, 2)
    assert found.jaccard == pytest.approx(3 / 5)
    assert found.roles == {"mover": (2, 2, 1), "other": (2, 2, 1)}
    # 4 of 8 twice: 1, 16, 36, 16, 1 of 70 ways to share 0 to 4
    assert found.p == pytest.approx(17 / 70)
    assert found.expected_shared == pytest.approx(2)
    assert found.expected == pytest.approx((16 * 1 / 7 + 36 * 2 / 6 + 16 * 3 / 5 + 1) / 70)


def test_circuits_of_the_same_heads_and_of_none():
    some = roles("0.0:mover 0.1:mover")
    same, none = overlap(("a", some), ("b", some), 270), overlap(("a", some), ("b", {}), 270)
    assert (same.jaccard, same.p) == (1.0, pytest.approx(1 / math.comb(270, 2)))
    assert (none.jaccard, none.p, none.expected) == (0.0, 1.0, 0.0)
    assert overlap(("a", {}), ("b", {}), 4).jaccard == 1.0
