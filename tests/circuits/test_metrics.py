"""Metrics against the same formulas in plain Python; the bootstrap against a plain loop and against scipy."""

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.circuits import metrics as metrics_file
from cutaway.circuits.behavior import Behavior
from cutaway.circuits.metrics import METRICS, Scorer, greedy_matches, scorer
from cutaway.core.errors import CutawayError
from cutaway.core.scores import Estimate, bootstrap, estimate

from .behaviors_by_hand import VOCAB, random_behavior


def plain(metric: str, right: float, wrong: list[float]) -> float:
    if metric == "logit_diff":
        return right - max(wrong)
    if metric == "correct":
        return float(all(right > other for other in wrong))
    return math.log(math.exp(right) / sum(map(math.exp, [right, *wrong])))


def draw(behavior: Behavior, seed: int, cells: int = 2) -> torch.Tensor:
    """Logits of the whole vocabulary, `[cell, batch, step, vocab]`."""
    shape = (cells, len(behavior), behavior.n_steps, VOCAB)
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9999), prompts=st.integers(1, 4), steps=st.integers(1, 3))
def test_a_metric_is_its_formula_for_every_prompt_and_step(metric, seed, prompts, steps):
    """Steps have 1 to 4 alternatives, padded to the most: padding takes no part."""
    behavior = random_behavior(seed, prompts=prompts, steps=steps)
    logits, score = draw(behavior, seed), scorer(behavior)
    got = score.measure(metric, logits[..., score.columns])
    assert got.shape == (2, prompts, steps)
    for cell in range(2):
        for row in range(prompts):
            for step in range(steps):
                at = logits[cell, row, step].tolist()
                others = [at[token] for token in behavior.alternatives[row, step].tolist() if token >= 0]
                expected = plain(metric, at[behavior.answers[row, step]], others)
                assert got[cell, row, step].item() == pytest.approx(expected, abs=1e-5)


def test_padded_alternatives_that_took_part_would_be_noticed(monkeypatch):
    """−1 read as an alternative is the last column's logit."""

    def careless(self, logits):
        lead = logits.shape[:-3]
        right = logits.gather(-1, self.answer[..., None].expand(*lead, -1, -1, -1)).squeeze(-1)
        return right, logits.gather(-1, (self.alternatives % len(self.columns)).expand(*lead, -1, -1, -1))

    behavior = random_behavior(1, prompts=4, steps=3)
    assert (behavior.alternatives < 0).any()
    score = scorer(behavior)
    logits = draw(behavior, 0)[..., score.columns]
    real = {metric: score.measure(metric, logits) for metric in METRICS}
    monkeypatch.setattr(metrics_file.Scorer, "_gather", careless)
    assert all(not torch.allclose(score.measure(metric, logits), real[metric]) for metric in METRICS)


def test_the_columns_are_the_tokens_that_are_compared_and_no_more():
    behavior = random_behavior(2, prompts=3, steps=2)
    used = {*behavior.answers.flatten().tolist(), *behavior.alternatives.flatten().tolist()} - {-1}
    assert scorer(behavior).columns.tolist() == sorted(used)


def test_some_steps_are_scored_as_among_all():
    behavior = random_behavior(5, prompts=3, steps=3)
    score = scorer(behavior)
    logits = draw(behavior, 5)[..., score.columns]
    for metric in METRICS:
        some = score.steps((2, 0)).measure(metric, logits[:, :, [2, 0]])
        assert torch.equal(some, score.measure(metric, logits)[:, :, [2, 0]])


def test_a_tie_is_not_correct():
    score = Scorer(torch.tensor([3, 5]), torch.tensor([[0]]), torch.tensor([[[1, -1]]]))
    assert score.correct(torch.tensor([[[2.0, 2.0]]])).tolist() == [[0.0]]
    assert score.correct(torch.tensor([[[2.1, 2.0]]])).tolist() == [[1.0]]
    assert score.log_prob(torch.tensor([[[2.0, 2.0]]])).item() == pytest.approx(-math.log(2))


def test_logits_far_from_zero_keep_their_probabilities():
    score = Scorer(torch.tensor([3, 5]), torch.tensor([[0]]), torch.tensor([[[1]]]))
    assert score.log_prob(torch.tensor([[[1000.0, 1001.0]]])).item() == pytest.approx(-math.log1p(math.e), abs=1e-4)


def test_an_unknown_metric_is_refused():
    score = scorer(random_behavior())
    for name in ("logits", "columns", "steps"):
        with pytest.raises(CutawayError, match=f"no metric '{name}': known are logit_diff, correct, log_prob"):
            score.measure(name, torch.zeros(1, 1, 1))


