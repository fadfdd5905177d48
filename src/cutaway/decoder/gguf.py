"""Quantised GGUF files to an ordinary Hugging Face folder, once: float32 weights, config and tokenizer.

GGUF is the file format of llama.cpp; its specification is docs/gguf.md of the ggml repository. Llama-family files only,
with a byte-level BPE vocabulary. One tensor is in memory at a time.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from jaxtyping import Float
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from cutaway.core.errors import CutawayError
from cutaway.core.stamps import replacing

FORMAT = 1
"""Raised whenever `convert` writes something else for the same file, so that kept conversions are made again."""

_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ROPE_FACTORS = "rope_freqs.weight"


def _digits_then_gpt2() -> list:
    return [pre_tokenizers.Digits(individual_digits=True), *_gpt2()]


def _gpt2() -> list:
    return [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]


def _tiktoken(digits: str) -> list:
    """The split of the cl100k vocabulary, which Llama 3 and Qwen 2 took over with other groups of digits."""
    contractions, word = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"[^\r\n\p{L}\p{N}]?\p{L}+"
    signs, spaces = r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+|\s+(?!\S)|\s+"
    pattern = Regex("|".join((contractions, word, digits, signs, spaces)))
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return [pre_tokenizers.Split(pattern, "isolated"), bytes_only]


_LLAMA3 = dict.fromkeys(("llama-bpe", "llama3", "llama-v3"), lambda: _tiktoken(r"\p{N}{1,3}"))
_QWEN2 = dict.fromkeys(("qwen2", "deepseek-r1-qwen"), lambda: _tiktoken(r"\p{N}"))
_SPLITS = {"smollm": _digits_then_gpt2, "gpt-2": _gpt2, **_LLAMA3, **_QWEN2}
"""`tokenizer.ggml.pre` → what cuts a text before the merges; llama.cpp keeps these by name only, outside the file."""


@dataclass(frozen=True)
class _Stored:
    """One tensor to write: its Hugging Face name and shape, and how to read its rows when its turn comes."""

    name: str
    shape: tuple[int, ...]
    rows: Callable[[], Iterator[np.ndarray]]


class _Metadata:
    """A GGUF's key-value pairs, with an error that names the file for each one missing."""

    def __init__(self, reader: gguf.GGUFReader, file: Path):
        self._fields = reader.fields
        self.file = file

    def get(self, key: str, default: Any = None) -> Any:
        return self._fields[key].contents() if key in self._fields else default

    def need(self, key: str) -> Any:
        if key not in self._fields:
            raise CutawayError(f"{self.file} does not say {key!r}; it cannot be converted, get a complete GGUF")
        return self.get(key)

    def count(self, key: str, default: int | None = None) -> int:
        value = self.need(key) if default is None else self.get(key, default)
        if not isinstance(value, int) or value < 1:
            raise CutawayError(
                f"{self.file} says {value!r} for {key!r}; a Llama has one count there for all its layers"
            )
        return value


def convert(gguf_path: str | Path, folder: str | Path) -> Path:
    """Write `folder` in Hugging Face layout from a llama-family GGUF: dequantised to float32, rotary pairs put right.

    The folder holds `config.json`, `model.safetensors`, `tokenizer.json` (which adds no special token on encoding) and
    `tokenizer_config.json`. It appears whole or not at all, and replaces an earlier conversion.

    Raises:
        CutawayError: not a GGUF, cut short, another architecture, quantisation or tokenizer than the known ones, or
            `folder` is taken by something else or cannot be written.
    """
    file, folder = Path(gguf_path), Path(folder)
    if folder.exists() and not (folder / "config.json").is_file() and (folder.is_file() or any(folder.iterdir())):
        raise CutawayError(f"{folder} is there and is not a model's folder; give a new or empty one")
    reader = _open(file)
    metadata = _Metadata(reader, file)
    config = _config(metadata, reader)
    stored = _plan(config, reader, file)
    tokenizer, words = _tokenizer(metadata, config["vocab_size"]), _tokenizer_config(metadata)
    try:
        with replacing(folder) as fresh:
            _write_json(fresh / "config.json", config)
            _write_json(fresh / "tokenizer_config.json", words)
            tokenizer.save(str(fresh / "tokenizer.json"))
            _write_safetensors(fresh / "model.safetensors", stored)
    except OSError as error:
        raise CutawayError(
            f"cannot write {folder} ({error.strerror or error}); free some space or choose another"
        ) from error
    return folder


