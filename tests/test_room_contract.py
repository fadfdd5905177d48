"""What every trainable room keeps: one configuration for Python, TOML and flags; fit, evaluate, predict; the same bits after
saving, after a kill, and for the same seed; a page of docs; published numbers with their source. Rooms register in `rooms.py`."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cutaway.cli import run as cutaway
from cutaway.core.configs import docs, leaves, read_config, table
from cutaway.core.errors import CutawayError
from cutaway.core.runs import toml
from rooms import SOURCES, Room, rooms, trainable

ROOT = Path(__file__).parents[1]
FILES = ("__init__", "config", "data", "model", "fit", "evaluate", "predict", "store", "run", "paper")
SAFE = {".toml", ".json", ".jsonl", ".safetensors", ".csv", ".html", ".svg", ".png", ".txt"}


@dataclass(frozen=True)
class Scene:
    """A room with its data, and a model that has learned them."""

    room: Room
    folder: Path
    place: Path
    """Of the data."""
    data: Any
    config: Any
    fitted: Any

    @property
    def words(self) -> list[str]:
        """Of a command that fits with this configuration."""
        return [self.room.name, "fit", str(self.folder / "config.toml"), "--data", str(self.place)]


@pytest.fixture(scope="module", params=rooms(), ids=lambda room: room.name)
def scene(request, tmp_path_factory):
    room, folder = request.param, tmp_path_factory.mktemp(request.param.name)
    place = room.write(folder)
    data, config = room.read(place), room.config(folder)
    (folder / "config.toml").write_text(toml(table(config)))
    fitted = room.module("fit").fit(config, data, folder / "checkpoints")
    return Scene(room, folder, place, data, config, fitted)


def bits(model) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_every_trainable_room_is_registered():
    assert [room.name for room in rooms()] == trainable()


def test_a_room_has_the_files_that_all_have(scene):
    for name in FILES:
        assert (SOURCES / scene.room.name / f"{name}.py").is_file(), name


# --- configuration ------------------------------------------------------------------------------------------------------


def test_the_configuration_is_frozen_and_every_field_is_documented(scene):
    config = scene.room.module("config").Config
    with pytest.raises(AttributeError):
        setattr(config(), fields(config)[0].name, None)
    nested = [f for f in fields(config) if is_dataclass(getattr(config(), f.name))]
    for f in set(fields(config)) - set(nested):
        assert docs(config).get(f.name), f.name


def test_toml_says_all_of_a_configuration(scene, tmp_path):
    kind = scene.room.module("config").Config
    for config in (kind(), scene.config):
        (tmp_path / "some.toml").write_text(toml(table(config)))
        assert read_config(kind, tmp_path / "some.toml") == config
    for path, _, default in leaves(kind):
        if not isinstance(default, bool | int | float):
            continue
        changed: Any = not default if isinstance(default, bool) else default + 1
        for name in reversed(path):
            changed = {name: changed}
        (tmp_path / "one.toml").write_text(toml(changed))
        assert read_config(kind, tmp_path / "one.toml") != kind(), path


def test_flags_change_what_the_file_says(scene, capsys):
    epochs = scene.config.training.epochs + 4
    assert cutaway([scene.room.name, "config", str(scene.folder / "config.toml"), "--epochs", str(epochs)]) == 0
    (scene.folder / "changed.toml").write_text(capsys.readouterr().out)
    changed = read_config(type(scene.config), scene.folder / "changed.toml")
    assert changed == replace(scene.config, training=replace(scene.config.training, epochs=epochs))
    default = type(scene.config)().training.epochs
    assert cutaway([scene.room.name, "config", str(scene.folder / "changed.toml"), "--epochs", str(default)]) == 0
    assert f"epochs = {default}\n" in capsys.readouterr().out, "a flag that names the default would be overheard"


def test_help_names_every_setting(scene, capsys):
    assert cutaway([scene.room.name, "fit", "--help"]) == 0
    said = capsys.readouterr().out
    for path, _, _ in leaves(type(scene.config)):
        assert f"--{path[-1].replace('_', '-')}" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "--data", "DATA", "--epoch", "3"], "--epochs"),
        (["fit", "--data", "DATA", "--epochs", "many"], "--epochs"),
        (["fit", "--data", "DATA", "--epochs", "0"], "at least 1"),
        (["fit", "--data", "nowhere"], "nowhere"),
        (["fit", "confg.toml", "--data", "DATA"], "did you mean config.toml"),
        (["fit", "wrong.toml", "--data", "DATA"], "did you mean training"),
        (["fit", "kind.toml", "--data", "DATA"], "training.epochs is 'many': it must be a whole number"),
        (["fit", "not.toml", "--data", "DATA"], "not.toml is not TOML"),
        (["fit", "--data", "DATA", "--seeds", "1", "1"], "--seeds are 1 1"),
        (["fit"], "--data"),
        (["ft"], "fit"),
        (["evaluate", "nowhere", "--data", "DATA"], "nowhere"),
        (["predict", "nowhere", "x"], "nowhere"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_every_mistake_is_one_line_and_leaves_nothing(scene, capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    files = {
        "config.toml": "",
        "wrong.toml": "[trainin]\n",
        "kind.toml": '[training]\nepochs = "many"\n',
        "not.toml": "= [",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    code = cutaway([scene.room.name, *(str(scene.place) if word == "DATA" else word for word in words)])
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cutaway: ")]
    assert code != 0
    assert len(error) == 1
    assert said in error[0]
    assert {path.name for path in tmp_path.iterdir()} <= {*files, "runs"}
    assert not list(tmp_path.glob("runs/*"))


# --- fit, evaluate, predict, save, load -------------------------------------------------------------------------------------


def test_scores_say_n_and_protocol_and_are_plain_data(scene):
    measured = scene.room.module("evaluate").evaluate(scene.fitted.model, scene.room.held_out(scene.data))
    told = measured.to_dict()
    json.dumps(told, allow_nan=False)
    assert told["n"] == len(scene.room.held_out(scene.data))
    assert len(told["protocol"]) > 10


def test_a_loaded_model_has_the_same_bits_and_says_the_same(scene, tmp_path):
    store, predict = scene.room.module("store"), scene.room.module("predict").predict
    store.save(scene.fitted.model, tmp_path / "model")
    again = store.load(tmp_path / "model")
    assert same(bits(again), bits(scene.fitted.model))
    assert predict(again, scene.room.inputs) == predict(scene.fitted.model, scene.room.inputs)
    assert {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()} <= SAFE
    weights = next((tmp_path / "model").rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(CutawayError):
        store.load(tmp_path / "model")


def test_the_same_seed_gives_the_same_bits_and_another_one_others(scene, tmp_path):
    fit = scene.room.module("fit").fit
    again = fit(scene.config, scene.data, tmp_path / "again")
    assert same(bits(again.model), bits(scene.fitted.model))
    assert again.trained == scene.fitted.trained
    other = replace(scene.config, training=replace(scene.config.training, seed=1))
    assert not same(bits(fit(other, scene.data, tmp_path / "other").model), bits(scene.fitted.model))


def test_killed_and_resumed_it_ends_with_the_same_bits(scene, tmp_path, capsys):
    """Through the command line; killed within an epoch, where a checkpoint is two steps old. The run folder appears at the end
    alone, and what lay beside it is gone."""
    killed = [sys.executable, str(ROOT / "tests" / "killed.py"), "5", *scene.words, "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(killed, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == -9, done.stderr
    assert not (tmp_path / "run").exists()
    assert (tmp_path / ".run.training").is_dir()
    assert cutaway([*scene.words, "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert same(bits(scene.room.module("store").load(tmp_path / "run")), bits(scene.fitted.model))
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in steps if "epoch" not in row] == list(scene.fitted.trained.losses)
    assert not (tmp_path / ".run.training").exists()
    before = (tmp_path / "run" / "scores.json").read_bytes()
    assert cutaway([*scene.words, "--out", str(tmp_path / "run"), "--resume"]) == 0, (
        "a finished run has nothing left to do"
    )
    assert (tmp_path / "run" / "scores.json").read_bytes() == before
    capsys.readouterr()
    assert cutaway([*scene.words, "--out", str(tmp_path / "run")]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_run_folder_says_how_it_was_made_and_several_seeds_are_summed_up(scene, tmp_path, capsys):
    out = tmp_path / "runs"
    assert cutaway([*scene.words, "--out", str(out), "--seeds", "0", "1", "--epochs", "1"]) == 0
    assert {path.name for path in out.iterdir()} == {"seed-0", "seed-1", "summary.json"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [0, 1]
    numbers = [x for x in summary.values() if isinstance(x, dict)]
    assert numbers
    for x in numbers:
        assert x["mean"] == pytest.approx(sum(x["values"]) / 2)
    for seed in (0, 1):
        run = out / f"seed-{seed}"
        assert {"config.toml", "manifest.json", "metrics.jsonl", "scores.json", "model"} <= {
            x.name for x in run.iterdir()
        }
        manifest = json.loads((run / "manifest.json").read_text())
        assert manifest["seed"] == seed
        assert {"versions", "hardware", "command", "data_sha256"} <= manifest.keys()
        assert read_config(type(scene.config), run / "config.toml").training.seed == seed
    capsys.readouterr()
    assert cutaway([scene.room.name, "evaluate", str(out), "--data", str(scene.place)]) == 0
    assert "2 seeds" in capsys.readouterr().out
    assert cutaway([scene.room.name, "predict", str(out / "seed-0"), *scene.room.inputs]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_two_ranks_make_one_run_for_each_seed(scene, tmp_path):
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "cutaway"]
    words = [*ranks, *scene.words, "--out", str(tmp_path / "runs"), "--seeds", "0", "1", "--epochs", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Written to") == 1
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"seed-0", "seed-1", "summary.json"}


# --- docs ---------------------------------------------------------------------------------------------------------------


def test_the_docs_have_a_page_that_names_every_command_and_setting(scene):
    page = (ROOT / "docs" / f"{scene.room.name}.md").read_text()
    for verb in ("fit", "evaluate", "predict"):
        assert f"cutaway {scene.room.name} {verb}" in page
    for f in fields(scene.config):
        assert f"`{f.name}`" in page, f.name


def test_published_numbers_have_a_source(scene):
    paper = scene.room.module("paper")
    assert re.search(r"(19|20)\d\d", paper.CITATION)
    assert paper.ROWS
    assert all(len(row.source) > 10 for row in paper.ROWS)
