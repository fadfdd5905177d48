"""Tiny llama GGUF files with known weights, written with the format's own library."""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGUFWriter, TokenType
from tokenizers import pre_tokenizers

WIDTH, INNER, HEADS, KV, HEAD = 64, 96, 4, 2, 16
WORDS = ["12", "123", "123123", "zq", "Ġt", "Ġth", "Ġthe", "ĠĠ", "Ġ1"]
MERGES = ["1 2", "12 3", "123 123", "Ġ t", "Ġt h", "Ġth e", "Ġ Ġ", "Ġ 1"]
SPECIAL = [("<|start|>", TokenType.CONTROL), ("<|end|>", TokenType.CONTROL), ("<think>", TokenType.USER_DEFINED)]
TOKENS = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *WORDS, *(token for token, _ in SPECIAL)]
TYPES = [TokenType.NORMAL] * (len(TOKENS) - len(SPECIAL)) + [kind for _, kind in SPECIAL]
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "In 1984, 3.14159 and 1,234,567 of 123 123",
    "def f(x):\n    return x ** 2\n\n\tprint(f(12))\r\n",
    "Où est l'été? Señor, naïve façade, cafe\u0301",
    "😀👩‍👩‍👧 日本語 한국어 العربية ²½Ⅷ",
    "I'll don't WE'VE they're   <|start|>user\n<think>x</think><|end|>   ",
    "  12   3\n1",
    "",
]


def tensors(*, tied: bool = True, layers: int = 2, width: int = WIDTH, inner: int = INNER) -> dict[str, np.ndarray]:
    """Random weights under Hugging Face names."""
    draw = np.random.default_rng(0)
    shapes = {"model.embed_tokens": (len(TOKENS), width), "model.norm": (width,)}
    if not tied:
        shapes["lm_head"] = (len(TOKENS), width)
    for layer in range(layers):
        place = f"model.layers.{layer}."
        shapes |= {
            place + "input_layernorm": (width,),
            place + "self_attn.q_proj": (HEADS * HEAD, width),
            place + "self_attn.k_proj": (KV * HEAD, width),
            place + "self_attn.v_proj": (KV * HEAD, width),
            place + "self_attn.o_proj": (width, HEADS * HEAD),
            place + "post_attention_layernorm": (width,),
            place + "mlp.gate_proj": (inner, width),
            place + "mlp.up_proj": (inner, width),
            place + "mlp.down_proj": (width, inner),
        }
    return {f"{name}.weight": draw.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def interleaved(rows: np.ndarray) -> np.ndarray:
    """What llama.cpp stores for a query or key matrix: the halves of each head's rows dealt out in turn."""
    stored = np.empty_like(rows)
    for head in range(0, len(rows), HEAD):
        for pair in range(HEAD // 2):
            stored[head + 2 * pair] = rows[head + pair]
            stored[head + 2 * pair + 1] = rows[head + pair + HEAD // 2]
    return stored


NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def stored_as(name: str, values: np.ndarray) -> tuple[str, np.ndarray]:
    """The GGUF name and order of a tensor."""
    stem = name.removesuffix(".weight")
    if not stem.startswith("model.layers."):
        return f"{NAMES[stem]}.weight", values
    _, _, layer, rest = stem.split(".", 3)
    rotary = rest in ("self_attn.q_proj", "self_attn.k_proj")
    return f"blk.{layer}.{NAMES[rest]}.weight", interleaved(values) if rotary else values


def write_gguf(file: Path, weights: dict[str, np.ndarray], *, quantised=None, pre="smollm", change=None) -> Path:
    """A GGUF of `weights`; `change(writer, metadata, stored)` may alter what is about to be written."""
    writer = GGUFWriter(file, "llama")
    width = weights["model.norm.weight"].shape[0]
    metadata = {
        "general.name": "tiny",
        "llama.block_count": sum(name.endswith("input_layernorm.weight") for name in weights),
        "llama.context_length": 128,
        "llama.embedding_length": width,
        "llama.feed_forward_length": weights["model.layers.0.mlp.gate_proj.weight"].shape[0],
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV,
        "llama.attention.key_length": HEAD,
        "llama.rope.dimension_count": HEAD,
        "llama.rope.freq_base": 10_000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": len(TOKENS),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [int(kind) for kind in TYPES],
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": TOKENS.index("<|start|>"),
        "tokenizer.ggml.eos_token_id": TOKENS.index("<|end|>"),
        "tokenizer.ggml.add_bos_token": True,
    }
    stored = dict(stored_as(name, values) for name, values in weights.items())
    if change:
        change(writer, metadata, stored)
    for key, value in metadata.items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case float():
                writer.add_float32(key, value)
            case str():
                writer.add_string(key, value)
            case list():
                writer.add_array(key, value)
    for name, values in stored.items():
        if quantised and values.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(values, quantised), raw_dtype=quantised)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
