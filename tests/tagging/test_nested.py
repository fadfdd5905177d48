"""Spans within spans: in a sentence, in files, in scores, and learned from files by the decoder that can find them."""

import json
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.cli import run as cutaway
from cutaway.core.errors import CutawayError
from cutaway.tagging import schemes
from cutaway.tagging.config import Config
from cutaway.tagging.corpus import Corpus, read_corpus, read_plain, read_sentences
from cutaway.tagging.data import Sentence, read_columns, write_columns
from cutaway.tagging.json_lines import read_json_lines, write_json_lines
from cutaway.tagging.model import new_tagger
from cutaway.tagging.relaxed import relaxed
from cutaway.tagging.schemes import Span
from cutaway.tagging.scores import Answer, quick, score
from tagging import made_up

LENGTH = 6
WORDS = tuple("abcdef")
BANK = Sentence(
    ("Bank", "of", "China", "Town"), ("B-ORG", "I-ORG", "I-ORG", "I-ORG"), ("ask",), (Span(2, 3, "LOC"), Span(2, 4, "LOC"))
)  # fmt: skip
"""Three deep."""


@st.composite
def spans(draw) -> Span:
    start = draw(st.integers(0, LENGTH - 1))
    return Span(start, draw(st.integers(start + 1, LENGTH)), draw(st.sampled_from(["LOC", "ORG", "a b-c"])))


some_spans = st.lists(spans(), max_size=6)


# --- sentences --------------------------------------------------------------------------------------------------------------


@given(some_spans)
def test_layers_have_no_overlap_and_lose_nothing(found):
    layers = schemes.layers(found)
    assert sorted(span for layer in layers for span in layer) == sorted(set(found))
    for layer in layers:
        assert schemes.spans(schemes.tags(layer, LENGTH, "IOB2")) == layer, "tags write it, so nothing overlaps"
    for above, below in pairwise(layers):
        for span in below:
            shares = [x for x in above if x.start < span.end and span.start < x.end]
            assert any(x.end - x.start >= span.end - span.start for x in shares), "it would have had room above"


@given(some_spans, st.randoms())
def test_a_sentence_has_the_spans_it_was_made_of_in_any_order(found, rng):
    made = Sentence.of(WORDS, found)
    assert sorted(made.spans()) == sorted(set(found))
    assert made.spans() == sorted(made.spans(), key=lambda s: (s.start, -s.end)) or not made.within
    assert made == Sentence.of(WORDS, rng.sample(found, len(found)))
    flat = all(a.end <= b.start for a, b in pairwise(sorted(set(found))))
    assert flat == (not made.within)
    if flat:
        assert made == Sentence(WORDS, tuple(schemes.tags(set(found), LENGTH, "IOB2")))


def test_the_longest_are_in_the_tags():
    assert Sentence.of(BANK.words, [Span(2, 4, "LOC"), Span(0, 4, "ORG"), Span(2, 3, "LOC")], ["ask"]) == BANK
    crossing = Sentence.of(WORDS, [Span(0, 3, "X"), Span(2, 4, "Y")])
    assert (crossing.tags, crossing.within) == (("B-X", "I-X", "I-X", "O", "O", "O"), (Span(2, 4, "Y"),))
    with pytest.raises(CutawayError, match="does not lie within 6 words"):
        Sentence.of(WORDS, [Span(0, 6, "X"), Span(5, 7, "Y")])


def test_the_hash_of_flat_data_is_what_it_was_and_that_of_nested_data_counts_every_span(data):
    """Benchmarks of flat data are told apart by it."""
    flat = Corpus("x", (Sentence(("rome", "is"), ("B-city", "O"), ("ask",)),))
    assert flat.sha256 == "d5eebea56ba7a8bd741472e58b21ffa488e729bbc6df0ecabfb9ff6eab2dcd8b"
    measured = json.loads((Path(__file__).parents[2] / "benchmarks/results/tagging-joint.json").read_text())
    assert read_corpus(data / "atis").sha256 in json.dumps(measured)
    nested = Corpus("x", (BANK,))
    fewer = Corpus("x", (replace(BANK, within=BANK.within[:1]),))
    assert len({nested.sha256, fewer.sha256, Corpus("x", (replace(BANK, within=()),)).sha256}) == 3