def test_greedy_is_right_only_against_the_whole_vocabulary():
    behavior = random_behavior(1, prompts=2, steps=2)
    logits = torch.nn.functional.one_hot(behavior.answers, VOCAB).float()
    assert greedy_matches(logits, behavior).all()
    used = {*behavior.answers.flatten().tolist(), *behavior.alternatives.flatten().tolist()}
    stranger = next(token for token in range(VOCAB) if token not in used)
    logits[0, 1, stranger] = 2
    assert greedy_matches(logits, behavior).tolist() == [[True, False], [True, True]]
    score = scorer(behavior)
    assert score.correct(logits[..., score.columns]).all(), "no alternative beat it"


# --- intervals -------------------------------------------------------------------------------------------------------


def test_the_bootstrap_is_the_plain_loop():
    """Resamples of the samples, the mean of each, the percentiles of those."""
    values = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    mean, low, high = bootstrap(values, resamples=200, level=0.9, seed=4)
    draws = torch.randint(7, (200, 7), generator=torch.Generator().manual_seed(4)).tolist()
    for i in range(2):
        for j in range(3):
            sample = values[i, j].tolist()
            means = sorted(sum(sample[d] for d in drawn) / 7 for drawn in draws)
            assert mean[i, j].item() == pytest.approx(sum(sample) / 7, abs=1e-6)
            assert low[i, j].item() == pytest.approx(percentile(means, 0.05), abs=1e-5)
            assert high[i, j].item() == pytest.approx(percentile(means, 0.95), abs=1e-5)


def percentile(ordered: list[float], share: float) -> float:
    """Linear between the two nearest."""
    place = share * (len(ordered) - 1)
    below, part = int(place), place % 1
    return ordered[below] * (1 - part) + ordered[min(below + 1, len(ordered) - 1)] * part


def test_the_interval_is_about_scipys():
    stats = pytest.importorskip("scipy.stats")
    values = torch.randn(60, generator=torch.Generator().manual_seed(1)).exp()
    _, low, high = bootstrap(values, resamples=4000)
    theirs = stats.bootstrap(
        (values.numpy(),), lambda x, axis: x.mean(axis), n_resamples=4000, method="percentile", rng=0
    ).confidence_interval
    width = float(theirs.high - theirs.low)
    assert low.item() == pytest.approx(float(theirs.low), abs=0.05 * width)
    assert high.item() == pytest.approx(float(theirs.high), abs=0.05 * width)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """4,000 samples of 50 draws from one distribution; the percentile bootstrap is a little too narrow at that size."""
    samples = torch.randn(4000, 50, generator=torch.Generator().manual_seed(2)) + 5
    for level, least, most in ((0.95, 0.92, 0.96), (0.5, 0.46, 0.53)):
        _, low, high = bootstrap(samples, level=level)
        covered = ((low <= 5) & (high >= 5)).float().mean().item()
        assert least < covered < most


def test_an_interval_holds_its_mean_and_shrinks_with_more_samples():
    rng = random.Random(0)
    few = torch.tensor([rng.gauss(0, 1) for _ in range(20)])
    many = few.repeat(25)
    (mean, low, high), (_, tighter, narrower) = bootstrap(few), bootstrap(many)
    assert low < mean < high
    assert (narrower - tighter) / (high - low) == pytest.approx(1 / 5, rel=0.15)


def test_the_same_seed_gives_the_same_interval_and_other_axes_do_not_matter():
    values = torch.randn(3, 9, generator=torch.Generator().manual_seed(3))
    together = bootstrap(values, seed=1)
    alone = bootstrap(values[1], seed=1)
    assert all(torch.allclose(a[1], b) for a, b in zip(together, alone, strict=True))
    assert not torch.equal(bootstrap(values, seed=2)[1], together[1])


def test_one_sample_is_sure_of_itself_and_steps_without_values_stay_nan():
    mean, low, high = bootstrap(torch.tensor([[2.5], [math.nan]]))
    assert (mean[0].item(), low[0].item(), high[0].item()) == (2.5, 2.5, 2.5)
    assert mean[1].isnan()
    assert low[1].isnan()


def test_an_estimate_is_the_bootstrap_with_its_n():
    values = torch.tensor([1.0, 2.0, 6.0])
    made = estimate(values)
    _, low, high = bootstrap(values)
    assert made == Estimate(3.0, low.item(), high.item(), 3)
    assert made.to_dict() == {"mean": 3.0, "low": low.item(), "high": high.item(), "n": 3}
    assert str(Estimate(0.5, 0.25, 0.75, 4)) == "0.500 [0.250, 0.750]"
