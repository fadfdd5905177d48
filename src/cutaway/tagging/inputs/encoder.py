"""A pretrained encoder: a word is the last layer's vector at its first piece.

Words are cut into pieces one by one. A sentence longer than the encoder reads is cut at words into windows of like length, which
are read side by side; a word that becomes no pieces at all (an invisible character) is the unknown piece.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.core.encoders import DEFAULT_ENCODER, KNOWN_ENCODERS, Encoder, load_encoder, made_encoder
from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence
from cutaway.tagging.parts import Features, Input, Part


@dataclass(frozen=True)
class Options:
    """Of the pretrained encoder."""

    name: str = DEFAULT_ENCODER
    """A known encoder, a folder in Hugging Face layout, or owner/name on the hub."""
    sentence: Literal["trained", "first", "mean"] = "trained"
    """What stands for the whole sentence: the first token, as in the paper, or the mean of the words; `trained`: what the encoder
    was trained with, if that is known, else the first token."""
    frozen: bool = False
    """Leave its weights as they are."""
    hide: float = 0.0
    """Share of words that are hidden in training, so that their sentence has to tell what they are (word dropout)."""


class PretrainedEncoder(Input):
    """The encoder, its tokenizer, and the way from words to pieces and back."""

    pretrained = True

    def __init__(self, encoder: Encoder, options: Options):
        super().__init__()
        self.model, self.tokenizer, self.width = encoder.model, encoder.tokenizer, encoder.width
        self.sentence_width = encoder.width
        known = KNOWN_ENCODERS.get(options.name)
        trained = known.sentence if known else "first"
        self.mean = (trained if options.sentence == "trained" else options.sentence) == "mean"
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # nobody reads it
        if not 0 <= options.hide < 1:
            raise CutawayError(f"encoder.hide is {options.hide}: give a share from 0 to below 1")
        self.hide = options.hide
        if options.frozen:
            self.model.requires_grad_(False)
        self.before, self.after, self.unknown = _special(self.tokenizer)
        masks = (self.tokenizer.token_to_id(name) for name in ("[MASK]", "<mask>"))
        self.hidden_piece = next((i for i in masks if i is not None), self.unknown)
        self.room = encoder.longest - len(self.before) - len(self.after)
        self._pieces: dict[str, tuple[int, ...]] = {}

    def known(self) -> dict[str, Any]:
        """The encoder's `config.json` and `tokenizer.json`."""
        return {"config": self.model.config.to_dict(), "tokenizer": json.loads(self.tokenizer.to_str())}

    def pieces(self, word: str) -> tuple[int, ...]:
        """The pieces of a word, at least one, at most as many as fit into a window."""
        if word not in self._pieces:
            ids = self.tokenizer.encode([word], is_pretokenized=True, add_special_tokens=False).ids[: self.room]
            self._pieces[word] = tuple(ids) or (self.unknown,)
        return self._pieces[word]

    def size(self, sentence: Sentence) -> int:
        return sum(len(self.pieces(word)) for word in sentence.words)

    def windows(self, words: Sequence[str]) -> list[list[tuple[int, ...]]]:
        """The words' pieces, cut at words into as few windows as do, of like length."""
        pieces = [self.pieces(word) for word in words]
        total = sum(map(len, pieces))
        share = -(-total // -(-total // self.room))  # pieces a window if all were alike
        made, held = [[]], 0
        for some in pieces:
            if made[-1] and (held >= share or held + len(some) > self.room):
                made.append([])
                held = 0
            made[-1].append(some)
            held += len(some)
        return made

    def collate(self, sentences: Sequence[Sentence]) -> dict[str, Tensor]:
        """`ids [window, piece]` with their `mask`; `at [batch, word]`: where each word's first piece stands among all windows'
        pieces, −1 behind a sentence's end; `first [batch]`: the same for the sentence's first token."""
        rows: list[list[int]] = []
        places: list[list[tuple[int, int]]] = []
        firsts: list[int] = []
        for sentence in sentences:
            firsts.append(len(rows))
            places.append([])
            for window in self.windows(sentence.words):
                row = list(self.before)
                for some in window:
                    places[-1].append((len(rows), len(row)))
                    row += some
                rows.append(row + list(self.after))
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.unknown)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
        at = torch.full((len(sentences), max(map(len, places))), -1)
        for i, some in enumerate(places):
            at[i, : len(some)] = torch.tensor([window * longest + piece for window, piece in some])
        first = torch.tensor([row * longest for row in firsts])
        return {"encoder.ids": ids, "encoder.mask": mask, "encoder.at": at, "encoder.first": first}

    def forward(self, batch: dict[str, Tensor]) -> Features:
        return self.with_sentence(batch)[0]

    def with_sentence(self, batch: dict[str, Tensor]) -> tuple[Features, Float[Tensor, "batch width"]]:
        ids = self.with_words_hidden(batch) if self.training and self.hide else batch["encoder.ids"]
        read = self.model(input_ids=ids, attention_mask=batch["encoder.mask"])
        hidden, at = read.last_hidden_state.flatten(0, 1), batch["encoder.at"]
        real = at >= 0
        words = hidden[at.clamp_min(0)] * real[..., None]
        if self.mean:
            return words, words.sum(1) / real.sum(1, keepdim=True)
        return words, hidden[batch["encoder.first"]]

    def with_words_hidden(self, batch: dict[str, Tensor]) -> Int[Tensor, "window piece"]:
        """The pieces, all those of some words replaced by the mask (Iyyer et al. 2015, Deep unordered composition, §3)."""
        ids, mask, at = batch["encoder.ids"], batch["encoder.mask"], batch["encoder.at"]
        starts = torch.zeros(ids.numel(), dtype=torch.long, device=ids.device)
        starts[at[at >= 0]] = 1
        word = starts.cumsum(0).view_as(ids)  # counted over all windows; 0 before the first word
        hidden = torch.rand(int(word.max()) + 1, device=ids.device)[word] < self.hide
        place = torch.arange(ids.shape[1], device=ids.device)
        own = (place >= len(self.before)) & (place < mask.sum(1, keepdim=True) - len(self.after))
        return ids.masked_fill(hidden & own, self.hidden_piece)


