"""Frames of plain text."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tagging.calibration import Calibration
from cutaway.tagging.config import Config
from cutaway.tagging.intents import Intent
from cutaway.tagging.model import new_tagger
from cutaway.tagging.predict import Frame, Slot, predict
from tagging import made_up

DATA = made_up.corpus(24, 4, 4)


@pytest.fixture
def tagger(encoder):
    torch.manual_seed(0)
    return new_tagger(Config(decoder="crf", options={"encoder.name": str(encoder)}), DATA.train).eval()


def test_a_frame_is_what_the_model_reads(tagger):
    texts = [" ".join(s.words) for s in DATA.dev]
    for frame, read, sentence in zip(predict(tagger, texts), tagger.read(DATA.dev), DATA.dev, strict=True):
        assert frame.words == sentence.words
        assert [(s.start, s.end, s.type) for s in frame.slots] == [tuple(x.span) for x in read.spans]
        assert [s.text for s in frame.slots] == [
            " ".join(sentence.words[a:b]) for a, b, *_ in (x.span for x in read.spans)
        ]
        best = read.intents.softmax(-1)
        assert frame.intents == (Intent(tagger.labels.intents[int(best.argmax())], pytest.approx(float(best.max()))),)
        assert not frame.rejected


def test_confidences_are_calibrated_and_may_reject(tagger):
    text = ["fly to rome tomorrow"]
    (plain,) = predict(tagger, text)
    tagger.calibration = Calibration(intent_temperature=8.0, span_temperature=2.0, reject_below=0.99)
    (cool,) = predict(tagger, text)
    assert cool.intents[0].confidence < plain.intents[0].confidence
    for before, after in zip(plain.slots, cool.slots, strict=True):
        odds = (torch.tensor(before.confidence).logit() / 2).sigmoid()
        assert after.confidence == pytest.approx(float(odds), abs=1e-5)
    assert cool.rejected
    assert "another domain" in str(cool)


def test_a_frame_can_be_read_and_is_plain_data():
    frame = Frame(("fly", "to", "new", "york"), (Intent("fly", 0.987),), (Slot("city", "new york", 2, 4, 0.5),), False)
    assert str(frame).splitlines() == [
        "fly to new york",
        "  intent  fly             98.7%",
        "  slot    city  new york  50.0%",
    ]
    assert frame.to_dict() == {
        "text": "fly to new york",
        "intents": [{"name": "fly", "confidence": 0.987}],
        "slots": [{"type": "city", "text": "new york", "start": 2, "end": 4, "confidence": 0.5}],
        "rejected": False,
    }
    assert "nothing found" in str(Frame(("hm",), (), (), False))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "text 2, '': a sentence has no words"),
        ("   \n", r"text 2, '   \\n': a sentence has no words"),
        ("word " * 3000, "text 2, 'word word word word word word ': 3000 words"),
    ],
)
def test_what_is_no_sentence_is_told(tagger, text, said):
    with pytest.raises(CutawayError, match=said):
        predict(tagger, ["fine", text])


def test_odd_text_is_read(tagger):
    texts = ["👩‍👩‍👧 שלום \u200b", "x" * 400, "\ufeffrome " * 200]
    frames = predict(tagger, texts)
    assert [len(frame.words) for frame in frames] == [3, 1, 200]
    assert all(torch.tensor([s.confidence for s in frame.slots]).isfinite().all() for frame in frames)


def test_a_text_is_read_alike_alone_and_among_others(tagger):
    texts = [" ".join(s.words) for s in DATA.train]
    together = predict(tagger, texts)
    for text, frame in zip(texts[:6], together, strict=False):
        (alone,) = predict(tagger, [text])
        assert [s[:4] for s in alone.slots] == [s[:4] for s in frame.slots]
        assert alone.intents[0].confidence == pytest.approx(frame.intents[0].confidence, abs=1e-4)
