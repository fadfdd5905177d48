"""`cutaway tuning`, for labels, scores and text: what the contract of a room does not say already."""

import io
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cutaway.cli import run as cutaway
from tuning import made_up, pretrained

BASES = {"labels": pretrained.encoder, "scores": pretrained.encoder, "text": pretrained.decoder}
TEXTS = {"labels": "a lovely bird", "scores": "the bird\tthe old bird", "text": "old cat says:"}
METRICS = {
    "labels": ("accuracy", "F1", "Matthews"),
    "scores": ("Pearson", "Spearman"),
    "text": ("perplexity", "exact match"),
}


def words_of_fit(folder: Path, kind: str, epochs: int = 2) -> list[str]:
    """Data and a base in the folder, and the command that tunes the one on the other."""
    made_up.written(made_up.corpus(kind, 96, 24, 24), folder / "data")
    base = BASES[kind](folder / "base")
    words = ["tuning", "fit", "--data", str(folder / "data"), "--model", str(base), "--out", str(folder / "run")]
    return [*words, "--epochs", str(epochs), "--lr", "1e-2", "--length", "16", "--option", "lora.rank=4"]


@pytest.fixture(scope="module", params=BASES)
def place(request, tmp_path_factory):
    """A kind of answers, and a folder with data, a base and a run."""
    folder = tmp_path_factory.mktemp(request.param)
    assert cutaway(words_of_fit(folder, request.param)) == 0
    return request.param, folder


