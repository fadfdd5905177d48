"""From a run folder to a bench: how phrases are read, what stands in for heads, and what is said where something lacks."""

import json
from dataclasses import replace

import pytest
import torch

from cutaway import CutawayError, Decoder, Site
from cutaway.circuits.behaviors.acronyms import Acronyms, build, read
from cutaway.circuits.behaviors.from_file import read_behavior
from cutaway.circuits.circuit import Circuit
from cutaway.circuits.engine import Engine
from cutaway.circuits.explore.means import measure
from cutaway.circuits.explore.page import page
from cutaway.circuits.explore.phrase import TOKENS, Phrase, Reader, line_up
from cutaway.circuits.explore.question import Patch, Question
from cutaway.circuits.explore.setup import Setup, set_up
from cutaway.circuits.reference import slot_means
from cutaway.decoder.planted import planted

from .capitals import FRANCE, ITALY, words_as_tokens
from .explore_scenes import CONFIGS, folder_of, planted_setup, tiny
from .tokenizers_by_hand import bpe

CUTTER = planted("planted:acronyms").tokenizer


# --- a phrase as a prompt of the acronym behaviour --------------------------------------------------------------------


def test_a_prompt_of_the_behaviour_reads_as_it_was_made():
    config = Acronyms(n=5)
    made = build(CUTTER, config)
    for i, text in enumerate(made.texts):
        found = read(CUTTER, config, text)
        phrase = text.removeprefix(config.example).removesuffix(" (")
        assert found.phrase == phrase
        assert read(CUTTER, config, phrase) == read(CUTTER, config, phrase.removeprefix("The ")) == found
        assert found.sample.text == text
        assert [token for segment in found.sample.row for token in segment.ids] == made.clean.tokens[
            i, made.clean.mask[i]
        ].tolist()
        roles = [segment.role for segment in found.sample.row for _ in segment.ids]
        assert roles == [made.slots[slot][0] for slot in made.clean.slots[i].tolist() if slot >= 0]
        assert list(found.sample.answer) == made.answers[i].tolist()
        assert [sorted(some) for some in found.sample.alternatives] == [
            sorted(s) for s in made.alternatives[i].tolist()
        ]


@pytest.mark.parametrize(
    ("phrase", "initials"), [("The Castle Widow", "CW"), ("Castle Castle Widow Castle Widow", "CCWCW")]
)
def test_other_numbers_of_words(phrase, initials):
    sample = read(CUTTER, Acronyms(), phrase).sample
    assert CUTTER.decode(list(sample.answer)) == initials
    assert [segment.role for segment in sample.row][-len(initials) :] == [
        "(",
        *(f"A{i + 1}" for i in range(len(initials) - 1)),
    ]


def test_a_start_token_and_no_example():
    row = read(CUTTER, Acronyms(example="", bos=0), "The Castle Widow").sample.row
    assert [segment.role for segment in row][:3] == ["BOS", "The", "C1"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The",
        "The Castle",
        "The castle valley",
        "The A B C D E F",
        "The Castle (CW)",
        "(",
        "Über Castle",
        "1st Castle",
    ],
)
def test_what_is_no_phrase(text):
    with pytest.raises(CutawayError, match="2 to 5 words"):
        read(CUTTER, Acronyms(), text)


def test_words_that_the_model_cannot_spell():
    with pytest.raises(CutawayError, match="'Qqqq' is not cut into tokens"):
        read(CUTTER, Acronyms(), "The Qqqq Castle")


# --- from the run -----------------------------------------------------------------------------------------------------


def test_a_run_of_acronyms(tmp_path):
    setup, behavior = planted_setup(tmp_path, seed=3)
    assert not setup.whole
    assert setup.remark == ""
    assert set(setup.phrases) == {text.removeprefix(Acronyms().example).removesuffix(" (") for text in behavior.texts}
    assert setup.bench.reader.shared == tuple(behavior.clean.tokens[0, : behavior.shared].tolist())
    assert "6 prompts, corrupted in 'everything'" in setup.bench.means.about
    ours, theirs = (setup.bench.run(Question(phrase)).ours.phrase for phrase in (setup.phrases[0], setup.second))
    assert ours.answer == ours.prompt.expected  # the one to begin with is one that the model gets right
    assert line_up(ours, theirs) == list(range(len(ours.tokens)))


