"""Files of sentences: what is read, and how each thing that can be wrong is told."""

import os
from pathlib import Path

import pytest

from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence, labels, read_columns, read_joint, write_columns

DATA = Path(os.environ.get("CUTAWAY_DATA", ""))
real = pytest.mark.skipif(not (DATA / "atis").is_dir(), reason="needs the data sets: set CUTAWAY_DATA to their folder")


def columns(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "some.conll"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def joint(tmp_path: Path, words: str, tags: str, intents: str) -> Path:
    for name, text in (("seq.in", words), ("seq.out", tags), ("label", intents)):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_columns_of_any_layout(tmp_path):
    wanted = [Sentence(("Palo", "Alto"), ("B-LOC", "I-LOC")), Sentence(("hm",), ("O",))]
    assert read_columns(columns(tmp_path, "Palo\tB-LOC\nAlto\tI-LOC\n\nhm\tO\n")) == wanted
    assert (
        read_columns(columns(tmp_path, "1 Palo NNP I-LOC x\n2 Alto NNP I-LOC y\n\n\n\n1 hm UH O z"), word=1, tag=-2)
        == wanted
    )
    assert read_columns(columns(tmp_path, "B-LOC|Palo\nE-LOC|Alto\n\nO|hm\n"), word=1, tag=0, separator="|") == wanted


def test_byte_order_marks_line_ends_and_documents(tmp_path):
    text = "\ufeff-DOCSTART- -X- O O\r\n\r\nPalo B-LOC\r\nAlto I-LOC\r\n   \r\nhm O\r\n"
    found = read_columns(columns(tmp_path, text))
    assert [s.words for s in found] == [("Palo", "Alto"), ("hm",)]
    assert found[0].words[0] == "Palo"


def test_emoji_right_to_left_and_odd_characters_stay_whole(tmp_path):
    words = ("👩‍👩‍👧", "שלום", "a\u2028b", "x\x85y", "na\u0308ive")
    text = "".join(f"{word}\tO\n" for word in words)
    assert read_columns(columns(tmp_path, text), separator="\t")[0].words == words


def test_joint_files_and_several_intents(tmp_path):
    found = read_joint(joint(tmp_path, "fly to rome\nhi\n", "O O B-to\nO\n", "flight#airfare\ngreet\n"))
    assert found[0] == Sentence(("fly", "to", "rome"), ("O", "O", "B-to"), ("flight", "airfare"))
    assert found[0].intent == "flight#airfare"
    assert labels(found) == (["O", "B-to"], ["airfare", "flight", "greet"])


def test_written_columns_are_read_the_same(tmp_path):
    sentences = [Sentence(("a", "b", "c"), ("B-X", "I-X", "B-X")), Sentence(("d",), ("O",))]
    for scheme in ("IOB2", "BIOES", "IOB1"):
        assert read_columns(columns(tmp_path, write_columns(sentences, scheme=scheme)), scheme=scheme) == sentences


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a O\nb\n", r"some\.conll, line 2: a single column \('b'\)"),
        ("a O\n\n\nb X-LOC\n", r"line 4: 'X-LOC' is not a tag"),
        ("a LOC\n", r"line 1: 'LOC' is not a tag"),
        ("a B-X\nb I-X\nc E-X\nd I-X\ne L-X\n", "no known scheme"),
        ("", "has no sentences"),
        ("\n\n \n", "has no sentences"),
        ("-DOCSTART- O\n", "has no sentences"),
        ("a O\n" * 2001, r"line 1: 2001 words in one sentence, at most 2000"),
        (b"caf\xe9 O\n", r"not UTF-8 \(byte 3\)"),
    ],
)
def test_what_is_wrong_in_columns_is_told_with_its_line(tmp_path, text, message):
    with pytest.raises(CutawayError, match=message):
        read_columns(columns(tmp_path, text))


def test_too_few_columns_and_missing_files(tmp_path):
    with pytest.raises(CutawayError, match="line 1: 2 columns, at least 4 are needed"):
        read_columns(columns(tmp_path, "a O\n"), tag=3)
    with pytest.raises(CutawayError, match="does not exist"):
        read_columns(tmp_path / "none")
    with pytest.raises(CutawayError, match="is a folder"):
        read_columns(tmp_path)
    with pytest.raises(CutawayError, match=r"seq\.in does not exist"):
        read_joint(tmp_path / "none")


@pytest.mark.parametrize(
    ("words", "tags", "intents", "message"),
    [
        ("a b\n", "O O\nO\n", "x\n", r"different numbers of lines \(seq\.in 1, seq\.out 2, label 1\)"),
        ("a b\nc\n", "O O\nO O\n", "x\ny\n", "line 2: a sentence has 1 words and 2 tags"),
        ("a\n\n", "O\n\n", "x\ny\n", "line 2: a sentence has no words"),
        ("a\n", "O\n", "\n", "line 1: no intent"),
        ("a\n", "Q\n", "x\n", "line 1: 'Q' is not a tag"),
        ("", "", "", "has no sentences"),
    ],
)
def test_what_is_wrong_in_joint_files_is_told_with_its_line(tmp_path, words, tags, intents, message):
    with pytest.raises(CutawayError, match=message):
        read_joint(joint(tmp_path, words, tags, intents))


@real
def test_the_real_sets_have_the_sizes_and_labels_that_are_known():
    """papers.md §9: sentences, and what the test set of ATIS has that its training set has not."""
    train, dev, test = (read_joint(DATA / "atis" / part) for part in ("train", "dev", "test"))
    assert [len(part) for part in (train, dev, test)] == [4478, 500, 893]
    assert [len(read_joint(DATA / "snips" / part)) for part in ("train", "dev", "test")] == [13084, 700, 700]
    seen = {s.intent for s in train}
    assert len(seen) == 21
    unseen = [s for s in test if s.intent not in seen]
    assert (len({s.intent for s in unseen}), len(unseen)) == (4, 5)
    assert sum(len(s.intents) > 1 for s in test) == 15
    assert len(set(labels(test)[0]) - set(labels(train)[0])) == 6
    wnut = [
        len(read_columns(DATA / "wnut17" / name))
        for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    ]
    assert wnut == [3394, 1009, 1287]
    assert len(read_columns(DATA / "wikigold/wikigold.conll.txt")) == 1696
