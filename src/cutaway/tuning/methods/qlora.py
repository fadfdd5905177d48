"""QLoRA: LoRA on a model whose weights are kept in four bits.

Dettmers, Pagnoni, Holtzman & Zettlemoyer 2023, QLoRA: efficient finetuning of quantized LLMs (NeurIPS, arXiv 2305.14314), §3:

    h = dequantised(W) x + (α / r) B A x        W in 4-bit NormalFloat, A and B as in LoRA, at every projection

It trains r (in + out) parameters for each projection. Through `peft`, and only where the library `bitsandbytes` runs; the model
is to be loaded in four bits. It is not merged: rounding the sum to four bits again would change what it says.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, check_rank, need_peft, widths

LOAD = "BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True)"


@dataclass(frozen=True)
class Options:
    """Of QLoRA."""

    at: tuple[str, ...] = (
        "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_o", "cross_attn_q", "cross_attn_k", "cross_attn_v",
        "cross_attn_o", "ffn_gate", "ffn_up", "ffn_down",
    )  # fmt: skip
    """Which projections: roles or patterns."""
    rank: int = 64
    """r."""
    alpha: int = 16
    """α."""
    dropout: float = 0.1
    """Of what goes into A."""


class Qlora(ThroughPeft):
    """LoRA on four bits, by `peft`."""

    config = "LoraConfig"
    names: ClassVar = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}
    always: ClassVar = {"use_dora": False, "use_rslora": False}


def attach(attached: Qlora, options: Options) -> None:
    need_peft()
    from peft.import_utils import is_bnb_4bit_available

    if not is_bnb_4bit_available():
        raise CutawayError("qlora needs bitsandbytes, which is not installed or does not run here: take lora")
    if not getattr(attached.host, "is_loaded_in_4bit", False):
        raise CutawayError(f"qlora wants a model in four bits: load it with quantization_config={LOAD}, or take lora")
    check_rank(attached.host, options)
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return sum(options.rank * (into + out) for into, out in widths(model, options.at))


METHOD = Method(
    name="qlora",
    kind="reparameterised",
    about="LoRA on weights of four bits",
    citation="Dettmers, Pagnoni, Holtzman & Zettlemoyer 2023, QLoRA (NeurIPS, arXiv 2305.14314), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=Qlora,
)
