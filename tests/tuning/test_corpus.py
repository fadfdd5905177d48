"""What becomes of the files of a folder: which trains, which chooses, which judges, and what is told of it."""

from pathlib import Path

import pytest

from cutaway.core.errors import CutawayError
from cutaway.tuning import corpus as corpora
from cutaway.tuning.corpus import Corpus, read_corpus, read_examples
from cutaway.tuning.data import Example
from tuning import made_up


def table(n: int, begins: str, *, labels: tuple[str, ...] = ("x", "y")) -> str:
    """n sentences, told apart by their first word; without labels, none is written."""
    rows = [[f"{begins} {i}", *([labels[i % len(labels)]] if labels else [])] for i in range(n)]
    return "".join("\t".join(row) + "\n" for row in [["sentence", *["label"] * bool(labels)], *rows])


def folder(place: Path, **files: str) -> Path:
    """Two underscores in a name are a dot."""
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        (place / name.replace("__", ".")).write_text(content)
    return place


def begins(examples) -> set[str]:
    return {example.text.split()[0] for example in examples}


@pytest.mark.parametrize("kind", ["labels", "scores", "text"])
def test_a_made_up_corpus_is_read_as_it_was_written(tmp_path, kind):
    made = made_up.corpus(kind, 12, 5, 4)
    found = read_corpus(made_up.written(made, tmp_path / "made-up"))
    assert found == made
    assert found.sha256 == made.sha256
    assert (found.kind, found.metric) == (
        kind,
        {"labels": "accuracy", "scores": "correlation", "text": "log_likelihood"}[kind],
    )
    assert found.labels == (("0", "1") if kind == "labels" else ())
    for part in ("train", "dev", "test"):
        assert tuple(read_examples(tmp_path / "made-up", part, kind=kind)) == getattr(made, part)


UNKNOWN = ()
MOVED, LEFT = "; dev.tsv is the test set", "; test.tsv has no answers and is left out"


@pytest.mark.parametrize(
    ("files", "dev", "test", "told"),
    [
        ({"dev": "xy", "test": "xy"}, "dev", "test", ""),
        ({"valid": "xy", "test": "xy"}, "valid", "test", ""),
        ({"val": "xy", "dev": "xy"}, "val", "dev", MOVED),
        ({"val": "xy", "dev": "xy", "test": UNKNOWN}, "val", "dev", MOVED + LEFT),
        ({"dev": "xy", "test": UNKNOWN}, "train", "dev", MOVED + LEFT),
        ({"dev": "xy"}, "train", "dev", MOVED),
        ({"val": "xy"}, "train", "val", "; val.tsv is the test set"),
        ({"test": "xy"}, "train", "test", ""),
        ({"dev": UNKNOWN, "test": "xy"}, "train", "test", "; dev.tsv has no answers and is left out"),
        ({"test": UNKNOWN}, "train", "", LEFT),
        ({}, "train", "", ""),
    ],
)  # fmt: skip
def test_who_chooses_and_who_judges(tmp_path, files, dev, test, told):
    """No example does both, whatever there is."""
    place = folder(tmp_path / "some", train__tsv=table(40, "train"))
    for name, labels in files.items():
        folder(place, **{f"{name}__tsv": table(10, name, labels=tuple(labels))})
    found = read_corpus(place)
    assert begins(found.dev) == {dev}
    assert begins(found.test) == ({test} if test else set())
    assert begins(found.train) == {"train"}
    assert not {*found.train} & {*found.dev}
    assert not {*found.dev} & {*found.test}
    assert found.dev_from_train == (dev == "train")
    assert (len(found.train), len(found.dev)) == ((36, 4) if dev == "train" else (40, 10))
    assert str(found).endswith(f"chosen by accuracy{told}")
    assert ("set aside" in str(found)) == (dev == "train")
    assert "\n" not in str(found)
    for part in ("train", "dev") + ("test",) * bool(test):
        assert tuple(read_examples(place, part)) == getattr(found, part)


