"""`cutaway tagging`: what the contract of a room does not say already."""

import io
import json

import pytest

from cutaway.cli import run as cutaway
from cutaway.tagging.paper import SENTENCES
from tagging import made_up


@pytest.fixture(scope="module")
def place(encoder, tmp_path_factory):
    """A folder with data, another domain, and a run."""
    folder = tmp_path_factory.mktemp("cli")
    made_up.written(made_up.corpus(96, 24, 24), folder / "data")
    (folder / "other.conll").write_text("xx O\nyy O\n\nqq O\n")
    words = [
        "tagging",
        "fit",
        "--data",
        str(folder / "data"),
        "--out",
        str(folder / "run"),
        "--epochs",
        "3",
        "--batch",
        "16",
    ]
    options = ["--lr", "1e-2", "--option", f"encoder.name={encoder}", "--outside", str(folder / "other.conll")]
    assert cutaway([*words, *options]) == 0
    return folder


def test_the_standard_input_is_read_line_by_line(place, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("fly to rome\n\n  book a table  \n"))
    assert cutaway(["tagging", "predict", str(place / "run"), "-"]) == 0
    said = capsys.readouterr().out
    assert [block.splitlines()[0] for block in said.strip().split("\n\n")] == ["fly to rome", "book a table"]
    assert "intent" in said
    assert "%" in said


def test_json_is_one_object_a_line(place, capsys):
    assert cutaway(["tagging", "predict", str(place / "run"), "--json", "fly to rome", "hm"]) == 0
    frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [frame["text"] for frame in frames] == ["fly to rome", "hm"]
    assert frames[0].keys() == {"text", "intents", "slots", "rejected"}
    assert 0 <= frames[0]["intents"][0]["confidence"] <= 1


def test_evaluate_tells_types_rejection_and_calibration_and_writes_json(place, capsys, tmp_path):
    words = ["tagging", "evaluate", str(place / "run"), "--data", str(place / "data"), "--types", "2"]
    assert cutaway([*words, "--outside", str(place / "other.conll"), "--out", str(tmp_path / "scores.json")]) == 0
    said = capsys.readouterr().out
    for word in (
        "intent accuracy",
        "span F1",
        "frame accuracy",
        "exact match",
        "another domain",
        "uncalibrated",
        "precision",
    ):
        assert word in said
    told = json.loads((tmp_path / "scores.json").read_text())
    assert told["runs"][0]["n"] == 24
    assert told["runs"][0]["rejection"]["outside"] == 2
    assert cutaway([*words, "--part", "dev", "--near"]) == 0
    assert "near misses, muc: F1" in capsys.readouterr().out
    assert cutaway([*words, "--part", "tset"]) == 1
    assert "no part 'tset'" in capsys.readouterr().err


def test_published_rows_stand_beside_ours_for_the_sets_that_papers_have(place, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(SENTENCES, "atis", 24)
    made_up.written(made_up.corpus(96, 24, 24), tmp_path / "atis")
    assert cutaway(["tagging", "evaluate", str(place / "run"), "--data", str(tmp_path / "atis")]) == 0
    said = capsys.readouterr().out
    assert "joint BERT (110 M)" in said
    assert "88.20" in said
    assert cutaway(["tagging", "evaluate", str(place / "run"), "--data", str(place / "data")]) == 0
    assert "joint BERT" not in capsys.readouterr().out


def test_parts_are_listed_with_their_options(capsys):
    assert cutaway(["tagging", "parts"]) == 0
    said = capsys.readouterr().out
    for name in ("encoder", "none", "softmax", "crf", "scheme", "constrained"):
        assert name in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--decoder", "cfr"], "did you mean crf"),
        (["--option", "crf"], "write part.option=value"),
        (["--option", "crf.scheme=BIOES"], "options of crf, but the parts are"),
        (["--intents", "sets"], '"set"'),
        (["--option", "encoder.name=minilm"], "did you mean minilm-l6"),
        (["--outside", "nowhere"], "nowhere does not exist"),
        (["--slot-weight", "-1"], "slot_weight is -1.0"),
    ],
)
def test_mistakes_are_told_in_one_line(place, capsys, tmp_path, words, said):
    assert cutaway(["tagging", "fit", "--data", str(place / "data"), "--out", str(tmp_path / "run"), *words]) != 0
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cutaway: ")]
    assert len(error) == 1
    assert said in error[0]
    assert not list(tmp_path.iterdir())
