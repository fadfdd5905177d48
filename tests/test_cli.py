"""The command line: quick help, one clear line for every mistake, nothing half-written."""

import signal
import subprocess
import sys
import time

import pytest

from cutaway.cli import run

SMALL = ["--n-sweep", "3", "--n-search", "4", "--n-verify", "4", "--n-random", "2"]


def complaint(capsys, *words: str) -> tuple[int, str]:
    """Exit code and the one line on stderr."""
    code = run([*words])
    error = capsys.readouterr().err.strip()
    lines = [line for line in error.splitlines() if line.startswith("cutaway: ")]
    assert len(lines) == 1, error
    assert "Traceback" not in error
    return code, lines[0]


def test_find_ends_with_a_table_and_a_run_folder(capsys, tmp_path):
    assert run(["circuits", "find", "acronyms", "-m", "planted:acronyms", "-o", str(tmp_path / "run"), *SMALL]) == 0
    printed = capsys.readouterr().out
    for said in ("letter mover", "previous-token", "positional", "the circuit alone, 5 heads", "random circuits"):
        assert said in printed
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"circuit.json", "manifest.json", "config.toml", "report.html", "verification.json", "figures"} <= names
    assert list((tmp_path / "run" / "figures").glob("*.svg"))
    assert run(["circuits", "show", str(tmp_path / "run")]) == 0
    assert "letter mover" in capsys.readouterr().out


def test_a_one_token_behaviour_goes_the_same_way(capsys, tmp_path):
    assert run(["circuits", "find", "induction", "-m", "planted:induction", "-o", str(tmp_path / "run"), *SMALL]) == 0
    assert "induction" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["circuits", "find", "acronyms", "-m", "smolm2-135m"], "did you mean smollm2-135m"),
        (["circuits", "find", "acronyms", "-m", "planted:acronym"], "did you mean planted:acronyms"),
        (["circuits", "find", "acronym", "-m", "planted:acronyms"], "did you mean acronyms"),
        (["circuits", "find", "acronyms", "-m", "planted:acronyms", "--n-verify", "0"], "at least 1"),
        (["circuits", "find", "acronyms", "-m", "planted:acronyms", "--option", "word=4"], "did you mean words"),
        (["circuits", "find", "acronyms", "-m", "planted:acronyms", "--option", "words=many"], "words=many"),
        (["circuits", "find", "acronyms", "-m", "planted:acronyms", "--option", "words=9"], "2 to 5"),
        (["circuits", "find", "acronyms", "-m", "planted:acronyms", "--method", "prun"], "did you mean prune"),
        (["circuits", "find", "acronyms", "-m", "planted:acronyms", "--dtype", "float8"], "float32"),
        (["circuits", "find", "none.jsonl", "-m", "planted:acronyms"], "none.jsonl"),
        (["circuits", "find", "acronyms", "--flor", "1"], "--floor"),
        (["circuits", "find", "acronyms", "--floor", "high"], "--floor"),
        (["circuits", "find"], "behavior"),
        (["circuits", "fnd"], "find"),
        (["circuits", "show", "nowhere"], "not a run"),
        (["models", "check", "nowhere"], "nowhere"),
        (["models", "show", "planted:nothing"], "planted:acronyms"),
        (["behaviors", "show", "acronyms", "-m", "planted:acronyms", "-n", "0"], "at least 1"),
    ],
)
def test_every_mistake_is_one_line(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, line = complaint(capsys, *words)
    assert code != 0
    assert said.lower() in line.lower()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_without_weights(capsys, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    code, line = complaint(capsys, "models", "check", str(tmp_path))
    assert code == 1
    assert str(tmp_path) in line


def test_an_output_folder_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    words = ["circuits", "find", "acronyms", "-m", "planted:acronyms", "-o", str(tmp_path / "file" / "run"), *SMALL]
    code, line = complaint(capsys, *words)
    assert code == 1
    assert "--out" in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_folder_is_never_overwritten(capsys, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("mine")
    words = ["circuits", "find", "acronyms", "-m", "planted:acronyms", "-o", str(tmp_path / "run"), *SMALL]
    assert "exists already" in complaint(capsys, *words)[1]


def test_the_default_folder_gets_a_number_when_taken(tmp_path, monkeypatch):
    from cutaway.cli.terminal import free

    monkeypatch.chdir(tmp_path)
    assert free(tmp_path / "a").name == "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").mkdir()
    assert free(tmp_path / "a").name == "a-3"


def test_ctrl_c_in_the_middle_leaves_only_the_journal_of_what_was_measured(tmp_path):
    words = ["circuits", "find", "acronyms", "-m", "planted:acronyms", "-o", "run", "--n-verify", "4000"]
    job = subprocess.Popen([sys.executable, "-m", "cutaway", *words], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:  # until it has begun to write
        time.sleep(0.05)
    time.sleep(0.5)
    job.send_signal(signal.SIGINT)
    _, error = job.communicate(timeout=60)
    assert job.returncode == 130
    assert error.strip().splitlines()[-1].startswith("cutaway: stopped")
    left = [path.name for path in tmp_path.iterdir()]
    assert left in ([], [".run.journal"])
    assert (left == [".run.journal"]) == ("the same command goes on from there" in error)


def test_a_search_that_fails_is_taken_up_again_with_another_floor(capsys, tmp_path):
    words = ["circuits", "find", "acronyms", "-m", "planted:acronyms", "-o", str(tmp_path / "run"), *SMALL]
    assert run([*words, "--floor", "1.5"]) == 1
    assert "lower the floor" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".run.journal"]
    assert run(words) == 0
    assert "measurements of an earlier start" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = "import sys, cutaway.cli; heavy = {'torch', 'numpy', 'transformers', 'matplotlib'} & set(sys.modules); print(heavy)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_importing_changes_nothing():
    code = (
        "import torch, logging, warnings, os\n"
        "def state(): return torch.get_num_threads(), torch.get_default_dtype(), len(logging.root.handlers), "
        "len(warnings.filters), dict(os.environ)\n"
        "before = state()\n"
        "import cutaway; cutaway.load, cutaway.Site, cutaway.Patch\n"
        "assert state() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_lists_and_shows(capsys):
    for words in (["models", "list"], ["behaviors", "list"], ["circuits", "methods"], ["--version"]):
        assert run(words) == 0
    assert run(["models", "show", "planted:acronyms"]) == 0
    assert "site resid_pre" in capsys.readouterr().out
    assert run(["behaviors", "show", "acronyms", "-m", "planted:acronyms", "-n", "1"]) == 0
    assert "⟨C1⟩" in capsys.readouterr().out
    assert run(["models", "check", "planted:acronyms"]) == 0
