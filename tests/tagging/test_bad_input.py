"""What people hand in by mistake, or because the world is like that: it is told in one line with its place, and nothing is left
behind; or it is read as it is. More of what a reader refuses is in `test_data.py`, of wrong settings in `test_room_contract.py`."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cutaway.cli import run as cutaway
from cutaway.core.errors import CutawayError
from cutaway.tagging.config import Config
from cutaway.tagging.corpus import read_corpus, read_plain, read_sentences
from cutaway.tagging.data import MOST_WORDS, Sentence, read_columns, read_joint
from cutaway.tagging.json_lines import read_json_lines
from cutaway.tagging.model import new_tagger
from cutaway.tagging.parts import inputs
from cutaway.tagging.store import load, save

GOOD = "rome\tB-city\nis\tO\n\nhm\tO\n\n" * 8
ODD = ("👩‍👩‍👧", "שלום", "مرحبا", "na\u0308ive", "\u200b", "\ufeff", "a\u2028b", "x" * 400)
"""A family in one character of several, right to left, a letter and its dots, words that become no pieces, a word of 400."""


def zipped(text: str) -> bytes:
    with zipfile.ZipFile(held := io.BytesIO(), "w") as file:
        file.writestr("train.conll", text)
    return held.getvalue()


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def folder(place: Path, **files: str | bytes) -> Path:
    """A folder with files; two underscores in a name are a dot."""
    for name, content in files.items():
        put(place / name.replace("__", "."), content)
    return place


def joint(place: Path, words: str | bytes, tags: str, intents: str) -> Path:
    return folder(place, **{"seq__in": words, "seq__out": tags, "label": intents})


# --- files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a NN B-X\nb O\n", "line 2: 2 columns, but 3 in the lines before"),
        ("a B-X\n\n\nNew York B-X\n", "line 4: 3 columns, but 2 in the lines before"),
        ("a\tB-X\n\tO\n", "line 1: word 2 of a sentence is empty"),
        (GOOD.encode("utf-16"), "line 1: not UTF-8 (byte 0)"),
        (GOOD.encode("utf-16-le"), "line 1: a zero byte, so this is not text"),
        (GOOD.encode() + b"caf\xe9\tO\n", "line 41: not UTF-8 (byte 195)"),
        (zipped(GOOD), "line 1: not UTF-8"),
        (GOOD + "a\tB-X\nb\tE-X\n\n" + GOOD, "line 41: from here on the tags keep to no known scheme"),
        (GOOD + "a\tO\n" * (MOST_WORDS + 1), f"line 41: {MOST_WORDS + 1} words in one sentence, at most {MOST_WORDS}"),
    ],
    ids=["ragged", "a blank in a word", "empty word", "UTF-16", "UTF-16 without a mark", "Latin-1", "zip", "schemes", "long"],
)  # fmt: skip
def test_a_wrong_file_of_columns_is_told_with_its_line(tmp_path, content, said):
    path = put(tmp_path / "some.conll", content)
    with pytest.raises(CutawayError) as told:
        read_columns(path)
    assert f"{path}, {said}" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("a\n", "O\n", "x\ny\n"), "different numbers of lines (seq.in 1, seq.out 1, label 2)"),
        (("a\nb\n", "O\nO\n", "x\ny#\n"), "line 2: no intent in label, or an empty one: 'y#'"),
        (("a\n" + "a " * 10_000 + "\n", "O\n" + "O " * 10_000 + "\n", "x\ny\n"), "line 2: 10000 words in one sentence"),
        ((zipped("a"), "O\n", "x\n"), "seq.in, line 1: not UTF-8"),
    ],
    ids=["labels", "half an intent", "long", "zip"],
)
def test_wrong_joint_files_are_told_with_their_line(tmp_path, lines, said):
    with pytest.raises(CutawayError) as told:
        read_joint(joint(tmp_path / "data", *lines))
    assert said in str(told.value)
    assert str(tmp_path / "data") in str(told.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"words": ["a"', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["a"]', "no sentence"),
        ('{"tokens": ["a"]}', "no sentence"),
        ('{"words": ["a"], "span": []}', "there is no 'span': known are words, spans, intents"),
        ('{"words": []}', "a sentence has no words"),
        ('{"words": "a b"}', "words must be a list of texts"),
        ('{"words": ["a", ""]}', "words must be a list of texts, none of them empty"),
        ('{"words": ["\\ud800"]}', "is not text"),
        ('{"words": ["a"], "intents": "x"}', "intents must be a list of texts"),
        ('{"words": ["a"], "intents": ["x#y"]}', "the intent 'x#y' has a #"),
        ('{"words": ["a"], "spans": [[0, 2, "X"]]}', "the span (0, 2, 'X') does not lie within 1 words"),
        ('{"words": ["a"], "spans": [[0, 1, "X"], [0, 0, "Y"]]}', "the span (0, 0, 'Y') does not lie within 1 words"),
        ('{"words": ["a"], "spans": [[-1, 1, "X"]]}', "does not lie within"),
        ('{"words": ["a"], "spans": [[0, 1]]}', "[0, 1] is no span: write [start, end, type]"),
        ('{"words": ["a"], "spans": [[0, true, "X"]]}', "is no span"),
        ('{"words": ["a"], "spans": [[0, 1, ""]]}', "is no span"),
        ('{"words": ["a"], "spans": {"start": 0}}', "is no span"),
        (json.dumps({"words": ["a"] * 10_000}), "10000 words in one sentence"),
    ],
)
def test_a_wrong_line_of_json_is_told_with_its_number(tmp_path, line, said):
    path = put(tmp_path / "some.jsonl", '{"words": ["fine"]}\r\n\r\n' + line + "\r\n")
    with pytest.raises(CutawayError) as told:
        read_json_lines(path)
    assert str(told.value).startswith(f"{path}, line 3: ")
    assert said in str(told.value)
    assert len(str(told.value)) < 400


def test_wrong_plain_text_is_told_with_its_line(tmp_path):
    for content, said in (("fine\n" + "a " * 10_000, "line 2: 10000 words"), (zipped("a"), "line 1: not UTF-8")):
        with pytest.raises(CutawayError, match=said):
            read_plain(put(tmp_path / "some.txt", content))


def test_what_parts_documents_is_never_a_word_and_swallows_none(tmp_path):
    path = put(tmp_path / "some.conll", "-DOCSTART- -X- O O\na NN x O\n-DOCSTART-\n\nb NN x B-X\n")
    assert [s.words for s in read_columns(path)] == [("a",), ("b",)]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["Unix", "Windows", "old Mac"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "marked"])
def test_any_line_ends_and_byte_order_marks_read_the_same(tmp_path, ends, mark):
    def written(text: str) -> str:
        return mark + text.replace("\n", ends)

    wanted = [Sentence(("rome", "is"), ("B-city", "O"), ("ask",)), Sentence(("hm",), ("O",), ("no", "more"))]
    texts = ("rome is\nhm\n", "B-city O\nO\n", "ask\nno#more\n")
    assert read_joint(joint(tmp_path / "data", *map(written, texts))) == wanted
    lines = '{"words": ["rome", "is"], "spans": [[0, 1, "city"]], "intents": ["ask"]}\n'
    lines += '{"words": ["hm"], "spans": [], "intents": ["no", "more"]}\n'
    assert read_json_lines(put(tmp_path / "some.jsonl", written(lines))) == wanted
    assert [s.words for s in read_plain(put(tmp_path / "some.txt", written("rome is\nhm\n")))] == [
        ("rome", "is"),
        ("hm",),
    ]


# --- words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(inputs()))
def test_every_input_reads_odd_words_and_long_sentences(name, encoder):
    """Also a word that becomes no pieces, alone in its sentence."""
    torch.manual_seed(0)
    options = {"encoder.name": str(encoder)} if name == "encoder" else {}
    learned = [Sentence(ODD, ("B-X", *["O"] * (len(ODD) - 1)))]
    tagger = new_tagger(Config(inputs=(name,), options=options), learned).eval()
    asked = [Sentence(ODD), Sentence(("\u200b",)), Sentence(("\ufffd", "𝕏")), Sentence(ODD[:5] * (MOST_WORDS // 5))]
    batch = tagger.collate(asked, targets=False)
    features, _ = tagger.features(batch)
    assert features.shape[:2] == (4, MOST_WORDS)
    assert features.isfinite().all()
    assert all(
        found.span.end <= len(s.words)
        for s, read in zip(asked, tagger.read(asked), strict=True)
        for found in read.spans
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "a sentence has no words"),
        (("a", ""), "word 2 of a sentence is empty"),
        (("caf\udce9",), "is not text"),
        (("a",) * (MOST_WORDS + 1), f"{MOST_WORDS + 1} words"),
    ],
)
def test_words_that_make_no_sentence(words, said):
    with pytest.raises(CutawayError, match=said):
        Sentence(words)


# --- the command line -----------------------------------------------------------------------------------------------------


FIT = ("--inputs", "words", "--option", "words.dim=8", "--epochs", "3")


def one_line(capsys, *words: str | Path) -> str:
    """What a command that fails says: one line, and nothing on the standard output."""
    assert cutaway(["tagging", *map(str, words)]) == 1
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("cutaway: ")]
    assert len(lines) == 1
    assert "Traceback" not in said.err
    assert not said.out
    return lines[0]


@pytest.mark.parametrize(
    ("files", "words", "said"),
    [
        ({"train": GOOD, "dev__conll": ""}, (), "dev.conll has no sentences"),
        ({"train": GOOD, "test__conll": "\n \n"}, (), "test.conll has no sentences"),
        ({"dev": GOOD, "test": GOOD}, (), "has no training sentences: name a folder or a file in it train (it has dev, test)"),
        ({"train__zip": zipped(GOOD)}, (), "train.zip, line 1: not UTF-8"),
        ({"train": GOOD, "test": "a NN O\nb O\n"}, (), "test, line 2: 2 columns"),
        ({"train": "a O\n" * 10_000}, (), "train, line 1: 10000 words"),
        ({"train": "a B-X\n"}, (), "no dev set to choose the weights by"),
        ({"train": "a O\n\nb O\n"}, (), "neither spans nor intents"),
        ({"train__jsonl": '{"words": ["a"]}\n' * 3}, (), "neither spans nor intents"),
        ({"train": GOOD, "dev__jsonl": '{"words": ["a"]}'}, (), "has nothing of what is to be learned"),
        ({"train": GOOD, "train__jsonl": '{"words": ["a"]}'}, (), "several files for train: train, train.jsonl"),
        ({"train/seq__in": "a\n"}, (), "seq.out does not exist"),
        ({"train/notes__txt": "a\n"}, (), "train has no seq.in"),
        ({"train": GOOD}, ("--option", "crf.scheme=BIOES"), "options of crf, but the parts are words"),
        ({"train": GOOD}, ("--option", "softmax.schem=BIOES"), "did you mean scheme"),
        ({"train": GOOD}, ("--option", "softmax.scheme=XYZ"), "softmax.scheme is 'XYZ': it must be one of"),
        ({"train": GOOD}, ("--option", "softmax=BIOES"), "options of softmax: there is no ''"),
        ({"train": GOOD}, ("--outside", "DATA"), "has no part 'dev'"),
    ],
)  # fmt: skip
def test_fit_says_what_is_wrong_and_leaves_nothing(tmp_path, capsys, files, words, said):
    data = folder(tmp_path / "data", **files)
    words = [str(data) if word == "DATA" else word for word in words]
    assert said in one_line(capsys, "fit", "--data", data, "--out", tmp_path / "runs" / "new", *FIT, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_training_that_breaks_off_leaves_no_run(tmp_path, capsys):
    data, out = folder(tmp_path / "data", train=GOOD), tmp_path / "new"
    broken = one_line(capsys, "fit", "--data", data, "--out", out, *FIT, "--lr", "1e38", "--clip", "0")
    assert "lower the learning rate" in broken
    assert {path.name for path in tmp_path.iterdir()} == {"data", ".new.training"}, "checkpoints alone, for --resume"


def test_settings_that_are_wrong_in_a_file_are_told_with_its_name(tmp_path, capsys):
    data, path = folder(tmp_path / "data", train=GOOD), tmp_path / "some.toml"
    for text, said in (
        ('inputs = "words"\n[options.words]\ndim = "x"\n', "words.dim is 'x': it must be a whole number"),
        ('inputs = ["words"]\n[options.crf]\nscheme = "BIOES"\n', "options of crf, but the parts are words"),
        ("decodr = 3\n", f"{path}: there is no 'decodr'; did you mean decoder"),
        ("decoder = 3\n", f"{path}: decoder is 3: it must be text"),
        ("dropout = 1\ndropout = 2\n", f"{path} is not TOML"),
    ):
        put(path, text)
        assert said in one_line(capsys, "fit", path, "--data", data, "--out", tmp_path / "new")
        assert {x.name for x in tmp_path.iterdir()} == {"data", "some.toml"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of words that are odd, fitted from files with marks and Windows' line ends."""
    place = tmp_path_factory.mktemp("odd")
    rows = [f"{word} {other} rome" for word in ODD[:2] for other in ODD[2:4]] * 4
    texts = ["\n".join(rows), "\n".join(["B-odd O B-city"] * 16), "\n".join(["ask"] * 16)]
    for part in ("train", "dev", "test"):
        joint(place / "data" / part, *("\ufeff" + f"{text}\n".replace("\n", "\r\n") for text in texts))
    training = ("--lr", "0.1", "--batch", "4", "--fresh-lr", "1")
    assert cutaway(["tagging", "fit", "--data", f"{place}/data", "--out", f"{place}/run", *FIT, *training]) == 0
    return place / "run"


