"""Data sets found in folders, predictions matched to them, published numbers beside them, and the commands that do so."""

import json
import re

import pytest

from cutaway.cli import run as cutaway
from cutaway.core.errors import CutawayError
from cutaway.entity_typing import paper, show
from cutaway.entity_typing.corpus import read_corpus, read_part, seen_in_training
from cutaway.entity_typing.data import Mention
from cutaway.entity_typing.predictions import read_predictions
from cutaway.entity_typing.scores import score
from cutaway.entity_typing.type_list import TypeList
from entity_typing.made_up import TYPES, folder, mentions, put, ultra_fine


def test_a_folder_is_read_with_its_list(tmp_path):
    corpus = read_corpus(folder(tmp_path / "made-up"))
    assert (len(corpus.train), len(corpus.dev), len(corpus.test)) == (6, 3, 4)
    assert corpus.types.names == TYPES
    assert str(corpus) == "made-up: 6 mentions to train on, 3 dev, 4 test; 5 types"
    assert corpus.seen()["place"] == sum("place" in m.types for m in corpus.train)
    assert corpus.seen() == seen_in_training(tmp_path / "made-up")
    assert read_part(tmp_path / "made-up", "dev") == list(corpus.dev)


def test_the_release_of_ultra_fine_is_understood(tmp_path):
    folder(tmp_path / "crowd")
    (tmp_path / "ontology").mkdir()
    (tmp_path / "crowd" / "types.txt").rename(tmp_path / "ontology" / "types.txt")
    assert read_corpus(tmp_path).types.names == TYPES == read_corpus(tmp_path / "crowd").types.names
    assert read_corpus(tmp_path).train == read_corpus(tmp_path / "crowd").train


def test_without_a_list_the_types_are_those_of_training(tmp_path):
    place = folder(tmp_path / "x", train=mentions(2), test=mentions(4))
    (place / "types.txt").unlink()
    corpus = read_corpus(place)
    assert set(corpus.types.names) == {name for mention in mentions(2) for name in mention.types}
    assert any("never seen in training" in note for note in corpus.notes)


def test_without_a_dev_set_some_of_training_is_set_aside(tmp_path):
    corpus = read_corpus(folder(tmp_path / "x", train=mentions(20)), dev_share=0.25)
    assert corpus.dev_from_train
    assert (len(corpus.train), len(corpus.dev)) == (15, 5)
    assert {*corpus.train, *corpus.dev} == set(mentions(20))
    assert corpus == read_corpus(tmp_path / "x", dev_share=0.25)


def test_mentions_without_types_are_counted_and_told(tmp_path):
    some = [*mentions(2), Mention((), ("Ada",), (), (), "none")]
    corpus = read_corpus(folder(tmp_path / "x", train=some, dev=mentions(2)))
    assert corpus.train[2].types == ()
    assert "1 of 3 mentions of train have no types" in corpus.notes


def test_the_hash_is_of_all_that_is_learned(tmp_path):
    one = read_corpus(folder(tmp_path / "x"))
    other = read_corpus(folder(tmp_path / "y", train=mentions(5), dev=mentions(3), test=mentions(4)))
    mixed = one.with_distant(tmp_path / "x" / "dev.json", weight=0.5)
    lighter = one.with_distant(tmp_path / "x" / "dev.json", weight=0.25)
    assert len({x.sha256 for x in (one, other, mixed, lighter)}) == 4
    assert read_corpus(tmp_path / "x").sha256 == one.sha256


def test_distant_supervision_is_mixed_in_by_weight(tmp_path):
    far = put(tmp_path / "el_train.json", [ultra_fine(Mention((), ("x",), (), ("person", "strange"), "m0"))] * 3)
    corpus = read_corpus(folder(tmp_path / "x")).with_distant(far, weight=0.5).with_distant(far, weight=0.1, most=2)
    assert [mention.weight for mention in corpus.distant] == [0.5, 0.5, 0.5, 0.1, 0.1]
    assert corpus.seen()["person"] == 5 + sum("person" in mention.types for mention in corpus.train)
    assert (
        "el_train.json: 3 mentions of weight 0.5, from 3 lines; 3 types that are not in the list left out"
        in corpus.notes[0]
    )
    assert "5 by distant supervision" in str(corpus)


