"""Files of examples: what is read, and how each thing that can be wrong is told with its line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.core.errors import CutawayError
from cutaway.tuning.data import Example, read_file


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(path: Path) -> str:
    with pytest.raises(CutawayError) as told:
        read_file(path)
    assert "\n" not in str(told.value)
    assert str(path) in str(told.value)
    return str(told.value)


# --- tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "example"),
    [
        ("a.tsv", "sentence\tlabel\nhm \t1\n", Example("hm", None, "1")),
        ("a.tsv", 'index\tsentence1\tsentence2\tlabel\n7\tan "old\tone"\tnot\n', Example('an "old', 'one"', "not")),
        ("a.tsv", "Premise\tHypothesis\tSimilarity\na\tb\t2.5\n", Example("a", "b", 2.5)),
        ("a.tsv", "index\tquestion\tsentence\tlabel\n0\twho?\tshe.\tentailment\n", Example("who?", "she.", "entailment")),
        ("a.tsv", "question1\tquestion2\tis_duplicate\na\tb\t0\n", Example("a", "b", "0")),
        ("a.tsv", "sentence\nhm\n", Example("hm")),
        ("a.tsv", "text\ttarget\nhow\twell\n", Example("how", None, "well")),
        ("a.txt", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\ta\tb\r\n", Example("a", "b", "1")),
        ("a.csv", 'text,label\r\n"well, ""so""",01\r\n', Example('well, "so"', None, "01")),
        ("a.csv", "text;score\nwell, so;3\n", Example("well, so", None, 3.0)),
        ("a.csv", 'label,text\nx,"two\nlines"\n', Example("two\nlines", None, "x")),
        ("a.csv", "text\tlabel\n\"a\tx\n", Example('"a', None, "x")),
        ("A.TSV", "\n\ntext\tlabel\n\na\tx\n\n", Example("a", None, "x")),
        ("a.tsv", "gj04\t0\t*\tThe car honked down the road.\n", Example("The car honked down the road.", None, "0")),
        ("a.csv", "main\tMSRvid\t2012test\t0001\t5.000\tA, b\tC\n", Example("A, b", "C", 5.0)),
        ("a.csv", "main\tMSRvid\t2012test\t0001\t3.8\tA\tC\tlicence\tmore\n", Example("A", "C", 3.8)),
    ],
)  # fmt: skip
def test_tables_of_every_layout(tmp_path, name, content, example):
    assert read_file(put(tmp_path / name, content)).examples == (example,)


def test_what_a_file_is(tmp_path):
    kinds = {
        "text\tlabel\na\tx\n": "labels",
        "text\tscore\na\t1\n": "scores",
        "text\ttarget\na\tb\n": "text",
        "text\na\n": None,
    }
    for content, kind in kinds.items():
        part = read_file(put(tmp_path / "a.tsv", content))
        assert (part.kind, part.layout) == (kind, "columns")
    assert read_file(put(tmp_path / "a.tsv", "s\t1\t\tA b.\ns\t0\t?*\tB.\ns\t1\t \tC.\n")).layout == "cola"


