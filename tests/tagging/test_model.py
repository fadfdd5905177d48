"""The joint model: its loss is the paper's equation, its parts may each be absent, sentences do not disturb one another."""

from dataclasses import replace

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tagging.config import Config
from cutaway.tagging.data import Sentence
from cutaway.tagging.intents import IntentHead, known_intents
from cutaway.tagging.model import Labels, new_tagger
from tagging import made_up

DATA = made_up.corpus(24, 4, 4)


@pytest.fixture
def config(encoder):
    return Config(options={"encoder.name": str(encoder)}, dropout=0.0)


def tagger(config, sentences=DATA.train):
    torch.manual_seed(0)
    return new_tagger(config, sentences).eval()


@pytest.mark.parametrize("slot_loss", ["sum", "mean"])
@pytest.mark.parametrize("decoder", ["softmax", "crf"])
def test_the_loss_is_that_of_the_intent_and_of_the_tags(config, decoder, slot_loss):
    made = tagger(replace(config, decoder=decoder, slot_weight=0.5, slot_loss=slot_loss))
    some = DATA.train[:5]
    batch = made.collate(some)
    words, whole = made.features(batch)
    intents = -made.head(whole).log_softmax(-1)[range(5), [made.labels.intents.index(s.intent) for s in some]]
    spans = made.decoder.losses(words, batch["lengths"], batch)
    if slot_loss == "mean":
        spans = spans / torch.tensor([len(s.words) for s in some])
    torch.testing.assert_close(made(batch), intents + 0.5 * spans)
    assert not torch.allclose(made(batch), intents + spans), "a lost weight would pass"


@pytest.mark.parametrize("decoder", ["softmax", "crf"])
def test_the_loss_of_a_sentence_is_its_own(config, decoder):
    made = tagger(replace(config, decoder=decoder))
    together = made(made.collate(DATA.train[:6]))
    alone = torch.cat([made(made.collate([s])) for s in DATA.train[:6]])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_sentences_are_read_in_the_order_given_however_they_are_batched(config, monkeypatch):
    made = tagger(replace(config, decoder="crf"))
    whole = made.read(DATA.train)
    monkeypatch.setattr("cutaway.tagging.model.MOST", 1)  # each by itself
    for one, all_ in zip(made.read(DATA.train[::-1]), whole[::-1], strict=True):
        assert [x.span for x in one.spans] == [x.span for x in all_.spans]
        torch.testing.assert_close(one.intents, all_.intents, atol=1e-4, rtol=1e-4)


def test_reading_does_not_look_at_labels(config):
    made = tagger(config)
    bare = [Sentence(s.words) for s in DATA.dev]
    for a, b in zip(made.read(bare), made.read(DATA.dev), strict=True):
        assert a.spans == b.spans
        assert torch.equal(a.intents, b.intents)


def test_entities_alone_and_intents_alone(config):
    entities = tagger(config, made_up.corpus(24, intents=False).train)
    assert entities.head is None
    assert entities.read(DATA.dev)[0].intents is None
    intents = tagger(config, made_up.corpus(24, tags=False).train)
    assert intents.decoder is None
    assert intents.read(DATA.dev)[0].spans == []
    off = tagger(replace(config, intents="off"))
    assert (off.head, off.labels.intents) == (None, ())
    assert tagger(replace(config, slot_weight=0.0)).decoder is None
    with pytest.raises(CutawayError, match="nothing to learn"):
        Labels.of([Sentence(("a",))], config)


def test_what_a_sentence_lacks_costs_nothing(config):
    """Sentences with intents alone and with tags alone can be learned together."""
    made = tagger(config)
    whole = DATA.train[0]
    parts = [whole, replace(whole, tags=()), replace(whole, intents=())]
    both, intent, spans = made(made.collate(parts)).tolist()
    assert both == pytest.approx(intent + spans, rel=1e-4)
    assert min(intent, spans) > 0


def test_intents_are_read_from_the_context_where_no_input_knows_the_sentence():
    made = tagger(Config(inputs=("words",), context="bilstm", decoder="crf"))
    sentence = Sentence(("fly", "to", "rome"))
    words, whole = made.features(made.collate([sentence, Sentence(("fly",))]))
    torch.testing.assert_close(whole[0], words[0].amax(0))
    torch.testing.assert_close(whole[1], words[1, 0])


def test_several_intents_are_a_label_or_a_set():
    some = [Sentence(("a",), (), ("fly", "eat")), Sentence(("b",), (), ("eat",))]
    assert known_intents(some, "label") == ["eat", "fly#eat"]
    assert known_intents(some, "set") == ["eat", "fly"]
    assert known_intents(some, "off") == []


def test_the_head_for_sets():
    head = IntentHead(3, ["eat", "fly", "sleep"], "set", 0.0)
    targets = head.targets([Sentence(("a",), (), ("fly", "eat")), Sentence(("b",), (), ("unheard",)), Sentence(("c",))])
    assert targets["target.intent"].tolist() == [[1, 1, 0], [0, 0, 0], [-1, -1, -1]]
    scores = torch.tensor([[2.0, 1.0, -3.0], [-2.0, -1.0, -3.0], [0.0, 0.0, 0.0]])
    p = scores.sigmoid()
    by_hand = -(p[0, 0] * p[0, 1] * (1 - p[0, 2])).log(), -(1 - p[1]).log().sum()
    torch.testing.assert_close(head.losses(scores, targets), torch.stack([*by_hand, torch.tensor(0.0)]))
    assert [[i.name for i in some] for some in head.choose(scores)][:2] == [["eat", "fly"], ["fly"]]


def test_what_is_not_pretrained_may_learn_faster(config):
    from cutaway.tagging.fit import TaggingTask

    task = TaggingTask(tagger(replace(config, fresh_lr=7.0, decoder="crf")), DATA)
    rates = {id(p): group["multiple"] for group in task.groups() for p in group["params"]}
    for name, parameter in task.model.named_parameters():
        assert rates[id(parameter)] == (1.0 if name.startswith("inputs.encoder.") else 7.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoder": "cfr"}, "did you mean crf"),
        ({"inputs": ("encodr",)}, "did you mean encoder"),
        ({"context": "bilst"}, "did you mean bilstm"),
        ({"options": {"encoder.nam": "x"}}, "did you mean name"),
        ({"options": {"encoder.frozen": "perhaps"}}, "encoder.frozen is 'perhaps': it must be true or false"),
        ({"options": {"crf.scheme": "BIOES"}}, "options of crf, but the parts are encoder, none, softmax"),
        ({"decoder": "crf", "options": {"crf.scheme": "IO"}}, "one of IOB2, BIOES"),
        ({"inputs": ("words", "words")}, "twice"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(config, change, said):
    with pytest.raises(CutawayError) as told:
        new_tagger(replace(config, **change), DATA.train)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
