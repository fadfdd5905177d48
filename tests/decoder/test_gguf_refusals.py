"""What the GGUF converter refuses, in one line that says why, leaving nothing behind."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from cutaway.core.errors import CutawayError
from cutaway.decoder.gguf import convert

from .ggufs import TOKENS, tensors, write_gguf


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("plain") / "tiny.gguf", tensors())


def refused(folder: Path, file: Path, match: str) -> None:
    with pytest.raises(CutawayError, match=match) as error:
        convert(file, folder / "none" / "hf")
    assert "\n" not in str(error.value)
    assert not list(folder.rglob("hf"))
    assert not list(folder.rglob(".partial-*"))


def test_what_is_not_a_gguf_is_refused(tmp_path):
    for name, data in (("a.gguf", b"PK\x03\x04 zip"), ("b.gguf", b"")):
        (tmp_path / name).write_bytes(data)
        refused(tmp_path, tmp_path / name, "is not a GGUF file")
    refused(tmp_path, tmp_path / "none.gguf", r"cannot read .*No such file")


def test_a_file_cut_short_anywhere_is_refused(tmp_path, plain):
    data = plain.read_bytes()
    for size in [*range(4, 200, 13), *np.linspace(200, len(data) - 1, 12, dtype=int)]:
        (tmp_path / "cut.gguf").write_bytes(data[:size])
        refused(tmp_path, tmp_path / "cut.gguf", "cut short or damaged")


def test_an_unknown_version_and_an_unknown_quantisation_are_named(tmp_path, plain):
    data = bytearray(plain.read_bytes())
    (tmp_path / "v9.gguf").write_bytes(bytes([*data[:4], 9, *data[5:]]))
    refused(tmp_path, tmp_path / "v9.gguf", "version this cannot read")
    at = data.index(b"blk.0.attn_q.weight") + len(b"blk.0.attn_q.weight") + 4 + 2 * 8
    data[at : at + 4] = (201).to_bytes(4, "little")
    (tmp_path / "q201.gguf").write_bytes(bytes(data))
    refused(tmp_path, tmp_path / "q201.gguf", "unknown quantisation type .*201")


def changed(**values):
    return lambda writer, metadata, stored: metadata.update(
        {key.replace("__", "."): value for key, value in values.items()}
    )


def without(key):
    return lambda writer, metadata, stored: metadata.pop(key, None) or stored.pop(key)


def holding(name, values):
    return lambda writer, metadata, stored: stored.update({name: values})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (changed(tokenizer__ggml__pre="viking"), r"'viking'; known are .*gpt-2, .*llama-bpe, .*qwen2, smollm"),
        (without("tokenizer.ggml.pre"), "pre-tokenizer 'unnamed'"),
        (changed(tokenizer__ggml__model="llama"), "has a 'llama' tokenizer"),
        (changed(tokenizer__ggml__merges=["1 2", "12 9999"]), "merges that do not fit"),
        (changed(tokenizer__ggml__merges=["12"]), "merges that do not fit"),
        (changed(tokenizer__ggml__tokens=[*TOKENS, "more"]), "tokens and .* embeddings"),
        (changed(llama__rope__dimension_count=8), "rotates 8 of 16"),
        (changed(llama__attention__head_count=[4, 4]), r"says \[4, 4\]"),
        (without("llama.block_count"), "does not say 'llama.block_count'"),
        (without("token_embd.weight"), "no tensor 'token_embd.weight'"),
        (without("blk.1.ffn_up.weight"), "'blk.1.ffn_up.weight' is missing"),
        (holding("blk.0.attn_q.bias", np.zeros(64, np.float32)), "'blk.0.attn_q.bias' has no place"),
        (holding("blk.0.attn_k.weight", np.zeros((64, 64), np.float32)), r"shape \(64, 64\), .* ask for \(32, 64\)"),
        (holding("blk.0.attn_v.weight", np.zeros((32, 64), np.int8)), "quantisation type I8, which cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(tmp_path, change, match):
    refused(tmp_path, write_gguf(tmp_path / "odd.gguf", tensors(), change=change), match)


def test_another_architecture_is_named(tmp_path):
    writer = GGUFWriter(tmp_path / "mamba.gguf", "mamba")
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    refused(tmp_path, tmp_path / "mamba.gguf", "architecture 'mamba'; only 'llama'")


def test_a_folder_of_something_else_is_not_replaced_but_an_earlier_conversion_is(tmp_path, plain):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(CutawayError, match="is not a model's folder"):
        convert(plain, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    for _ in range(2):
        assert convert(plain, tmp_path / "hf").is_dir()
    with pytest.raises(CutawayError, match="cannot write"):
        convert(plain, tmp_path / "thesis" / "chapter.txt" / "hf")
