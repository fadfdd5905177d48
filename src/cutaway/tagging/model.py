"""The tagger: inputs, a context, a decoder for spans, and a head for intents, learned together.

    words ─→ inputs, side by side ─→ dropout ─→ context ─→ decoder ─→ spans
                     └─ the sentence (else the context's largest values) ─→ head ─→ intents

The loss of a sentence x with words 1 … n (Chen, Zhuo & Wang 2019, §3.2, eq. 3: maximise p(y^i | x) Π_n p(y^s_n | x)):

    −log p(intent | x)  +  slot_weight · (−log p(tags | x))

The second term is a sum over words, or, for slot_loss "mean", that sum divided by n. With a CRF it is −log of the probability of
the whole sequence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.configs import options_of
from cutaway.core.errors import CutawayError
from cutaway.tagging.adversarial import disturbance
from cutaway.tagging.calibration import Calibration
from cutaway.tagging.combination import check_combination
from cutaway.tagging.config import Config
from cutaway.tagging.data import Sentence
from cutaway.tagging.intents import IntentHead, known_intents
from cutaway.tagging.parts import Context, Decoder, Features, InContext, Input, Lengths, Part, Scored, inside, part

T = TypeVar("T")
Batch = dict[str, Tensor]
Whole = Float[Tensor, "batch sentence_width"]
"""Features of a whole sentence."""
MOST = 4096
"""Words or pieces in flight, padding included, while sentences are read."""


@dataclass(frozen=True)
class Labels:
    """What there is to find, as training has seen it."""

    spans: tuple[str, ...]
    """Types of spans; empty if none are learned."""
    intents: tuple[str, ...]
    """Labels, or members of sets; empty if none are learned."""

    @classmethod
    def of(cls, sentences: Sequence[Sentence], config: Config) -> "Labels":
        """Raises `CutawayError` if the sentences have neither."""
        types = {span.type for sentence in sentences for span in sentence.spans()} if config.slot_weight else set()
        made = cls(tuple(sorted(types)), tuple(known_intents(sentences, config.intents)))
        if not made.spans and not made.intents:
            raise CutawayError("the training sentences have neither spans nor intents: there is nothing to learn")
        return made


class Read(NamedTuple):
    """What the model makes of a sentence."""

    spans: list[Scored]
    intents: Float[Tensor, " intent"] | None
    """Scores before softmax or sigmoid."""


def intent_scores(read: Sequence[Read]) -> Float[Tensor, "sentence intent"]:
    """Those of several sentences, as one tensor."""
    return torch.stack([each.intents for each in read if each.intents is not None])


class Tagger(nn.Module):
    """A tagger. Made by `new_tagger` from training sentences, or by `store.load` from a folder."""

    def __init__(self, config: Config, labels: Labels, inputs: Mapping[str, Input]):
        super().__init__()
        self.config, self.labels = config, labels
        self.inputs = cast("Mapping[str, Input]", nn.ModuleDict(inputs))
        self.calibration = Calibration()
        self.int8 = False
        self.dropout = nn.Dropout(config.dropout)
        context = part("context", config.context)
        width = sum(each.width for each in inputs.values())
        self.context = cast(Context, context.build(width, _options(context, config)))
        self.decoder: Decoder | None = None
        if labels.spans:
            decoder = part("decoder", config.decoder)
            self.decoder = cast(Decoder, decoder.build(self.context.width, labels.spans, _options(decoder, config)))
        self.head: IntentHead | None = None
        if labels.intents:
            width = sum(x.sentence_width for x in inputs.values()) or self.context.width
            self.head = IntentHead(width, labels.intents, config.intents, config.dropout)

    def sizes(self, sentences: Sequence[Sentence]) -> list[int]:
        """How long each sentence is to the input to which it is longest."""
        return [max(each.size(sentence) for each in self.inputs.values()) for sentence in sentences]

    def collate(self, sentences: Sequence[Sentence], *, targets: bool = True) -> dict[str, Tensor]:
        """A batch, with what is to be learned of it if `targets`."""
        lengths = [len(sentence.words) for sentence in sentences]
        batch = {"lengths": torch.tensor(lengths)}
        for each in self.inputs.values():
            batch |= each.collate(sentences)
        if targets and self.decoder:
            batch |= self.decoder.targets([sentence.spans() for sentence in sentences], lengths)
            batch["tagged"] = torch.tensor([bool(sentence.tags) for sentence in sentences])
        if targets and self.head:
            batch |= self.head.targets(sentences)
        return batch

    def features(self, batch: Batch) -> tuple[Features, Whole]:
        """Of words, ready for the decoder, and of sentences, ready for the head."""
        return self.in_context(*self.known(batch), batch["lengths"])

    def known(self, batch: Batch) -> tuple[Features, Whole | None]:
        """What the inputs say of words and, if they say anything of it, of the whole sentence: side by side."""
        read = [each.with_sentence(batch) for each in self.inputs.values()]
        sentences = [sentence for _, sentence in read if sentence is not None]
        words = self.dropout(torch.cat([words for words, _ in read], -1))
        return words, torch.cat(sentences, -1) if sentences else None

    def in_context(self, words: Features, whole: Whole | None, lengths: Lengths) -> tuple[InContext, Whole]:
        words = self.context(words, lengths)
        if whole is not None or not self.head:
            return words, words[:, 0] if whole is None else whole
        return words, words.masked_fill(~inside(lengths, words.shape[1])[..., None], -torch.inf).amax(1)

    def forward(self, batch: Batch) -> Float[Tensor, " batch"]:
        """The loss of each sentence, in nats; in adversarial training the mean of it and of that of the sentence disturbed."""
        words, whole = self.known(batch)
        loss = self.loss(words, whole, batch)
        if not (self.training and self.config.adversarial):
            return loss
        worse = disturbance(loss, words, self.config.adversarial)
        return (loss + self.loss(words + worse, whole, batch)) / 2

    def loss(self, words: Features, whole: Whole | None, batch: Batch) -> Float[Tensor, " batch"]:
        """From what the inputs say of words and of the sentence."""
        lengths = batch["lengths"]
        words, whole = self.in_context(words, whole, lengths)
        loss = words.new_zeros(len(words))
        if self.head:
            loss = loss + self.head.losses(self.head(whole), batch)
        if self.decoder:
            spans = self.decoder.losses(words, lengths, batch) * batch["tagged"]
            loss = loss + self.config.slot_weight * (spans / lengths if self.config.slot_loss == "mean" else spans)
        return loss

    def read(self, sentences: Sequence[Sentence]) -> list[Read]:
        """Spans and intents of every sentence, in the order given. Tags and intents that they have are not looked at."""

        def of(words: Features, whole: Tensor, lengths: Tensor) -> list[Read]:
            spans = self.decoder.decode(words, lengths) if self.decoder else [[] for _ in words]
            scores = self.head(whole).cpu() if self.head else [None] * len(words)
            return [Read(a, b) for a, b in zip(spans, scores, strict=True)]

        return self._each(sentences, of)

    def uncertainty(self, sentences: Sequence[Sentence]) -> list[float]:
        """How unsure the model is of each sentence: of its intent or of its spans, whichever is worse, from 0 to 1."""

        def of(words: Features, whole: Tensor, lengths: Tensor) -> list[float]:
            unsure = words.new_zeros(len(words))
            if self.head:
                sure = self.head.probabilities(self.head(whole) / self.calibration.intent_temperature)
                sure = sure if self.head.mode == "label" else torch.maximum(sure, 1 - sure)
                unsure = 1 - (sure.amax(-1) if self.head.mode == "label" else sure.amin(-1))
            if self.decoder:
                unsure = torch.maximum(unsure, self.decoder.uncertainty(words, lengths))
            return unsure.tolist()

        return self._each(sentences, of)

    @torch.no_grad()
    def _each(self, sentences: Sequence[Sentence], of: Callable[[Features, Tensor, Tensor], list[T]]) -> list[T]:
        """What `of` makes of the features of each sentence, in the order given; sentences of like length go together."""
        learning, device = self.training, next(self.parameters()).device
        if learning:  # walking through all modules takes as long as a layer
            self.eval()
        found: dict[int, T] = {}
        for some in _batches(self.sizes(sentences)):
            batch = self.collate([sentences[i] for i in some], targets=False)
            batch = {name: x.to(device) for name, x in batch.items()}
            found |= dict(zip(some, of(*self.features(batch), batch["lengths"]), strict=True))
        if learning:
            self.train()
        return [found[i] for i in range(len(sentences))]

    def fresh(self) -> list[str]:
        """Beginnings of the names of all parameters that are not pretrained."""
        named = {f"inputs.{name}.": x for name, x in self.inputs.items()} | {"context.": self.context}
        return [name for name, x in named.items() if not x.pretrained] + ["decoder.", "head."]


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Sentences of like length together, as many as `MOST` allows."""
    made: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if not made or (len(made[-1]) + 1) * lengths[i] > MOST:
            made.append([])
        made[-1].append(i)
    return made


