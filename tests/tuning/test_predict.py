"""Answers to texts: labels with confidences, scores, and words."""

import json

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.config import Config
from cutaway.tuning.data import Example
from cutaway.tuning.model import TunedModel, new_model
from cutaway.tuning.predict import Prediction, answered, predict
from tuning import made_up, pretrained

BASES = {"labels": pretrained.encoder, "scores": pretrained.encoder, "text": pretrained.decoder}
ASKED = {
    "labels": ["the old bird", "a stone is lovely"],
    "scores": ["a bird\tthe bird", "old stone"],
    "text": ["the cat says:"],
}


@pytest.fixture(scope="module", params=BASES)
def model(request, tmp_path_factory) -> TunedModel:
    """One of each kind, of random weights."""
    return made(request.param, tmp_path_factory.mktemp(request.param) / "base")


def made(kind: str, folder) -> TunedModel:
    base = BASES[kind](folder)
    torch.manual_seed(0)
    return new_model(
        Config(model=str(base), length=16, options={"lora.rank": 4}), made_up.corpus(kind, 24, 4, 4)
    ).eval()


def test_an_answer_is_what_the_model_reads(model):
    kind = model.task.kind
    texts = ASKED[kind]
    found = predict(model, texts, most=3)
    assert [x.text if x.pair is None else f"{x.text}\t{x.pair}" for x in found] == texts
    examples = [Example(*text.split("\t")) for text in texts]
    assert answered(model, examples, most=3) == found
    if kind == "text":
        return
    for prediction, answer in zip(found, model.read(examples), strict=True):
        assert prediction.answer == answer.said
        if kind == "labels":
            assert prediction.confidences == dict(zip(model.task.labels, answer.confidences, strict=True))
            assert next(iter(prediction.confidences)) == prediction.answer, "the surest first"
            assert sum(prediction.confidences.values()) == pytest.approx(1)


def test_answers_are_plain_data_and_the_mode_stays(model):
    for mode in (True, False):
        model.train(mode)
        for each in predict(model, ASKED[model.task.kind], most=2):
            assert json.loads(json.dumps(each.to_dict(), allow_nan=False)) == each.to_dict()
        assert model.training is mode
    model.eval()


def test_a_text_is_answered_alike_alone_and_among_others(model):
    texts = [x.text for x in made_up.corpus(model.task.kind, 24, 4, 6).test]
    for text, among in zip(texts, predict(model, texts, most=4), strict=True):
        (alone,) = predict(model, [text], most=4)
        if model.task.kind == "scores":
            assert alone.answer == pytest.approx(among.answer, abs=1e-5)
        else:
            assert alone.answer == among.answer


@pytest.mark.parametrize(
    ("texts", "said"), [([""], "text 1, ''"), (["fine", " \t "], "text 2,"), (["a\tb\tc"], "one tab between them")]
)
def test_what_is_no_text_is_told(model, texts, said):
    with pytest.raises(CutawayError, match=said):
        predict(model, texts)


def test_odd_texts_are_answered(model):
    found = predict(model, ["👩‍👩‍👧 שלום", "x" * 400, "bird " * 300], most=2)
    assert len(found) == 3


def test_a_model_that_diverged_says_so_instead_of_an_answer(model):
    spoilt = made(model.task.kind, model.reader.folder)
    with torch.no_grad():
        spoilt.backbone.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(CutawayError, match="no finite numbers: it diverged; fit it again with a lower learning rate"):
        predict(spoilt, ASKED[model.task.kind], most=2)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["decoder", "seq2seq"])
def writer(request, tmp_path_factory) -> TunedModel:
    base = getattr(pretrained, request.param)(tmp_path_factory.mktemp("writer") / request.param)
    torch.manual_seed(0)
    return new_model(
        Config(model=str(base), length=16, options={"lora.rank": 4}), made_up.corpus("text", 24, 4, 4)
    ).eval()


def test_what_is_written_is_the_likeliest_token_by_token(writer):
    """Beside a plain loop, one prompt at a time, without padding."""
    prompts = ["the cat says:", "a small old dog says:"]
    for prompt, found in zip(prompts, predict(writer, prompts, most=4), strict=True):
        ids, written = writer.reader.tokenizer.encode(prompt).ids, []
        for _ in range(4):
            with torch.no_grad():
                if writer.reader.both:
                    given = {"input_ids": [ids], "decoder_input_ids": [[writer.reader.start, *written]]}
                else:
                    given = {"input_ids": [[*ids, *written]]}
                logits = writer.backbone(**{name: torch.tensor(x) for name, x in given.items()}).logits
            token = int(logits[0, -1].argmax())
            if token == writer.reader.end:
                break
            written.append(token)
        assert found.answer == writer.reader.tokenizer.decode(written)


def test_at_most_so_many_tokens_and_none_behind_the_end(writer, monkeypatch):
    monkeypatch.setattr(writer.reader, "end", None)
    (six,) = predict(writer, ["the cat says:"], most=6)
    words = str(six.answer).split()
    assert len(words) == 6
    monkeypatch.setattr(writer.reader, "end", writer.reader.tokenizer.token_to_id(words[0]))
    assert predict(writer, ["the cat says:"], most=6)[0].answer == ""
    with pytest.raises(CutawayError, match="most is 0"):
        predict(writer, ["the cat says:"], most=0)


def test_an_empty_prompt_from_a_file_is_answered(writer):
    (found,) = answered(writer, [Example("", None, "the old bird")], most=2)
    assert found.text == ""


# --- as a person reads them -------------------------------------------------------------------------------------------


def test_answers_as_text():
    label = Prediction("fine", None, "yes", {"yes": 0.9, "nope": 0.1})
    assert str(label).splitlines() == ["fine", "  yes    90.0%", "  nope   10.0%"]
    assert str(Prediction("a", "b", 1.23456)).splitlines() == ["a", "b", "  1.235"]
    assert str(Prediction("cat says:", None, " hat")).splitlines() == ["cat says:", "   hat"]