def told(capsys) -> str:
    """The one line of a mistake."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cutaway: ")]
    return line


def test_evaluate_tells_its_metrics_and_writes_json(place, capsys, tmp_path):
    kind, folder = place
    words = ["tuning", "evaluate", str(folder / "run"), "--data", str(folder / "data")]
    assert cutaway([*words, "--out", str(tmp_path / "scores.json")]) == 0
    said = capsys.readouterr().out
    for word in (*METRICS[kind], "24 examples", "bootstrap"):
        assert word in said
    found = json.loads((tmp_path / "scores.json").read_text())
    assert (found["part"], found["runs"][0]["n"], found["runs"][0]["kind"]) == ("test", 24, kind)
    at_the_end = json.loads((folder / "run" / "scores.json").read_text())
    assert found["runs"][0] == at_the_end["test"]
    assert cutaway([*words, "--part", "tset"]) == 1
    assert "no part 'tset'" in told(capsys)


def test_answers_one_by_one_from_the_standard_input_and_from_a_file(place, capsys, monkeypatch):
    kind, folder = place
    words, text = ["tuning", "predict", str(folder / "run")], TEXTS[kind]
    assert cutaway([*words, text, "--json", "--most", "3"]) == 0
    (alone,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert alone.keys() == {"text", "pair", "answer", "confidences"}
    assert isinstance(alone["answer"], float if kind == "scores" else str)
    assert (alone["pair"] is not None) == (kind == "scores")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n\n{text}\n"))
    assert cutaway([*words, "-", "--json", "--most", "3"]) == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (
        [x["answer"] for x in again] == pytest.approx([alone["answer"]] * 2)
        if kind == "scores"
        else [alone["answer"]] * 2
    )
    file = next((folder / "data").glob("test.*"))
    assert cutaway([*words, "--file", str(file), "--json", "--most", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 24
    assert cutaway([*words, text]) == 0
    assert text.split("\t")[0] in capsys.readouterr().out


def test_what_predict_cannot_read(place, capsys, tmp_path):
    _, folder = place
    words = ["tuning", "predict", str(folder / "run")]
    for more, said in (
        ([], "give either texts, or - for the standard input, or --file"),
        (["x", "--file", "y"], "give either texts"),
        (["a\tb\tc"], "one tab between them"),
        (["--file", str(tmp_path / "gone.tsv")], "gone.tsv"),
    ):
        assert cutaway([*words, *more]) == 1
        assert said in told(capsys)


def test_answers_of_another_kind_are_told_before_anything_is_measured(place, capsys, tmp_path):
    kind, folder = place
    other = {"labels": "scores", "scores": "text", "text": "labels"}[kind]
    made_up.written(made_up.corpus(other, 8, 4, 4, seed=1), tmp_path / "other")
    assert cutaway(["tuning", "evaluate", str(folder / "run"), "--data", str(tmp_path / "other")]) == 1
    assert f"has {other} for answers where {kind} are wanted" in told(capsys)


def test_a_model_that_diverged_is_told_in_one_line(place, capsys, tmp_path):
    """As if its weights had become NaN in the last step."""
    import shutil

    _, folder = place
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    file = run / "model" / "adapter" / "adapter_model.safetensors"
    save_file(
        {name: torch.full_like(x, torch.nan) for name, x in load_file(file).items()}, file, metadata={"format": "pt"}
    )
    for words in (["evaluate", str(run), "--data", str(folder / "data")], ["predict", str(run), TEXTS[place[0]]]):
        assert cutaway(["tuning", *words]) == 1
        line = told(capsys)
        assert "no finite number" in line
        assert "diverged" in line


def test_merge_writes_a_folder_that_transformers_opens(place, capsys, tmp_path):
    from transformers import AutoModel

    _, folder = place
    words = ["tuning", "merge", str(folder / "run"), "--out", str(tmp_path / "merged")]
    assert cutaway(words) == 0
    assert "Written to" in capsys.readouterr().out
    assert AutoModel.from_pretrained(tmp_path / "merged").config.num_hidden_layers == 2
    assert cutaway(words) == 1
    assert "exists already" in told(capsys)


# --- once, for labels ---------------------------------------------------------------------------------------------------


def test_the_dev_share_of_the_run_is_that_of_its_evaluation(capsys, tmp_path):
    """Without a dev set, the examples that chose the weights are those which `--part dev` measures."""
    words = words_of_fit(tmp_path, "labels", epochs=1)
    (tmp_path / "data" / "dev.tsv").unlink()
    assert cutaway([*words, "--dev-share", "0.25", "--limit", "40"]) == 0
    assert "set aside from the training examples" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["examples"] == {"train": 40, "dev": 24, "test": 24}
    assert manifest["dev_from_train"] is True
    words = ["tuning", "evaluate", str(tmp_path / "run"), "--data", str(tmp_path / "data"), "--part", "dev"]
    assert cutaway([*words, "--out", str(tmp_path / "scores.json")]) == 0
    found = json.loads((tmp_path / "scores.json").read_text())["runs"][0]
    assert found == json.loads((tmp_path / "run" / "scores.json").read_text())["dev"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "lorra"], "did you mean lora"),
        (["--option", "lora.rnk=3"], "did you mean rank"),
        (["--option", "adapter.width=3"], "adapter.width"),
        (["--option", "lora.rank=400"], "rank is 400"),
        (["--model", "minilm"], "no model or folder named 'minilm'"),
        (["--weights", "int3"], "int3"),
        (["--pool", "middle"], "middle"),
        (["--limit", "-2"], "limit is -2"),
        (["--epochs", "0"], "at least 1"),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_nothing(capsys, tmp_path, words, said):
    given = words_of_fit(tmp_path, "labels")
    place = {given[i]: i for i in range(len(given))}
    for name, x in zip(words[::2], words[1::2], strict=True):
        given = [*given[: place[name]], *given[place[name] + 2 :]] if name in place else given
        given += [name, x]
    assert cutaway(given) != 0
    assert said in told(capsys)
    assert not (tmp_path / "run").exists()


def test_methods_are_listed_with_what_they_are(capsys):
    assert cutaway(["tuning", "methods", "--json"]) == 0
    rows = {row["method"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["lora"]["merges"] == "yes"
    assert rows["adapter"]["merges"] == ""
    assert "rank" in rows["lora"]["options"]