def test_odd_characters_stay_whole(tmp_path):
    text = "👩‍👩‍👧 שלום a\u2028b x\x85y na\u0308ive"
    for name in ("a.tsv", "a.csv"):
        comma = "\t" if name == "a.tsv" else ","
        assert read_file(put(tmp_path / name, f"text{comma}label\n{text}{comma}x\n")).examples[0].text == text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", "", " is empty"),
        ("a.tsv", "\n  \n", " is empty"),
        ("a.tsv", "text\tlabel\n", "no examples"),
        ("a.tsv", "sentense\tlabel\na\tx\n", "line 1: no column has the text: there are 'sentense', 'label'; one of text"),
        ("a.tsv", "sentense\tlabel\na\tx\n", "did you mean sentence?"),
        ("a.csv", "words,label\na,x\n", "line 1: no column has the text: there are 'words', 'label'"),
        ("a.txt", "one\ttwo\na\tb\n", "line 1: no column has the text"),
        ("a.tsv", "text\tlabel\na\tx\nb\n", "line 3: 1 columns, but 2 names in line 1"),
        ("a.tsv", "text\tlabel\na\tx\n\nb\tc\tx\n", "line 4: 3 columns, but 2 names"),
        ("a.csv", 'text,label\n"a\nb",x\nc\n', "line 4: 1 columns, but 2 names"),
        ("a.csv", 'text,label\na,x\n"b,x\nc,y\n', "line 3: not CSV (unexpected end of data)"),
        ("a.csv", 'text,label\n"a"b,x\n', "line 2: not CSV"),
        ("a.tsv", "text\tlabel\n \tx\n", "line 2: the text is empty"),
        ("a.tsv", "text\tlabel\na\t \n", "line 2: the label is empty"),
        ("a.tsv", "text\tpair\na\t\n", "line 2: the pair is empty"),
        ("a.tsv", "text\ttarget\na\t\n", "line 2: the target is empty"),
        ("a.tsv", "text\tscore\na\t1\nb\tfew\n", "line 3: the score 'few' is no number"),
        ("a.tsv", "text\tscore\na\t\n", "line 2: the score '' is no number"),
        ("a.tsv", "text\tscore\na\tnan\n", "line 2: the score is nan"),
        ("a.tsv", "text\tscore\na\t-inf\n", "line 2: the score is -inf"),
        ("a.tsv", "text\tlabel\na\t3.8\nb\t4\n", "all labels are numbers, such as 3.8: call them score"),
        ("a.tsv", "text\tlabel\tscore\na\tx\t1\n", "line 1: the columns label and score say the same thing"),
        ("a.tsv", "text\tsentence\tlabel\na\tb\tx\n", "line 1: the columns text and sentence say the same thing"),
        ("a.tsv", "text\tlabel\tlabel\na\tx\ty\n", "line 1: the columns label and label say the same thing"),
        ("a.tsv", "text\tpair\ttarget\na\tb\tc\n", "line 2: a target follows one text"),
        ("a.tsv", "s\t1\t\tA b.\ns\t2\t\tB.\n", "line 2: not as the lines before: 4 columns, of which the first are 's', '2'"),
        ("a.csv", "m\tf\t2012\t1\t5.0\ta\tb\nm\tf\t2012\t1\t5.0\ta\n", "line 2: not as the lines before: 6 columns"),
        ("a.csv", "m\tf\t2012\t1\t5.0\ta\tb\nm\tf\t2012\t1\t5.x\ta\tb\n", "line 2: the score '5.x' is no number"),
        ("a.tsv", b"text\tlabel\na\tx\ncaf\xe9\tx\n", "line 3: not UTF-8 (byte 18)"),
        ("a.tsv", "text\tlabel\na\tx\n".encode("utf-16-le"), "line 1: a zero byte"),
        ("a.json", "[]", "is of no kind that can be read: give .tsv, .csv, .jsonl, .txt"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told_with_its_line(tmp_path, name, content, said):
    assert said in refused(put(tmp_path / name, content))


def test_a_file_that_is_not_there_is_told_with_the_nearest(tmp_path):
    put(tmp_path / "train.tsv", "text\na\n")
    assert f"does not exist; did you mean {tmp_path / 'train.tsv'}?" in refused(tmp_path / "trian.tsv")
    assert refused(tmp_path / "else" / "x.tsv").endswith("does not exist")
    assert "is a folder" in refused(tmp_path)


# --- JSON lines and plain text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "example"),
    [
        ('{"text": " a", "label": "x "}', Example(" a", None, "x")),
        ('{"text": "a", "pair": "b", "label": 3}', Example("a", "b", "3")),
        ('{"text": "a", "pair": null, "label": true}', Example("a", None, "true")),
        ('{"text": "a", "score": 3}', Example("a", None, 3.0)),
        ('{"text": "a", "score": -2.5e1}', Example("a", None, -25.0)),
        ('{"text": "How? ", "target": " Well."}', Example("How? ", None, " Well.")),
        ('{"text": "", "target": "a"}', Example("", None, "a")),
        ('{"text": "a"}', Example("a")),
    ],
)
def test_json_lines(tmp_path, line, example):
    part = read_file(put(tmp_path / "a.jsonl", f"\ufeff{line}\r\n\r\n"))
    assert (part.examples, part.layout) == ((example,), "json")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "a"', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('"a"', "no object"),
        ('{"label": "x"}', 'no "text"'),
        ('{"text": null, "label": "x"}', 'no "text"'),
        ('{"text": "a", "lable": "x"}', "there is no 'lable': known are text, pair, label, score, target; did you mean 'label'?"),
        ('{"text": "a", "label": "x", "score": 1}', "label and score: an example has one answer"),
        ('{"text": "a", "label": 1.5}', "label is 1.5: give a text, a whole number, or true or false"),
        ('{"text": "a", "label": ["x"]}', 'label is ["x"]: give a text'),
        ('{"text": 5, "label": "x"}', "text is 5: give a text"),
        ('{"text": "a", "pair": 5, "label": "x"}', "pair is 5: give a text"),
        ('{"text": "a", "score": "3"}', 'score is "3": give a number'),
        ('{"text": "a", "score": true}', "score is true: give a number"),
        ('{"text": "a", "score": NaN}', "the score is nan"),
        ('{"text": "a", "score": 1e999}', "the score is inf"),
        (f'{{"text": "a", "score": 1{"0" * 400}}}', "is no number"),
        ('{"text": "a", "target": 4}', "target is 4: give a text"),
        ('{"text": "a", "target": ""}', "the target is empty"),
        ('{"text": " ", "label": "x"}', "the text is empty"),
        ('{"text": "a", "label": " "}', "the label is empty"),
        ('{"text": "a", "pair": "b", "target": "c"}', "a target follows one text"),
        ('{"text": "\\ud800", "label": "x"}', "is not text"),
    ],
)  # fmt: skip
def test_a_wrong_line_of_json_is_told_with_its_number(tmp_path, line, said):
    told = refused(put(tmp_path / "a.jsonl", f"\n{line}\n"))
    assert "a.jsonl, line 2: " in told
    assert said in told


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"text": "b", "score": 1}, "line 2: a score, but a label in the lines before"),
        ({"text": "b"}, "line 2: a line without an answer, but a label in the lines before"),
        ({"text": "b", "target": "c"}, "line 2: a target, but a label in the lines before"),
    ],
)
def test_answers_of_mixed_kinds_are_told(tmp_path, second, said):
    lines = [{"text": "a", "label": "x"}, second]
    assert said in refused(put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines))))
    back = refused(put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines[::-1]))))
    assert "line 2: a label, but " in back


