"""Which sentences to label next: the least sure ones, whatever it is that is not sure."""

import json
from dataclasses import replace

import pytest
import torch

from cutaway.cli import run as cutaway
from cutaway.core.errors import CutawayError
from cutaway.tagging.active import next_to_label
from cutaway.tagging.config import Config
from cutaway.tagging.data import Sentence
from cutaway.tagging.model import new_tagger
from cutaway.tagging.store import save
from tagging import made_up

DATA = made_up.corpus(24, 4, 4)


def tagger(encoder, sentences=DATA.train, **change):
    torch.manual_seed(0)
    return new_tagger(replace(Config(options={"encoder.name": str(encoder)}), **change), sentences).eval()


@pytest.mark.parametrize("change", [{}, {"decoder": "crf"}, {"intents": "set"}, {"intents": "off"}], ids=str)
def test_the_least_sure_come_first(encoder, change):
    made = tagger(encoder, **change)
    unsure = made.uncertainty(DATA.train)
    assert all(0 <= x <= 1 for x in unsure)
    found = next_to_label(made, DATA.train, 5)
    different = {s.words: u for s, u in zip(DATA.train, unsure, strict=True)}
    assert [x.uncertainty for x in found] == pytest.approx(sorted(different.values(), reverse=True)[:5], abs=1e-5)
    assert all(DATA.train[x.place] == x.sentence for x in found)
    assert len({x.sentence.words for x in found}) == 5


def test_uncertainty_is_that_of_the_intent_or_of_the_spans_whichever_is_worse(encoder):
    both = tagger(encoder, decoder="crf")
    words, whole = both.features(batch := both.collate(DATA.dev, targets=False))
    intent = 1 - both.head(whole).softmax(-1).amax(-1)
    spans = both.decoder.uncertainty(words, batch["lengths"])
    assert both.uncertainty(DATA.dev) == pytest.approx(torch.maximum(intent, spans).tolist(), abs=1e-5)
    alone = tagger(encoder, made_up.corpus(24, tags=False).train)
    assert alone.decoder is None
    assert len(alone.uncertainty(DATA.dev)) == len(DATA.dev)


def test_the_command_prints_sentences_of_a_text_file(encoder, tmp_path, capsys):
    save(tagger(encoder), tmp_path / "model")
    (tmp_path / "some.txt").write_text("fly to rome\n\nbook a table\nfly to rome\n")
    words = ["tagging", "next-to-label", str(tmp_path), str(tmp_path / "some.txt")]
    assert cutaway([*words, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted((row["place"], row["text"]) for row in rows) == [(1, "fly to rome"), (2, "book a table")]
    assert cutaway([*words, "-n", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert cutaway([*words, "-n", "0"]) == 1
    (tmp_path / "some.txt").write_text("\n\n")
    assert cutaway(words) == 1
    assert "has no sentences" in capsys.readouterr().err
    with pytest.raises(CutawayError, match="at least 1"):
        next_to_label(tagger(encoder), [], 1)


def test_a_sentence_unlike_all_others_is_asked_for_once_a_model_has_learned(encoder, tmp_path):
    from cutaway.core.training import Training
    from cutaway.tagging.fit import fit

    options = {"encoder.name": str(encoder), "encoder.sentence": "mean"}
    data = made_up.corpus(160, 20, 20)
    quick = Training(epochs=5, batch=16, lr=2e-2)
    made = fit(Config(training=quick, fresh_lr=1.0, options=options), data, tmp_path).model
    strange = Sentence(("zzz", "qqq", "table", "rain"))
    assert next_to_label(made, [*data.test, strange], 8)[0].uncertainty > 0.2
    assert strange in [x.sentence for x in next_to_label(made, [*data.test, strange], 8)]
