"""The study of what tuning did inside: the docs show its committed result, and no word is learned that is looked at."""

import json
import shutil
from pathlib import Path

import pytest

from circuits.tokenizers_by_hand import SPACED, bpe
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from docs_marks import shown

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script():
    import tuning_circuit

    return tuning_circuit


@pytest.fixture
def found(script) -> dict:
    return json.loads(script.RESULT.read_text())


@pytest.mark.parametrize("name", ["behaviour", "story", "heads", "changes", "kept"])
def test_the_docs_show_the_result(script, found, name):
    assert shown(f"circuit {name}", "tuning") == script.PARTS[name](found)


def test_the_result_was_made_by_the_commands_that_the_script_has(script, found):
    assert found["commands"] == {out: " ".join(["cutaway", *words]) for out, words in script.commands().items()}
    assert found["seed"] == script.SEED
    assert found["examples"] == script.SIZES
    assert {"torch", "transformers", "peft"} <= found["versions"].keys()
    assert not any("weights" in note for column in found["cross"] for note in column["notes"])


def test_the_claims_of_the_docs(script, found):
    """What the text around the tables says."""
    before, after = (found["circuits"][name] for name in (script.BEFORE, script.AFTER))
    assert after.keys() < before.keys()
    assert all(before[site] == role for site, role in after.items())
    for name, at in ((script.BEFORE, 0), (script.AFTER, 1)):
        assert max(found["totals"], key=lambda site: found["totals"][site][at]) == "23.0", name
    rows = {(row["site"], row["corruption"], row["step"]): row for row in found["changes"]}
    first = rows["23.0", "current word", "letter 1"]
    assert first[script.AFTER][2] < first[script.BEFORE][1], "further than both intervals"
    assert 2.5 < first[script.AFTER][0] / first[script.BEFORE][0] < 3
    totals = found["totals"]
    assert 1.75 < totals["23.0"][1] / totals["23.0"][0] < 2
    assert all(totals[site][1] < totals[site][0] for site in ("8.1", "17.4"))


def test_which_circuit_is_enough_for_which_model(script, found):
    kept = {
        (column["run"], row["heads"]): [mean for mean, *_ in row["faithfulness"]]
        for column in found["cross"]
        for row in column["kept"]
    }
    assert min(kept[script.AFTER, script.BEFORE]) > 0.85
    assert kept[script.BEFORE, script.AFTER][2] < 0.7


def test_no_word_is_learned_that_is_looked_at(script):
    tokenizer = bpe(*SPACED)
    looked_at = Acronyms(n=6, word_tokens=(3, 8))
    seen = build(tokenizer, looked_at).texts
    word = seen[0].split("\n")[1].split()[1]
    lines = [
        f"The {word} Zebra Quartz ({word[0]}Z, {word[0]}ZQ",
        "The Ababab Cdcdcd Efefef (AC, ACE",
        "The Ababab Cdcdcd Efefef (AC",
    ]
    assert script.examples(tokenizer, lines, looked_at, 5) == [
        {"text": f"{looked_at.example}The Ababab Cdcdcd Efefef (", "target": "ACE"}
    ]
    joined = bpe(*SPACED, ("A", "C"))
    assert script.examples(joined, lines, looked_at, 5) == [], "letters that join are not the circuit's answers"


def test_what_is_there_is_not_made_again(script, monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(script.subprocess, "run", lambda words, **how: ran.append(words[3:5]))
    (tmp_path / "prompts").mkdir()
    script.done(tmp_path)
    assert ran == [["tuning", "fit"], ["circuits", "find"], ["circuits", "find"], ["circuits", "compare"]]
    for out in script.commands():
        (tmp_path / out).mkdir()
    script.done(tmp_path)
    assert len(ran) == 4
    shutil.rmtree(tmp_path / script.AFTER)
    script.done(tmp_path)
    assert len(ran) == 5
