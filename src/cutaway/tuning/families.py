"""How families of models name the parts of their layers; a new family is a row here.

Models whose layers are named as those of a family here are of it, whatever they are called: RoBERTa and ELECTRA are of BERT's,
Mistral, Qwen and Gemma of Llama's, mT5 and Flan-T5 of T5's.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Names within a family."""

    name: str
    layers: str
    """Pattern of a layer's name, a star for its number."""
    roles: Mapping[str, str]
    """Role (places.py) → name within the layer."""
    causal: bool = False
    """Do its tokens attend to what is before them alone? Asked where the model's modules do not say it themselves."""


def _block(at: str, names: str, roles: str = "q k v o", block: str = "attn") -> dict[str, str]:
    """Roles of an attention block, given the names of its projections in the order of `roles`."""
    found = {f"{block}_{role}": f"{at}.{name}" for role, name in zip(roles.split(), names.split(), strict=True)}
    return {block: at, **found}


def _ffn(at: str, up: str, down: str, gate: str = "") -> dict[str, str]:
    """Roles of a feed-forward block that is a module."""
    found = {"ffn": at, "ffn_up": f"{at}.{up}", "ffn_down": f"{at}.{down}"}
    return found | ({"ffn_gate": f"{at}.{gate}"} if gate else {})


_INTERMEDIATE = {"ffn_up": "intermediate.dense", "ffn_down": "output.dense"}
_FC = {"ffn_up": "fc1", "ffn_down": "fc2"}
_FUSED = _ffn("mlp", "dense_h_to_4h", "dense_4h_to_h")
_OUT = _block("self_attn", "q_proj k_proj v_proj out_proj")
_CROSS = _block("encoder_attn", "q_proj k_proj v_proj out_proj", block="cross_attn")
_T5 = _block("layer.0.SelfAttention", "q k v o")
_T5_CROSS = _block("layer.1.EncDecAttention", "q k v o", block="cross_attn")


def _bert(attention: str) -> dict[str, str]:
    """Roles of a layer that has BERT's parts around an attention of its own; its three projections are named."""
    inner = {f"attn_{role}": f"attention.{name}" for role, name in zip("qkv", attention.split(), strict=True)}
    return {"attn": "attention", **inner, "attn_o": "attention.output.dense", **_INTERMEDIATE}


def _t5(at: str) -> tuple[dict[str, str], dict[str, str]]:
    """The feed-forward block without a gate, and with one (T5 v1.1)."""
    return _ffn(at, "wi", "wo"), _ffn(at, "wi_1", "wo", "wi_0")


_ENCODER_FFN, _DECODER_FFN = _t5("layer.1.DenseReluDense"), _t5("layer.2.DenseReluDense")

FAMILIES = (
    # encoders
    Family("bert", "encoder.layer.*", _bert("self.query self.key self.value")),
    Family("deberta-v2", "encoder.layer.*", _bert("self.query_proj self.key_proj self.value_proj")),
    Family(
        "deberta",
        "encoder.layer.*",
        {
            "attn": "attention",
            "attn_qkv": "attention.self.in_proj",
            "attn_o": "attention.output.dense",
            **_INTERMEDIATE,
        },
    ),
    Family("mpnet", "encoder.layer.*", _block("attention", "attn.q attn.k attn.v attn.o") | _INTERMEDIATE),
    Family(
        "distilbert",
        "transformer.layer.*",
        _block("attention", "q_lin k_lin v_lin out_lin") | _ffn("ffn", "lin1", "lin2"),
    ),
    Family("modernbert", "layers.*", _block("attn", "Wqkv Wo", "qkv o") | _ffn("mlp", "Wi", "Wo")),
    # decoders
    Family("gpt2", "h.*", _block("attn", "c_attn c_proj", "qkv o") | _ffn("mlp", "c_fc", "c_proj"), causal=True),
    Family(
        "gpt-neo",
        "h.*",
        _block("attn.attention", "q_proj k_proj v_proj out_proj") | _ffn("mlp", "c_fc", "c_proj"),
        causal=True,
    ),
    Family(
        "gpt-j", "h.*", _block("attn", "q_proj k_proj v_proj out_proj") | _ffn("mlp", "fc_in", "fc_out"), causal=True
    ),
    Family("gpt-neox", "layers.*", _block("attention", "query_key_value dense", "qkv o") | _FUSED, causal=True),
    Family("bloom", "h.*", _block("self_attention", "query_key_value dense", "qkv o") | _FUSED, causal=True),
    Family(
        "llama",
        "layers.*",
        _block("self_attn", "q_proj k_proj v_proj o_proj") | _ffn("mlp", "up_proj", "down_proj", "gate_proj"),
        causal=True,
    ),
    Family(
        "phi3",
        "layers.*",
        _block("self_attn", "qkv_proj o_proj", "qkv o") | _ffn("mlp", "gate_up_proj", "down_proj"),
        causal=True,
    ),
    Family(
        "phi", "layers.*", _block("self_attn", "q_proj k_proj v_proj dense") | _ffn("mlp", "fc1", "fc2"), causal=True
    ),
    Family(
        "starcoder2",
        "layers.*",
        _block("self_attn", "q_proj k_proj v_proj o_proj") | _ffn("mlp", "c_fc", "c_proj"),
        causal=True,
    ),
    # encoder-decoders; OPT, whose layers are those of BART's decoder without the cross-attention, comes after it
    Family("t5 encoder", "encoder.block.*", _T5 | _ENCODER_FFN[0]),
    Family("t5 decoder", "decoder.block.*", _T5 | _T5_CROSS | _DECODER_FFN[0], causal=True),
    Family("t5 v1.1 encoder", "encoder.block.*", _T5 | _ENCODER_FFN[1]),
    Family("t5 v1.1 decoder", "decoder.block.*", _T5 | _T5_CROSS | _DECODER_FFN[1], causal=True),
    Family("bart encoder", "encoder.layers.*", _OUT | _FC),
    Family("bart decoder", "decoder.layers.*", _OUT | _CROSS | _FC, causal=True),
    Family("opt", "decoder.layers.*", _OUT | _FC, causal=True),
)
