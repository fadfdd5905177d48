"""Tiny random checkpoints of every family in Hugging Face layout, written by `transformers`, the oracle here."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

VOCAB, POSITIONS = 61, 48
LLAMA_LIKE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
SIZES = {
    "gpt2": {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": POSITIONS},
    "gpt_neox": {key: size for key, size in LLAMA_LIKE.items() if key != "num_key_value_heads"},
    "gpt_neo": {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "num_layers": 4,
        "num_heads": 4,
        "max_position_embeddings": POSITIONS,
        "attention_types": [[["global", "local"], 2]],
    },
    "opt": {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "ffn_dim": 40,
        "max_position_embeddings": POSITIONS,
    },
}


@dataclass(frozen=True)
class Variant:
    """A model type with some settings; `edit` rewrites the saved config.json (older spellings, absent keys)."""

    model_type: str
    settings: dict = field(default_factory=dict)
    edit: Callable[[dict], dict] | None = None


def older_rope(**scaling) -> Callable[[dict], dict]:
    """Rewrites `rope_parameters` as the two keys that stood there before."""

    def edit(config: dict) -> dict:
        rest = {key: value for key, value in config.items() if key != "rope_parameters"}
        return rest | {"rope_theta": 500.0, "rope_scaling": scaling or None}

    return edit


def older_neox(config: dict) -> dict:
    rest = {key: value for key, value in config.items() if key != "rope_parameters"}
    return rest | {"rotary_pct": 0.5, "rotary_emb_base": 500}


def older_gemma(config: dict) -> dict:
    return config | {"hidden_act": "gelu", "hidden_activation": None}


def bare(config: dict) -> dict:
    """Only the sizes are left: every other key must fall back to the value that `transformers` falls back to."""
    kept = {"model_type", "architectures", *LLAMA_LIKE, *(key for sizes in SIZES.values() for key in sizes)}
    return {key: value for key, value in config.items() if key in kept}


def variant(model_type: str, edit: Callable[[dict], dict] | None = None, **settings) -> Variant:
    return Variant(model_type, SIZES.get(model_type, LLAMA_LIKE) | settings, edit)


VARIANTS = {
    "gpt2": variant("gpt2", n_inner=40),
    "gpt2 bare": variant("gpt2", bare),
    "gpt2 untied, exact gelu": variant("gpt2", tie_word_embeddings=False, activation_function="gelu"),
    "gpt2 unscaled attention": variant("gpt2", scale_attn_weights=False, layer_norm_epsilon=1e-2),
    "llama": variant("llama"),
    "llama bare": variant("llama", bare),
    "llama tied": variant("llama", tie_word_embeddings=True, rms_norm_eps=1e-2),
    "llama biases": variant("llama", attention_bias=True, mlp_bias=True),
    "llama multi-query": variant("llama", num_key_value_heads=1),
    "llama every head its own": variant("llama", num_key_value_heads=4),
    "llama wide heads": variant("llama", head_dim=12),
    "llama linear rope": variant("llama", rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}),
    "llama llama3 rope": variant("llama", rope_parameters=LLAMA3 | {"rope_theta": 500.0}),
    "llama linear rope, older": variant("llama", older_rope(type="linear", factor=4.0)),
    "llama llama3 rope, older": variant("llama", older_rope(**LLAMA3)),
    "llama base, older": variant("llama", older_rope()),
    "mistral": variant("mistral", sliding_window=5),
    "mistral no window": variant("mistral", sliding_window=None),
    "mistral bare": variant("mistral", bare, num_attention_heads=8, num_key_value_heads=8),
    "neox": variant("gpt_neox"),
    "neox bare": variant("gpt_neox", bare),
    "neox serial": variant("gpt_neox", use_parallel_residual=False),
    "neox half rotary": variant("gpt_neox", rope_parameters={"rope_theta": 500.0, "partial_rotary_factor": 0.5}),
    "neox half rotary, older": variant("gpt_neox", older_neox),
    "neox no attention bias": variant("gpt_neox", attention_bias=False, hidden_act="gelu_fast"),
    "neox tied": variant("gpt_neox", tie_word_embeddings=True),
    "qwen2": variant("qwen2"),
    "qwen2 bare": variant("qwen2", bare),
    "qwen2 windows": variant("qwen2", use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "qwen2 windows off": variant("qwen2", use_sliding_window=False, sliding_window=5, max_window_layers=1),
    "qwen3": variant("qwen3", head_dim=12),
    "qwen3 bare": variant("qwen3", bare),
    "qwen3 biases": variant("qwen3", head_dim=8, attention_bias=True, tie_word_embeddings=True),
    "qwen3 layer types": variant(
        "qwen3",
        head_dim=8,
        use_sliding_window=True,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "gemma": variant("gemma", head_dim=12),
    "gemma bare": variant("gemma", bare),
    "gemma older": variant("gemma", older_gemma, head_dim=12, attention_bias=True),
    "gemma2": variant(
        "gemma2",
        head_dim=12,
        sliding_window=5,
        query_pre_attn_scalar=7,
        attn_logit_softcapping=1.5,
        final_logit_softcapping=2.0,
    ),
    "gemma2 bare": variant("gemma2", bare),
    "gemma2 no caps, no windows": variant(
        "gemma2",
        head_dim=12,
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        layer_types=["full_attention"] * 3,
    ),
    "opt": variant("opt"),
    "opt bare": variant("opt", bare),
    "opt no biases": variant("opt", enable_bias=False, tie_word_embeddings=False, activation_function="gelu_new"),
    "gpt_neo": variant("gpt_neo", window_size=5),
    "gpt_neo bare": variant("gpt_neo", bare),
    "gpt_neo other order": variant(
        "gpt_neo", window_size=4, intermediate_size=40, attention_types=[[["local"], 3], [["global"], 1]]
    ),
}


def write(asked: Variant, folder: Path, seed: int = 0) -> Path:
    """Saves a checkpoint of what is asked for, with weights so large that no part does next to nothing."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(asked.model_type, **asked.settings))
    draw = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        weight.data = 0.2 * torch.randn(weight.shape, generator=draw)
        if weight.ndim == 1 and name.endswith("weight") and not asked.model_type.startswith("gemma"):
            weight.data += 1  # norms scale around one; Gemma's store the difference to one
    model.save_pretrained(folder)
    if asked.edit:
        rewrite(folder, asked.edit)
    return folder


def rewrite(folder: Path, edit: Callable[[dict], dict]) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(edit(json.loads(file.read_text()))))


def random_tokens(batch: int, pos: int, seed: int = 0, vocab: int = VOCAB) -> torch.Tensor:
    return torch.randint(vocab, (batch, pos), generator=torch.Generator().manual_seed(seed))