def _special(tokenizer: Any) -> tuple[list[int], list[int], int]:
    """What the tokenizer puts before and after a text, and its unknown piece."""
    told = json.loads(tokenizer.to_str())
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a").ids
    at = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
    named = (told["model"].get("unk_token"), "[UNK]", "<unk>", "<|endoftext|>")
    unknown = next((i for name in named if name and (i := tokenizer.token_to_id(name)) is not None), None)
    if unknown is None:
        raise CutawayError("the encoder's tokenizer has no unknown piece: give one that has [UNK] or <unk>")
    return whole[:at], whole[at + len(plain) :], unknown


def _spaced(encoder: Encoder) -> Encoder:
    """A byte-level tokenizer tells the beginning of a word by the space before it: words by themselves need one."""
    told = json.loads(encoder.tokenizer.to_str())
    if (told.get("pre_tokenizer") or {}).get("type") == "ByteLevel":
        from tokenizers.pre_tokenizers import ByteLevel

        encoder.tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    return encoder


def build(
    sentences: Sequence[Sentence] | None, options: Options, known: dict[str, Any] | None = None
) -> PretrainedEncoder:
    """With its pretrained weights, or, if `known` is given, of the same shape and to be filled."""
    encoder = load_encoder(options.name) if known is None else made_encoder(known["config"], known["tokenizer"])
    return PretrainedEncoder(_spaced(encoder), options)


INPUT = Part(
    name="encoder",
    build=build,
    about="a pretrained transformer encoder, at the first piece of each word",
    citation="Devlin, Chang, Lee & Toutanova 2019, BERT (NAACL, arXiv 1810.04805), §5.3",
    options=Options,
)
