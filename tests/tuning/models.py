"""Tiny models of every family, with random weights, and inputs for them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

VOCABULARY, LENGTH = 50, 7


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
    )
    return BertForSequenceClassification(config)


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=32))


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=32,
        )
    )  # fmt: skip


def t5() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_decoder_layers=2, num_heads=2,
            decoder_start_token_id=0,
        )
    )  # fmt: skip


FAMILIES: dict[str, Callable[[], nn.Module]] = {"bert": bert, "gpt2": gpt2, "llama": llama, "t5": t5}


def made(family: str) -> nn.Module:
    """The same weights every time; biases and norms are not what they begin as, so that they count."""
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def inputs(family: str, batch: int = 3, seed: int = 0) -> dict[str, Any]:
    draw = partial(torch.randint, 2, VOCABULARY, generator=torch.Generator().manual_seed(seed))
    given = {"input_ids": draw((batch, LENGTH))}
    if family == "t5":
        given["decoder_input_ids"] = draw((batch, 4))
    return given


def logits(model: nn.Module, family: str, **kwargs: Any) -> Tensor:
    return model(**inputs(family, **kwargs)).logits
