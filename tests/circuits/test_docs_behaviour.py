"""The page on adding a behaviour: its files are read, its messages are the real ones, its example prints what it says."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors.from_file import FIELDS, OPTIONAL, read_behavior
from cutaway.core.errors import CutawayError
from cutaway.decoder.catalog import locate

from .tokenizers_by_hand import bpe

PAGE = Path(__file__).parents[2] / "docs" / "add-a-behaviour.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the pages are not part of an installed package")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def read(path: Path, text: str) -> Behavior:
    """With a tokenizer whose tokens are the words of the text."""
    path.write_text(text)
    return read_behavior(path, bpe(whole=sorted(set(re.findall(r" ?[^\W\d_]+", text)), key=len, reverse=True)))


def test_every_field_has_a_row():
    fields = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert fields == [*FIELDS, *OPTIONAL]


def test_the_file_that_the_page_writes_is_a_behaviour(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(blocks("python")[0], {})
    behavior = read(tmp_path / "capitals.jsonl", (tmp_path / "capitals.jsonl").read_text())
    assert (len(behavior), behavior.n_steps, behavior.sources) == (32, 1, ("country",))
    assert behavior.alternatives.shape == (32, 1, 31)
    ((_, corrupt),) = behavior.corruptions["other country"].runs
    assert not (corrupt.tokens == behavior.clean.tokens).all(1).any()


def test_the_lines_that_the_page_shows_are_read(tmp_path):
    first, several = (read(tmp_path / "line.jsonl", line) for line in blocks("json"))
    assert first.roles == ("before country", "country", "after country")
    assert (several.n_steps, several.roles) == (2, ("before landmark", "landmark", "after landmark", "answer 1"))
    ((one, two),) = several.alternatives.tolist()
    assert (sum(i >= 0 for i in one), sum(i >= 0 for i in two)) == (1, 2), (
        "New Orleans competes at the second token only"
    )
    table = read(tmp_path / "capitals.csv", blocks("csv")[0])
    assert (len(table), table.sources, table.reference) == (2, ("country",), "other country")


def test_the_messages_of_the_page_are_the_real_ones(tmp_path):
    line = blocks("text")[1]
    good = blocks("json")[0]
    bad = good.replace("Egypt", "Saudi Arabia Proper")
    with pytest.raises(CutawayError) as caught:
        read(tmp_path / "capitals.jsonl", good + bad)
    assert str(caught.value).removeprefix(f"{tmp_path}/") == line.strip()
    torn = good.replace("{country:France}", "{country:Fra}nce")
    (tmp_path / "torn.jsonl").write_text(torn)
    with pytest.raises(CutawayError) as caught:
        read_behavior(tmp_path / "torn.jsonl", bpe(whole=["The", " capital", " of", " France", " is"]))
    (row,) = [row for row in PAGE.read_text().splitlines() if row.startswith("| `the token")]
    assert row.split("`")[1] in str(caught.value)


@pytest.mark.slow
def test_the_example_prints_what_the_page_says(tmp_path, monkeypatch):
    try:
        locate("smollm2-135m", offline=True)
    except CutawayError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), torch.no_grad():
        for code in blocks("python"):
            exec(code, {})
    assert printed.getvalue() == blocks("text")[0]
