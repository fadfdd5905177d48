"""Tiny byte-level BPE tokenizers, made of nothing but what a test names."""

import string
from collections.abc import Sequence

from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers

from cutaway.decoder.tokens import Tokenizer

SPACED = [("Ġ", letter) for letter in "(" + string.ascii_uppercase]
"""A space and a capital, or a space and a bracket, are one token."""


def bpe(*merges: tuple[str, str], whole: Sequence[str] = (), words: bool = True) -> Tokenizer:
    """Every byte is a token; `merges` join two, the first ones first, within a word (if `words`). Ġ is the space.

    Texts in `whole` are one token wherever they stand.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*alphabet, *("".join(pair) for pair in merges)]))}
    fast = FastTokenizer(models.BPE(vocab=vocabulary, merges=list(dict.fromkeys(merges))))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    fast.decoder = decoders.ByteLevel()
    fast.add_tokens(list(whole))
    return Tokenizer(fast)
