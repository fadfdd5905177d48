"""Tiny random models of every decoder family, loaded as a user would load them; GPT-2's own tokenizer."""

from functools import cache

import pytest

import cutaway
from cutaway.decoder.tokens import Tokenizer, gpt2_tokenizer
from decoder.tiny import VARIANTS, write

FAMILIES = (
    "gpt2",
    "llama",
    "mistral",
    "neox",
    "qwen2 windows",
    "qwen3 layer types",
    "gemma",
    "gemma2",
    "opt",
    "gpt_neo",
)
"""One variant of every model type, the ones with windows, shared keys and soft caps where there are such."""


@pytest.fixture(scope="session", params=FAMILIES)
def family_model(request, tmp_path_factory):
    """Each family's model in turn."""
    pytest.importorskip("transformers")
    name = request.param.replace(" ", "-")
    return cutaway.load(write(VARIANTS[request.param], tmp_path_factory.mktemp(name)))


load_gpt2 = cache(gpt2_tokenizer)


@pytest.fixture
def gpt2(data) -> Tokenizer:
    folder = data / "gpt2-tokenizer"
    return load_gpt2(folder / "encoder.json", folder / "vocab.bpe")
