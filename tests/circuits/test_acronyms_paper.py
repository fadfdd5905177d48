"""The paper's prompts: what it says of their tokens holds for the whole file, and the corruptions are its shuffles."""

import dataclasses
from pathlib import Path

import pytest
import torch

from cutaway.circuits.behaviors.acronyms import letter_ids
from cutaway.circuits.behaviors.acronyms_paper import ROLES, paper_prompts, read_lines, tokenisation_report
from cutaway.circuits.isolation import Isolation
from cutaway.circuits.patching import sweep
from cutaway.circuits.variant import head_sites
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder
from cutaway.decoder.tokens import Tokenizer
from decoder.decoders import CONFIGS, fill

from .tokenizers_by_hand import SPACED, bpe

LINES = """\
The Ketchup Lark Wreck (KL, KLW
The Piety Yoke Zinc (PY, PYZ
The Gator Joke Ziggurat (GJ, GJZ
The Ketchup Yoke Zinc (KY, KYZ
"""


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "prompts.txt").write_text(LINES)
    return tmp_path / "prompts.txt"


@pytest.fixture
def tiny() -> Tokenizer:
    """A word is its spaced capital and the rest of it."""
    rests = [word[1:] for line in LINES.splitlines() for word in line.split()[1:4]]
    return bpe(*SPACED, whole=["The", *rests])


@pytest.fixture
def paper_file(data) -> Path:
    return data / "acronyms" / "acronyms_2_common.txt"


# --- the file --------------------------------------------------------------------------------------------------------


def test_what_the_paper_says_of_its_tokens_holds_for_every_prompt(paper_file, gpt2):
    assert tokenisation_report(paper_file, gpt2) == {
        "prompts": 11_000,
        "distinct_prompts": 10_591,
        "distinct_words": 381,
        "distinct_acronyms": 152,
        "words": 381,
        "acronyms": 11_000,
        "ten_tokens": 11_000,
        "letter_triples": 2_740,
    }


def test_the_report_counts_what_is_not_as_said(file):
    """`Wreck` is one token, `Piety` begins with two letters, KL joins: the first two lines and the first acronym."""
    rests = ["etchup", "ark", "oke", "inc", "ator", "iggurat"]
    tokenizer = bpe(*SPACED, ("ĠP", "i"), ("K", "L"), whole=["The", " Wreck", "ety", *rests])
    assert tokenisation_report(file, tokenizer) == {
        "prompts": 4,
        "distinct_prompts": 4,
        "distinct_words": 9,
        "distinct_acronyms": 4,
        "words": 7,
        "acronyms": 3,
        "ten_tokens": 3,
        # KL and what follows it, or what stands before it and KL
        "letter_triples": 26**3 - 26 - 26,
    }


def test_the_first_fifty_are_the_papers_default(paper_file, gpt2):
    behavior = paper_prompts(paper_file, gpt2)
    assert behavior.clean.tokens.shape == (50, 11)
    assert behavior.clean.mask.all()
    assert behavior.texts[0] == "The Ketchup Lark Wreck ("
    shown = [gpt2.decode([i]) for i in behavior.clean.tokens[0].tolist()]
    assert shown == ["<|endoftext|>", "The", " K", "etchup", " L", "ark", " W", "reck", " (", "K", "L"]
    assert [gpt2.decode([i]) for i in behavior.answers[0].tolist()] == ["K", "L", "W"]
    assert sorted([*behavior.alternatives[0, 0].tolist(), 42]) == list(range(32, 58))


# --- the behaviour ---------------------------------------------------------------------------------------------------


def test_one_token_for_each_role(file, tiny):
    behavior = paper_prompts(file, tiny, 4, bos=7)
    assert behavior.roles == ("BOS", *ROLES)
    assert behavior.slots == tuple((role, 0) for role in behavior.roles)
    assert behavior.clean.tokens[:, 0].tolist() == [7] * 4
    for row, line in enumerate(LINES.splitlines()):
        prompt, acronym = line.split(", ")
        assert tiny.decode(behavior.clean.tokens[row, 1:].tolist()) == prompt
        assert tiny.decode(behavior.answers[row].tolist()) == acronym
    assert behavior.step_names == ("letter 1", "letter 2", "letter 3")
    assert paper_prompts(file, tiny, 2, bos=None).roles == ROLES