def test_means_by_role_are_those_of_the_runs(tmp_path):
    setup, behavior = planted_setup(tmp_path, seed=2)
    model, (_, corrupt) = setup.bench.model, behavior.corruptions["everything"].runs[0]
    columns = behavior.answers.unique()
    engine, source = (Engine(model, behavior, prompts, columns=columns) for prompts in (behavior.clean, corrupt))
    reference = slot_means(engine, source, source.trace())
    for layer in range(model.config.n_layers):
        for row, slots in enumerate(behavior.clean.slots.tolist()):
            named = [behavior.slots[slot] for slot in slots if slot >= 0]
            values, own = setup.bench.means.by_role(named, layer)
            assert own.all()
            torch.testing.assert_close(values[0], reference.z[layer][row, : len(named)], atol=1e-5, rtol=0)
    z = model.run(corrupt.tokens, mask=corrupt.mask, capture=[Site(1, "z")]).sites[Site(1, "z")][corrupt.mask]
    torch.testing.assert_close(setup.bench.means.overall[1], z.mean(0), atol=1e-5, rtol=0)


def test_means_do_not_hang_on_how_prompts_are_padded_or_dealt():
    model = tiny("shared keys").bench.model
    behavior = planted_prompts(model)
    some = measure(model, behavior.clean, behavior.slots, "")
    for rows in (slice(0, 1), slice(1, 3)):
        few = behavior.take(rows)
        own = measure(model, few.clean, few.slots, "")
        assert set(own.slots) <= set(some.slots)
    alone = [measure(model, behavior.take(slice(i, i + 1)).clean, behavior.slots, "") for i in range(len(behavior))]
    slot = behavior.slots[0]
    mean = torch.stack([one.by_slot[one.slots[slot]] for one in alone]).mean(0)
    torch.testing.assert_close(some.by_slot[some.slots[slot]], mean, atol=1e-5, rtol=0)


def planted_prompts(model: Decoder):
    from .behaviors_by_hand import random_behavior

    return random_behavior(4, prompts=3)


def test_a_run_of_another_behaviour_takes_whole_prompts(tmp_path):
    setup, behavior = planted_setup(tmp_path, "induction", seed=1)
    assert setup.whole
    assert "<textarea" in page(setup)
    known = setup.bench.run(Question(setup.phrases[0])).ours.phrase
    assert known.prompt.read
    assert {role for role, _ in known.slots} <= set(behavior.roles)
    answer = setup.bench.answer(
        Question(setup.phrases[0], heads=tuple("a" * setup.bounds.heads for _ in range(setup.bounds.layers)))
    )
    assert answer.notes == ()
    mine = setup.phrases[0].rsplit(" ", 1)[0]
    other = setup.bench.answer(
        Question(mine, heads=tuple("a" * setup.bounds.heads for _ in range(setup.bounds.layers)))
    )
    assert {token.role for token in other.read.tokens} == {""}
    assert "stand where no prompt of the run has one" in other.notes[0]


@pytest.fixture
def from_file(tmp_path) -> Setup:
    """A random model on a behaviour from a file, of which the run does not say enough to make it again."""
    cutter = words_as_tokens()
    model = Decoder(replace(CONFIGS["parallel"], vocab=len(cutter)), cutter, "random").eval().requires_grad_(False)
    for weight in model.parameters():
        weight.data = 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    (tmp_path / "capitals.jsonl").write_text("\n".join(map(json.dumps, (FRANCE, ITALY))))
    behavior = read_behavior(tmp_path / "capitals.jsonl", cutter)
    run = folder_of(tmp_path / "run", "planted:acronyms", behavior, model)
    circuit = replace(Circuit.load(run), heads=(), model="random")
    return set_up(run, circuit, model)


def test_a_behaviour_from_a_file_has_no_means_by_role_and_says_so(from_file):
    assert from_file.whole
    assert "no means by role" in from_file.remark
    assert from_file.phrases == ("The capital of France is", "The capital of Italy is")
    heads = ("a...",) * 3
    with pytest.raises(CutawayError, match="no means by role"):
        from_file.bench.answer(Question(from_file.phrases[0], heads=heads))
    assert from_file.bench.answer(Question(from_file.phrases[0], heads=heads, ablation="mean")).steps
    html = page(from_file)
    assert '<option value="role" disabled>' in html
    assert '<option value="mean" selected>' in html


