"""GGUF files to Hugging Face folders: known tensors, transformers as the oracle, and tokens."""

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, pre_tokenizers

from cutaway.core.errors import CutawayError
from cutaway.decoder import gguf as converter
from cutaway.decoder.gguf import convert

from .ggufs import HEAD, HEADS, INNER, KV, TEXTS, TOKENS, WIDTH, tensors, write_gguf


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> tuple[Path, Path, dict[str, np.ndarray]]:
    """A GGUF in float32, its conversion, and the weights in it."""
    folder, weights = tmp_path_factory.mktemp("plain"), tensors()
    file = write_gguf(folder / "tiny.gguf", weights)
    return file, convert(file, folder / "hf"), weights


def oracle_logits(file: Path, ids: torch.Tensor) -> torch.Tensor:
    """What transformers' own GGUF reader makes of the file."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    with torch.no_grad():
        return model(ids).logits.float()


def folder_logits(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.dtype == torch.float32
    with torch.no_grad():
        return model(ids).logits


# --- tensors ---


@pytest.mark.parametrize("tied", [True, False])
def test_float32_tensors_come_back_bit_for_bit(tmp_path, tied):
    weights = tensors(tied=tied)
    folder = convert(write_gguf(tmp_path / "tiny.gguf", weights), tmp_path / "hf")
    read = load_file(folder / "model.safetensors")
    assert read.keys() == weights.keys()
    assert all(np.array_equal(read[name], values) for name, values in weights.items())
    assert all(values.dtype == np.float32 for values in read.values())
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is tied


@pytest.mark.parametrize(("kind", "bound"), [("F16", 1e-3), ("Q8_0", 0.01), ("Q4_1", 0.1), ("Q4_0", 0.15)])
def test_quantised_tensors_are_those_that_were_stored(tmp_path, kind, bound):
    weights, kind = tensors(), GGMLQuantizationType[kind]
    folder = convert(write_gguf(tmp_path / "tiny.gguf", weights, quantised=kind), tmp_path / "hf")
    read = load_file(folder / "model.safetensors")
    for name, values in weights.items():
        expected = values
        if values.ndim == 2:  # quantised row by row, so the order of rows does not matter
            expected = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)
        assert np.array_equal(read[name], expected), name
        assert np.abs(read[name] - values).max() <= bound


@pytest.mark.parametrize("kind", [None, GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_1])
def test_logits_and_tokens_are_those_of_transformers_own_reader(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    file = write_gguf(tmp_path / "tiny.gguf", tensors(tied=False), quantised=kind, pre="gpt-2")
    folder = convert(file, tmp_path / "hf")
    ids = torch.arange(60).reshape(2, 30)
    assert (oracle_logits(file, ids) - folder_logits(folder, ids)).abs().max() <= 1e-4
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    ours = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text, add_special_tokens=False)["input_ids"]
    assert (ours.bos_token, ours.eos_token) == ("<|start|>", "<|end|>")


def test_rotary_pairs_left_as_stored_would_be_noticed(tmp_path, plain, monkeypatch):
    pytest.importorskip("transformers")
    file, folder, _ = plain
    ids = torch.arange(30)[None]
    right = folder_logits(folder, ids)
    monkeypatch.setattr(converter, "halves_from_pairs", lambda head: head)
    broken = folder_logits(convert(file, tmp_path / "broken"), ids)
    assert (right - broken).abs().max() > 0.01
    assert (right - oracle_logits(file, ids)).abs().max() <= 1e-4


def test_memory_is_that_of_a_tensor_not_of_the_model(tmp_path):
    weights = tensors(layers=12, width=128, inner=512)
    file = write_gguf(tmp_path / "tiny.gguf", weights, quantised=GGMLQuantizationType.Q8_0)
    total = sum(values.nbytes for values in weights.values())
    del weights
    tracemalloc.start()
    convert(file, tmp_path / "hf")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < total / 2


# --- config ---


def test_the_config_is_that_of_a_llama(plain):
    config = json.loads((plain[1] / "config.json").read_text())
    assert config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "head_dim": HEAD,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "max_position_embeddings": 128,
        "vocab_size": len(TOKENS),
        "tie_word_embeddings": True,
        "bos_token_id": TOKENS.index("<|start|>"),
        "eos_token_id": TOKENS.index("<|end|>"),
        "hidden_act": "silu",
        "torch_dtype": "float32",
    }


def scaled(**values):
    return lambda writer, metadata, stored: metadata.update(
        {f"llama.rope.scaling.{key}": value for key, value in values.items()}
    )


def test_linear_and_yarn_scaling_reach_the_config(tmp_path):
    for change, expected in (
        (scaled(type="linear", factor=2.5), {"rope_type": "linear", "factor": 2.5}),
        (
            scaled(type="yarn", factor=4.0, original_context_length=32),
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        ),
    ):
        file = write_gguf(tmp_path / "tiny.gguf", tensors(), change=change)
        config = json.loads((convert(file, tmp_path / "hf") / "config.json").read_text())
        assert config["rope_scaling"] == expected
    file = write_gguf(tmp_path / "tiny.gguf", tensors(), change=scaled(type="longrope", factor=2.0))
    with pytest.raises(CutawayError, match="'longrope'; known are linear, yarn"):
        convert(file, tmp_path / "no")


def test_llama_3_scaling_is_recovered_from_its_table_or_refused(tmp_path):
    pytest.importorskip("transformers")
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    settings = {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = LlamaConfig(head_dim=HEAD, rope_parameters={"rope_theta": 500_000.0, **settings})
    slowed, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    table = 500_000.0 ** -(np.arange(0, HEAD, 2) / HEAD) / slowed.numpy()
    assert table[[0, -1]] == pytest.approx([1.0, 32.0])

    def with_table(factor):
        def change(writer, metadata, stored):
            metadata["llama.rope.freq_base"] = 500_000.0
            stored["rope_freqs.weight"] = (table * factor).astype(np.float32)

        return change

    file = write_gguf(tmp_path / "tiny.gguf", tensors(), change=with_table(1.0))
    written = json.loads((convert(file, tmp_path / "hf") / "config.json").read_text())
    assert written["rope_scaling"] == settings
    file = write_gguf(tmp_path / "tiny.gguf", tensors(), change=with_table(np.linspace(1, 1.1, HEAD // 2)))
    with pytest.raises(CutawayError, match=r"not Llama 3\.1's"):
        convert(file, tmp_path / "no")


# --- tokens ---


def tokenizer(folder: Path, pre: str) -> Tokenizer:
    file = write_gguf(folder / f"{pre}.gguf", tensors(layers=1), pre=pre)
    return Tokenizer.from_file(str(convert(file, folder / pre) / "tokenizer.json"))


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("gpt-2", ["Ġthe", "Ġ", "Ġ", "123123", "1"]),
        ("smollm", ["Ġthe", "ĠĠ", "1", "2", "3", "1", "2", "3", "1"]),
        ("llama-bpe", ["Ġthe", "Ġ", "Ġ", "123", "123", "1"]),
        ("qwen2", ["Ġthe", "Ġ", "Ġ", "1", "2", "3", "1", "2", "3", "1"]),
    ],
)
def test_each_pre_tokenizer_cuts_digits_and_spaces_its_own_way(tmp_path, pre, pieces):
    got = tokenizer(tmp_path, pre).encode(" the  1231231").tokens
    assert got == pieces


def test_llama_3_takes_a_word_it_has_before_it_merges(tmp_path):
    assert tokenizer(tmp_path, "llama-bpe").encode("zq").tokens == ["zq"]
    assert tokenizer(tmp_path, "gpt-2").encode("zq").tokens == ["z", "q"]


def test_no_token_is_added_and_special_ones_stay_whole(plain):
    fast = Tokenizer.from_file(str(plain[1] / "tokenizer.json"))
    assert fast.encode("").ids == []
    for text in TEXTS:
        assert fast.encode(text, add_special_tokens=True).ids == fast.encode(text, add_special_tokens=False).ids
    encoded = fast.encode("<|start|> the<think>")
    assert encoded.tokens == ["<|start|>", "Ġthe", "<think>"]
    assert encoded.ids == [TOKENS.index(token) for token in encoded.tokens]
    assert fast.decode(encoded.ids, skip_special_tokens=True) == " the<think>"
    assert fast.get_vocab_size() == len(TOKENS)


@pytest.mark.parametrize("text", ["<|start|>", " the 12"])
def test_spans_cover_the_text(plain, text):
    fast = Tokenizer.from_file(str(plain[1] / "tokenizer.json"))
    spans = fast.encode(text).offsets
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(before[1] == after[0] for before, after in pairwise(spans))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_any_text_comes_back(plain, text):
    fast = Tokenizer.from_file(str(plain[1] / "tokenizer.json"))
    text = text.encode("utf-8", "ignore").decode()  # lone surrogates are not text
    assert fast.decode(fast.encode(text).ids, skip_special_tokens=False) == text


def test_qwen_2_composes_accents_first(tmp_path):
    fast = tokenizer(tmp_path, "qwen2")
    assert fast.encode("e\u0301").ids == fast.encode("é").ids


# --- the real model ---


@pytest.mark.slow
def test_the_real_model_speaks_as_transformers_reads_it(tmp_path):
    transformers = pytest.importorskip("transformers")
    from cutaway.core.sources import fetch
    from cutaway.decoder.catalog import KNOWN_MODELS

    try:
        file = fetch(KNOWN_MODELS["smollm2-135m"].sources[0], offline=True)
    except CutawayError as error:
        pytest.skip(f"smollm2-135m is not in the cache; load it once with a network ({error})")
    folder = convert(file, tmp_path / "hf")
    theirs = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # transformers reads the name "smollm" and then splits as GPT-2 does; llama.cpp and the model's own tokenizer.json
    # set every digit apart first.
    theirs.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    theirs.backend_tokenizer.decoder = decoders.ByteLevel()
    ours = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
        assert ours.decode(ours(text)["input_ids"]) == text
    ids = torch.tensor([ours("\n".join(TEXTS))["input_ids"]])
    assert (oracle_logits(file, ids) - folder_logits(folder, ids)).abs().max() <= 1e-4
