"""From a folder to a model: every tensor used, none left over, and one clear line for everything that can be wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import cutaway
from cutaway import CutawayError
from cutaway.decoder.families import gpt2, llama
from cutaway.decoder.load import describe, gather, read_config, source_of, tensor_files
from cutaway.decoder.placement import spread

from .decoders import llama_folder

TOKENS = torch.arange(12).view(2, 6)


@pytest.fixture
def folder(tmp_path) -> Path:
    llama_folder(tmp_path)
    return tmp_path


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Rewrites the tensors of a checkpoint."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def say(folder: Path, **said) -> None:
    """Rewrites keys of config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | said))


# --- what loads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True])
def test_a_checkpoint_loads_as_it_was_saved(tmp_path, tied):
    saved = llama_folder(tmp_path, tied=tied)
    model = cutaway.load(tmp_path)
    assert model.config == saved.config
    assert model.state_dict().keys() == saved.state_dict().keys()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in saved.state_dict().items())
    assert torch.equal(model(TOKENS), saved(TOKENS))


def test_a_loaded_model_is_ready_to_run(folder):
    model = cutaway.load(str(folder))
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert model.source == str(folder)
    assert model.tokenizer is None
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_bfloat16_is_close_to_float32(folder):
    whole, half = cutaway.load(folder)(TOKENS), cutaway.load(folder, dtype=torch.bfloat16)(TOKENS)
    assert half.dtype == torch.bfloat16
    assert float((whole - half.float()).abs().max()) < 0.05 * float(whole.abs().max())


def test_names_without_the_prefix_are_found(folder):
    expected = cutaway.load(folder)(TOKENS)

    def without_prefix(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("model.")] = tensors.pop(name)

    change(folder, without_prefix)
    assert torch.equal(cutaway.load(folder)(TOKENS), expected)


def test_buffers_that_are_no_weights_are_ignored(folder):
    expected = cutaway.load(folder)(TOKENS)
    buffer = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change(folder, lambda tensors: tensors.update({buffer: torch.ones(3)}))
    assert torch.equal(cutaway.load(folder)(TOKENS), expected)


def test_a_checkpoint_in_several_files(folder):
    expected = cutaway.load(folder)(TOKENS)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"part-1.safetensors": names[::2], "part-2.safetensors": names[1::2]}
    for file, inside in parts.items():
        save_file({name: tensors[name] for name in inside}, folder / file)
    assert torch.equal(cutaway.load(folder)(TOKENS), expected)

    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, inside in parts.items() for name in inside}}))
    save_file({"unrelated": torch.ones(1)}, folder / "adapter.safetensors")
    assert torch.equal(cutaway.load(folder)(TOKENS), expected)

    (folder / "part-2.safetensors").unlink()
    with pytest.raises(CutawayError, match=r"lacks part-2\.safetensors, which its index names"):
        cutaway.load(folder)
    index.write_text('{"weights": []}')
    with pytest.raises(CutawayError, match="is not an index"):
        cutaway.load(folder)


def test_other_safetensors_beside_the_model_are_left_alone(folder):
    save_file({"something.else": torch.ones(2)}, folder / "adapter_model.safetensors")
    assert cutaway.load(folder)(TOKENS).isfinite().all()


def test_a_tied_unembedding_may_be_stored_if_it_is_the_embedding(tmp_path):
    llama_folder(tmp_path, tied=True)
    change(tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    assert cutaway.load(tmp_path).config.tied
    change(tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 1}))
    with pytest.raises(CutawayError, match=r"lm_head\.weight differs from the embedding it is tied to"):
        cutaway.load(tmp_path)


# --- what does not ---------------------------------------------------------------------------------------------------


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_tensor(name: str, tensor: torch.Tensor) -> Callable[[Path], None]:
    return lambda folder: change(folder, lambda tensors: tensors.update({name: tensor}))


def without_tensor(name: str) -> Callable[[Path], None]:
    return lambda folder: change(folder, lambda tensors: tensors.pop(name))


UP, NORM = "model.layers.1.mlp.up_proj.weight", "model.norm.weight"
WRONG = {
    "unknown family": (
        lambda f: say(f, model_type="llamma"),
        "'llamma' is not a known decoder family (nearest: llama)",
    ),
    "no family": (lambda f: (f / "config.json").write_text("{}"), "model_type '' is not a known decoder family"),
    "family is a list": (lambda f: say(f, model_type=["llama"]), "is not a known decoder family"),
    "no config.json": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "config.json cut short": (lambda f: (f / "config.json").write_text('{"model_type":'), "is not valid JSON"),
    "config.json is no text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "is not valid JSON"),
    "config.json is a list": (lambda f: (f / "config.json").write_text("[1]"), "holds a JSON list"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no weights"),
    "only pickled weights": (pickled, "only pickled weights (pytorch_model.bin), which are never opened"),
    "truncated": (truncated, "is damaged or cut short"),
    "empty file": (lambda f: (f / "model.safetensors").write_bytes(b""), "is damaged or cut short"),
    "missing tensor": (without_tensor(UP), f"the checkpoint has no tensor {UP}"),
    "left-over tensor": (
        with_tensor("model.layers.3.extra.weight", torch.ones(2)),
        "left over: model.layers.3.extra.weight",
    ),
    "left-over bias": (with_tensor("model.layers.0.self_attn.q_proj.bias", torch.ones(24)), "left over"),
    "wrong shape": (with_tensor(UP, torch.ones(24, 32)), f"{UP} gives shape (24, 32), config.json asks for (32, 24)"),
    "NaN": (with_tensor(NORM, torch.full((24,), torch.nan)), f"{NORM} in "),
    "infinite": (with_tensor(NORM, torch.full((24,), torch.inf)), "holds NaN or infinite weights"),
    "quantised": (with_tensor(UP, torch.ones(32, 24, dtype=torch.int8)), "torch.int8: quantised weights are not read"),
    "another size": (lambda f: say(f, vocab_size=38), "config.json asks for (38, 24)"),
    "tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "is not a tokenizer file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_in_one_line(folder, name):
    spoil, message = WRONG[name]
    spoil(folder)
    with pytest.raises(CutawayError) as caught:
        cutaway.load(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_too_large_for_the_dtype_asked_for(folder):
    change(folder, lambda tensors: tensors.update({NORM: torch.full((24,), 1e6)}))
    cutaway.load(folder)
    with pytest.raises(CutawayError, match=r"too large for torch\.float16"):
        cutaway.load(folder, dtype=torch.float16)


def test_a_fused_tensor_that_cannot_be_split(folder):
    """What `how` of a table cannot do to a tensor is told as a wrong shape, not as torch's own error."""
    family, config = describe(folder)
    files = tensor_files(folder)
    model = cutaway.Decoder(config)
    table = {**family.weights, "embed": gpt2.Take("embed_tokens", lambda tensor, config: tensor.view(5, 5))}
    broken = type(family)(family.name, family.model_types, family.config, table, family.prefix)
    with pytest.raises(
        CutawayError, match=r"embed_tokens\.weight has shape \(37, 24\), which config\.json's sizes do not"
    ):
        gather(model, broken, files, dtype=torch.float32, devices=spread(model, [torch.device("cpu")]))


def test_a_table_without_a_row_says_which():
    with pytest.raises(CutawayError, match=r"has no row 'layers\.\{\}\.q_norm'"):
        source_of("layers.0.q_norm.weight", llama.FAMILY, {})


def test_read_config_reads(folder):
    assert read_config(folder)["model_type"] == "llama"