def test_plain_text_is_continued_from_nothing(tmp_path):
    part = read_file(put(tmp_path / "a.txt", "\ufeffOnce upon\r\n\r\n  a\ttime,\n"))
    assert part.examples == (Example("", None, "Once upon"), Example("", None, "  a\ttime,"))
    assert (part.kind, part.layout) == ("text", "plain")


@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.text(min_size=1) | st.none(), st.text(min_size=1)), min_size=1, max_size=5
    )
)
def test_json_says_back_what_was_said(tmp_path_factory, rows):
    """Any texts, line breaks and zero bytes among them; those that are blank, or no text, are refused."""
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    told = [{"text": text, "pair": pair, "label": label} for text, pair, label in rows]
    put(path, "".join(json.dumps(each) + "\n" for each in told))
    try:
        examples = [Example(text, pair, label.strip()) for text, pair, label in rows]
        assert all(text.strip() for text, _, _ in rows)
    except (CutawayError, AssertionError):
        refused(path)
        return
    if any(_fraction(label) for *_, label in rows):
        return
    assert list(read_file(path).examples) == examples


def _fraction(label: str) -> bool:
    """Would it pass for a score?"""
    try:
        return not float(label).is_integer()
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Example(""), "the text is empty"),
        (lambda: Example("", "b", 1.0), "the text is empty"),
        (lambda: Example("a", " "), "the pair is empty"),
        (lambda: Example("a", None, ""), "the answer is empty"),
        (lambda: Example("a", None, float("nan")), "the score is nan"),
        (lambda: Example("a", "\udc00"), "is not text"),
    ],
)
def test_an_example_that_is_none_cannot_be_made(made, said):
    with pytest.raises(CutawayError, match=said):
        made()


# --- the real files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n", "kind"),
    [
        ("glue_cola/train.tsv", 7250, "labels"),
        ("glue_cola/val.tsv", 1301, "labels"),
        ("glue_cola/dev.tsv", 1043, "labels"),
        ("glue_cola/test.tsv", 1063, None),
        ("glue_rte/train.tsv", 2490, "labels"),
        ("glue_rte/dev.tsv", 277, "labels"),
        ("glue_rte/test.tsv", 3000, None),
        ("glue_sst2/test.tsv", 872, "labels"),
        ("glue_mrpc/msr_paraphrase_train.txt", 4076, "labels"),
        ("glue_mrpc/msr_paraphrase_test.txt", 1725, "labels"),
        ("glue_stsb/sts-train.csv", 5749, "scores"),
        ("glue_stsb/sts-dev.csv", 1500, "scores"),
        ("glue_stsb/sts-test.csv", 1379, "scores"),
        ("tinyshakespeare/input.txt", 32777, "text"),
    ],
)
def test_the_files_of_glue_have_the_sizes_that_are_known(data, name, n, kind):
    if not (data / name).is_file():
        pytest.skip(f"{name} is not among the real data sets on this machine")
    part = read_file(data / name)
    assert (len(part.examples), part.kind) == (n, kind)
    if kind == "scores":
        assert min(e.answer for e in part.examples) == 0
        assert max(e.answer for e in part.examples) == 5
    if "mrpc" in name:
        # Dolan & Brockett 2005: 67 % are paraphrases
        assert 0.66 < sum(e.answer == "1" for e in part.examples) / n < 0.68


def test_reading_needs_nothing_heavy():
    code = "import sys, cutaway.tuning.data; print({'torch', 'numpy', 'transformers'} & set(sys.modules) or 'light')"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "light"
