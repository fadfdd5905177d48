"""Adversarial training: the disturbance has the size that was asked for, makes the loss grow, and is nowhere else."""

from dataclasses import replace

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tagging.adversarial import disturbance
from cutaway.tagging.config import Config
from cutaway.tagging.fit import fit
from cutaway.tagging.model import new_tagger
from tagging import made_up

PLAIN = Config(inputs=("words",), context="bilstm", decoder="crf", dropout=0.0)


def test_each_sentence_is_moved_by_the_size_asked_for_along_its_own_slope():
    torch.manual_seed(0)
    words = torch.randn(3, 5, 4, requires_grad=True)
    real = torch.arange(5) < torch.tensor([5, 3, 1])[:, None]
    weights = torch.randn(5, 4)
    losses = (words * weights).sum(2).masked_fill(~real, 0).sum(1) * torch.tensor([1.0, 100.0, 1e-3])
    moved = disturbance(losses, words, 0.1)
    for row, n in zip(moved, (5, 3, 1), strict=True):
        assert (row[n:] == 0).all()
        torch.testing.assert_close(row.norm(), torch.tensor(0.1 * (n * 4) ** 0.5))
        along = torch.nn.functional.cosine_similarity(row[:n].flatten(), weights[:n].flatten(), dim=0)
        assert along == pytest.approx(1, abs=1e-5)


def test_a_sentence_that_has_no_loss_is_left_alone():
    words = torch.randn(2, 3, 4, requires_grad=True)
    losses = words.sum((1, 2)) * torch.tensor([0.0, 1.0])
    moved = disturbance(losses, words, 0.1)
    assert (moved[0] == 0).all()
    assert moved[1].abs().min() > 0


def test_the_loss_of_the_tagger_grows_and_more_than_by_chance():
    torch.manual_seed(0)
    data = made_up.corpus(16, 4, 4)
    tagger = new_tagger(PLAIN, data.train)
    batch = tagger.collate(data.train)
    words, whole = tagger.known(batch)
    loss = tagger.loss(words, whole, batch)
    worse = disturbance(loss, words, 0.05)
    chance = torch.randn_like(worse)
    chance = chance * (worse.flatten(1).norm(dim=1) / chance.flatten(1).norm(dim=1))[:, None, None]
    grown, by_chance = (tagger.loss(words + x, whole, batch).mean() - loss.mean() for x in (worse, chance))
    assert grown > 0
    assert grown > 5 * abs(by_chance)


def test_it_is_for_training_alone_and_zero_is_without(encoder):
    data = made_up.corpus(16, 4, 4)
    config = Config(dropout=0.0, adversarial=0.5, options={"encoder.name": str(encoder)})
    tagger = new_tagger(config, data.train)
    tagger.inputs["encoder"].model.eval()  # without its dropout
    batch = tagger.collate(data.train)
    tagger.decoder.train()
    disturbed = tagger(batch)
    tagger.config = replace(config, adversarial=0.0)
    plain = tagger(batch)
    assert (disturbed > plain).all()
    tagger.config = config
    torch.testing.assert_close(tagger.eval()(batch), plain)


def test_a_tagger_learns_with_it(tmp_path):
    data = made_up.corpus(96, 16, 8)
    training = replace(PLAIN.training, epochs=4, batch=16, lr=1e-2)
    found = fit(replace(PLAIN, adversarial=0.05, fresh_lr=1.0, training=training), data, tmp_path)
    assert found.trained.scores["span_f1"] > 0.9


def test_a_size_below_nothing_is_refused():
    with pytest.raises(CutawayError, match=r"adversarial is -1.0"):
        Config(adversarial=-1.0).check()