def test_a_test_file_without_answers_can_be_predicted(tmp_path):
    only = folder(tmp_path / "only", train__tsv=table(4, "train"), test__tsv=table(3, "test", labels=()))
    assert [example.answer for example in read_examples(only)] == [None] * 3
    both = folder(tmp_path / "both", dev__tsv=table(4, "dev"), test__tsv=table(3, "test", labels=()))
    assert begins(read_examples(both)) == {"dev"}
    assert begins(read_examples(both / "test.tsv")) == {"test"}
    blank = folder(tmp_path / "blank", train__tsv=table(30, "train", labels=()))
    assert len(read_examples(blank, "train")) == 30


def test_names_of_files(tmp_path):
    some = folder(
        tmp_path / "some",
        msr_paraphrase_train__txt=table(4, "train"),
        sts_test__csv="text,label\ntest,x\n",
        LATEST__tsv="no table",
        test__md="notes",
        evaluation__tsv="no table",
        README_train_test__md="notes",
        **{".train__tsv": "no table"},
    )
    found = read_corpus(some)
    assert (begins(found.train), begins(found.test)) == ({"train"}, {"test"})


def test_one_file_is_trained_on(tmp_path):
    place = folder(tmp_path, some__tsv=table(20, "a")) / "some.tsv"
    found = read_corpus(place, dev_share=0.25)
    assert (found.name, len(found.train), len(found.dev), found.test) == ("some.tsv", 15, 5, ())
    assert read_corpus(place, dev_share=0.25) == found


def test_a_limit_draws_the_same_for_everyone_and_leaves_dev_alone(tmp_path):
    place = folder(tmp_path, train__tsv=table(100, "a"))
    full, some = read_corpus(place), read_corpus(place, limit=20)
    assert len(some.train) == 20
    assert some.dev == full.dev
    assert {*some.train} < {*full.train}
    assert some == read_corpus(place, limit=20, seed=0)
    assert some.train != read_corpus(place, limit=20, seed=1).train
    assert read_corpus(place, limit=90) == full
    assert "the training examples are drawn from 90 (seed 0)" in str(some)
    with pytest.raises(CutawayError, match="limit is -1"):
        read_corpus(place, limit=-1)


def test_labels_that_training_never_had_are_told(tmp_path):
    place = folder(
        tmp_path, train__tsv=table(6, "a"), dev__tsv=table(4, "b"), test__tsv=table(5, "c", labels=("x", "new"))
    )
    found = read_corpus(place)
    assert found.labels == ("x", "y")
    assert found.unseen("test") == {"new": 2}
    assert str(found).endswith("; labels of test unseen in training, counted as wrong: new 2×")
    assert "unseen" not in str(read_corpus(made_up.written(made_up.corpus("scores", 9, 3, 3), tmp_path / "scores")))


def test_the_metric_of_cola_is_its_own(tmp_path):
    lines = "".join(f"gj04\t{i % 2}\t{'*' if i % 2 == 0 else ''}\tSentence {i}.\n" for i in range(20))
    assert read_corpus(folder(tmp_path / "cola", train__tsv=lines)).metric == "matthews"
    assert read_corpus(folder(tmp_path / "other", train__tsv=table(20, "a"))).metric == "accuracy"


