"""Merged models: the same logits as before, wherever they are opened; the folder in the cache; what cannot be merged."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cutaway.cli.opened import opened
from cutaway.core.errors import CutawayError
from cutaway.core.training import Training
from cutaway.decoder import Decoder, load
from cutaway.tuning import merge
from cutaway.tuning.config import Config
from cutaway.tuning.data import Example
from cutaway.tuning.merge import merged_folder
from cutaway.tuning.model import TunedModel, new_model
from cutaway.tuning.store import load as load_tuned
from cutaway.tuning.store import save
from tuning import made_up, pretrained

OPTIONS = {
    "adapter": {"width": 4},
    "lora": {"rank": 4},
    "dora": {"rank": 4},
    "lokr": {"rank": 2},
    "oft": {"block": 4},
    "krona": {"a_out": 4, "a_in": 4},
}
METHODS = (*(name for name in OPTIONS if name != "adapter"), "ia3", "ln_tuning", "bitfit", "full")
FAMILIES = {"llama": pretrained.decoder, "gpt2": pretrained.gpt2}
CASES = [(family, method) for family in FAMILIES for method in METHODS if (family, method) != ("llama", "bitfit")]
"""A Llama has no biases."""
TEXTS = ("the old cat says:", "a dog says:")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp("base") / name) for name, make in FAMILIES.items()}


def config(base: Path, method: str, **more) -> Config:
    options = {f"{method}.{name}": x for name, x in OPTIONS.get(method, {}).items()}
    return Config(model=str(base), method=method, length=16, options=options, **more)


def run_of(chosen: Config, folder: Path, kind: str = "text") -> Path:
    """A run as `cutaway tuning fit` leaves it, whose parameters are moved at random instead of being trained."""
    torch.manual_seed(0)
    model = new_model(chosen, made_up.corpus(kind))
    with torch.no_grad():
        for parameter in model.tuned.trained().values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save(model.eval(), folder / "model")
    return folder


@torch.no_grad()
def unmerged(model: TunedModel, tokens: torch.Tensor) -> torch.Tensor:
    """By the model of transformers, with the method beside its weights."""
    return model.backbone(input_ids=tokens, use_cache=False).logits


def tokens_of(model: TunedModel) -> torch.Tensor:
    return model.reader.collate([Example(text, answer=" hat fog") for text in TEXTS])["input_ids"][:, :6]


@pytest.mark.parametrize(("family", "method"), CASES)
def test_a_run_its_merged_folder_and_the_unmerged_model_have_the_same_logits(bases, tmp_path, family, method):
    run = run_of(config(bases[family], method), tmp_path / "run")
    model = load_tuned(run)
    tokens = tokens_of(model)
    with model.tuned.off():
        before = unmerged(model, tokens)
    wanted = unmerged(model, tokens)
    assert (wanted - before).abs().max() > 2e-3, "what was learned does not show"
    from_run, from_folder = load(opened(str(run))), load(merged_folder(run, tmp_path / "merged"))
    assert isinstance(from_run, Decoder)
    torch.testing.assert_close(from_run(tokens), wanted, rtol=0, atol=1e-4)
    assert torch.equal(from_run(tokens), from_folder(tokens))


def test_a_merged_model_that_is_a_little_off_would_be_noticed(bases, tmp_path):
    run = run_of(config(bases["llama"], "lora"), tmp_path / "run")
    model, out = load_tuned(run), merged_folder(run, tmp_path / "merged")
    weights = load_file(out / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    base = load_file(bases["llama"] / "model.safetensors")[name]
    weights[name] = base + 0.9 * (weights[name] - base)  # as if alpha were another
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    tokens = tokens_of(model)
    assert (load(out)(tokens) - unmerged(model, tokens)).abs().max() > 1e-4


def test_what_stands_beside_the_weights_is_taken_over(bases, tmp_path):
    out = merged_folder(run_of(config(bases["llama"], "lora"), tmp_path / "run"), tmp_path / "merged")
    assert (out / "tokenizer.json").read_bytes() == (bases["llama"] / "tokenizer.json").read_bytes()
    assert load(out).tokenizer.encode("the cat") == load(bases["llama"]).tokenizer.encode("the cat")
    assert sorted(x.name for x in tmp_path.iterdir()) == ["merged", "run"]
    with pytest.raises(CutawayError, match="exists already"):
        merged_folder(tmp_path / "run", out)


def test_nothing_half_written_is_left(bases, tmp_path, monkeypatch):
    run = run_of(config(bases["llama"], "lora"), tmp_path / "run")
    monkeypatch.setattr(merge, "BESIDE", None)  # fails once the weights are written
    for make in (lambda: merged_folder(run, tmp_path / "merged"), lambda: merge.opened(run)):
        with pytest.raises(TypeError):
            make()
    assert not (tmp_path / "merged").exists()
    assert not list((tmp_path / "cache" / "merged").iterdir())


# --- the cache --------------------------------------------------------------------------------------------------------


def test_a_run_is_merged_once_and_anew_if_it_was_made_anew(bases, tmp_path, capsys, monkeypatch):
    run = run_of(config(bases["llama"], "lora"), tmp_path / "run")
    first = merge.opened(run)
    assert "merging" in capsys.readouterr().err
    assert first.is_relative_to(tmp_path / "cache")
    monkeypatch.setattr(merge, "_write", None)
    assert merge.opened(run) == first == merge.opened(run / "model")
    assert not capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path / "cache"))
    file = run / "model" / "adapter" / "adapter_model.safetensors"
    save_file({name: 2 * x for name, x in load_file(file).items()}, file, metadata={"format": "pt"})
    second = merge.opened(run)
    assert second != first
    model = load_tuned(run)
    torch.testing.assert_close(load(second)(tokens_of(model)), unmerged(model, tokens_of(model)), rtol=0, atol=1e-4)


def test_a_damaged_copy_in_the_cache_is_made_again(bases, tmp_path):
    run = run_of(config(bases["llama"], "lora"), tmp_path / "run")
    weights = merge.opened(run) / "model.safetensors"
    right = weights.read_bytes()
    weights.write_bytes(right[:100])
    assert (merge.opened(run) / "model.safetensors").read_bytes() == right


def test_offline_a_copy_in_the_cache_is_enough_and_else_the_base_has_to_be_here(bases, tmp_path):
    run = run_of(config(bases["llama"], "lora"), tmp_path / "run")
    kept = merge.opened(run, offline=True)
    moved = bases["llama"].rename(bases["llama"].with_name("moved"))
    try:
        assert merge.opened(run, offline=True) == kept
        (kept / "merged.source.json").unlink()
        with pytest.raises(CutawayError, match="no model or folder named"):
            merge.opened(run, offline=True)
    finally:
        moved.rename(bases["llama"])


def test_a_cache_that_cannot_be_written_is_told(bases, tmp_path, monkeypatch):
    run = run_of(config(bases["llama"], "lora"), tmp_path / "run")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path / "file"))
    with pytest.raises(CutawayError, match=r"cannot keep the merged model in .*CUTAWAY_CACHE"):
        merge.opened(run)


# --- what cannot be merged --------------------------------------------------------------------------------------------


def test_methods_and_weights_that_cannot_be_merged(bases, tmp_path):
    adapter = run_of(config(bases["llama"], "adapter"), tmp_path / "adapter")
    for make in (opened, lambda run: merged_folder(run, tmp_path / "merged")):
        with pytest.raises(CutawayError, match=r"tuned by adapter, which cannot be merged; those that can are .*lora"):
            make(str(adapter))
    rounded = run_of(config(bases["llama"], "lora"), tmp_path / "rounded")
    file = rounded / "model" / "model.json"
    file.write_text(file.read_text().replace('"float32"', '"int4"'))
    with pytest.raises(CutawayError, match="weights in int4, which would be rounded again"):
        opened(str(rounded))
    assert not (tmp_path / "merged").exists()


def test_bfloat16_merges(bases, tmp_path):
    run = run_of(replace(config(bases["llama"], "lora"), weights="bfloat16"), tmp_path / "run")
    model = load_tuned(run)
    tokens = tokens_of(model)
    torch.testing.assert_close(load(opened(str(run)))(tokens), unmerged(model, tokens).float(), rtol=0.05, atol=0.05)


def test_labels_and_scores_are_no_decoder_but_their_backbone_merges(bases, tmp_path):
    for kind in ("labels", "scores"):
        run = run_of(config(bases["llama"], "lora"), tmp_path / kind, kind)
        with pytest.raises(CutawayError, match=f"answers with {kind}, not text"):
            opened(str(run))
        assert (merged_folder(run, tmp_path / f"merged-{kind}") / "model.safetensors").is_file()


def test_runs_of_several_seeds_a_base_that_is_gone_and_damaged_records(bases, tmp_path):
    run = run_of(config(bases["llama"], "lora"), tmp_path / "several" / "seed-0")
    with pytest.raises(CutawayError, match=r"several is not a tuned model: give one of its runs, such as .*seed-0"):
        opened(str(tmp_path / "several"))
    file = run / "model" / "model.json"
    whole = file.read_text()
    file.write_text(whole.replace(str(bases["llama"]), str(tmp_path / "gone")))
    with pytest.raises(CutawayError, match="gone"):
        opened(str(run))
    file.write_text(whole.replace('"task"', '"tusk"'))
    with pytest.raises(CutawayError, match=r"model.json is damaged \(there is no 'task'\)"):
        opened(str(run))


def test_other_names_stay_as_they_are(bases, tmp_path):
    for name in ("smollm2-135m", "planted:ioi@7", str(bases["llama"]), "no such folder", str(tmp_path)):
        assert opened(name) == name


def test_a_merged_encoder_is_one_for_tagging(tmp_path):
    from cutaway.tagging.config import Config as Tagging
    from cutaway.tagging.fit import fit
    from tagging import made_up as sentences

    base = pretrained.encoder(tmp_path / "base")
    out = merged_folder(run_of(config(base, "lora"), tmp_path / "run", "labels"), tmp_path / "merged")
    training = Training(epochs=1, batch=16)
    chosen = Tagging(training=training, options={"encoder.name": str(out)})
    tagger = fit(chosen, sentences.corpus(16, 4, 4), tmp_path / "checkpoints").model
    assert tagger is not None
