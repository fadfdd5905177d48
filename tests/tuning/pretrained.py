"""Tiny models with a tokenizer that knows the words of made_up.py, as folders in Hugging Face layout; their weights are random."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tuning import made_up

WORDS = sorted(
    {*made_up.WORDS, made_up.GOOD, made_up.BAD, *made_up.RHYMES, *made_up.RHYMES.values(), "says", ":", "b"} - {"a"}
)
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", *WORDS]


def tokenizer(folder: Path, *, special: bool) -> None:
    numbers = {word: i for i, word in enumerate(VOCABULARY)}
    made = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        made.post_processor = processors.BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))


def encoder(folder: Path) -> Path:
    """A BERT, 16 wide."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(shape).save_pretrained(folder, safe_serialization=True)
    tokenizer(folder, special=True)
    return folder


def decoder(folder: Path, **more) -> Path:
    """A Llama, 16 wide, whose end of text is [SEP]."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=32, max_position_embeddings=32, bos_token_id=2, eos_token_id=3, pad_token_id=0, **more,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder, safe_serialization=True)
    tokenizer(folder, special=False)
    return folder


def seq2seq(folder: Path) -> Path:
    """A T5, 16 wide."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    shape = T5Config(
        vocab_size=len(VOCABULARY), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_decoder_layers=2, num_heads=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=3, n_positions=32,
    )  # fmt: skip
    T5ForConditionalGeneration(shape).save_pretrained(folder, safe_serialization=True)
    tokenizer(folder, special=False)
    return folder


def gpt2(folder: Path) -> Path:
    """A GPT-2, 16 wide, whose end of text is [SEP]."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=len(VOCABULARY), n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=2, eos_token_id=3,
        pad_token_id=0,
    )  # fmt: skip
    GPT2LMHeadModel(shape).save_pretrained(folder, safe_serialization=True)
    tokenizer(folder, special=False)
    return folder
