"""Scores of spans, intents and frames: held to seqeval, to hand-made cases, and honest about what was never seen."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.core.errors import CutawayError
from cutaway.core.scores import bootstrap_ratio, estimate_ratio
from cutaway.tagging import calibration as calibrating
from cutaway.tagging import schemes
from cutaway.tagging.calibration import Calibration
from cutaway.tagging.config import Config
from cutaway.tagging.data import Sentence
from cutaway.tagging.evaluate import answers, evaluate
from cutaway.tagging.model import new_tagger
from cutaway.tagging.paper import CONLL_2003, ROWS, SENTENCES, published
from cutaway.tagging.schemes import Span
from cutaway.tagging.scores import Answer, quick, score
from cutaway.tagging.show import by_type, comparison, remarks
from tagging import made_up

TAGS = st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"])


def sentence(tags: str, *intents: str) -> Sentence:
    return Sentence(tuple("w" for _ in tags.split()), tuple(tags.split()), intents)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=7), min_size=1, max_size=5))
def test_span_scores_are_those_of_seqeval(pairs):
    from seqeval.metrics import classification_report

    there = [[a for a, _ in some] for some in pairs]
    found = [[b for _, b in some] for some in pairs]
    theirs = classification_report(there, found, output_dict=True, zero_division=0)
    ours = score(
        [Sentence(tuple(tags), tuple(tags)) for tags in there],
        [Answer(schemes.spans(tags), None) for tags in found],
        mode="off",
    )
    for kind in ("X", "Y"):
        if kind in theirs:
            for name, mine in (("precision", "precision"), ("recall", "recall"), ("f1-score", "f1")):
                assert getattr(ours.by_type[kind], mine).mean == pytest.approx(theirs[kind][name], abs=1e-6)
    if "micro avg" in theirs:
        assert ours.spans.f1.mean == pytest.approx(theirs["micro avg"]["f1-score"], abs=1e-6)
        assert quick(
            [Sentence(tuple(tags), tuple(tags)) for tags in there],
            [Answer(schemes.spans(tags), None) for tags in found],
            mode="off",
        )["span_f1"] == pytest.approx(theirs["micro avg"]["f1-score"], abs=1e-6)


def test_a_frame_is_right_if_all_of_it_is():
    said = [sentence("B-X I-X", "a"), sentence("B-X I-X", "a"), sentence("B-X O", "b"), sentence("O O", "b")]
    given_ = [
        Answer([Span(0, 2, "X")], ("a",)),  # all right
        Answer([Span(0, 1, "X")], ("a",)),  # the span ends too early
        Answer([Span(0, 1, "X")], ("a",)),  # the intent is wrong
        Answer([], ("b",)),
    ]
    found = score(said, given_, mode="label")
    assert found.means() == pytest.approx({"intent_accuracy": 0.75, "span_f1": 2 / 3, "frame_accuracy": 0.5})
    assert found.means() == pytest.approx(quick(said, given_, mode="label"))
    assert (found.spans.there, found.spans.found) == (3, 3)


def test_several_intents_as_a_label_and_as_a_set():
    said, wrong_order = [sentence("O", "fly", "eat")], [Answer([], ("eat", "fly"))]
    assert score(said, wrong_order, mode="label").intent_accuracy.mean == 0
    assert score(said, wrong_order, mode="set").intent_accuracy.mean == 1
    assert score(said, [Answer([], ("fly",))], mode="set").intent_accuracy.mean == 0
    assert score(said, [Answer([], ("fly#eat",))], mode="label").intent_accuracy.mean == 1


def test_what_was_never_seen_is_wrong_and_is_told():
    said = [sentence("B-new O", "fly"), sentence("B-X O", "sing"), sentence("B-X O", "fly", "sing")]
    given_ = [Answer([], ("fly",)), Answer([Span(0, 1, "X")], ("fly",)), Answer([Span(0, 1, "X")], ("fly",))]
    found = score(said, given_, mode="label", seen_types=["X"], seen_intents=["fly"])
    assert found.unseen.intents == {"sing": 1, "fly#sing": 1}
    assert found.unseen.types == {"new": 1}
    assert found.spans.recall.mean == pytest.approx(2 / 3)
    assert found.intent_accuracy.mean == pytest.approx(1 / 3)
    as_set = score(said, given_, mode="set", seen_types=["X"], seen_intents=["fly"])
    assert as_set.unseen.intents == {"sing": 2}


def test_sentences_without_tags_or_intents_count_where_they_can():
    said = [sentence("B-X", "a"), Sentence(("w",), (), ("a",)), sentence("B-X")]
    found = score(
        said, [Answer([Span(0, 1, "X")], ("a",)), Answer([Span(0, 1, "X")], ("a",)), Answer([], ("b",))], mode="label"
    )
    assert (found.intent_accuracy.n, found.spans.there, found.frame_accuracy.n) == (2, 2, 1)


def test_the_bootstrap_draws_sentences_and_not_spans():
    """One sentence with many spans: the interval is wide, as it should be where everything hangs on it."""
    right, both = torch.tensor([20.0, 0.0, 0.0, 0.0]), torch.tensor([20.0, 2.0, 2.0, 2.0])
    found = estimate_ratio(right, both)
    assert found.mean == pytest.approx(20 / 26)
    assert found.low == 0.0
    assert found.high > 0.9
    none, low, high = bootstrap_ratio(torch.zeros(3), torch.zeros(3))
    assert (float(none), float(low), float(high)) == (0, 0, 0)


def test_the_bootstrap_of_ratios_covers_what_is_true():
    """F1 of sentences drawn from a known world: its 95 % interval holds the truth about as often as it says."""
    generator, held = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        there = torch.randint(1, 4, (60,), generator=generator).float()
        right = (torch.rand(60, 3, generator=generator) < 0.7).float().cumsum(1)[range(60), there.long() - 1]
        found = estimate_ratio(2 * right, 2 * there, seed=int(right.sum()))
        held += found.low <= 0.7 <= found.high
    assert 180 <= held <= 199


def test_temperature_mends_confidence_that_is_too_high():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(4000, generator=generator) * 2
    right = torch.rand(4000, generator=generator) < true.sigmoid()
    told = (3 * true).sigmoid()  # three times too sure
    hot = calibrating.span_temperature(told.tolist(), right.tolist())
    assert hot == pytest.approx(3, rel=0.1)
    mended = torch.tensor([Calibration(span_temperature=hot).of_span(p) for p in told.tolist()])
    before, after = (calibrating.calibration_error(p, right) for p in (told, mended))
    assert after < 0.03 < before
    assert calibrating.span_temperature([], []) == 1.0
    assert calibrating.calibration_error(torch.tensor([]), torch.tensor([], dtype=torch.bool)) is None


def test_calibration_error_by_hand():
    sure, right = torch.tensor([0.95, 0.95, 0.55, 0.55]), torch.tensor([True, True, False, True])
    assert calibrating.calibration_error(sure, right) == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)


def test_the_threshold_lets_few_of_its_own_go_or_tells_two_domains_apart():
    inside = [i / 100 for i in range(1, 101)]
    assert calibrating.threshold(inside, [], 0.05) == pytest.approx(0.06)
    assert sum(x < calibrating.threshold(inside, [], 0.05) for x in inside) == 5
    apart = calibrating.threshold([0.8, 0.9, 0.95], [0.2, 0.3, 0.5], 0.5)
    assert apart == pytest.approx(0.65)
    assert calibrating.threshold([], [0.3], 0.5) == 0.0


def test_auroc_by_hand():
    assert calibrating.auroc([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert calibrating.auroc([0.9, 0.1], [0.5, 0.5]) == 0.5
    assert calibrating.auroc([0.5], [0.5]) == 0.5


def test_a_model_is_measured_as_its_answers_are(encoder):
    data = made_up.corpus(20, 4, 20)
    torch.manual_seed(0)
    made = new_tagger(Config(options={"encoder.name": str(encoder)}), data.train).eval()
    made.calibration = Calibration(2.0, 2.0, reject_below=1.1)
    whole = evaluate(made, data.test, outside=[Sentence(("hm",))] * 3)
    said = answers(made, made.read(data.test))
    assert whole.scores.means() == score(data.test, said, mode="label").means()
    assert whole.confidence.intents != whole.confidence.intents_uncalibrated
    assert (whole.rejection.inside, whole.rejection.outside) == (20, 3)
    assert whole.rejection.rejected_inside == whole.rejection.rejected_outside == 1.0
    assert whole.relaxed is None
    near = evaluate(made, data.test, near=True)
    assert near.relaxed.strict.f1.mean == pytest.approx(whole.scores.spans.f1.mean, abs=1e-6)
    with pytest.raises(CutawayError, match="no sentences"):
        evaluate(made, [])
    with pytest.raises(CutawayError, match="nothing to compare"):
        evaluate(made, [Sentence(("a",))])


def test_tables_show_published_rows_beside_ours_only_on_their_test_set():
    data = made_up.corpus(1, 1, 3)
    found = score(data.test, [Answer([], ("book",))] * 3, mode="label")
    told = {
        **found.to_dict(),
        "rejection": None,
        "relaxed": None,
        "calibration_error": dict.fromkeys(("intents", "intents_uncalibrated", "spans", "spans_uncalibrated"), None),
    }
    assert len(comparison({"ours": [told]}, "atis")[1]) == 1
    full = {**told, "n": SENTENCES["atis"]}
    rows = comparison({"ours": [full, full]}, "atis")[1]
    assert [row[0] for row in rows[1:]] == [row.system for row in published("atis")]
    assert "± 0.00" in rows[0][1]
    assert {row[0] for row in by_type(told)[1]} <= {"city", "time", "number"}
    assert any("unseen" in line for line in remarks(told))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.system}, {row.data}")
def test_published_numbers_have_a_source_and_make_sense(row):
    assert len(row.source) > 20
    if row.frame_accuracy is None:  # entities alone
        assert row.intent_accuracy is None
        assert 0 < row.span_f1 <= 100
    else:
        assert row.frame_accuracy < min(row.intent_accuracy, row.span_f1) <= 100
    assert row.data in SENTENCES


def test_the_papers_own_rows():
    """Chen, Zhuo & Wang 2019, Table 2, as it is widely cited."""
    ours = {(r.system, r.data): (r.intent_accuracy, r.span_f1, r.frame_accuracy) for r in ROWS}
    assert ours["joint BERT (110 M)", "atis"] == (97.5, 96.1, 88.2)
    assert ours["joint BERT + CRF (110 M)", "snips"] == (98.4, 96.7, 92.6)


def test_the_surveys_rows_are_in_order_of_their_numbers():
    assert [row.f1 for row in CONLL_2003] == sorted(row.f1 for row in CONLL_2003)
    assert all(row.inputs and row.context and row.decoder for row in CONLL_2003)


def test_entities_alone_have_a_published_row_without_intents():
    told = {"n": SENTENCES["wnut17"], "spans": {"f1": {"mean": 0.4, "low": 0.3, "high": 0.5}}}
    told |= {"intent_accuracy": None, "frame_accuracy": None}
    rows = comparison({"ours": [told]}, "wnut17")[1]
    assert rows[1][:4] == ("UH-RiTUAL, first of the shared task", "", "41.86", "")


def test_atis_and_what_its_test_set_asks_for_without_having_shown_it(data):
    """4 labels in 5 sentences are never seen in training; as a set, only those whose members are new."""
    from cutaway.tagging.corpus import read_corpus
    from cutaway.tagging.model import Labels

    atis = read_corpus(data / "atis")
    assert [len(x) for x in (atis.train, atis.dev, atis.test)] == [4478, 500, 893]
    labels = Labels.of(atis.train, Config())
    assert len(labels.intents) == 21
    nothing = [Answer([], ())] * len(atis.test)
    found = score(atis.test, nothing, mode="label", seen_types=labels.spans, seen_intents=labels.intents)
    assert sum(found.unseen.intents.values()) == 5
    assert found.unseen.intents.keys() == {
        "atis_day_name", "atis_airfare#atis_flight", "atis_flight#atis_airline", "atis_flight_no#atis_airline",
    }  # fmt: skip
    sets = Labels.of(atis.train, replace(Config(), intents="set"))
    as_set = score(atis.test, nothing, mode="set", seen_types=sets.spans, seen_intents=sets.intents)
    assert as_set.unseen.intents.keys() == {"atis_day_name"}
    assert math.isclose(found.spans.f1.mean, 0.0)
