"""A behaviour as a file describes it, and a tokenizer that fits it."""

from cutaway.decoder.tokens import Tokenizer

from .tokenizers_by_hand import bpe

FRANCE = {
    "prompt": "The capital of {country:France} is",
    "answer": " Paris",
    "alternatives": [" Rome", " Oslo"],
    "corrupted": {"other country": "The capital of {country:Italy} is"},
}
ITALY = {
    "prompt": "The capital of {country:Italy} is",
    "answer": " Rome",
    "alternatives": [" Paris"],
    "corrupted": {"other country": "The capital of {country:France} is"},
}


def changed(entry: dict, **fields) -> dict:
    return entry | fields


LONG = changed(
    FRANCE,
    prompt="The capital of {country:Norway} is",
    answer=" San Marino",
    alternatives=[" Cape Town", " San Jose"],
)


def words_as_tokens() -> Tokenizer:
    """Capitals and countries are one token with their space; ` Cape Town` and ` San Marino` are two."""
    words = "The capital of is France Italy Norway Paris Rome Oslo Cape San Town Marino Jose"
    return bpe(whole=["The", *(f" {word}" for word in words.split())])