def test_emoji_and_right_to_left_text_go_in_and_come_out(run, capsys):
    capsys.readouterr()
    text = f"{ODD[0]} {ODD[2]} rome {ODD[1]}"
    assert cutaway(["tagging", "predict", str(run), text, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["text"] == text
    assert {(slot["type"], slot["text"]) for slot in said["slots"]} == {
        ("odd", ODD[0]),
        ("odd", ODD[1]),
        ("city", "rome"),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([""], "text 1, '': a sentence has no words"),
        (["fine", "  \t "], "text 2, '  \\t ': a sentence has no words"),
        (["a " * 10_000], "10000 words in one sentence"),
        (["caf\udce9"], "is not text"),
        ([], "give either texts, or - for the standard input, or --file"),
        (["--file", "FILE", "text"], "give either texts"),
        (["--file", "FILE"], "has no sentences"),
    ],
)
def test_what_is_no_sentence_cannot_be_read(run, tmp_path, capsys, words, said):
    empty = put(tmp_path / "empty.txt", "\n")
    words = [str(empty) if word == "FILE" else word for word in words]
    assert said in one_line(capsys, "predict", run, *words)


def test_a_standard_input_with_a_mark_is_read_and_one_that_is_not_text_is_told(run, capsys, monkeypatch):
    def of(content: bytes) -> io.TextIOWrapper:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")

    monkeypatch.setattr("sys.stdin", of("\ufeffrome rome\r\n\r\nhm\r\n".encode()))
    assert cutaway(["tagging", "predict", str(run), "-", "--json"]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == ["rome rome", "hm"]
    monkeypatch.setattr("sys.stdin", of(b"caf\xe9\n"))
    assert "the standard input is not UTF-8" in one_line(capsys, "predict", run, "-")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"words": ["rome"]}', "neither tags nor intents"),
        ("", "has no sentences"),
        ("rome\nhm\n", "not JSON"),
    ],
    ids=["no labels", "empty", "no format"],
)
def test_evaluate_needs_something_to_compare(run, tmp_path, capsys, content, said):
    path = put(tmp_path / "test.jsonl", content)
    assert said in one_line(capsys, "evaluate", run, "--data", path, "--out", tmp_path / "scores.json")
    assert not (tmp_path / "scores.json").exists()
    assert "has no part 'dev'" in one_line(capsys, "evaluate", run, "--data", tmp_path, "--part", "dev")