def test_the_hash_is_of_everything(tmp_path):
    examples = [Example("a", None, "x"), Example("b", "c", "y")]
    made = Corpus.of("one", "labels", examples, examples, examples)
    assert made.sha256 == Corpus.of("two", "labels", examples, examples, examples, notes=("told",)).sha256
    others = [
        Corpus.of("one", "labels", examples, examples, examples, metric="f1"),
        Corpus.of("one", "text", examples, examples, examples),
        Corpus.of("one", "labels", examples[::-1], examples, examples),
        Corpus.of("one", "labels", examples, [*examples, *examples], []),
        Corpus.of("one", "labels", examples, examples, [Example("a", None, "x"), Example("b", "d", "y")]),
        Corpus.of("one", "labels", examples, examples, [Example("a", None, "x"), Example("bc", None, "y")]),
        Corpus.of("one", "labels", examples, examples, [Example("a", None, "x"), Example("b", "c")]),
    ]
    assert len({made.sha256, *(x.sha256 for x in others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "has no training examples: have train in a file's name (it has nothing)"),
        ({"dev__tsv": table(4, "a")}, "has no training examples: have train in a file's name (it has dev.tsv)"),
        ({"train__tsv": table(4, "a", labels=())}, "train.tsv has no answers to learn"),
        ({"train__tsv": table(4, "a", labels=("x",))}, "the training examples have no two labels (x): give"),
        ({"train__tsv": table(4, "a"), "train__csv": "text,label\na,x\n"}, "several files for train: train.csv, train.tsv"),
        ({"train__tsv": table(4, "a"), "dev_matched__tsv": "", "dev_mismatched__tsv": ""}, "several files for dev"),
        ({"train__tsv": table(4, "a"), "val__tsv": "", "valid__tsv": ""}, "several files for val"),
        ({"train__tsv": table(4, "a"), "train_dev__tsv": table(4, "a")}, "is called train and dev: rename it"),
        ({"train__tsv": table(4, "a"), "dev__parquet": "x"}, "dev.parquet is of no kind that can be read"),
        ({f"{x}__tsv": table(4, x) for x in corpora.NAMES}, "three sets to choose and to judge by (val.tsv, "),
        ({"train__tsv": table(4, "a"), "test__tsv": "text\tscore\na\t1\n"}, "different kinds (train.tsv labels, test.tsv scores)"),
        ({"train__tsv": table(4, "a"), "test__txt": "plain\n"}, "different kinds (train.tsv labels, test.txt text)"),
        ({"train__tsv": table(4, "a"), "test__tsv": "text\tlabel\na\n"}, "test.tsv, line 2: 1 columns"),
    ],
)  # fmt: skip
def test_a_folder_that_makes_no_data_set_is_told(tmp_path, files, said):
    with pytest.raises(CutawayError) as told:
        read_corpus(folder(tmp_path / "some", **files))
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_what_cannot_be_read_of_a_folder_is_told(tmp_path):
    place = folder(tmp_path / "some", train__tsv=table(9, "a"))
    with pytest.raises(CutawayError, match=r"has no part 'test' \(it has train.tsv\)"):
        read_examples(place)
    with pytest.raises(CutawayError, match="there is no part 'val': give train, dev, test"):
        read_examples(place, "val")
    with pytest.raises(CutawayError, match="has labels for answers where scores are wanted"):
        read_examples(place / "train.tsv", kind="scores")
    with pytest.raises(CutawayError, match=r"did you mean .*some"):
        read_corpus(tmp_path / "sone")


def test_a_set_that_chose_and_judged_would_be_noticed(tmp_path, monkeypatch):
    """Broken on purpose: nothing is set aside, the whole training set chooses."""
    monkeypatch.setattr(corpora, "_set_aside", lambda examples, share: (examples, examples))
    with pytest.raises(AssertionError):
        test_who_chooses_and_who_judges(tmp_path, {}, "train", "", "")


@pytest.mark.parametrize(
    ("name", "sizes", "metric", "labels", "aside"),
    [
        ("glue_cola", (7250, 1301, 1043), "matthews", ("0", "1"), False),
        ("glue_rte", (2241, 249, 277), "accuracy", ("entailment", "not_entailment"), True),
        ("glue_mrpc", (3668, 408, 1725), "accuracy", ("0", "1"), True),
        ("glue_sst2", (60614, 6735, 872), "accuracy", ("0", "1"), False),
        ("glue_stsb", (5749, 1500, 1379), "correlation", (), False),
    ],
)
def test_the_folders_of_glue(data, name, sizes, metric, labels, aside):
    if not (data / name).is_dir():
        pytest.skip(f"{name} is not among the real data sets on this machine")
    found = read_corpus(data / name)
    assert tuple(len(getattr(found, part)) for part in ("train", "dev", "test")) == sizes
    assert (found.metric, found.labels, found.dev_from_train) == (metric, labels, aside)
    assert (f"{MOVED}{LEFT}" in str(found)) == (name in ("glue_cola", "glue_rte"))
    assert not {**found.unseen("dev"), **found.unseen("test")}
