"""What the bench answers is what a full forward pass with one `Patch` for each head would: to 1e-4, in every combination."""

import random
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from cutaway import CutawayError, Site
from cutaway.circuits.explore import bench as bench_file
from cutaway.circuits.explore import changes as changes_file
from cutaway.circuits.explore import passes
from cutaway.circuits.explore import sweep as sweep_file
from cutaway.circuits.explore.bench import Bench, Ran
from cutaway.circuits.explore.phrase import Phrase
from cutaway.circuits.explore.question import ABLATED, PATCHED, Patch, Question
from cutaway.circuits.isolation import Isolation
from cutaway.decoder import Decoder
from cutaway.decoder import Patch as DecoderPatch

from .explore_scenes import CONFIGS, Tiny, planted_setup, random_question, tiny

LIMIT = 1e-4
KINDS = ("z", "mlp_out", "resid_pre")


# --- the oracle -------------------------------------------------------------------------------------------------------


def activations(model: Decoder, phrase: Phrase) -> dict[Site, Tensor]:
    sites = [Site(layer, kind) for layer in range(model.config.n_layers) for kind in KINDS]
    return model.run(torch.tensor([phrase.tokens]), capture=sites).sites


def counterparts(ours: Phrase, theirs: Phrase) -> list[int | None]:
    """The token of the second phrase for each of the phrase, written down anew: by role and place, else by position."""
    if not (ours.prompt.read and theirs.prompt.read):
        assert len(ours.tokens) == len(theirs.tokens)
        return list(range(len(ours.tokens)))
    return [theirs.slots.index(slot) if slot in theirs.slots else None for slot in ours.slots]


def naive(bench: Bench, question: Question, ran: Ran) -> Tensor:
    """The logits `[step, vocab]` of one full pass, with a patch for every head and every token."""
    model, ours = bench.model, ran.ours.phrase
    n, patches = len(ours.tokens), []
    if question.needs_second:
        second = ran.theirs.phrase
        there, places = activations(model, second), counterparts(ours, second)

    def from_second(site: Site, tokens: range | list[int]):
        for at in tokens:
            if places[at] is not None:
                yield put(site, site.of(there[site.without_head()])[0, places[at]], at)

    def put(site: Site, value: Tensor, at: int) -> DecoderPatch:
        return DecoderPatch(site, value, (torch.arange(n) == at)[None])

    for layer, states in enumerate(question.heads):
        for head, state in enumerate(states):
            site, how = Site(layer, "z", head), "second" if state == PATCHED else question.ablation
            if state in (ABLATED, PATCHED):
                if how == "second":
                    patches += from_second(site, range(n))
                else:
                    patches += [put(site, stands_in(bench, how, site, ours.slots[at]), at) for at in range(n)]
    if question.patch:
        tokens = [at for at in range(n) if stands_at(ours, question.patch.at, at)]
        patches += from_second(question.patch.site, tokens)
    return model(torch.tensor([ours.tokens]))[0] if not patches else run_patched(model, ours, patches)


def run_patched(model: Decoder, ours: Phrase, patches: list[DecoderPatch]) -> Tensor:
    return model.run(torch.tensor([ours.tokens]), patches=patches).logits[0]


def stands_in(bench: Bench, how: str, site: Site, slot: tuple[str, int]) -> Tensor:
    means = bench.means
    if how == "zero":
        return torch.zeros(bench.model.config.d_head)
    if how == "role" and slot in means.slots:
        return means.by_slot[means.slots[slot], site.layer, site.head]
    return means.overall[site.layer, site.head]


def stands_at(phrase: Phrase, place: str | int | None, at: int) -> bool:
    if place == "answer":
        return at >= len(phrase.tokens) - len(phrase.answer)
    return place is None or place in (at, phrase.slots[at][0])


def gap(bench: Bench, question: Question) -> float:
    ran = bench.run(question)
    with torch.inference_mode():
        expected = naive(bench, question, ran)[-ran.ours.phrase.steps :]
    return float((ran.after.logits - expected).abs().max())


def worst(made: Tiny, seeds: range) -> float:
    """Over random questions, put to one bench one after another, so that runs are resumed."""
    return max(gap(made.bench, random_question(made, random.Random(seed))) for seed in seeds)


# --- the proof --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_every_combination_equals_a_full_pass_with_patches(name):
    assert worst(tiny(name), range(60)) < LIMIT


@pytest.mark.parametrize("name", CONFIGS)
def test_one_phrase_after_another_change(name):
    """One head after another on the same phrase: each run resumes from the last, at the layer of that head."""
    made, rng = tiny(name), random.Random(1)
    question = replace(random_question(made, rng), heads=("....",) * 3, patch=None, phrase=made.texts[0], answer="")
    question = replace(question, second=made.texts[1])
    for _ in range(25):
        rows = [list(row) for row in question.heads]
        rows[rng.randrange(3)][rng.randrange(4)] = rng.choice(".ap")
        question = replace(question, heads=tuple(map("".join, rows)), ablation=rng.choice(["role", "zero", "second"]))
        assert gap(made.bench, question) < LIMIT


