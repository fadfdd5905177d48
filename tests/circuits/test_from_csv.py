"""Behaviours from CSV files say what they say as JSON Lines; what is wrong is named by file and line."""

import csv
import io
import json

import pytest

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors.from_file import read_behavior
from cutaway.core.errors import CutawayError

from .capitals import FRANCE, ITALY, LONG, changed, words_as_tokens


def as_csv(*rows: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


HEADER = ["prompt", "answer", "alternatives", "corrupted:other country"]
FRANCE_ROW = ["The capital of {country:France} is", " Paris", " Rome| Oslo", "The capital of {country:Italy} is"]
ITALY_ROW = ["The capital of {country:Italy} is", " Rome", " Paris", "The capital of {country:France} is"]


@pytest.fixture
def read_csv(tmp_path):
    def make(*rows: list[str], text: str = "") -> Behavior:
        (tmp_path / "capitals.csv").write_bytes((text or as_csv(*rows)).encode("utf-8-sig"))
        return read_behavior(tmp_path / "capitals.csv", words_as_tokens())

    return make


@pytest.fixture
def read(tmp_path):
    def make(*entries: dict) -> Behavior:
        (tmp_path / "capitals.jsonl").write_text("\n".join(map(json.dumps, entries)))
        return read_behavior(tmp_path / "capitals.jsonl", words_as_tokens())

    return make


def test_a_csv_file_says_the_same(read, read_csv):
    ours, theirs = read_csv(HEADER, FRANCE_ROW, ITALY_ROW), read(FRANCE, ITALY)
    assert ours.clean.tokens.equal(theirs.clean.tokens)
    assert ours.alternatives.equal(theirs.alternatives)
    ((_, corrupt),), ((_, expected),) = (behavior.corruptions["other country"].runs for behavior in (ours, theirs))
    assert corrupt.tokens.equal(expected.tokens)


def test_lists_in_a_csv_file_are_json(read, read_csv):
    row = [LONG["prompt"], '[" San", " Marino"]', '[[" Cape"], [" Jose", " Town"]]', FRANCE_ROW[3]]
    listed = changed(LONG, answer=[" San", " Marino"], alternatives=[[" Cape"], [" Jose", " Town"]])
    assert read_csv(HEADER, row).alternatives.equal(read(listed).alternatives)


def test_the_reference_of_a_csv_file_may_be_left_out(read_csv):
    header = [*HEADER, "corrupted:all", "reference"]
    all_of_it = "The capital is {country:Italy} of"
    behavior = read_csv(header, [*FRANCE_ROW, all_of_it, ""], [*FRANCE_ROW, all_of_it, "other country"])
    assert behavior.reference == "other country"
    assert read_csv(header, [*FRANCE_ROW, all_of_it, ""]).reference == "all"
    assert read_csv([*HEADER, "sources"], [*FRANCE_ROW, "country"]).sources == ("country",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no prompts"),
        (as_csv(HEADER), "has no prompts"),
        (
            as_csv(HEADER[:2], FRANCE_ROW[:2]),
            r"line 2: 'alternatives' is missing: .*\(in CSV, columns named corrupted:NAME\)",
        ),
        (as_csv(HEADER[:3], FRANCE_ROW[:3]), "line 2: 'corrupted' is missing"),
        (as_csv(HEADER, FRANCE_ROW, FRANCE_ROW[:1]), "line 3: 'answer' is ''"),
        (as_csv(HEADER, [*FRANCE_ROW, "more"]), "line 2: more cells than the first line has names"),
        (as_csv(HEADER, [*FRANCE_ROW[:2], "", FRANCE_ROW[3]]), r"line 2: 'alternatives' is \[''\]"),
        (as_csv([*HEADER, "note"], [*FRANCE_ROW, "x"]), "line 2: 'note' is not known"),
        (as_csv([*HEADER, "answer"], [*FRANCE_ROW, "x"]), "line 1: two columns are named 'answer'"),
        (
            as_csv(HEADER, [FRANCE_ROW[0], "[Paris", *FRANCE_ROW[2:]]),
            r"line 2: '\[Paris' begins like a JSON list and is",
        ),
        (as_csv(HEADER) + '"The capital', r"line 2: no CSV \(.*\); close its quotes"),
        (
            as_csv(HEADER, FRANCE_ROW, [*FRANCE_ROW[:3], FRANCE_ROW[0]]),
            "line 3, corruption 'other country' equals the clean",
        ),
    ],
)
def test_a_wrong_csv_file_is_named(read_csv, text, said):
    with pytest.raises(CutawayError, match=rf"capitals\.csv,? {said}"):
        read_csv(text=text or "\n")
