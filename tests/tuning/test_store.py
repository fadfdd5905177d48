"""Tuned models on disk: what is damaged, missing, or of another base model is told in one line."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cutaway.core.errors import CutawayError
from cutaway.tuning.config import Config
from cutaway.tuning.model import new_model
from cutaway.tuning.store import load, save
from tuning import made_up, pretrained

BASES = {"labels": pretrained.encoder, "scores": pretrained.decoder, "text": pretrained.gpt2}


def saved(folder: Path, kind: str = "labels") -> Path:
    """A run folder."""
    base = BASES[kind](folder / "base")
    torch.manual_seed(0)
    chosen = Config(model=str(base), method="lora", length=16, options={"lora.rank": 4})
    save(new_model(chosen, made_up.corpus(kind, 24, 4, 4)).eval(), folder / "run" / "model")
    return folder / "run"


def edit(run: Path, change) -> None:
    file = run / "model" / "model.json"
    about = json.loads(file.read_text())
    change(about)
    file.write_text(json.dumps(about))


def refused(run: Path, said: str) -> None:
    with pytest.raises(CutawayError, match=said) as error:
        load(run)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("kind", BASES)
def test_a_model_comes_back_as_it_was(tmp_path, kind):
    run = saved(tmp_path, kind)
    examples = made_up.corpus(kind, 4, 4, 8).test if kind != "labels" else made_up.corpus(kind, 24, 4, 8).test
    first, again = load(run), load(run / "model")
    assert first.task == again.task
    assert first.config == again.config
    assert first.read(examples) == again.read(examples)
    assert not again.training


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about.update(format=99), "has the format 99, this version of cutaway reads 1"),
        (lambda about: about.pop("format"), r"model.json is damaged \('format'\)"),
        (lambda about: about.pop("task"), "there is no 'task'"),
        (lambda about: about["task"].pop("labels"), "there is no 'labels'"),
        (lambda about: about["config"].update(lenght=3), "did you mean length"),
        (lambda about: about["config"].update(length="long"), "length"),
        (lambda about: about["task"].update(labels=["0", "1", "2"]), "cannot be opened"),
        (lambda about: about["config"].update(model="no-such-model"), "no model or folder named 'no-such-model'"),
    ],
)
def test_a_record_that_is_not_whole(tmp_path, change, said):
    run = saved(tmp_path)
    edit(run, change)
    refused(run, said)


def test_files_that_are_missing_or_cut_short(tmp_path):
    run = saved(tmp_path)
    place = run / "model"
    for name, said in (
        ("head.safetensors", "cannot be opened"),
        ("adapter/adapter_model.safetensors", "has no adapter_model.safetensors|is damaged"),
        ("adapter/adapter_config.json", "has no adapter_config.json|is damaged"),
        ("model.json", "is not a tuned model|is damaged"),
    ):
        whole = (place / name).read_bytes()
        (place / name).write_bytes(whole[: len(whole) // 2])
        refused(run, said)
        (place / name).unlink()
        refused(run, said)
        (place / name).write_bytes(whole)
    assert load(run)


def test_a_tensor_too_few_or_too_many(tmp_path):
    run = saved(tmp_path)
    file = run / "model" / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    first = sorted(tensors)[0]
    save_file({name: x for name, x in tensors.items() if name != first}, file, metadata={"format": "pt"})
    refused(run, "adapter_model.safetensors")
    save_file(tensors | {"more": torch.zeros(2)}, file, metadata={"format": "pt"})
    refused(run, "more")


def test_another_base_model(tmp_path):
    run = saved(tmp_path)
    file = tmp_path / "base" / "model.safetensors"
    weights = load_file(file)
    name = sorted(weights)[0]
    weights[name] = weights[name] + 1e-3
    save_file(weights, file, metadata={"format": "pt"})
    refused(run, r"tuned on another base model than this \(values of weights differ\)")


def test_a_folder_that_is_none_and_one_of_several_seeds(tmp_path):
    refused(tmp_path / "gone", "is not a tuned model: give a run folder of `cutaway tuning fit`")
    run = saved(tmp_path)
    (tmp_path / "several").mkdir()
    run.rename(tmp_path / "several" / "seed-3")
    refused(tmp_path / "several", r"give one of its runs, such as .*seed-3")