@pytest.mark.parametrize("seed", range(4))
def test_corrupted_prompts_are_one_shuffle_of_the_words_and_one_of_the_letters(file, tiny, seed):
    behavior = paper_prompts(file, tiny, 4, seed=seed)
    clean = behavior.clean.tokens
    ((_, everything),) = behavior.corruptions["everything"].runs
    words, letters = everything.tokens[:, 2:8], everything.tokens[:, 9:]
    assert sorted(words.tolist()) == sorted(clean[:, 2:8].tolist()), "whole rows of words, each once"
    assert sorted(letters.tolist()) == sorted(clean[:, 9:].tolist()), "whole rows of letters, each once"
    assert torch.equal(everything.tokens[:, [0, 1, 8]], clean[:, [0, 1, 8]])
    # columns of what each run changes: BOS The C1 T1 C2 T2 C3 T3 ( A1 A2
    expected = {
        ("current word", 0): [2, 3],
        ("current word", 1): [4, 5],
        ("current word", 2): [6, 7],
        ("previous words", 1): [2, 3],
        ("previous words", 2): [2, 3, 4, 5],
        ("previous letters", 1): [9],
        ("previous letters", 2): [9, 10],
    }
    found = {(name, *steps): run.tokens for name, c in behavior.corruptions.items() for steps, run in c.runs}
    assert found.keys() == expected.keys() | {("everything", 0, 1, 2)}
    for key, columns in expected.items():
        row = clean.clone()
        row[:, columns] = everything.tokens[:, columns]
        assert torch.equal(found[key], row)


def test_the_two_shuffles_are_independent_and_seeded(paper_file, gpt2):
    one, same, other = (paper_prompts(paper_file, gpt2, 100, seed=seed) for seed in (0, 0, 1))
    shuffled, again, otherwise = (b.corruptions["everything"].runs[0][1].tokens for b in (one, same, other))
    assert torch.equal(shuffled, again)
    assert not torch.equal(shuffled, otherwise)
    # if one shuffle moved both, the written letters would still be those of the words
    spaced = {gpt2.encode(f" {letter}")[0]: token for letter, token in letter_ids(gpt2).items()}

    def of_the_words(rows: torch.Tensor) -> int:
        return sum(spaced[row[2]] == row[9] and spaced[row[4]] == row[10] for row in rows.tolist())

    assert of_the_words(one.clean.tokens) == 100
    assert of_the_words(shuffled) < 20


def test_chance_leaves_some_prompts_as_they_were(file, tiny):
    """A shuffle of two rows often keeps them; that is no error here."""
    behaviors = [paper_prompts(file, tiny, 2, seed=seed) for seed in range(6)]
    runs = [(b.clean.tokens, prompts.tokens) for b in behaviors for _, prompts in b.corruptions["current word"].runs]
    assert any(torch.equal(clean, corrupt) for clean, corrupt in runs)
    assert not all(torch.equal(clean, corrupt) for clean, corrupt in runs)


def test_it_is_swept_like_any_other_behaviour(file, tiny):
    """Where the authors disturb nothing, nothing is said."""
    model = fill(Decoder(dataclasses.replace(CONFIGS["parallel"], vocab=len(tiny))))
    behavior = paper_prompts(file, tiny, 4, bos=0)
    for name, said in (("current word", [0, 1, 2]), ("previous words", [1, 2]), ("previous letters", [1, 2])):
        effects = sweep(model, behavior, name, sites=head_sites(model)[:2]).values
        assert (~effects.isnan()).all(2).all(0).all(0).nonzero().flatten().tolist() == said
    isolation = Isolation(model, behavior)
    assert not torch.equal(isolation.full(), isolation.empty())


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 5])
def test_more_prompts_than_the_file_has_are_refused(file, tiny, n):
    with pytest.raises(CutawayError, match=f"n is {n}: .*prompts.txt has 4 prompts, ask for 1 to 4"):
        paper_prompts(file, tiny, n)


def test_a_missing_file_is_named(tmp_path, tiny):
    with pytest.raises(CutawayError, match=r"nowhere\.txt does not exist: give acronyms_2_common"):
        paper_prompts(tmp_path / "nowhere.txt", tiny)


@pytest.mark.parametrize("line", ["The Gator Joke (GJ, GJZ", "The Gator Joke Ziggurat (GJ, GKZ", "", "Gator (GJ, GJZ"])
def test_a_line_of_another_form_is_named(file, line):
    file.write_text(LINES + line + "\n")
    with pytest.raises(CutawayError, match=r"line 5 is .*it must look like"):
        read_lines(file)


def test_another_tokenizer_is_refused(file):
    with pytest.raises(CutawayError, match=r"line 1: this tokenizer does not cut 'The Ketchup.*acronyms.build"):
        paper_prompts(file, bpe(*SPACED), 4)
