"""Greater-than on tokenizers that have two-digit tokens, and on such that have none."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway import CutawayError
from cutaway.circuits.behaviors.greater_than import (
    CENTURIES,
    CORRUPTIONS,
    YEARS,
    GreaterThan,
    build,
    probability_difference,
    year_ids,
)

from .tokenizers_by_hand import bpe

CENTURY = [f" {century}" for century in CENTURIES]
TOKENIZER = bpe(whole=[*YEARS, *CENTURY])
IDS = year_ids(TOKENIZER)
YEAR_OF = {token: int(year) for year, token in IDS.items()}


def starts(behavior, prompts) -> list[int]:
    mask = behavior.slot_mask(prompts, "YY")
    return [YEAR_OF[row[m].item()] for row, m in zip(prompts.tokens, mask, strict=True)]


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 12), seed=st.integers(0, 999), reach=st.integers(1, 97))
def test_the_answer_lies_above_the_start_and_competes_with_all_years_up_to_it(n, seed, reach):
    behavior = build(TOKENIZER, GreaterThan(n=n, seed=seed, reach=reach))
    assert len(set(behavior.texts)) == n
    for start, answer, rivals in zip(
        starts(behavior, behavior.clean), behavior.answers.tolist(), behavior.alternatives.tolist(), strict=True
    ):
        assert 2 <= start < YEAR_OF[answer[0]] <= min(start + reach, 99)
        assert [YEAR_OF[token] for token in rivals[0] if token >= 0] == list(range(start + 1))
    for text in behavior.texts:
        assert text.count(f" {text.split()[-1]}") == 2


def test_each_corruption_does_what_it_says():
    behavior = build(TOKENIZER, GreaterThan(n=30))
    assert behavior.corruptions.keys() == CORRUPTIONS.keys()
    answers = [YEAR_OF[token] for token in behavior.answers[:, 0].tolist()]
    runs = {name: c.runs[0][1] for name, c in behavior.corruptions.items()}
    assert set(starts(behavior, runs["start 01"])) == set(starts(behavior, runs["everything"])) == {1}
    assert all(late >= end for late, end in zip(starts(behavior, runs["later start"]), answers, strict=True))
    changed = {
        name: {behavior.slots[i][0] for i in behavior.clean.slots[prompts.tokens != behavior.clean.tokens].tolist()}
        for name, prompts in runs.items()
    }
    assert changed["start 01"] == changed["later start"] == {"YY"}
    assert changed["everything"] == {"noun", "XX", "YY", "END"}


def test_a_seed_makes_the_same_prompts_again():
    one, same, other = (build(TOKENIZER, GreaterThan(n=9, seed=seed)).texts for seed in (3, 3, 4))
    assert one == same != other


def test_gpt2_cuts_years_in_two(gpt2):
    behavior = build(gpt2, GreaterThan(n=64))
    assert {len(gpt2.encode(text)) for text in behavior.texts} == {behavior.clean.tokens.shape[1]}
    assert behavior.clean.mask.all()


def test_a_year_that_is_one_token_is_left_out():
    """As GPT-2 has ` 1776` as one: prompts with it do not line up, and are not made."""
    tokenizer = bpe(whole=[*YEARS, *CENTURY, *(f" 17{year}" for year in YEARS[:60])])
    behavior = build(tokenizer, GreaterThan(n=40))
    assert not any(f" 17{start:02d}" in text for text in behavior.texts for start in range(60))


@pytest.mark.parametrize("tokenizer", [bpe(), bpe(whole=CENTURY)], ids=["digits apart", "centuries alone"])
def test_a_tokenizer_without_two_digit_tokens_is_refused_in_one_line(tokenizer):
    with pytest.raises(CutawayError, match="two two-digit tokens, as GPT-2 does") as refused:
        build(tokenizer, GreaterThan(n=2))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("config", "said"), [(GreaterThan(n=0), "n is 0"), (GreaterThan(reach=0), "reach is 0")])
def test_refusals_are_one_line(config, said):
    with pytest.raises(CutawayError, match=said):
        build(TOKENIZER, config)


def test_the_papers_metric_is_the_mass_above_less_the_mass_up_to_the_start():
    years = {"10": 0, "20": 1, "30": 2}
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]]).log()  # the last token is no year
    difference = probability_difference(logits, [20, 9], years)
    torch.testing.assert_close(difference, torch.tensor([0.3 - 0.2 - 0.1, 0.6]))