def test_evaluate_measures_what_there_is_and_counts_the_unseen_as_wrong(run, tmp_path, capsys):
    def measured(line: str) -> dict:
        path = put(tmp_path / "test.jsonl", line)
        words = ["tagging", "evaluate", str(run), "--data", str(path), "--out", str(tmp_path / "scores.json")]
        assert cutaway(words) == 0
        return json.loads((tmp_path / "scores.json").read_text())["runs"][0]

    only_tags = measured('{"words": ["rome"], "spans": [[0, 1, "town"]]}')
    assert only_tags["intent_accuracy"] is only_tags["frame_accuracy"] is None
    assert only_tags["spans"]["f1"]["mean"] == 0
    assert only_tags["unseen"] == {"intents": {}, "types": {"town": 1}}
    assert "unseen in training, counted as wrong: types town (1×)" in capsys.readouterr().out
    only_intents = measured('{"words": ["rome"], "intents": ["sing"]}')
    assert only_intents["spans"] is only_intents["frame_accuracy"] is None
    assert only_intents["intent_accuracy"]["mean"] == 0
    assert only_intents["unseen"] == {"intents": {"sing": 1}, "types": {}}
    nothing_there = measured('{"words": ["hm"], "spans": []}')
    assert nothing_there["spans"]["there"] == 0


