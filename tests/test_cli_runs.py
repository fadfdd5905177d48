"""`cutaway runs`: lists, pages and comparisons, on narrow and wide terminals, whatever people call their folders."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import cutaway
from cutaway.circuits.behaviors.choose import choose
from cutaway.circuits.config import Find
from cutaway.circuits.find import find
from cutaway.circuits.write import write
from cutaway.cli import run
from cutaway.cli.runs import defaults_of
from cutaway.cli.runs_tables import as_json, number, plain, short, size, spark
from cutaway.core.configs import table
from cutaway.core.numbers import flat
from cutaway.core.runs import new_run
from cutaway.tagging.config import Config


def make(
    folder: Path, *, seed: int = 0, mean: float = 0.5, lr: float = 2e-4, sha: str = "ab", scores: dict | None = None
) -> Path:
    config = table(Config())
    config["training"] |= {"lr": lr, "seed": seed}
    command = f"cutaway tagging fit --data x --out {folder.name}"
    with new_run(folder, config=config, command=command, seed=seed, data="wnut17", data_sha256=sha) as made:
        f1 = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 20}
        made.json(
            "scores.json", scores or {"test": {"n": 20, "spans": {"f1": f1}, "by_type": {"x": {"all": {"f1": f1}}}}}
        )
        rows = [{"step": i, "loss": 100 / 2**i} for i in range(12)]
        made.text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder


def said(capsys, *words: object) -> str:
    assert run([str(word) for word in words]) == 0
    return capsys.readouterr().out


def complaint(capsys, *words: object) -> str:
    """The one line on stderr."""
    assert run([str(word) for word in words]) == 1
    printed = capsys.readouterr()
    (line,) = printed.err.strip().splitlines()
    assert line.startswith("cutaway: ")
    return line


@pytest.fixture
def wide(monkeypatch):
    """A terminal of a width of one's choice."""

    def set_to(columns: int) -> None:
        monkeypatch.setattr(sys.modules["cutaway.cli.runs"], "new_console", lambda: Console(width=columns))

    return set_to


def test_a_list_is_a_row_for_each_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path("runs/first"))
    make(Path("runs/second"), lr=0.5)
    lines = said(capsys, "runs", "list").splitlines()
    assert lines[0].split() == ["run", "what", "on", "seed", "when", "took", "scores"]
    assert sorted(line.split()[0] for line in lines if "tagging fit" in line) == ["runs/first", "runs/second"]
    assert all(
        "wnut17" in line and "test.spans.f1  0.500 [0.400, 0.600]" in line for line in lines if "tagging fit" in line
    )


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_no_line_is_longer_than_the_terminal_but_for_the_folder(capsys, tmp_path, wide, columns):
    wide(columns)
    folders = [make(tmp_path / name, lr=lr) for name, lr in (("a" * 60, 0.1), ("b", 0.2), ("c", 0.3))]
    listed = said(capsys, "runs", "list", tmp_path)
    shown, compared = said(capsys, "runs", "show", folders[0]), said(capsys, "runs", "compare", *folders)
    for line in (listed + shown + compared).splitlines():
        assert len(line.rstrip()) <= columns or line.rstrip() in map(str, folders)
    assert "0.500 [0.400, 0.600]" in listed
    assert ("when" in listed) == (columns > 80)


def test_seeds_are_one_row_until_asked(capsys, tmp_path):
    for seed in (0, 1, 2):
        make(tmp_path / "three" / f"seed-{seed}", seed=seed, mean=0.5 + seed / 10)
    folded = said(capsys, "runs", "list", tmp_path)
    assert "3 seeds" in folded
    assert "0.6000 ± 0.1000" in folded
    assert "--seeds lists each" in folded
    every = said(capsys, "runs", "list", tmp_path, "--seeds")
    assert every.count("tagging fit") == 3
    shown = said(capsys, "runs", "show", tmp_path / "three")
    assert "seed 0  seed 1  seed 2" in shown
    assert "0.6000 ± 0.1000  0.500   0.600   0.700" in shown


