"""Training a tagger: it learns, chooses and calibrates on dev and never looks at test; entities and intents by themselves."""

from dataclasses import replace

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.core.training import Training
from cutaway.tagging.config import Config
from cutaway.tagging.corpus import Corpus, read_corpus, read_sentences
from cutaway.tagging.data import Sentence
from cutaway.tagging.evaluate import confidences, evaluate
from cutaway.tagging.fit import TaggingTask, calibrated, fit
from cutaway.tagging.model import new_tagger
from tagging import made_up

QUICK = Training(epochs=5, batch=16, lr=2e-2)


@pytest.fixture
def config(encoder):
    return Config(training=QUICK, fresh_lr=1.0, options={"encoder.name": str(encoder), "encoder.sentence": "mean"})


@pytest.mark.parametrize("change", [{}, {"decoder": "crf", "intents": "set"}], ids=["softmax", "crf, sets"])
def test_it_learns_a_small_world(config, change, tmp_path):
    data = made_up.corpus(160, 30, 40)
    found = fit(replace(config, **change), data, tmp_path)
    scores = evaluate(found.model, data.test).scores
    assert scores.spans.f1.mean > 0.95
    assert scores.intent_accuracy.mean > 0.8
    assert scores.frame_accuracy.mean > 0.75
    assert found.trained.losses[-1] < found.trained.losses[0] / 3


def test_words_alone_with_a_context_learn_it_too(tmp_path):
    """The baseline without pretraining."""
    data = made_up.corpus(160, 30, 40)
    config = Config(inputs=("words",), context="bilstm", decoder="crf", fresh_lr=1.0, training=replace(QUICK, lr=1e-2))
    scores = evaluate(fit(config, data, tmp_path).model, data.test).scores
    assert scores.spans.f1.mean > 0.95
    assert scores.intent_accuracy.mean > 0.8


def test_entities_alone_and_intents_alone(config, tmp_path):
    short = replace(config, training=replace(QUICK, epochs=1))
    entities = fit(short, made_up.corpus(32, 8, 8, intents=False), tmp_path / "a")
    assert "intent_accuracy" not in entities.trained.scores
    assert entities.model.calibration.reject_below == 0
    intents = fit(short, made_up.corpus(32, 8, 8, tags=False), tmp_path / "b")
    assert "span_f1" not in intents.trained.scores
    assert evaluate(intents.model, made_up.corpus(32, 8, 8).test).scores.frame_accuracy is None


def test_the_dev_score_is_the_mean_of_what_there_is(config):
    data = made_up.corpus(20, 10, 10)
    torch.manual_seed(0)
    task = TaggingTask(new_tagger(config, data.train), data)
    told = task.evaluate(task.model)
    three = [told[name] for name in ("intent_accuracy", "span_f1", "frame_accuracy")]
    assert told["score"] == pytest.approx(sum(three) / 3)


def test_nothing_is_chosen_by_the_test_set(config, tmp_path):
    """Another test set, the same weights, temperatures and threshold."""
    short = replace(config, training=replace(QUICK, epochs=2))
    data = made_up.corpus(32, 8, 8)
    first = fit(short, data, tmp_path / "a").model
    second = fit(short, replace(data, test=made_up.corpus(32, 8, 8, seed=5).test), tmp_path / "b").model
    assert first.calibration == second.calibration
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_batches_are_of_like_length_in_pieces(config):
    data = made_up.corpus(40, 4, 4)
    task = TaggingTask(new_tagger(config, data.train), data)
    batch = task.collate(range(40))
    assert [n + 2 for n in task.lengths] == batch["encoder.mask"].sum(1).tolist()


