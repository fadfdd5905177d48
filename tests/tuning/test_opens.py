"""A tuned model in the other rooms: every command that takes a model takes a run of `cutaway tuning fit`."""

import json
from pathlib import Path

import pytest

from cutaway.cli import run as cutaway
from cutaway.tuning.config import Config
from tuning import made_up, pretrained
from tuning.test_merge import run_of

FEW = ("--n-sweep", "2", "--n-search", "6", "--n-verify", "6", "--n-random", "2", "--n-paths", "2")


def behavior(file: Path) -> Path:
    """The word that rhymes with a name, and prompts with another name."""
    names, lines = list(made_up.RHYMES), []
    for i in range(12):
        name, other = names[i % 4], names[(i + 1 + i // 4) % 4]
        first, then = made_up.WORDS[i], made_up.WORDS[(i + 5) % 12]
        prompt = f"{first} {then} {{name:NAME}} says:"
        lines.append(
            {
                "prompt": prompt.replace("NAME", name),
                "answer": f" {made_up.RHYMES[name]}",
                "alternatives": [f" {made_up.RHYMES[x]}" for x in names if x != name],
                "corrupted": {"another name": prompt.replace("NAME", other)},
            }
        )
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a base, a run `tuned` on it, its merged folder, a behaviour, and runs of `circuits find` on all three."""
    folder = tmp_path_factory.mktemp("opens")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUTAWAY_CACHE", str(folder / "cache"))
        base = pretrained.decoder(folder / "base")
        run_of(Config(model=str(base), method="lora", length=16, options={"lora.rank": 4}), folder / "tuned")
        behavior(folder / "rhymes.jsonl")
        assert cutaway(["tuning", "merge", str(folder / "tuned"), "--out", str(folder / "merged")]) == 0
        for model in ("tuned", "merged", "base"):
            words = ["circuits", "find", str(folder / "rhymes.jsonl"), "--model", str(folder / model), *FEW]
            assert cutaway([*words, "--out", str(folder / f"find-{model}")]) == 0
        yield folder


def effects(run: Path) -> dict[str, list]:
    files = sorted((run / "effects").glob("*.json"))
    assert files
    return {file.name: json.loads(file.read_text())["effects"] for file in files}


def test_a_run_and_its_merged_folder_have_the_same_circuit_and_effects(place):
    run, merged, base = (place / f"find-{model}" for model in ("tuned", "merged", "base"))
    assert effects(run) == effects(merged)
    assert effects(run) != effects(base), "what was learned does not show"
    one, other = (json.loads((at / "circuit.json").read_text()) for at in (run, merged))
    assert one["heads"] == other["heads"]
    assert one["provenance"]["weights_sha256"] == other["provenance"]["weights_sha256"]
    for name in ("verification.json", "performance.json", "sensitivity.json"):
        assert (run / name).read_text() == (merged / name).read_text(), name


def test_results_call_the_model_by_the_name_that_was_given(place):
    given = str(place / "tuned")
    run = place / "find-tuned"
    assert json.loads((run / "circuit.json").read_text())["model"] == given
    assert f'model = "{given}"' in (run / "config.toml").read_text()
    for file in (run / "effects").glob("*.json"):
        assert json.loads(file.read_text())["convention"]["model"] == given
    assert str(place / "cache") not in "".join(file.read_text() for file in run.glob("*.json"))


def test_compare_loads_the_run_again(place, tmp_path, capsys):
    words = ["circuits", "compare", *(str(place / f"find-{model}") for model in ("base", "tuned"))]
    assert cutaway([*words, "--out", str(tmp_path / "compared")]) == 0
    found = json.loads((tmp_path / "compared" / "compare.json").read_text())
    assert [run["model"] for run in found["runs"]] == [str(place / "base"), str(place / "tuned")]
    for column in found["cross"]:
        assert column["kept"], column["notes"]
        assert not any("weights" in note for note in column["notes"])
    assert "merging" not in capsys.readouterr().err, "it is in the cache already"


def test_compare_without_the_run_says_so_and_goes_on(place, tmp_path):
    hidden = (place / "tuned").rename(place / "hidden")
    try:
        words = ["circuits", "compare", *(str(place / f"find-{model}") for model in ("base", "tuned"))]
        assert cutaway([*words, "--out", str(tmp_path / "compared")]) == 0
    finally:
        hidden.rename(place / "tuned")
    base, tuned = json.loads((tmp_path / "compared" / "compare.json").read_text())["cross"]
    assert base["kept"]
    assert not tuned["kept"]
    assert str(place / "tuned") in tuned["notes"][0]


def test_explore_serves_the_run(place, monkeypatch, capsys):
    served = []
    monkeypatch.setattr("cutaway.circuits.explore.server.serve", lambda setup, *rest, **more: served.append(setup))
    for more in ([], ["--model", str(place / "tuned")]):
        assert cutaway(["circuits", "explore", str(place / "find-tuned"), "--port", "0", *more]) == 0
        assert f"in {place / 'tuned'}: http" in capsys.readouterr().out
    assert [setup.bench.model.source for setup in served] == [str(place / "tuned")] * 2


def test_the_commands_about_models_take_a_run(place, capsys):
    run = str(place / "tuned")
    assert cutaway(["models", "show", run]) == 0
    said = capsys.readouterr().out
    assert "llama" in said
    assert str(place / "cache" / "merged") in said.replace("\n", "")
    assert cutaway(["models", "check", run]) == 0
    assert cutaway(["behaviors", "show", str(place / "rhymes.jsonl"), "--model", run]) == 0
    assert "says" in capsys.readouterr().out


def test_agreement_is_measured_on_a_run(place, tmp_path):
    words = [
        "circuits",
        "agree",
        str(place / "rhymes.jsonl"),
        "--model",
        str(place / "tuned"),
        "--method",
        "atp",
        "-n",
        "4",
    ]
    assert cutaway([*words, "--out", str(tmp_path / "agree")]) == 0
    assert (tmp_path / "agree" / "agreement.json").is_file()


@pytest.mark.parametrize(
    ("kind", "method", "said"),
    [
        ("text", "adapter", "tuned by adapter, which cannot be merged; those that can are"),
        ("labels", "lora", "answers with labels, not text, so there is no decoder in it"),
        ("scores", "lora", "answers with scores, not text, so there is no decoder in it"),
        ("several", "lora", "several is not a tuned model: give one of its runs, such as"),
    ],
)
def test_runs_that_cannot_be_opened_are_told_in_one_line(place, tmp_path, capsys, kind, method, said):
    option = {"adapter.width": 4} if method == "adapter" else {"lora.rank": 4}
    chosen = Config(model=str(place / "base"), method=method, length=16, options=option)
    run = tmp_path / kind
    run_of(chosen, run / "seed-0" if kind == "several" else run, "text" if kind == "several" else kind)
    out = tmp_path / "out"
    for words in (
        ["circuits", "find", str(place / "rhymes.jsonl"), "--model", str(run), "--out", str(out)],
        ["circuits", "explore", str(place / "find-base"), "--model", str(run), "--port", "0"],
        ["models", "show", str(run)],
    ):
        assert cutaway(words) == 1
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("cutaway: ")]
        assert said in line
    assert not out.exists()