# --- files ------------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(some_spans, st.lists(st.sampled_from(["x", "y z"]), max_size=2, unique=True)), min_size=1, max_size=4
    )
)
def test_what_is_written_reads_the_same(tmp_path_factory, drawn):
    made = [Sentence.of(WORDS, found, intents) for found, intents in drawn]
    unmarked = [Sentence(WORDS), Sentence(WORDS, (), ("x",))]
    path = tmp_path_factory.getbasetemp() / "some.jsonl"
    path.write_text(write_json_lines([*made, *unmarked]))
    assert read_json_lines(path) == read_sentences(path) == [*made, *unmarked]
    for scheme in ("IOB2", "BIOES"):
        path = tmp_path_factory.getbasetemp() / "some.conll"
        path.write_text(write_columns(made, scheme=scheme))
        assert read_columns(path, tag="all", scheme=scheme) == [replace(sentence, intents=()) for sentence in made]


def test_json_lines_say_what_their_documentation_shows(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"words": ["Bank", "of", "China"], "spans": [[0, 3, "ORG"], [2, 3, "LOC"]], "intents": ["ask"]}\n')
    (found,) = read_json_lines(path)
    assert [(span.type, found.words[span.start : span.end]) for span in found.spans()] == [
        ("ORG", ("Bank", "of", "China")), ("LOC", ("China",)),
    ]  # fmt: skip
    assert found.intents == ("ask",)
    assert write_json_lines([found]) == path.read_text()
    assert read_plain(path) == [Sentence(("Bank", "of", "China"))]


def test_columns_of_tags_are_layers(tmp_path):
    """As GENIA and ACE are often written, the outermost first or last."""
    path = tmp_path / "some.conll"
    path.write_text("Bank NN S-X B-ORG O\nof IN O I-ORG O\nChina NN S-X I-ORG B-LOC\nTown NN O E-ORG E-LOC\n")
    wanted = [Span(0, 4, "ORG"), Span(2, 4, "LOC")]
    (found,) = read_columns(path, tag=(-1, 3))
    assert found.spans() == wanted
    assert read_columns(path, tag=[3, 4]) == [found]
    assert read_columns(path, tag=3)[0].spans() == wanted[:1]
    assert len(read_columns(path, tag=(2, 3, 4))[0].spans()) == 4
    with pytest.raises(CutawayError, match="line 1: 'NN' is not a tag"):
        read_columns(path, tag="all")
    with pytest.raises(CutawayError, match="line 1: 5 columns, at least 6 are needed"):
        read_columns(path, tag=(3, 5))
    path.write_text("a O O\n\nb S-X S-Y\n\nb B-X O\nc L-X O\n")
    with pytest.raises(CutawayError, match="line 5: from here on the tags keep to no known scheme"):
        read_columns(path, tag="all")


def test_columns_cannot_say_that_nobody_marked_anything():
    assert write_columns([Sentence(("a",), ("O",))]) == "a\tO\n"
    with pytest.raises(CutawayError, match="sentence 2 has no tags: columns cannot say that, JSON lines can"):
        write_columns([Sentence(("a",), ("O",)), Sentence(("a",))])


# --- scores and models --------------------------------------------------------------------------------------------------------


def test_every_span_counts_and_a_frame_needs_all_of_them():
    outer, inner, innermost = BANK.spans()
    for found, counted, frame in (
        ([innermost, outer, inner], (3, 3), 1.0),
        ([outer], (1, 1), 0.0),
        ([outer, outer, inner], (2, 2), 0.0),
        ([outer, inner, replaced := Span(2, 3, "ORG")], (2, 3), 0.0),
        ([replaced], (0, 1), 0.0),
    ):
        said = score([BANK], [Answer(found, ("ask",))], mode="label")
        right, given_ = counted
        assert (said.spans.there, said.spans.found) == (3, given_)
        assert said.spans.recall.mean == pytest.approx(right / 3)
        assert said.spans.precision.mean == pytest.approx(right / given_)
        assert said.frame_accuracy.mean == frame
        assert quick([BANK], [Answer(found, ("ask",))], mode="label") == pytest.approx(said.means())
    assert said.by_type["LOC"].there == 2


@settings(max_examples=40)
@given(some_spans, some_spans)
def test_near_misses_of_nested_spans_agree_with_exact_matches_on_what_is_right(there, found):
    near = relaxed([sorted(set(there))], [sorted(set(found))])
    assert near.strict.correct == len({*there} & {*found})


def test_a_decoder_without_nesting_refuses_them_by_their_place_and_span_refuses_what_crosses():
    flat, crossing = Sentence(("a",), ("B-X",)), Sentence.of(WORDS, [Span(0, 3, "X"), Span(2, 4, "Y")])
    words = Config(inputs=("words",), intents="off")
    with pytest.raises(CutawayError, match=r"sentence 2 has spans that overlap.*take span"):
        new_tagger(words, [flat, BANK])
    with pytest.raises(CutawayError, match=r"sentence 2: the spans .* cross"):
        new_tagger(replace(words, decoder="span"), [flat, crossing])
    assert new_tagger(replace(words, decoder="span"), [flat, BANK]).labels.spans == ("LOC", "ORG", "X")