def new_tagger(config: Config, sentences: Sequence[Sentence]) -> Tagger:
    """A tagger for what these sentences show, with pretrained weights where it has such, the rest random.

    Raises:
        CutawayError: parts that do not exist or do not go together, options that no part has, or sentences with nothing to
            learn.
    """
    check_combination(config.inputs, config.context, config.decoder, (sentence.spans() for sentence in sentences))
    parts = {name: part("input", name) for name in config.inputs}
    used = (*parts.values(), part("context", config.context), part("decoder", config.decoder))
    names = [each.name for each in used]
    if idle := sorted({name.partition(".")[0] for name in config.options} - set(names)):
        raise CutawayError(
            f"there are options of {', '.join(idle)}, but the parts are {', '.join(names)}: leave them out"
        )
    for each in used:
        _options(each, config)  # what is wrong is told before anything large is read
    labels = Labels.of(sentences, config)
    made = {name: cast(Input, each.build(sentences, _options(each, config))) for name, each in parts.items()}
    return Tagger(config, labels, made)


def same_tagger(config: Config, labels: Labels, known: Mapping[str, dict[str, Any]]) -> Tagger:
    """A tagger of the same shape as one that was made before, to be filled with its weights; `known` is by input."""
    parts = {name: part("input", name) for name in config.inputs}
    made = {name: cast(Input, each.build(None, _options(each, config), known[name])) for name, each in parts.items()}
    return Tagger(config, labels, made)


def _options(part: Part, config: Config) -> Any:
    return options_of(part.options, part.name, config.options)
