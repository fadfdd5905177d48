"""Every metric against scikit-learn and scipy, every interval against resamples drawn and measured one by one; and each broken."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from cutaway.core import scores as core
from cutaway.core.errors import CutawayError
from cutaway.tuning import scores
from cutaway.tuning.scores import average_ranks, label_scores, number_scores, quick, text_scores

NEAR = {"rel": 1e-9, "abs": 1e-9}
RESAMPLES = 120
"""Fewer than usual, because scikit-learn measures them one by one; more than are computed at a time."""


# --- oracles: one list of examples, no weights ----------------------------------------------------------------------------


def of_labels(there: list[str], said: list[str], labels: list[str]) -> dict[str, float]:
    only = {"labels": [labels[1]]} if len(labels) == 2 else {}
    return {
        "accuracy": metrics.accuracy_score(there, said),
        "f1": metrics.f1_score(there, said, average="macro", zero_division=0, **only),
        "matthews": metrics.matthews_corrcoef(there, said) if len({*there, *said}) > 1 else 0.0,
    }


def of_numbers(there: list[float], said: list[float]) -> dict[str, float]:
    constant = len(set(there)) == 1 or len(set(said)) == 1
    pearson = 0.0 if constant else stats.pearsonr(there, said).statistic
    spearman = 0.0 if constant else stats.spearmanr(there, said).statistic
    return {"pearson": pearson, "spearman": spearman, "correlation": (pearson + spearman) / 2}


def of_texts(likely: list[float], tokens: list[int], right: list[int], exact: list[bool]) -> dict[str, float]:
    each = sum(likely) / sum(tokens)
    return {
        "log_likelihood": each,
        "perplexity": math.exp(-each),
        "token_accuracy": sum(right) / sum(tokens),
        "exact_match": sum(exact) / len(exact),
    }


def resampled(oracle: Callable, *columns: list, seed: int = 0) -> dict[str, tuple[float, float]]:
    """The interval of each metric, of resamples one after the other."""
    n = len(columns[0])
    draws = torch.randint(n, (RESAMPLES, n), generator=torch.Generator().manual_seed(seed)).tolist()
    found = [oracle(*[[column[i] for i in some] for column in columns]) for some in draws]
    return {name: tuple(np.percentile([each[name] for each in found], [2.5, 97.5])) for name in found[0]}


def check(statistics: Callable, n: int, means: dict[str, float], intervals: dict[str, tuple[float, float]]) -> None:
    found = core.estimates(statistics, n, resamples=RESAMPLES)
    assert {name: value.mean for name, value in found.items()} == pytest.approx(means, **NEAR)
    for name, value in found.items():
        assert (value.low, value.high) == pytest.approx(intervals[name], **NEAR), name


# --- examples with everything that can happen -----------------------------------------------------------------------------


def some_labels(classes: int, n: int = 24, seed: int = 0) -> tuple[list[str], list[str], list[str]]:
    """The last class is rare, so that many resamples have none of it."""
    rng = random.Random(seed)
    labels = list("abcd"[:classes])
    usual = labels[:-1] if classes > 2 else labels
    there = [*rng.choices(usual, k=n - 1), labels[-1]]
    return there, [x if rng.random() < 0.6 else rng.choice(usual) for x in there], labels


def some_numbers(n: int = 20, seed: int = 0) -> tuple[list[float], list[float]]:
    """With ties on one side, and far from 0 on the other."""
    rng = random.Random(seed)
    there = [float(rng.randint(0, 5)) for _ in range(n)]
    return there, [1000 + x + rng.gauss(0, 2) for x in there]


def some_texts(n: int = 20, seed: int = 0) -> tuple[list[float], list[int], list[int], list[bool]]:
    rng = random.Random(seed)
    tokens = [rng.randint(1, 9) for _ in range(n)]
    right = [rng.randint(0, k) for k in tokens]
    return [-rng.random() * 3 * k for k in tokens], tokens, right, [a == b for a, b in zip(right, tokens, strict=True)]


def in_resamples_ranks_are_kept(there: list[float], said: list[float]) -> dict[str, tuple[float, float]]:
    """Spearman's interval is of ranks among all examples; the others' are of what scipy says of each resample."""
    ranks = [stats.rankdata(x).tolist() for x in (there, said)]

    def oracle(x: list[float], y: list[float], rank_x: list[float], rank_y: list[float]) -> dict[str, float]:
        pearson, spearman = of_numbers(x, y)["pearson"], of_numbers(rank_x, rank_y)["pearson"]
        return {"pearson": pearson, "spearman": spearman, "correlation": (pearson + spearman) / 2}

    return resampled(oracle, there, said, *ranks)


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, tuple[float, float]]]:
    """What is slow to know, once for all tests."""
    known: dict[str, dict] = {"scores": in_resamples_ranks_are_kept(*some_numbers())}
    for classes in (2, 3):
        there, said, labels = some_labels(classes)
        known[f"{classes} labels"] = resampled(lambda a, b, labels=labels: of_labels(a, b, labels), there, said)
    return known | {"text": resampled(of_texts, *some_texts())}


def check_labels(module: ModuleType, expected: dict) -> None:
    for classes in (2, 3):
        some = some_labels(classes)
        check(module._label_statistics(*some), len(some[0]), of_labels(*some), expected[f"{classes} labels"])


def check_numbers(module: ModuleType, expected: dict) -> None:
    some = some_numbers()
    check(module._number_statistics(*some), len(some[0]), of_numbers(*some), expected["scores"])


def check_texts(module: ModuleType, expected: dict) -> None:
    some = some_texts()
    check(module._text_statistics(*some), len(some[0]), of_texts(*some), expected["text"])


@pytest.mark.parametrize("checked", [check_labels, check_numbers, check_texts])
def test_values_and_intervals_are_those_of_a_plain_loop(checked, expected):
    checked(scores, expected)


# --- means, of anything ---------------------------------------------------------------------------------------------------

ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=30)
few = settings(max_examples=40)
EIGHTHS = st.integers(-800, 800).map(lambda x: x / 8)


@few
@given(ROWS, st.sampled_from(["ab", "abc", "abcd"]))
def test_labels_as_scikit_learn_has_them(rows, labels):
    there, said = ([row[i] for row in rows] for i in (0, 1))
    assert quick("labels", there, said, list(labels)) == pytest.approx(of_labels(there, said, list(labels)), **NEAR)


@few
@given(st.lists(st.tuples(EIGHTHS, EIGHTHS), min_size=2, max_size=30))
def test_numbers_as_scipy_has_them(rows):
    there, said = ([row[i] for row in rows] for i in (0, 1))
    assert quick("scores", there, said) == pytest.approx(of_numbers(there, said), **NEAR)


@few
@given(st.lists(EIGHTHS, min_size=1, max_size=30))
def test_ranks_as_scipy_has_them(some):
    assert average_ranks(torch.tensor(some, dtype=torch.float64)).tolist() == stats.rankdata(some).tolist()


@few
@given(st.lists(st.tuples(EIGHTHS, EIGHTHS), min_size=3, max_size=20), st.floats(0.01, 100), st.floats(-1e4, 1e4))
def test_correlations_do_not_see_scale_and_offset(rows, scale, offset):
    there, said = ([row[i] for row in rows] for i in (0, 1))
    assume(len(set(there)) > 1 and len(set(said)) > 1)
    moved = [scale * x + offset for x in said]
    assert quick("scores", there, moved)["pearson"] == pytest.approx(quick("scores", there, said)["pearson"], abs=1e-6)
    turned = [-x for x in said]
    for name, value in quick("scores", there, turned).items():
        assert value == pytest.approx(-quick("scores", there, said)[name], abs=1e-9)


@few
@given(st.lists(st.tuples(st.floats(-50, 0), st.integers(1, 9)), min_size=1, max_size=20))
def test_texts_as_a_sum_has_them(rows):
    likely, tokens = [row[0] for row in rows], [row[1] for row in rows]
    right = [k // 2 + k % 2 for k in tokens]
    exact = [a == b for a, b in zip(right, tokens, strict=True)]
    wanted = of_texts(likely, tokens, right, exact)
    assert quick("text", likely, tokens, right) == pytest.approx(wanted, **NEAR)
    assert quick("text", likely, tokens, right, exact) == pytest.approx(wanted, **NEAR)


def test_scores_have_a_thousand_resamples_and_how_many_examples():
    """The same as `check` has proven for fewer."""
    labels, numbers, texts = some_labels(2), some_numbers(), some_texts()
    for found, statistics in (
        (label_scores(*labels), scores._label_statistics(*labels)),
        (number_scores(*numbers), scores._number_statistics(*numbers)),
        (text_scores(*texts), scores._text_statistics(*texts)),
    ):
        assert found.values == core.estimates(statistics, found.n, resamples=1000)
        assert {value.n for value in found.values.values()} == {found.n}
    assert [label_scores(*labels).kind, number_scores(*numbers).kind, text_scores(*texts).kind] == [
        "labels",
        "scores",
        "text",
    ]


def test_quick_is_the_mean_of_the_full_scores():
    labels, texts = some_labels(3), some_texts()
    assert quick("labels", *labels) == label_scores(*labels).means()
    assert quick("labels", *labels[:2]) == label_scores(*labels).means()
    assert quick("scores", *some_numbers()) == number_scores(*some_numbers()).means()
    assert quick("text", *texts) == text_scores(*texts).means()


# --- conventions ----------------------------------------------------------------------------------------------------------


def test_of_two_classes_f1_is_that_of_the_second():
    found = label_scores(["no", "no", "yes", "yes"], ["no", "yes", "yes", "yes"], ["yes", "no"])
    assert found.values["f1"].mean == pytest.approx(4 / 5)
    assert "F1 of 'yes'" in found.protocol
    assert "macro F1" in label_scores(["a"], ["a"], ["a", "b", "c"]).protocol


def test_an_unseen_label_is_wrong_and_told():
    found = label_scores(["a", "b", "new", "new"], ["a", "b", "a", "b"], ["a", "b"])
    assert found.values["accuracy"].mean == 0.5
    assert found.unseen == {"new": 2}
    assert found.values["matthews"].mean == pytest.approx(
        metrics.matthews_corrcoef(["a", "b", "n", "n"], ["a", "b", "a", "b"])
    )


@pytest.mark.parametrize(
    "found",
    [
        label_scores(["a", "b"] * 5, ["a"] * 10, ["a", "b"]),
        label_scores(["a"] * 10, ["a"] * 10, ["a", "b"]),
        label_scores(["a"], ["b"], ["a", "b"]),
        number_scores([1.0, 2.0, 3.0], [0.1] * 3),
        number_scores([0.1] * 7, [0.3] * 7),
        number_scores([1.0], [2.0]),
        number_scores([1.7e308, -1.7e308, 0.0], [5e-324, 0.0, -5e-324]),
        number_scores([1.0, 2.0, 3.0], [1e-300, 2e-300, 3e-300]),
        text_scores([-1e300, -1.0], [1, 1], [0, 1]),
    ],
)
def test_whatever_is_constant_or_extreme_makes_numbers(found):
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {"n", "kind", "protocol", "unseen", *found.values} == set(told)
    assert all(told[name] == value.to_dict() for name, value in found.values.items())


def test_a_correlation_with_a_constant_is_nothing():
    labels = label_scores(["a", "b"] * 5, ["a"] * 10, ["a", "b"])
    assert labels.values["matthews"].to_dict() == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 10}
    assert labels.values["f1"].mean == 0
    assert set(number_scores([1.0, 2.0, 3.0], [0.1] * 3).means().values()) == {0.0}
    assert number_scores([1.0, 2.0, 3.0], [1e-300, 2e-300, 3e-300]).means() == pytest.approx(
        of_numbers([1, 2, 3], [1, 2, 3])
    )


def test_all_right_is_one_with_no_width():
    for found in (
        label_scores(["a", "b"] * 20, ["a", "b"] * 20, ["a", "b"]),
        number_scores(*[[1.0, 2.0, 4.0] * 9] * 2),
    ):
        for value in found.values.values():
            assert (value.mean, value.low, value.high) == pytest.approx((1, 1, 1))
            assert max(value.mean, value.high) <= 1


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: label_scores([], [], ["a", "b"]), "there are no labels to measure"),
        (lambda: number_scores([], []), "there are no scores to measure"),
        (lambda: text_scores([], [], []), "there are no texts to measure"),
        (lambda: label_scores(["a"], [], ["a", "b"]), "1 labels and 0 answers"),
        (lambda: number_scores([1.0], [1.0, 2.0]), "1 scores and 2 answers"),
        (lambda: text_scores([-1.0], [1], [1, 1]), "1 texts and 2 answers"),
        (lambda: number_scores([1.0, 2.0], [1.0, math.nan]), "1 of 2 answers are no finite number"),
        (lambda: text_scores([-math.inf], [1], [1]), "1 of 1 answers are no finite number"),
        (lambda: text_scores([0.0], [0], [0]), "has no tokens"),
    ],
)
def test_what_cannot_be_measured_is_told(made, said):
    with pytest.raises(CutawayError, match=said):
        made()


# --- broken on purpose ----------------------------------------------------------------------------------------------------


def broken(old: str, new: str) -> ModuleType:
    """The module with one place of it changed."""
    source = Path(scores.__file__).read_text()
    assert source.count(old) == 1, old
    module = ModuleType("broken")
    exec(compile(source.replace(old, new), "broken.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(
    ("checked", "old", "new"),
    [
        (check_labels, "counts @ right / n", "right.mean().expand(len(counts))"),
        (check_labels, "2 * both, asks + says", "both, asks + says"),
        (check_labels, "(asks + says > 0).double().sum(-1)", "torch.full_like(n, len(classes))"),
        (check_labels, "known[1]", "known[0]"),
        (check_labels, "n * both.sum(-1) - (asks * says).sum(-1)", "n * both.sum(-1)"),
        (check_labels, "(n**2 - (asks**2).sum(-1))", "(n**2 - (says**2).sum(-1))"),
        (check_numbers, "last - (times - 1) / 2", "last - (times - 1)"),
        (check_numbers, "xy - mx * my", "xy"),
        (check_numbers, "(square - mean**2 > CONSTANT * square, square - mean**2,", "(square > 0, square,"),
        (check_numbers, '(found["pearson"] + found["spearman"]) / 2', 'found["pearson"]'),
        (check_texts, '"log_likelihood": likely / n', '"log_likelihood": likely / counts.sum(-1)'),
        (check_texts, "(-likely / n).clamp_max", "(likely / n).clamp_max"),
        (check_texts, "good / n", "whole / n"),
        (check_texts, "whole / counts.sum(-1)", "whole / n"),
    ],
)
def test_a_broken_metric_would_be_noticed(checked, old, new, expected):
    with pytest.raises(AssertionError):
        checked(broken(old, new), expected)


@pytest.mark.parametrize("checked", [check_labels, check_numbers, check_texts])
def test_a_broken_bootstrap_would_be_noticed(checked, expected, monkeypatch):
    """Drawn without putting back, every resample is the sample."""
    monkeypatch.setattr(core, "_counts", lambda n, resamples, seed: torch.ones(resamples, n))
    with pytest.raises(AssertionError):
        checked(scores, expected)
