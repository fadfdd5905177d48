"""The three axes of a tagger (Li, Sun, Han & Li 2020, arXiv 1812.09449, §3): what is known of each word, what its sentence
adds, and how that becomes labels. Each part is one file in `inputs/`, `contexts/` or `decoders/`, with a record by which it
is found.

    words ─→ inputs, side by side ─→ context ─→ decoder ─→ spans

An input sees sentences, a context and a decoder see features `[batch, word, width]` of left-aligned sentences with their lengths.
No two parts have the same name, on whatever axes: an option is written `part.option`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cutaway.core.discovery import discover, pick
from cutaway.tagging.data import Sentence
from cutaway.tagging.schemes import Span

Features = Float[Tensor, "batch word width"]
InContext = Float[Tensor, "batch word width_in_context"]
Lengths = Int[Tensor, " batch"]


def inside(lengths: Lengths, words: int) -> Bool[Tensor, "batch word"]:
    """Which of `words` places hold a word of their sentence, and not padding."""
    return torch.arange(words, device=lengths.device) < lengths[:, None]


@dataclass(frozen=True)
class Part:
    """One choice on one axis. `build` makes the module: see `Input`, `Context` and `Decoder` for what it is given."""

    name: str
    build: Callable[..., nn.Module]
    about: str
    citation: str
    options: type
    """A frozen dataclass of what can be set, defaults included; everything has a default."""


class Input(nn.Module, ABC):
    """What is known of a word by itself.

    Built as `build(sentences, options)`: it takes its vocabulary from the training sentences. What it knows that is no weight
    is in `known()`, and `build(None, options, known)` makes the same input again.
    """

    width: int
    sentence_width: int = 0
    """Of its features of the whole sentence; 0: it has none."""
    pretrained: bool = False
    """Its weights come from another training: they learn at the plain rate, which for others may be a multiple of it."""

    @abstractmethod
    def known(self) -> dict[str, Any]:
        """What is kept beside the weights, as plain data by name: each becomes a JSON file in a folder of the input's name."""

    def size(self, sentence: Sentence) -> int:
        """How long a sentence is to this input: batches are made of like ones, so that there is little padding."""
        return len(sentence.words)

    @abstractmethod
    def collate(self, sentences: Sequence[Sentence]) -> dict[str, Tensor]:
        """A batch of sentences as tensors; names begin with the input's own name and a dot."""

    @abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> Features:
        """Features of every word, zero behind a sentence's end."""

    def with_sentence(self, batch: dict[str, Tensor]) -> tuple[Features, Float[Tensor, "batch width"] | None]:
        """The same, and features of the whole sentence where `sentence_width` is not 0 (a pretrained encoder's first token)."""
        return self(batch), None


class Context(nn.Module, ABC):
    """What the sentence adds to its words. Built as `build(width, options)`."""

    width: int
    """Of what comes out."""
    pretrained: bool = False
    """As for an input."""

    @abstractmethod
    def forward(self, features: Features, lengths: Lengths) -> InContext:
        """What stands behind a sentence's end changes nothing before it."""


class Scored(NamedTuple):
    """A span and how sure the decoder is of it, from 0 to 1."""

    span: Span
    confidence: float


class Decoder(nn.Module, ABC):
    """From features to spans. Built as `build(width, labels, options)`; `labels` are the span types.

    How labels look inside (tags of a scheme, pairs of words, pointers) is the decoder's own affair: others know spans only.
    """

    nested: bool = False
    """Can it find spans within spans?"""

    @abstractmethod
    def targets(self, spans: Sequence[Sequence[Span]], lengths: Sequence[int]) -> dict[str, Tensor]:
        """What it is to learn of a batch, as tensors; names begin with `target.`. Spans of unknown types are left out."""

    @abstractmethod
    def losses(self, features: Features, lengths: Lengths, targets: dict[str, Tensor]) -> Float[Tensor, " batch"]:
        """−log-likelihood of each sentence, in nats, or what stands for it."""

    @abstractmethod
    def decode(self, features: Features, lengths: Lengths) -> list[list[Scored]]:
        """The spans of each sentence, in order."""

    def uncertainty(self, features: Features, lengths: Lengths) -> Float[Tensor, " batch"]:
        """How unsure it is of a sentence: 1 less the confidence of its least sure span or word; larger is less sure."""
        raise NotImplementedError


@cache
def inputs() -> dict[str, Part]:
    return discover("cutaway.tagging.inputs", "INPUT")


@cache
def contexts() -> dict[str, Part]:
    return discover("cutaway.tagging.contexts", "CONTEXT")


@cache
def decoders() -> dict[str, Part]:
    return discover("cutaway.tagging.decoders", "DECODER")


def part(axis: str, name: str) -> Part:
    """A part by name; raises `CutawayError` with the nearest names if there is none such."""
    return pick({"input": inputs, "context": contexts, "decoder": decoders}[axis](), name, f"tagging {axis}")