def test_broken_runs_are_a_line_each(capsys, tmp_path):
    make(tmp_path / "good")
    (make(tmp_path / "bad") / "manifest.json").write_text("{")
    (make(tmp_path / "worse") / "manifest.json").unlink()
    (make(tmp_path / "partly") / "scores.json").write_bytes(b"\xff")
    printed = said(capsys, "runs", "list", tmp_path)
    lines = printed.splitlines()
    assert sum(str(tmp_path / "good") in line for line in lines) == 1
    for name, why in {"bad": "is not JSON", "worse": "half a run", "partly": "scores.json is not UTF-8"}.items():
        assert sum(line.startswith(f"{tmp_path / name}: ") and why in line for line in lines) == 1
    told = json.loads(said(capsys, "runs", "list", tmp_path, "--json"))
    assert len(told["runs"]) == 2
    assert sorted(Path(each["run"]).name for each in told["broken"]) == ["bad", "worse"]


HOSTILE = [
    "[red]x",
    "[bold]",
    "é 漢字 🙂",
    "a\nb",
    "esc\x1b[2Jape",
    "‮rtl",
    "--json",
    ":smile:",
    os.fsdecode(b"\xff\xfe"),
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_shown_and_never_obeyed(capsys, tmp_path, name):
    folder = make(tmp_path / "run").rename(tmp_path / name)
    (folder / "scores.json").write_text(
        json.dumps({name.encode("utf-8", "replace").decode(): {"mean": 1, "low": 0, "high": 2}})
    )
    (folder / name).write_text("")
    for words in (["list", tmp_path], ["show", folder], ["compare", folder, folder]):
        printed = said(capsys, "runs", *words)
        assert plain(name).split()[0] in printed.replace("\n", "")
        assert not set(printed) & set("\x1b‮")
        told = json.loads(said(capsys, "runs", *words, "--json"))
        assert json.dumps(name)[1:-1] in json.dumps(told)


def test_a_page_marks_what_is_not_as_by_default(capsys, tmp_path):
    printed = said(capsys, "runs", "show", make(tmp_path / "run", lr=0.5))
    (changed,) = [line for line in printed.splitlines() if line.split()[:1] == ["training.lr"]]
    assert changed.split() == ["training.lr", "0.5", "default", "0.0002"]
    assert "decoder softmax" in printed[printed.index("as by default: ") :]
    assert "torch 2." in printed
    assert "█" in printed
    assert "log" in printed
    assert "and 2 more: --all" in printed
    assert "by_type" not in printed
    assert "test.by_type.x.all.f1" in said(capsys, "runs", "show", tmp_path / "run", "--all")
    assert "metrics.jsonl" in printed


def test_settings_are_known_by_their_names_to_be_a_rooms():
    found = defaults_of({"behavior": "acronyms", "find.floor": 0.9, "find.method": "prune"})
    assert found is not None
    assert found["find.floor"] == 0.9
    with_lists = defaults_of({"inputs": ["encoder"], "training.lr": 0.1})
    assert with_lists is not None
    assert with_lists["inputs"] == ["encoder"]
    assert defaults_of({"x": 1, "y": 2, "seed": 3}) is None
    assert defaults_of({}) is None


def test_a_page_of_a_run_of_no_room_marks_nothing(capsys, tmp_path):
    with new_run(tmp_path / "run", config={"x": 1, "y": {"z": True}}, command="mine.py"):
        pass
    printed = said(capsys, "runs", "show", tmp_path / "run")
    assert "default" not in printed
    assert "y.z  true" in printed
    assert "scores" not in printed


def test_a_comparison_says_what_differs_and_how_far(capsys, tmp_path):
    a, b = make(tmp_path / "a"), make(tmp_path / "b", lr=0.5, mean=0.6)
    printed = said(capsys, "runs", "compare", a, b)
    assert "training.lr  0.0002  0.5" in printed
    assert "0.500 [0.400, 0.600]  0.600 [0.500, 0.700]  +0.1000" in printed
    assert "unpaired" in printed
    assert "not comparable" not in printed
    printed = said(capsys, "runs", "compare", a, make(tmp_path / "c", sha="cd"))
    assert "scores are not comparable" in printed


def test_comparisons_as_json_have_a_place_for_each_run(capsys, tmp_path):
    for group in "ab":
        for seed in (0, 1):
            make(tmp_path / group / str(seed), seed=seed, mean=0.5 + seed / 10 + (group == "b") / 5)
    told = json.loads(said(capsys, "runs", "compare", tmp_path / "a", tmp_path / "b", "--json"))
    assert [each["seeds"] for each in told["runs"]] == [[0, 1], [0, 1]]
    first, apart = told["differences"]["test.spans.f1"]
    assert first is None
    assert apart["mean"] == pytest.approx(0.2)
    assert apart["low"] < 0 < apart["high"]
    assert told["scores"]["test.spans.f1"][1]["values"] == pytest.approx([0.7, 0.8])


def test_a_page_as_json_has_everything(capsys, tmp_path):
    told = json.loads(said(capsys, "runs", "show", make(tmp_path / "run"), "--json"))
    assert told["scores"]["test.by_type.x.all.f1"]["n"] == 20
    assert told["manifest"]["data_sha256"] == "ab"
    assert told["config"]["decoder"] == "softmax"
    assert len(told["curves"]["loss"]) == 12
    assert "scores.json" in [each["name"] for each in told["files"]]


def test_every_mistake_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "there is no folder runs" in complaint(capsys, "runs", "list")
    Path("runs").mkdir()
    assert "no runs in runs: name the folder" in complaint(capsys, "runs", "list")
    assert "there is no folder nowhere" in complaint(capsys, "runs", "show", "nowhere")
    assert "runs is not a run" in complaint(capsys, "runs", "show", "runs")
    make(Path("runs/a"))
    make(Path("runs/b"), lr=0.5)
    assert "it holds 2: name one" in complaint(capsys, "runs", "show", "runs")
    assert "at least two" in complaint(capsys, "runs", "compare", "runs/a")
    assert "at most 8" in complaint(capsys, "runs", "compare", *["runs/a"] * 9)
    Path("runs/a/manifest.json").write_text("")
    assert "manifest.json is not JSON" in complaint(capsys, "runs", "compare", "runs/a", "runs/b")


def test_bars_rise_and_fall_with_what_they_show():
    assert spark([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 8) == ("▁▂▃▄▅▆▇█", False)
    assert spark([1.0, 1.0, 8.0, 8.0, 1.0, 1.0], 3) == ("▁█▁", False)
    assert spark([1.0, 10.0, 100.0, 1000.0], 4) == ("▁▃▆█", True)
    assert spark([-1.0, 0.0, 1000.0], 3)[1] is False
    assert spark([5.0, 5.0], 8) == ("▄▄", False)
    assert spark([float("nan")], 8) == ("", False)
    assert spark([1.0, float("nan"), 2.0], 8)[0] == "▁█"


def test_words_for_numbers():
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 * 2**20: "5.0 MiB", 3 * 2**40: "3072.0 GiB"}
    assert {n: size(n) for n in sizes} == sizes
    assert [number(x) for x in (0.5, 1e-5, 123456.0, 7, None, 0.0)] == ["0.500", "1e-05", "1.23e+05", "7", "", "0"]
    assert [short(x) for x in (None, True, [], ["a", 1], {"a": 1, "b": None}, 1e-4, "a" * 64)] == [
        *("—", "true", "none", "a 1", "a 1", "0.0001", "aaaaaaaaaaaa…"),
    ]
    assert json.loads(as_json({"x": [float("nan"), True, None, Path("a")]})) == {"x": [None, True, None, "a"]}
    assert flat({"a": {}}) == {}


def test_help_and_lists_do_not_wait_for_torch(tmp_path):
    make(tmp_path / "a")
    commands = [
        ["--help"],
        ["list", str(tmp_path)],
        ["show", str(tmp_path / "a")],
        ["compare", *[str(tmp_path / "a")] * 2],
    ]
    code = "import sys; from cutaway.cli import run\n"
    code += "".join(f"assert run({['runs', *words]!r}) == 0\n" for words in commands)
    done = subprocess.run(
        [sys.executable, "-c", code + "assert 'torch' not in sys.modules"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_circuits_are_runs_like_any_other(capsys, tmp_path):
    model, few = cutaway.load("planted:induction"), Find(n_sweep=2, n_search=3, n_verify=4, n_random=2, n_paths=0)
    settings = {"behavior": "induction", "model": "planted:induction", "find": vars(few)}
    with new_run(tmp_path / "a", config=settings, command="cutaway circuits find induction") as made:
        write(find(model, choose("induction", model, n=few.n_prompts, seed=0), few), made, model.tokenizer)
    listed = said(capsys, "runs", "list", tmp_path)
    assert "circuits find" in listed
    assert "planted:induction" in listed
    assert "verification.faithfulness." in listed
    shown = said(capsys, "runs", "show", tmp_path / "a")
    (changed,) = [line for line in shown.splitlines() if line.split()[:1] == ["find.n_search"]]
    assert changed.split() == ["find.n_search", "3", "default", "24"]
