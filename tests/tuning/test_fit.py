"""Training a tuned model: every kind of answers is learned, on every kind of backbone; settings do what they say."""

import random
from dataclasses import replace

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.core.training import Training
from cutaway.tuning.backbone import load_model
from cutaway.tuning.config import Config
from cutaway.tuning.corpus import Corpus
from cutaway.tuning.data import Example
from cutaway.tuning.evaluate import evaluate
from cutaway.tuning.fit import TuningTask, fit
from cutaway.tuning.method import methods
from cutaway.tuning.model import new_model
from cutaway.tuning.predict import predict
from tuning import made_up, pretrained
from tuning.test_methods import SMALL

BASES = {name: getattr(pretrained, name) for name in ("encoder", "decoder", "gpt2", "seq2seq")}
QUICK = Training(epochs=5, batch=16, lr=1e-2, warmup=0.06)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {name: str(make(folder / name)) for name, make in BASES.items()}


def config(base: str, method: str = "full", **changes) -> Config:
    options = {"lora.rank": 4} if method == "lora" else {}
    return replace(
        Config(model=base, method=method, length=16, dropout=0.0, training=QUICK, options=options), **changes
    )


def counted(n: int, seed: int = 0) -> list[Example]:
    """Two texts; the score is how many of their eight words are lovely, plus 10."""
    rng = random.Random(seed)
    found = []
    for _ in range(n):
        words = [made_up.GOOD if rng.random() < 0.5 else rng.choice(made_up.WORDS) for _ in range(8)]
        found.append(Example(" ".join(words[:4]), " ".join(words[4:]), 10.0 + words.count(made_up.GOOD)))
    return found


# --- what is learned --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "method", "lr"),
    [("encoder", "full", 1e-2), ("encoder", "lora", 3e-2), ("decoder", "full", 1e-2), ("gpt2", "full", 1e-2)],
)
def test_labels_are_learned(bases, tmp_path, base, method, lr):
    data = made_up.corpus("labels", 160, 40, 60)
    made = fit(config(bases[base], method, training=replace(QUICK, lr=lr)), data, tmp_path)
    scores = evaluate(made.model, data.test).means()
    assert scores["accuracy"] > 0.9
    assert scores["matthews"] > 0.8
    assert made.trained.losses[-1] < made.trained.losses[0] / 2


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_scores_are_learned_on_their_own_scale(bases, tmp_path, base):
    data = Corpus.of("counts", "scores", *(counted(n, seed) for seed, n in enumerate((160, 40, 60))))
    model = fit(config(bases[base], pool="mean"), data, tmp_path).model
    assert evaluate(model, data.test).means()["correlation"] > 0.9
    assert (model.task.center, model.task.scale) == pytest.approx((14.0, 1.4), abs=0.3)
    said = [float(answer.said) for answer in model.read(data.test)]
    wrong = [abs(a - float(b.answer)) for a, b in zip(said, data.test, strict=True)]
    assert sum(wrong) / len(wrong) < 0.7, "in the units of the data"


@pytest.mark.parametrize(
    ("base", "method", "epochs"),
    [("decoder", "full", 5), ("decoder", "lora", 15), ("gpt2", "full", 12), ("seq2seq", "full", 8)],
)
def test_texts_are_learned_and_end_where_they_should(bases, tmp_path, base, method, epochs):
    data = made_up.corpus("text", 160, 40, 60)
    training = replace(QUICK, epochs=epochs, lr=3e-2 if method == "lora" else 1e-2)
    model = fit(config(bases[base], method, training=training), data, tmp_path).model
    assert evaluate(model, data.test).means()["token_accuracy"] > 0.9
    written = predict(model, [f"old {name} says:" for name in made_up.RHYMES], most=4)
    assert [str(x.answer).strip() for x in written] == list(made_up.RHYMES.values())