@pytest.mark.parametrize(
    ("lay", "said"),
    [
        (lambda x: put(x / "a.json", ["{}"]), "no training mentions: name a file in it train (it has a.json)"),
        (lambda x: [put(x / f"{n}_train.json", ["{}"]) for n in "ab"], "several files for train: a_train.json, b_train.json"),
        (lambda x: put(x / "train.txt", ["<e>Ada</e>"]), "train.txt has mentions without types"),
        (lambda x: folder(x, train=[Mention((), ("a",), (), ("strange",))]), "train.json, line 1: the type 'strange'"),
        (lambda x: folder(x, train=[Mention((), ("a",), (), ("city",))], dev=[mentions()[0]] * 2), "dev.json, line 2: the id 'm0'"),
        (lambda x: put(x / "train.txt", ["<e>a</e>\t"] * 3), "there are no types"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_data_set_is_told(lay, said, tmp_path):
    lay(tmp_path)
    with pytest.raises(CutawayError, match=re.escape(said)):
        read_corpus(tmp_path)


def test_ultra_fine_is_what_its_paper_says(data):
    corpus = read_corpus(data / "ufet")
    assert (len(corpus.train), len(corpus.dev), len(corpus.test), len(corpus.types)) == (1998, 1998, 1998, 10_331)
    assert "29 of 1,998 mentions of train have no types" in corpus.notes


# --- predictions --------------------------------------------------------------------------------------------------------------


def lrn(mention: Mention, said, decoded=()) -> str:
    told = {"labels": mention.types[:1], "fine_labels": mention.types[1:], "ultra_fine_labels": []}
    given = {
        "pred_labels": said[:1],
        "pred_fine_labels": said[1:],
        "pred_ultra_fine_labels": [],
        "pred_seq_labels": decoded,
    }
    return json.dumps({"context": "[CLS]", "seq_labels": [], **told, **given})


SAID = [("person",), (), ("city", "place")]


def test_every_format_of_predictions_says_the_same(tmp_path):
    there = mentions(3)
    plain = put(tmp_path / "a.jsonl", [json.dumps({"types": some}) for some in SAID])
    turned = [json.dumps({"id": m.id, "types": some}) for m, some in zip(there, SAID, strict=True)][::-1]
    numbers = [Mention(m.left, m.span, m.right, m.types, m.id[1:]) for m in there]
    told = [json.dumps({"id": int(m.id), "types": some}) for m, some in zip(numbers, SAID, strict=True)]
    assert read_predictions(put(tmp_path / "n.json", told), numbers) == SAID
    at_once = json.dumps({m.id: {"pred": some, "gold": []} for m, some in zip(there, SAID, strict=True)})
    released = [lrn(m, some, ("engine",)) for m, some in zip(there, SAID, strict=True)]
    files = [plain, *(put(tmp_path / f"{i}.json", x) for i, x in enumerate((turned, [at_once], released)))]
    for file in files:
        assert read_predictions(file, there, TypeList.of(TYPES)) == SAID
    assert read_predictions(files[-1], there, decoded=True) == [("engine",)] * 3


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "has no predictions"),
        (['{"types": []}'] * 2, "has 2 predictions for 3 mentions"),
        (['{"types": []}'] * 4, "has 4 predictions for 3 mentions"),
        (['{"types": []}', '{"type": []}', '{"types": []}'], "line 2: no prediction: give"),
        (['{"types": []}', '{"types": "city"}', '{"types": []}'], "line 2: types must be a list of texts"),
        (['{"types": []}', '{"types": ["sity"]}', '{"types": []}'], "line 2: the type 'sity' is not among"),
        (['{"types": []}', '{"types": ["city"', '{"types": []}'], "line 2: not JSON"),
        (['["city"]'] * 3, "line 1: a JSON list"),
        (['{"id": "m0", "types": []}', '{"types": []}'], "line 2: no id, but other lines have one"),
        (['{"id": "m9", "types": []}'], "line 1: no mention has the id 'm9'"),
        (['{"id": "m0", "types": []}'] * 2, "line 2: a second prediction for the id 'm0'"),
        (['{"id": "m0", "types": []}'], "says nothing of 2 of 3 mentions (the first: m1)"),
        ([lrn(m, ()) for m in mentions(3)[::-1]], "line 1: the types differ from those of mention 1"),
    ],
)
def test_predictions_that_do_not_fit_are_told(lines, said, tmp_path):
    with pytest.raises(CutawayError, match=re.escape(said)) as error:
        read_predictions(put(tmp_path / "p.json", lines), mentions(3), TypeList.of(TYPES))
    assert "\n" not in str(error.value)