def test_the_runs_own_prompts_have_their_roles_there_too(from_file):
    first, second = from_file.phrases
    answer = from_file.bench.answer(Question(first, "", second, patch=Patch(Site(1, "resid_pre"), "country")))
    assert "country" in {token.role for token in answer.read.tokens}
    assert answer.read.expected == " Paris"


def test_another_model_than_the_runs(tmp_path):
    setup, _ = planted_setup(tmp_path, seed=0)
    other = planted("planted:acronyms@2")
    circuit = replace(setup.circuit, heads=())
    assert "was found in planted:acronyms@0; this is planted:acronyms@2" in set_up(tmp_path, circuit, other).remark
    strange = replace(setup.circuit, heads=(replace(setup.circuit.heads[0], site=Site(40, "z", 0)),))
    with pytest.raises(CutawayError, match="the model has layers"):
        set_up(tmp_path, strange, other)
    other.tokenizer = None
    with pytest.raises(CutawayError, match="no tokenizer"):
        set_up(tmp_path, circuit, other)


def test_prompts_that_are_no_longer_the_same(tmp_path):
    setup, _ = planted_setup(tmp_path, seed=0)
    changed = replace(setup.circuit, provenance=setup.circuit.provenance | {"prompts_sha256": "0" * 64})
    assert "not those of the run" in set_up(tmp_path, changed, setup.bench.model).remark


def test_a_circuit_file_without_its_folder(tmp_path):
    setup, _ = planted_setup(tmp_path, seed=0)
    (tmp_path / "prompts.jsonl").unlink()
    alone = set_up(tmp_path / "circuit.json", setup.circuit, setup.bench.model)
    assert alone.phrases == ()
    assert alone.bench.answer(Question("The Castle Widow")).steps
    (tmp_path / "prompts.jsonl").write_text("{")
    with pytest.raises(CutawayError, match="damaged"):
        set_up(tmp_path, setup.circuit, setup.bench.model)


# --- bounds that only tokens know -------------------------------------------------------------------------------------


def test_too_many_tokens():
    made = tiny("parallel")
    with pytest.raises(CutawayError, match="too many for a context of 32"):
        made.bench.answer(Question("The" + " a" * 25))
    roomy = replace(made.bench.reader, n_ctx=10_000)
    with pytest.raises(CutawayError, match=f"at most {TOKENS}"):
        roomy.prompt("The" + " a" * (TOKENS + 1))
    assert roomy.prompt("The" + " a" * (TOKENS - 1))


def test_an_answer_of_too_many_tokens():
    made = tiny("parallel")
    with pytest.raises(CutawayError, match="answer is 9 tokens: give at most 8"):
        made.bench.answer(Question("The a", " b" * 9))
    assert len(made.bench.answer(Question("The a", " b" * 8)).steps) == 8


def test_an_answer_that_joins_with_the_phrase():
    reader = replace(tiny("parallel").bench.reader, tokenizer=words_as_tokens())
    prompt = reader.prompt("The capital of Fra")
    with pytest.raises(CutawayError, match="joins with the last token"):
        reader.answer(prompt, "nce")


def test_the_behaviours_own_answer_is_cut_as_the_behaviour_cuts_it():
    cutter = bpe(("K", "B"))
    reader, letters = Reader(cutter, 99, {}, ()), tuple(i for letter in "FKB" for i in cutter.encode(letter))
    prompt = replace(reader.prompt("Frozen Kettle Bank ("), expected=letters)
    assert reader.answer(prompt, "FKB") == letters
    assert [cutter.decode([i]) for i in reader.answer(prompt, "XKB")] == ["X", "KB"]


def test_the_roles_of_an_answer_longer_than_the_behaviours():
    made = tiny("parallel")
    prompt = made.bench.reader.prompt(made.texts[0])
    assert Phrase(prompt, (1, 2, 3, 4), given=True).slots[-3:] == (("A1", 0), ("answer 2", 0), ("answer 3", 0))