def test_without_a_stop_the_end_is_no_part_of_an_answer(bases, tmp_path):
    data = made_up.corpus("text", 160, 40, 40)
    for stop, tokens in ((True, 2), (False, 1)):
        torch.manual_seed(0)
        model = new_model(config(bases["decoder"], stop=stop), data)
        assert {answer.tokens for answer in model.read(data.test)} == {tokens}
    model = fit(config(bases["decoder"], stop=False), data, tmp_path).model
    (written,) = predict(model, ["old cat says:"], most=5)
    assert len(str(written.answer).split()) == 5, "nothing has taught it to stop"
    assert str(written.answer).split()[0] == "hat"


def test_nothing_is_chosen_by_the_test_set(bases, tmp_path):
    data = made_up.corpus("labels", 48, 16, 16)
    short = config(bases["encoder"], training=replace(QUICK, epochs=2))
    first = fit(short, data, tmp_path / "a").model
    second = fit(short, replace(data, test=made_up.corpus("labels", 8, 4, 8, seed=5).test), tmp_path / "b").model
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["int8", "int4", "bfloat16"])
def test_a_backbone_in_fewer_bits_learns(bases, tmp_path, weights):
    if weights.startswith("int"):
        pytest.importorskip("bitsandbytes")
    data = made_up.corpus("labels", 96, 24, 24)
    training = replace(QUICK, epochs=3, lr=3e-2)
    made = fit(config(bases["decoder"], "lora", weights=weights, training=training), data, tmp_path)
    assert sum(made.trained.losses[-6:]) < sum(made.trained.losses[:6])
    assert evaluate(made.model, data.test).means()["accuracy"] >= 0.5


def test_activations_that_are_computed_again_change_nothing(bases, tmp_path):
    data = made_up.corpus("text", 32, 8, 8)
    short = config(bases["decoder"], "lora", training=replace(QUICK, epochs=1))
    plain, again = (fit(replace(short, recompute=on), data, tmp_path / str(on)).trained.losses for on in (False, True))
    assert plain == pytest.approx(again, rel=1e-5)


def test_a_method_that_needs_data_is_given_them(bases, tmp_path):
    """FISH mask: a share of the weights learns, chosen by the training set."""
    data = made_up.corpus("labels", 48, 16, 16)
    short = config(bases["encoder"], "fish_mask", training=replace(QUICK, epochs=1), options={"fish_mask.share": 0.05})
    before = load_model(bases["encoder"]).state_dict()
    after = fit(short, data, tmp_path).model.tuned.merge().state_dict()
    assert after.keys() == before.keys()
    moved = sum(int((after[name] != x).sum()) for name, x in before.items())
    assert 0 < moved <= 0.06 * sum(x.numel() for x in before.values())


def test_what_stands_for_a_text(bases):
    data = made_up.corpus("labels", 8, 4, 4)
    for base, auto in (("encoder", "first"), ("decoder", "last")):
        said = {}
        for pool in ("auto", "first", "mean", "last"):
            torch.manual_seed(0)
            model = new_model(config(bases[base], pool=pool), data)
            said[pool] = tuple(answer.confidences for answer in model.read(data.test))
        assert said["auto"] == said[auto]
        assert len({said[pool] for pool in ("first", "mean", "last")}) == 3


def test_padding_changes_no_answer(bases):
    """A text alone is read as it is among longer ones, whatever stands for it."""
    data = made_up.corpus("labels", 8, 4, 12)
    for base in ("encoder", "decoder"):
        for pool in ("first", "mean", "last"):
            model = new_model(config(bases[base], pool=pool), data)
            together = [answer.confidences for answer in model.read(data.test)]
            alone = [model.read([example])[0].confidences for example in data.test]
            torch.testing.assert_close(torch.tensor(alone), torch.tensor(together), atol=1e-5, rtol=0)


def test_a_head_learns_at_its_own_rate(bases):
    data = made_up.corpus("labels", 8, 4, 4)
    model = new_model(config(bases["encoder"], head_lr=7.0), data)
    rates = {
        id(p): group.get("multiple", group.get("lr"))
        for group in TuningTask(model, data).groups()
        for p in group["params"]
    }
    head, rest = {id(p) for p in model.head.parameters()}, {id(p) for p in model.tuned.trained().values()}
    assert {rates[i] for i in head} != {rates[i] for i in rest if i in rates}


