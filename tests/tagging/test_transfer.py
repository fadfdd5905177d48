"""Transfer: what fits is taken over, the rest is new, and it helps where there is little to learn from."""

from dataclasses import replace

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.core.training import Training
from cutaway.tagging.config import Config
from cutaway.tagging.data import Sentence
from cutaway.tagging.fit import fit
from cutaway.tagging.model import new_tagger
from cutaway.tagging.shrink import shrunk
from cutaway.tagging.store import load, save
from cutaway.tagging.transfer import continued
from tagging import made_up

CONFIG = Config(
    inputs=("words", "char_cnn"), context="bilstm", decoder="crf", fresh_lr=1.0,
    options={"bilstm.hidden": 16}, training=Training(epochs=5, batch=16, lr=1e-2),
)  # fmt: skip
DATA = made_up.corpus(128, 16, 40)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save(fit(CONFIG, DATA, folder / "checkpoints").model, folder / "model")
    return folder


def same(a, b) -> bool:
    theirs, mine = a.state_dict(), b.state_dict()
    return theirs.keys() == mine.keys() and all(torch.equal(x, mine[name]) for name, x in theirs.items())


def other_labels() -> list[Sentence]:
    return [replace(s, tags=tuple(t.replace("city", "town") for t in s.tags)) for s in DATA.train]


def test_with_the_same_labels_everything_is_taken_over(run):
    before, after = load(run), continued(replace(CONFIG, start=str(run)), DATA.train)
    assert same(before, after)
    assert after.labels == before.labels


def test_with_other_labels_the_decoder_is_new_and_the_rest_is_not(run):
    before, after = load(run), continued(replace(CONFIG, start=str(run)), other_labels())
    assert "town" in after.labels.spans
    assert same(before.inputs, after.inputs)
    assert same(before.context, after.context)
    assert same(before.head, after.head)
    assert not same(before.decoder, after.decoder)


def test_another_context_is_new(run):
    before = load(run)
    for change in ({"context": "gru"}, {"options": {"bilstm.hidden": 8}}):
        after = continued(replace(CONFIG, start=str(run), **change), DATA.train)
        assert same(before.inputs, after.inputs)
        assert not same(before.context, after.context)


def test_it_helps_where_there_is_little(run, tmp_path):
    few = replace(DATA, train=tuple(other_labels()[:24]), dev=tuple(other_labels()[-40:]))
    short = replace(CONFIG, training=replace(CONFIG.training, epochs=8, batch=8))
    alone = fit(short, few, tmp_path / "a").trained.scores["span_f1"]
    helped = fit(replace(short, start=str(run)), few, tmp_path / "b").trained.scores["span_f1"]
    assert helped > alone + 0.1


def test_a_whole_training_with_it_is_reproducible_and_its_run_opens_by_itself(run, tmp_path):
    config = replace(CONFIG, start=str(run), training=replace(CONFIG.training, epochs=1))
    made = [fit(config, DATA, tmp_path / name).model for name in "ab"]
    assert same(*made)
    save(made[0], tmp_path / "c")
    assert same(load(tmp_path / "c"), made[0])


def test_what_cannot_be_started_from_is_told(run, tmp_path):
    with pytest.raises(CutawayError, match="is not a tagger"):
        continued(replace(CONFIG, start=str(tmp_path)), DATA.train)
    with pytest.raises(
        CutawayError, match="has the inputs words char_cnn, asked for are words: give --inputs words char_cnn"
    ):
        continued(replace(CONFIG, start=str(run), inputs=("words",)), DATA.train)
    with pytest.raises(CutawayError, match="weights of char_cnn have other shapes"):
        continued(replace(CONFIG, start=str(run), options={"char_cnn.filters": 7}), DATA.train)
    save(shrunk(new_tagger(CONFIG, DATA.train)), tmp_path / "small")
    with pytest.raises(CutawayError, match="is in 8 bits"):
        continued(replace(CONFIG, start=str(tmp_path / "small")), DATA.train)