@pytest.mark.parametrize("seed", range(3))
def test_planted_models_too(tmp_path, seed):
    setup, _ = planted_setup(tmp_path, seed=seed)
    made = Tiny(setup.bench, setup.bounds, setup.phrases)
    for turn in range(12):
        rng = random.Random(turn)
        question = random_question(made, rng)
        question = replace(
            question, phrase=rng.choice(made.texts), second=rng.choice(made.texts), answer="", patch=None
        )
        if rng.random() < 0.5:
            site = Site(rng.randrange(setup.bounds.layers), rng.choice(["resid_pre", "mlp_out"]))
            question = replace(question, patch=Patch(site, rng.choice(["C2", "T1", "(", "answer", None, 12])))
        assert gap(made.bench, question) < LIMIT


def test_the_circuit_alone_is_what_a_run_measures(tmp_path):
    """On the run's own prompts, means by role are those of `Isolation`."""
    setup, behavior = planted_setup(tmp_path, seed=2)
    whole, bench = Isolation(setup.bench.model, behavior), setup.bench
    circuit, columns = setup.circuit.sites, whole._score.columns
    expected = whole.logits([circuit])[0]
    c = bench.model.config
    heads = tuple(
        "".join("." if Site(layer, "z", head) in circuit else "a" for head in range(c.n_heads))
        for layer in range(c.n_layers)
    )
    for text, logits, answer in zip(behavior.texts, expected, behavior.answers.tolist(), strict=True):
        ran = bench.run(Question(text, bench.reader.tokenizer.decode(answer), heads=heads))
        assert ran.ours.phrase.answer == tuple(answer)
        torch.testing.assert_close(ran.after.logits[:, columns], logits, atol=LIMIT, rtol=0)


def test_the_answer_is_what_the_model_says_token_by_token():
    made = tiny("shared keys")
    for text in made.texts:
        ours = made.bench.run(Question(text, heads=("....",) * 3)).ours.phrase
        ids = list(ours.prompt.ids)
        for token in ours.answer:
            assert int(made.bench.model(torch.tensor([ids]))[0, -1].argmax()) == token
            ids.append(token)
        assert not ours.given


def test_probabilities_ranks_and_the_likeliest():
    made = tiny("parallel")
    question = replace(
        random_question(made, random.Random(3)), phrase=made.texts[2], answer=" c d", heads=("a...",) * 3
    )
    answer, ran = made.bench.answer(question), made.bench.run(question)
    assert [step.token for step in answer.steps] == [" c", " d"]
    for step, before, after, token in zip(
        answer.steps, ran.ours.plain.logits, ran.after.logits, ran.ours.phrase.answer, strict=True
    ):
        for said, logits in ((step.before, before), (step.after, after)):
            p = logits.softmax(-1)
            assert said.probability == pytest.approx(float(p[token]), abs=1e-5)
            assert said.rank == 1 + sum(float(x) > float(logits[token]) for x in logits)
            best = sorted(p.tolist(), reverse=True)[:8]
            assert [likely.probability for likely in said.top] == pytest.approx(best, abs=1e-5)


# --- the sweep --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_the_sweep_is_one_question_for_each_head(name):
    made = tiny(name)
    for phrase, second in ((made.texts[0], made.texts[1]), (made.texts[3], made.texts[2]), ("The a b c", "The d e c")):
        check_sweep(made.bench, Question(phrase, "", second, ("....",) * 3))


def test_the_sweep_of_a_planted_model_starts_behind_the_example(tmp_path):
    setup, _ = planted_setup(tmp_path, seed=1)
    c = setup.bench.model.config
    check_sweep(setup.bench, Question(setup.phrases[0], "", setup.second, ("." * c.n_heads,) * c.n_layers))
    assert setup.bench._past is not None
    assert setup.bench._past.length == len(setup.bench.reader.shared) > 5


def check_sweep(bench: Bench, question: Question) -> None:
    swept = bench.sweep(question)
    ran = bench.run(question)
    theirs = bench._both(question, bench_file.nobody_waits)[1]
    rivals, _ = sweep_file.rivals(ran.ours, theirs)

    def differences(logits: Tensor) -> list[float]:
        asked = ran.ours.phrase.answer
        return [float(row[token] - row[some].max()) for row, token, some in zip(logits, asked, rivals, strict=True)]

    before = differences(ran.ours.plain.logits)
    assert before == pytest.approx(swept.before, abs=LIMIT)
    for layer in range(len(question.heads)):
        for head in range(len(question.heads[0])):
            rows = list(question.heads)
            rows[layer] = "".join("p" if h == head else "." for h in range(len(rows[layer])))
            after = differences(bench.run(replace(question, heads=tuple(rows))).after.logits)
            effect = [swept.effects[step][layer][head] for step in range(len(before))]
            assert effect == pytest.approx([b - a for a, b in zip(before, after, strict=True)], abs=2 * LIMIT)


