"""A small world of commands to learn, and an encoder small enough to learn it in seconds."""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from cutaway.tagging.corpus import Corpus
from cutaway.tagging.data import Sentence

CITIES = ("rome", "new york", "oslo", "rio de janeiro", "bern")
TIMES = ("tomorrow", "on friday", "tonight")
NUMBERS = ("two", "three", "five")
PATTERNS = (
    ("book", "book a table for {number} in {city} {time}"),
    ("book", "a table in {city} for {number} please"),
    ("weather", "will it rain in {city} {time}"),
    ("weather", "how warm is {city} {time}"),
    ("fly", "fly from {city} to {city} {time}"),
    ("fly#weather", "fly to {city} {time} if it is warm"),
)
FILLED = {"city": CITIES, "time": TIMES, "number": NUMBERS}


def sentence(rng: random.Random, *, intents: bool = True, tags: bool = True) -> Sentence:
    """One command, drawn at random."""
    intent, pattern = rng.choice(PATTERNS)
    words, marks = [], []
    for word in pattern.split():
        if word.startswith("{"):
            kind = word.strip("{}")
            filling = rng.choice(FILLED[kind]).split()
            words += filling
            marks += [f"{'I' if i else 'B'}-{kind}" for i in range(len(filling))]
        else:
            words.append(word)
            marks.append("O")
    return Sentence(tuple(words), tuple(marks) if tags else (), tuple(intent.split("#")) if intents else ())


def corpus(train: int = 120, dev: int = 40, test: int = 40, *, seed: int = 0, **kinds: bool) -> Corpus:
    """Commands to train, choose and test on."""
    rng = random.Random(seed)
    parts = [tuple(sentence(rng, **kinds) for _ in range(n)) for n in (train, dev, test)]
    return Corpus("made-up", *parts)


def written(made: Corpus, folder: Path) -> Path:
    """The corpus as a folder of joint files."""
    for part in ("train", "dev", "test"):
        lines = getattr(made, part)
        (folder / part).mkdir(parents=True)
        (folder / part / "seq.in").write_text("".join(" ".join(s.words) + "\n" for s in lines))
        (folder / part / "seq.out").write_text("".join(" ".join(s.tags) + "\n" for s in lines))
        (folder / part / "label").write_text("".join(s.intent + "\n" for s in lines))
    return folder


def encoder(folder: Path, *, longest: int = 32, layers: int = 2) -> Path:
    """A BERT of random weights, 16 wide, that knows the letters and some words whole; in Hugging Face layout."""
    from transformers import BertConfig, BertModel

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    known = {word for _, pattern in PATTERNS for word in pattern.split() if "{" not in word} | {"rome", "two", "rain"}
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{x}" for x in letters), *sorted(known - {"a"})]
    numbers = {piece: i for i, piece in enumerate(vocabulary)}
    fast = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=100))
    fast.normalizer = normalizers.BertNormalizer(lowercase=True)
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.post_processor = processors.BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=longest,
    )  # fmt: skip
    BertModel(shape).save_pretrained(folder, safe_serialization=True)
    fast.save(str(folder / "tokenizer.json"))
    return folder