def _open(file: Path) -> gguf.GGUFReader:
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise CutawayError(f"cannot read {file} ({error.strerror}); give the path of a .gguf file") from error
    if magic != b"GGUF":
        raise CutawayError(f"{file} is not a GGUF file (it starts with {magic!r}); give one that starts with GGUF")
    try:
        reader = gguf.GGUFReader(file)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        if "GGMLQuantizationType" in str(error):
            raise CutawayError(
                f"{file} has an unknown quantisation type ({error}); get it as F32, F16, Q8_0, Q4_1 or a K-quant"
            ) from error
        if "version" in str(error):
            raise CutawayError(f"{file} is of a GGUF version this cannot read; get version 2 or 3") from error
        raise CutawayError(f"{file} is cut short or damaged ({type(error).__name__}); fetch it again") from error
    if reader.endianess != gguf.GGUFEndian.LITTLE:
        raise CutawayError(f"{file} is a big-endian GGUF; get the little-endian one")
    return reader


def _config(metadata: _Metadata, reader: gguf.GGUFReader) -> dict:
    """The keys of a Hugging Face `LlamaConfig`."""
    architecture = metadata.need("general.architecture")
    if architecture != "llama":
        raise CutawayError(
            f"{metadata.file} has architecture {architecture!r}; only 'llama' is converted: "
            "use the model's safetensors from the hub instead"
        )
    shapes = {tensor.name: tensor.shape for tensor in reader.tensors}
    if "token_embd.weight" not in shapes:
        raise CutawayError(f"{metadata.file} has no tensor 'token_embd.weight'; get a complete GGUF")
    heads = metadata.count("llama.attention.head_count")
    width = metadata.count("llama.embedding_length")
    head_dim = metadata.count("llama.attention.key_length", width // heads)
    rotated = metadata.count("llama.rope.dimension_count", head_dim)
    if rotated != head_dim:
        raise CutawayError(f"{metadata.file} rotates {rotated} of {head_dim} dimensions of a head; a Llama rotates all")
    base = _shortest(metadata.get("llama.rope.freq_base", 10_000.0))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": metadata.count("llama.feed_forward_length"),
        "num_hidden_layers": metadata.count("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.count("llama.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "rms_norm_eps": _shortest(metadata.need("llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": base,
        "rope_scaling": _rope_scaling(metadata, reader, base, head_dim),
        "max_position_embeddings": metadata.count("llama.context_length"),
        "vocab_size": int(shapes["token_embd.weight"][-1]),
        "tie_word_embeddings": "output.weight" not in shapes,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
        "hidden_act": "silu",
        "torch_dtype": "float32",
    }
    return {key: value for key, value in config.items() if value is not None}


def _shortest(value: float) -> float:
    """1e-05 for the float32 nearest to it, which as a Python float would print as 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _rope_scaling(metadata: _Metadata, reader: gguf.GGUFReader, base: float, head_dim: int) -> dict | None:
    factors = [tensor for tensor in reader.tensors if tensor.name == _ROPE_FACTORS]
    if factors:
        return _llama3_scaling(np.array(factors[0].data, np.float64), base, head_dim, metadata.file)
    kind = metadata.get("llama.rope.scaling.type", "none")
    if kind == "none":
        return None
    scaling = {"rope_type": kind, "factor": _shortest(metadata.need("llama.rope.scaling.factor"))}
    if kind == "yarn":
        scaling["original_max_position_embeddings"] = metadata.need("llama.rope.scaling.original_context_length")
    elif kind != "linear":
        raise CutawayError(
            f"{metadata.file} scales its rotary positions by {kind!r}; known are linear, yarn and Llama 3's"
        )
    return scaling


def _llama3_scaling(factors: Float[np.ndarray, "half_head"], base: float, head_dim: int, file: Path) -> dict:
    """The settings behind Llama 3.1's table of frequency divisors, which is all that a GGUF keeps of them.

    The divisor is 1 for wave lengths below 8192/4 tokens, `factor` above 8192, and goes smoothly between (Llama 3.1
    model card and reference code); `factor` is the table's largest entry. The rest is the same for every release.
    """
    scaling = {
        "rope_type": "llama3",
        "factor": _shortest(factors.max()),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    waves = 2 * math.pi * base ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((8192 / waves - 1.0) / (4.0 - 1.0), 0.0, 1.0)
    expected = 1 / ((1 - smooth) / scaling["factor"] + smooth)
    if factors.shape != expected.shape or not np.allclose(factors, expected, rtol=1e-4):
        raise CutawayError(
            f"{file} scales its rotary positions by a table that is not Llama 3.1's; it has no config for it"
        )
    return scaling


def _plan(config: dict, reader: gguf.GGUFReader, file: Path) -> list[_Stored]:
    """Every tensor the config calls for; raises for one that is missing, left over, misshapen or not readable."""
    held = {tensor.name: tensor for tensor in reader.tensors if tensor.name != _ROPE_FACTORS}
    expected = _shapes(config)
    if wrong := sorted(held.keys() ^ expected.keys()):
        what = "has no place in a Llama" if wrong[0] in held else "is missing"
        raise CutawayError(f"{file}: the tensor {wrong[0]!r} {what}; of {len(expected)} tensors {len(wrong)} differ")
    plan = []
    for name, (theirs, shape) in expected.items():
        tensor = held[name]
        if (got := tuple(int(size) for size in reversed(tensor.shape))) != shape:
            raise CutawayError(f"{file}: the tensor {name!r} has shape {got}, its own metadata ask for {shape}")
        heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(name.split(".")[-2])
        # The first row tells whether this type can be read, before anything is written.
        _dequantised(tensor.data.reshape(-1, tensor.data.shape[-1])[:1], tensor, file)
        plan.append(_Stored(theirs, shape, partial(_rows, tensor, config[heads] if heads else None, file)))
    return plan


def _shapes(config: dict) -> dict[str, tuple[str, tuple[int, ...]]]:
    """GGUF name → (Hugging Face name, shape) of all tensors of a Llama."""
    width, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    q, kv = (config["head_dim"] * config[f"num_{kind}_heads"] for kind in ("attention", "key_value"))
    inside: dict[str, tuple[int, ...]] = {
        "attn_norm": (width,),
        "attn_q": (q, width),
        "attn_k": (kv, width),
        "attn_v": (kv, width),
        "attn_output": (width, q),
        "ffn_norm": (width,),
        "ffn_gate": (inner, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }
    outside: dict[str, tuple[int, ...]] = {
        "token_embd": (vocab, width),
        "output_norm": (width,),
        "output": (vocab, width),
    }
    if config["tie_word_embeddings"]:
        del outside["output"]
    shapes = {f"{name}.weight": (f"{_OUTSIDE[name]}.weight", shape) for name, shape in outside.items()}
    for layer in range(config["num_hidden_layers"]):
        for name, shape in inside.items():
            shapes[f"blk.{layer}.{name}.weight"] = (f"model.layers.{layer}.{_INSIDE[name]}.weight", shape)
    return shapes


def _rows(tensor: gguf.ReaderTensor, heads: int | None, file: Path) -> Iterator[np.ndarray]:
    """The tensor's rows in float32, some at a time: one head's where the rotary pairs must be put right."""
    data = tensor.data.reshape(-1, tensor.data.shape[-1])
    step = len(data) // heads if heads else 4096
    for start in range(0, len(data), step):
        values = _dequantised(data[start : start + step], tensor, file)
        yield halves_from_pairs(values) if heads else values


def _dequantised(data: np.ndarray, tensor: gguf.ReaderTensor, file: Path) -> np.ndarray:
    try:
        return gguf.quants.dequantize(data, tensor.tensor_type).astype(np.float32, copy=False)
    except (NotImplementedError, ValueError, KeyError) as error:
        raise CutawayError(
            f"{file}: the tensor {tensor.name!r} has quantisation type {tensor.tensor_type.name}, which cannot be "
            "read; get the file as F32, F16, Q8_0, Q4_1 or a K-quant"
        ) from error


def halves_from_pairs(head: Float[np.ndarray, "d_head d_model"]) -> Float[np.ndarray, "d_head d_model"]:
    """One head's rows of a query or key matrix, in the order Hugging Face has them.

    Rotary positions turn pairs of dimensions. A GGUF keeps the two of a pair next to each other, (0, 1), (2, 3), …;
    Hugging Face keeps all first ones and then all second ones, so that pairs are (0, d/2), (1, d/2 + 1), ….
    """
    return np.concatenate([head[0::2], head[1::2]])


def _tokenizer(metadata: _Metadata, vocab: int) -> Tokenizer:
    """The byte-level BPE of the metadata. It has no post-processor, so encoding adds nothing to the text."""
    kind, before = metadata.need("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "unnamed")
    if kind != "gpt2":
        raise CutawayError(f"{metadata.file} has a {kind!r} tokenizer; only byte-level BPE ('gpt2') is rebuilt")
    if before not in _SPLITS:
        raise CutawayError(f"{metadata.file} has the pre-tokenizer {before!r}; known are {', '.join(sorted(_SPLITS))}")
    tokens, merges = metadata.need("tokenizer.ggml.tokens"), metadata.need("tokenizer.ggml.merges")
    ids = {token: index for index, token in enumerate(tokens)}
    if len(ids) > vocab:
        raise CutawayError(f"{metadata.file} has {len(ids)} tokens and {vocab} embeddings; get an undamaged GGUF")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    try:
        tokenizer = Tokenizer(models.BPE(ids, pairs, ignore_merges=before in _LLAMA3))
    except Exception as error:  # the Rust library raises bare Exception, or TypeError for a pair that is not two
        raise CutawayError(
            f"{metadata.file} has merges that do not fit its tokens ({str(error).splitlines()[0]}); fetch it again"
        ) from error
    tokenizer.normalizer = normalizers.NFC() if before in _QWEN2 else None
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(_SPLITS[before]())
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(tokens, metadata.get("tokenizer.ggml.token_type", []), strict=False)
    tokenizer.add_tokens(
        [
            AddedToken(token, special=kind == gguf.TokenType.CONTROL, normalized=False)
            for token, kind in kinds
            if kind in (gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED)
        ]
    )
    return tokenizer


def _tokenizer_config(metadata: _Metadata) -> dict:
    """What `transformers` reads beside tokenizer.json; without the class it would rebuild Llama's SentencePiece."""
    tokens = metadata.need("tokenizer.ggml.tokens")
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    ids = {short: metadata.get(f"tokenizer.ggml.{long}_token_id") for short, long in names.items()}
    words = {
        f"{short}_token": tokens[index] for short, index in ids.items() if index is not None and index < len(tokens)
    }
    template = metadata.get("tokenizer.chat_template")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata.need("llama.context_length"),
        **words,
        **({"chat_template": template} if template else {}),
    }


def _write_json(file: Path, record: dict) -> None:
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_safetensors(file: Path, stored: Iterable[_Stored]) -> None:
    """The safetensors format, one tensor at a time: its own writer wants all of them in memory at once."""
    header: dict = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in stored:
        start, end = end, end + 4 * math.prod(tensor.shape)
        header[tensor.name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for tensor in stored:
            for rows in tensor.rows():
                out.write(np.ascontiguousarray(rows, dtype="<f4").data)