def test_a_sweep_stops_where_it_is_told_to(tmp_path):
    setup, _ = planted_setup(tmp_path, seed=1)
    question = Question(setup.phrases[0], "", setup.second)
    looks = []

    def check():
        looks.append(1)
        if len(looks) == 5:
            raise InterruptedError

    with patch.object(sweep_file, "PORTION", 4), pytest.raises(InterruptedError):
        setup.bench.sweep(question, check)
    assert len(looks) == 5


# --- attention --------------------------------------------------------------------------------------------------------


def test_the_pattern_is_that_of_the_run():
    made = tiny("learned positions")
    question = Question(made.texts[0], "", made.texts[1], ("a.p.", "....", "...."))
    found = made.bench.pattern(question, Site(2, "z", 1))
    ran = made.bench.run(question)
    run = made.bench.model.run(torch.tensor([ran.ours.phrase.tokens]), capture=[Site(2, "pattern")])
    expected = run.sites[Site(2, "pattern")][0, 1]
    assert torch.tensor(found.before).sub(expected).abs().max() < 1e-3
    assert torch.tensor(found.after).sub(expected).abs().max() > 1e-2
    assert made.bench.pattern(replace(question, heads=("....",) * 3), Site(2, "z", 1)).after is None
    assert [token.text for token in found.tokens] == [
        made.bench.reader.tokenizer.shown(i) for i in ran.ours.phrase.tokens
    ]


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_phrases_that_do_not_line_up():
    made, heads = tiny("parallel"), ("p...",) * 3
    with pytest.raises(CutawayError, match="4 tokens with its answer, the second phrase 6"):
        made.bench.answer(Question("The a b", "", "The a b c d", heads))
    with pytest.raises(CutawayError, match="give a second phrase"):
        made.bench.answer(Question("The a b", heads=heads))
    with pytest.raises(CutawayError, match="no token of the phrase has that role"):
        made.bench.answer(Question(made.texts[0], "", made.texts[1], patch=Patch(Site(0, "mlp_out"), "R9")))
    with pytest.raises(CutawayError, match="tokens 0 to"):
        made.bench.answer(Question(made.texts[0], "", made.texts[1], patch=Patch(Site(0, "mlp_out"), 99)))


def test_the_notes_say_what_stood_in():
    made = tiny("parallel")
    lacking = made.bench.answer(Question("The a b", heads=("a...",) * 3)).notes
    assert "3 of 4 tokens stand where no prompt of the run has one" in lacking[0]
    longer = next(t for t in made.texts if ("R2", 1) in made.bench.run(Question(t)).ours.phrase.slots)
    shorter = next(t for t in made.texts if ("R2", 1) not in made.bench.run(Question(t)).ours.phrase.slots)
    assert "have no counterpart" in made.bench.answer(Question(longer, "", shorter, ("p...",) * 3)).notes[0]


def test_a_second_phrase_that_nobody_needs_may_be_wrong(tmp_path):
    setup, _ = planted_setup(tmp_path)
    answer = setup.bench.answer(Question(setup.phrases[0], "", "not yet typed"))
    assert answer.second is None
    assert "2 to 5 words" in answer.trouble


# --- the proof can fail -----------------------------------------------------------------------------------------------


def fresh() -> Tiny:
    """A bench that has not been asked anything."""
    made = tiny("shared keys")
    return replace(made, bench=Bench(made.bench.model, made.bench.reader, made.bench.means))


def test_resuming_too_high_is_noticed():
    alike = passes._alike
    with patch.object(passes, "_alike", lambda model, a, b: min(alike(model, a, b) + 1, 3)):
        assert worst(fresh(), range(20)) > 100 * LIMIT


def test_means_of_the_wrong_tokens_are_noticed():
    made = fresh()
    shifted = {slot: (row + 1) % len(made.bench.means.slots) for slot, row in made.bench.means.slots.items()}
    with patch.object(changes_file.Means, "by_role", lambda self, slots, layer: wrong(self, slots, layer, shifted)):
        assert worst(made, range(20)) > 100 * LIMIT


def wrong(means, slots, layer, shifted):
    rows = torch.tensor([shifted.get(slot, 0) for slot in slots])
    return means.by_slot[rows, layer][None], rows >= 0


def test_lining_up_by_position_where_roles_say_otherwise_is_noticed():
    def by_position(phrase, other):
        return [i if i < len(other.tokens) else -1 for i in range(len(phrase.tokens))]

    with patch.object(changes_file, "line_up", by_position):
        assert worst(fresh(), range(20)) > 100 * LIMIT