# --- run folders ----------------------------------------------------------------------------------------------------------


def of_model(change: Callable[[dict], object]) -> Callable[[Path], object]:
    """Damage to model.json."""

    def damage(model: Path) -> None:
        about = json.loads((model / "model.json").read_text())
        change(about)
        (model / "model.json").write_text(json.dumps(about))

    return damage


def of_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def damage(model: Path) -> None:
        weights = load_file(model / "weights.safetensors")
        change(weights)
        save_file(weights, model / "weights.safetensors")

    return damage


def cut(name: str, keep: int) -> Callable[[Path], object]:
    return lambda model: (model / name).write_bytes((model / name).read_bytes()[:keep])


DAMAGE = {
    "no model": (shutil.rmtree, "is not a tagger: give a run folder"),
    "no weights": (lambda model: (model / "weights.safetensors").unlink(), "No such file"),
    "empty weights": (cut("weights.safetensors", 0), "cannot be opened"),
    "half of the weights": (cut("weights.safetensors", 800), "cannot be opened"),
    "weights of another shape": (
        of_weights(lambda w: w.update({"decoder.project.weight": w["decoder.project.weight"][:, :3].contiguous()})),
        "size mismatch for decoder.project.weight",
    ),
    "a weight too few": (of_weights(lambda w: w.pop("decoder.project.bias")), "decoder.project.bias"),
    "half of model.json": (cut("model.json", 50), "cannot be opened"),
    "model.json is a list": (lambda model: (model / "model.json").write_text("[]"), "cannot be opened"),
    "model.json is no text": (lambda model: (model / "model.json").write_bytes(b"\xff\xfe"), "cannot be opened"),
    "another format": (of_model(lambda a: a.update(format=99)), "its format is 99, this version of cutaway reads 1"),
    "no calibration": (of_model(lambda a: a.pop("calibration")), "there is no 'calibration'"),
    "calibration of words": (of_model(lambda a: a["calibration"].update(reject_below="x")), "cannot be opened"),
    "other labels": (of_model(lambda a: a["labels"].update(spans=["a"])), "size mismatch"),
    "labels are none": (of_model(lambda a: a.update(labels=None)), "cannot be opened"),
    "a setting that is none": (of_model(lambda a: a["config"].update(decodr="crf")), "there is no 'decodr'"),
    "settings are a list": (of_model(lambda a: a.update(config=[])), "cannot be opened"),
    "a part that is none": (of_model(lambda a: a["config"].update(decoder="cfr")), "did you mean crf"),
    "no vocabulary": (lambda model: shutil.rmtree(model / "words"), "cannot be opened"),
    "half a vocabulary": (lambda model: [cut(f"words/{x.name}", 3)(model) for x in (model / "words").iterdir()], "cannot be"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_told_with_its_folder(run, tmp_path, capsys, damage):
    place = shutil.copytree(run, tmp_path / "run")
    hurt, said = DAMAGE[damage]
    hurt(place / "model")
    told = one_line(capsys, "predict", place, "rome")
    assert said in told
    assert str(place) in told
    assert len(told) < 500


@pytest.mark.parametrize("name", ["config", "tokenizer"])
@pytest.mark.parametrize("text", ["{}", "[]", '{"model_type": "none"}'])
def test_an_encoders_files_that_are_damaged_are_told(encoder, tmp_path, name, text):
    torch.manual_seed(0)
    learned = [Sentence(("rome",), ("B-city",))]
    save(new_tagger(Config(options={"encoder.name": str(encoder)}), learned), tmp_path)
    put(tmp_path / "encoder" / f"{name}.json", text)
    with pytest.raises(CutawayError, match=f"{tmp_path} cannot be opened"):
        load(tmp_path)


def test_what_is_no_run_is_told_and_seeds_are_named(run, tmp_path, capsys):
    assert "is not a tagger" in one_line(capsys, "predict", tmp_path, "rome")
    assert "is not a tagger" in one_line(capsys, "predict", run / "config.toml", "rome")
    assert "is not a tagger" in one_line(capsys, "evaluate", run.parent / "data", "--data", run.parent / "data")
    shutil.copytree(run, tmp_path / "seed-0")
    (tmp_path / "seed-of-doubt").mkdir()
    assert f"give one of its runs, such as {tmp_path / 'seed-0'}" in one_line(capsys, "predict", tmp_path, "rome")
    assert cutaway(["tagging", "evaluate", str(tmp_path), "--data", str(run.parent / "data")]) == 0


def test_a_damaged_run_is_not_taken_up_again(run, tmp_path, capsys):
    place = shutil.copytree(run, tmp_path / "run")
    put(place / "manifest.json", "{")
    said = one_line(capsys, "fit", "--data", run.parent / "data", "--out", place, "--resume", *FIT)
    assert f"{place} is a damaged run" in said
    assert (place / "model").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_and_a_file_are_read_by_what_they_are_called(tmp_path):
    data = folder(tmp_path / "data", train__JSONL='{"words": ["a"], "spans": []}', test__conll="a\tO\n")
    assert read_sentences(data, "train") == read_sentences(data, "test") == [Sentence(("a",), ("O",))]
    with pytest.raises(CutawayError, match="no part 'tset': give train, dev, test"):
        read_sentences(data, "tset")
    with pytest.raises(CutawayError, match="does not exist"):
        read_corpus(tmp_path / "gone.jsonl")