def test_only_some_files_say_what_was_decoded(tmp_path):
    with pytest.raises(CutawayError, match="has no pred_seq_labels"):
        read_predictions(put(tmp_path / "p.json", ['{"types": []}']), mentions(1), decoded=True)


# --- commands -----------------------------------------------------------------------------------------------------------------


def test_score_measures_a_file(tmp_path, capsys):
    place = folder(tmp_path / "x")
    told = [json.dumps({"types": m.types[:1]}) for m in mentions(4)]
    file = put(tmp_path / "said.jsonl", [*told[:3], '{"types": []}'])
    out = tmp_path / "scores.json"
    assert cutaway(["entity-typing", "score", str(file), "--data", str(place), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for word in (
        "macro F1",
        "said.jsonl",
        "all types",
        "seen never",
        "95 % interval, 4 mentions",
        "nothing is said of 1 of 4",
    ):
        assert word in printed
    scores = json.loads(out.read_text())["scores"]
    assert scores["total"]["macro"]["precision"]["mean"] == 1
    assert scores == score([m.types for m in mentions(4)], [m.types[:1] for m in mentions(3)] + [()], TypeList.of(TYPES),
                           read_corpus(place).seen()).to_dict()  # fmt: skip


def test_score_takes_one_file_of_mentions_without_a_list(tmp_path, capsys):
    data = put(tmp_path / "some.txt", ["<e>Ada</e> wrote\tperson, poet", "in <e>Rome</e>\tcity"])
    said = put(tmp_path / "said.json", ['{"types": ["poet"]}', '{"types": ["town"]}'])
    assert cutaway(["entity-typing", "score", str(said), "--data", str(data)]) == 0
    assert "seen never" not in capsys.readouterr().out


def test_types_shows_groups_and_rarity(tmp_path, capsys):
    place = folder(tmp_path / "x")
    put(place / "types.txt", [f"{name}\t{'common' if i < 2 else 'rare'}" for i, name in enumerate(TYPES)])
    assert cutaway(["entity-typing", "types", str(place)]) == 0
    printed = capsys.readouterr().out
    for word in ("common", "rare", "seen in training", "6 mentions to train on"):
        assert word in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["score", "nowhere.json", "--data", "x"], "nowhere.json does not exist"),
        (["score", "said.json", "--data", "nowhere"], "nowhere does not exist"),
        (["score", "said.json", "--data", "x", "--part", "tset"], "there is no part 'tset': give train, dev, test"),
        (["score", "said.json", "--data", "x", "--types", "none.txt"], "none.txt does not exist"),
        (["score", "said.json", "--data", "plain.txt"], "has mentions without types"),
        (["score", "said.json", "--data", "x"], "1 predictions for 4 mentions"),
        (["score", "said.json"], "--data"),
        (["scor"], "score"),
        (["types", "nowhere"], "nowhere does not exist"),
    ],
)
def test_every_mistake_is_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "x")
    put(tmp_path / "said.json", ['{"types": []}'])
    put(tmp_path / "plain.txt", ["<e>Ada</e>"])
    assert cutaway(["entity-typing", *words]) != 0
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cutaway: ")]
    assert len(error) == 1
    assert said in error[0]


# --- published numbers ----------------------------------------------------------------------------------------------------------


def test_published_numbers_are_consistent_and_shown_beside_the_same_data_alone():
    for row in paper.ROWS:
        assert 2 * row.precision * row.recall / (row.precision + row.recall) == pytest.approx(row.f1, abs=0.1)
        assert re.search(r"(19|20)\d\d", row.source)
    assert len(paper.published("ufet", 1998)) == 7
    assert [row.group for row in paper.published("crowd", 1998, "fine")] == ["fine"]
    assert paper.published("ufet", 1997) == paper.published("mine", 1998) == []


def test_seeds_are_one_row(tmp_path):
    runs = [score([["a"], ["b"]], said, TypeList.of("ab")).to_dict() for said in ([["a"], ["b"]], [["a"], ["a"]])]
    header, rows = show.comparison({"ours": runs}, "")
    assert len(rows) == 1
    assert len(rows[0]) == len(header)
    assert rows[0][1] == "75.0 ± 35.4"
    assert rows[0][-1] == "2 seeds, mean ± sd, 2 mentions"