def test_only_what_the_method_names_and_the_head_learn(bases):
    model = new_model(config(bases["encoder"], "lora"), made_up.corpus("labels", 8, 4, 4))
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in learning if name.startswith("head.")} == {"head.weight", "head.bias"}
    assert all("lora" in name for name in learning if not name.startswith("head."))


# --- what cannot be done ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"length": 3}, "length is 3"),
        ({"limit": -1}, "limit is -1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dev_share": 0.0}, "dev_share is 0.0"),
        ({"head_lr": 0.0}, "head_lr is 0.0"),
        ({"options": {"adapter.width": 4}}, "'adapter.width' is not one of the method 'full': write full.width"),
        ({"method": "loraa"}, "lora"),
        ({"model": "minilm"}, "no model or folder named 'minilm'"),
        ({"training": replace(QUICK, lr=1e9, clip=0.0)}, "rate"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(bases, tmp_path, change, said):
    with pytest.raises(CutawayError, match=said) as error:
        fit(replace(config(bases["encoder"]), **change), made_up.corpus("labels", 32, 8, 8), tmp_path)
    assert "\n" not in str(error.value)


def test_backbones_that_cannot_give_such_answers(bases, tmp_path):
    with pytest.raises(CutawayError, match="is an encoder, which cannot write text"):
        fit(config(bases["encoder"]), made_up.corpus("text", 8, 4, 4), tmp_path)
    with pytest.raises(CutawayError, match="has an encoder and a decoder and answers in words"):
        fit(config(bases["seq2seq"]), made_up.corpus("labels", 8, 4, 4), tmp_path)


def test_a_corpus_without_a_dev_set_is_refused(bases, tmp_path):
    with pytest.raises(CutawayError, match="no dev set to choose the weights by"):
        fit(config(bases["encoder"]), replace(made_up.corpus("labels", 8, 4, 4), dev=()), tmp_path)


def test_examples_that_cannot_be_measured(bases):
    model = new_model(config(bases["encoder"]), made_up.corpus("labels", 8, 4, 4))
    for examples, said in (
        ([], "no examples to evaluate on"),
        ([Example("a bird", None, "1"), Example("a stone")], "example 2 has no answer"),
        ([Example("a bird", None, 3.0)], "the model gives labels, the data have answers such as 3.0"),
    ):
        with pytest.raises(CutawayError, match=said):
            evaluate(model, examples)


@pytest.mark.parametrize("method", [name for name in methods() if name != "qlora"])
def test_every_method_trains_labels(bases, tmp_path, method):
    """What it compares or wants to know is there also where the head is a new one behind the model."""
    data = made_up.corpus("labels", 32, 8, 8)
    options = {f"{method}.{name}": x for name, x in SMALL.get(method, {}).items()}
    made = fit(config(bases["encoder"], method, options=options, training=replace(QUICK, epochs=2)), data, tmp_path)
    assert len(set(made.trained.losses)) == 4


@pytest.mark.parametrize("kind", ["labels", "text"])
def test_the_difference_between_two_experts_counts(bases, kind):
    """AdaMix calls the model twice: the loss has the divergence of the answers, whoever makes them of what comes out."""
    data = made_up.corpus(kind, 8, 4, 4)
    losses = []
    for consistency in (0.0, 1.0):
        torch.manual_seed(0)
        options = {"adamix.width": 4, "adamix.experts": 2, "adamix.consistency": consistency}
        model = new_model(config(bases["encoder" if kind == "labels" else "decoder"], "adamix", options=options), data)
        with torch.no_grad():
            for parameter in model.tuned.trained().values():
                parameter.add_(torch.randn_like(parameter))
        torch.manual_seed(1)
        losses.append(model.train()(model.collate(data.train)).mean())
    assert losses[1] > losses[0] + 1e-3
