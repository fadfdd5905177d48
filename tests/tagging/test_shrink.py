"""A tagger in 8 bits: it says nearly the same, takes less, is saved and opened, and learns no more."""

import json

import pytest
import torch

from cutaway.cli import run as cutaway
from cutaway.core.errors import CutawayError
from cutaway.core.training import Training
from cutaway.tagging.config import Config
from cutaway.tagging.evaluate import evaluate
from cutaway.tagging.fit import fit
from cutaway.tagging.predict import predict
from cutaway.tagging.shrink import cost, shrunk
from cutaway.tagging.store import load, save
from tagging import made_up

DATA = made_up.corpus(160, 20, 40)


@pytest.fixture(scope="module")
def tagger(encoder, tmp_path_factory):
    options = {"encoder.name": str(encoder), "encoder.sentence": "mean"}
    config = Config(decoder="crf", fresh_lr=1.0, training=Training(epochs=5, batch=16, lr=2e-2), options=options)
    return fit(config, DATA, tmp_path_factory.mktemp("fit")).model


def test_it_says_nearly_the_same_and_the_first_one_stays_as_it_was(tagger, tmp_path):
    before = {name: x.clone() for name, x in tagger.state_dict().items()}
    small = shrunk(tagger)
    assert all(torch.equal(x, before[name]) for name, x in tagger.state_dict().items())
    a, b = (evaluate(x, DATA.test).scores.means() for x in (tagger, small))
    for name in a:
        assert b[name] == pytest.approx(a[name], abs=0.06)
    assert any(x.dtype == torch.int8 for x in small.state_dict().values())
    with pytest.raises(CutawayError, match="already"):
        shrunk(small)


def test_it_is_saved_and_opened_with_the_same_bits(tagger, tmp_path):
    small = shrunk(tagger)
    save(small, tmp_path)
    again = load(tmp_path)
    texts = [" ".join(s.words) for s in DATA.test]
    assert predict(again, texts) == predict(small, texts)
    assert again.int8
    assert again.calibration == tagger.calibration


def test_it_takes_less(tagger):
    large, small = cost(tagger, DATA.test[:8]), cost(shrunk(tagger), DATA.test[:8])
    assert small.mebibytes < large.mebibytes
    assert small.milliseconds > 0
    assert small.threads == 1
    with pytest.raises(CutawayError, match="no sentences"):
        cost(tagger, [])


def test_the_command_writes_a_run_that_opens(tagger, tmp_path, capsys):
    save(tagger, tmp_path / "run" / "model")
    place = made_up.written(DATA, tmp_path / "data")
    assert cutaway(["tagging", "shrink", str(tmp_path / "run"), "--data", str(place)]) == 0
    said = capsys.readouterr().out
    assert "float32" in said
    assert "ms a sentence" in said
    told = json.loads((tmp_path / "run-int8" / "shrink.json").read_text())
    assert told["int8"]["mebibytes"] < told["float32"]["mebibytes"]
    assert cutaway(["tagging", "evaluate", str(tmp_path / "run-int8"), "--data", str(place)]) == 0