def test_the_threshold_is_chosen_on_dev_with_sentences_of_another_domain_if_there_are_some(config, tmp_path):
    data = made_up.corpus(160, 40, 4)
    strange = tuple(Sentence(("xx", "qq", w, "zz")) for w in "abcdefghij")
    made = fit(replace(config, rejected=0.0), data, tmp_path).model
    inside, outside = (confidences(made, made.read(some), made.calibration) for some in (data.dev, strange))
    assert made.calibration.reject_below == pytest.approx(min(inside))
    moved = calibrated(made, replace(data, outside=strange))
    assert replace(moved, reject_below=0.0) == replace(made.calibration, reject_below=0.0)

    def told_apart(below: float) -> float:
        return sum(x >= below for x in inside) / len(inside) + sum(x < below for x in outside) / len(outside)

    assert moved.reject_below != made.calibration.reject_below
    assert told_apart(moved.reject_below) >= max(told_apart(x) for x in (*inside, *outside)) - 1e-6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"slot_weight": -1.0}, "slot_weight is -1.0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"intents": "off", "slot_weight": 0.0}, "nothing is left to learn"),
        ({"inputs": ()}, "inputs are none"),
        ({"training": replace(QUICK, lr=0.0)}, "lr is 0.0"),
        ({"training": replace(QUICK, lr=1e9, clip=0.0)}, "lower the learning rate"),
    ],
)
def test_what_cannot_be_trained_is_told(config, tmp_path, change, said):
    with pytest.raises(CutawayError, match=said):
        fit(replace(config, **change), made_up.corpus(32, 8, 8), tmp_path)


def test_a_corpus_without_a_dev_set_or_labels_is_refused(config, tmp_path):
    data = made_up.corpus(8, 4, 4)
    with pytest.raises(CutawayError, match="no dev set"):
        fit(config, replace(data, dev=()), tmp_path)
    with pytest.raises(CutawayError, match="has nothing of what is to be learned"):
        fit(config, replace(data, dev=(Sentence(("a",)),)), tmp_path)
    with pytest.raises(CutawayError, match="nothing to learn"):
        fit(config, Corpus("bare", (Sentence(("a",)),), data.dev), tmp_path)


# --- data sets in folders -----------------------------------------------------------------------------------------------


def test_parts_are_found_by_their_names(tmp_path):
    for name in ("some17train.conll", "some.valid.conll", "some.test.annotated"):
        (tmp_path / name).write_text(f"{name[:6]}\tB-X\nis\tO\n\n")
    found = read_corpus(tmp_path)
    assert [found.train[0].words[0], found.dev[0].words[0], found.test[0].words[0]] == ["some17", "some.v", "some.t"]
    assert not found.dev_from_train
    assert read_sentences(tmp_path, "dev") == list(found.dev)
    (tmp_path / "another-train.txt").write_text("a O\n")
    with pytest.raises(CutawayError, match="several files for train"):
        read_corpus(tmp_path)


def test_without_a_dev_set_one_is_set_aside_always_the_same(tmp_path):
    (tmp_path / "all.conll").write_text("".join(f"w{i} O\n\n" for i in range(50)))
    found = read_corpus(tmp_path / "all.conll", dev_share=0.2)
    assert (len(found.train), len(found.dev), len(found.test)) == (40, 10, 0)
    assert not {*found.train} & {*found.dev}
    assert found.dev_from_train
    assert "set aside" in str(found)
    assert read_corpus(tmp_path / "all.conll", dev_share=0.2) == found
    assert len(read_corpus(tmp_path / "all.conll", dev_share=0.0).dev) == 1


def test_a_folder_without_training_sentences_is_told(tmp_path):
    (tmp_path / "notes.md").write_text("hm")
    with pytest.raises(CutawayError, match=r"no training sentences.*notes.md"):
        read_corpus(tmp_path)
    with pytest.raises(CutawayError, match="no part 'test'"):
        read_sentences(tmp_path, "test")
    with pytest.raises(CutawayError, match=r"has no seq.in"):
        read_sentences(tmp_path)
    with pytest.raises(CutawayError, match="does not exist"):
        read_corpus(tmp_path / "gone")


def test_the_hash_of_a_corpus_is_that_of_what_it_says(tmp_path):
    data = made_up.corpus(4, 2, 2)
    assert data.sha256 == made_up.corpus(4, 2, 2).sha256 == read_corpus(made_up.written(data, tmp_path)).sha256
    assert replace(data, test=data.test[:1]).sha256 != data.sha256