def a_command(rng: random.Random) -> Sentence:
    """Houses with cities in their names."""
    words, found = rng.choice(["open", "find"]).split(), []
    for joint in ("", "in"):
        city = rng.choice(made_up.CITIES).split()
        named = rng.random() < 0.6
        words += [*joint.split(), *(["bank", "of"] if named else [])]
        found.append(Span(len(words), len(words) + len(city), "city"))
        found += [Span(len(words) - 2, len(words) + len(city), "house")] if named else []
        words += city
    return Sentence.of(words, found, [words[0]])


def test_from_files_by_the_command_line(tmp_path, capsys):
    """Layers of columns are converted, a tagger learns them, and finds spans within spans, as many as there are."""
    rng, folder, out = random.Random(0), tmp_path / "houses", tmp_path / "run"
    parts = {name: [a_command(rng) for _ in range(n)] for name, n in (("train", 120), ("dev", 24), ("test", 24))}
    folder.mkdir()
    for name in ("dev", "test"):
        (folder / f"{name}.jsonl").write_text(write_json_lines(parts[name]))
    (tmp_path / "columns.txt").write_text(write_columns(parts["train"]))
    assert cutaway(["tagging", "convert", f"{tmp_path}/columns.txt", f"{folder}/train.jsonl", "--layers"]) == 0
    assert read_sentences(folder, "train") == [replace(sentence, intents=()) for sentence in parts["train"]]

    options = (
        "words.dim=24",
        "words.dropout=0",
        "words.forget=0",
        "cnn.filters=32",
        "span.hidden=24",
        "span.dropout=0",
    )
    words = ["--inputs", "words", "--context", "cnn", *(word for x in options for word in ("--option", x))]
    words += ["--lr", "2e-2", "--fresh-lr", "1", "--batch", "16", "--epochs", "14"]
    fit = ["tagging", "fit", "--data", str(folder), "--out", str(out), *words]
    assert cutaway([*fit, "--decoder", "crf"]) == 1
    assert "take span" in capsys.readouterr().err
    assert not out.exists()
    assert cutaway([*fit, "--decoder", "span"]) == 0

    assert cutaway(["tagging", "evaluate", str(out), "--data", str(folder), "--out", f"{tmp_path}/scores.json"]) == 0
    (told,) = json.loads((tmp_path / "scores.json").read_text())["runs"]
    assert told["spans"]["there"] == sum(len(sentence.spans()) for sentence in parts["test"])
    assert told["spans"]["f1"]["mean"] > 0.95
    assert told["by_type"]["city"]["recall"]["mean"] > 0.9

    capsys.readouterr()
    assert cutaway(["tagging", "predict", str(out), "--file", f"{folder}/test.jsonl", "--json"]) == 0
    frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [{(slot["start"], slot["end"], slot["type"]) for slot in frame["slots"]} for frame in frames]
    right = sum(some == {*sentence.spans()} for some, sentence in zip(found, parts["test"], strict=True))
    assert right > 20


def test_convert_keeps_what_it_can_and_never_writes_over_a_file(tmp_path, capsys):
    source = made_up.written(made_up.corpus(8, 1, 1), tmp_path / "data") / "train"
    assert cutaway(["tagging", "convert", str(source), f"{tmp_path}/a.jsonl"]) == 0
    assert read_sentences(tmp_path / "a.jsonl") == read_sentences(source)
    assert cutaway(["tagging", "convert", f"{tmp_path}/a.jsonl", f"{tmp_path}/b.txt", "--scheme", "BIOES"]) == 0
    assert "\tS-" in (tmp_path / "b.txt").read_text()
    assert [s.tags for s in read_sentences(tmp_path / "b.txt")] == [s.tags for s in read_sentences(source)]
    (tmp_path / "c.txt").write_text("B-X|x\n")
    (tmp_path / "d.txt").write_text("1 B-X NN Rome\n2 I-X NN Town\n")
    assert cutaway(["tagging", "convert", f"{tmp_path}/d.txt", f"{tmp_path}/e.txt", "--word", "-1", "--tag", "1"]) == 0
    assert (tmp_path / "e.txt").read_text() == "Rome\tB-X\nTown\tI-X\n"
    assert cutaway(["tagging", "convert", f"{tmp_path}/a.jsonl", f"{tmp_path}/b.txt"]) == 1
    assert "b.txt exists already" in capsys.readouterr().err
