"""A pointer network: from left to right it points at the word where the segment that begins here ends, then labels the segment.

Zhai et al. (2017, model III), after Vinyals, Fortunato & Jaitly (2015). With h a word's features, b where segment j begins and
d the state of an LSTM that has read the segments so far,

    p(segment j ends at e) ∝ exp(v · tanh(W₁ hₑ + W₂ h_b + W₃ dⱼ₋₁) + u[e − b])      u: how likely are segments of this length
    dⱼ = LSTM(mean of the segment, its first and its last word; dⱼ₋₁)
    p(label) = softmax(W dⱼ)

A word outside is a segment of its own; longer segments cannot be outside. So a sentence has one segmentation for each set of spans,
and the loss is a true −log-likelihood. Decoding is greedy, as in the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.combination import check_flat
from cutaway.tagging.crf import FORBIDDEN
from cutaway.tagging.parts import Decoder, Features, Lengths, Part, Scored
from cutaway.tagging.schemes import Span

Places = Int[Tensor, "batch segment"]
States = Float[Tensor, "batch segment hidden"]
Words = tuple[Float[Tensor, "batch word hidden"], Float[Tensor, "batch word hidden"]]


@dataclass(frozen=True)
class Options:
    """Of the pointer network."""

    hidden: int = 100
    """Width of the LSTM and of the pointer."""
    longest: int = 40
    """Words that a segment may have."""
    dropout: float = 0.25
    """Of the features and of the LSTM's states, in training."""


class Segment(NamedTuple):
    """From `start` to before `end`; kind 0 is outside."""

    start: int
    end: int
    kind: int
    confidence: float


class Pointer(Decoder):
    """Raises `CutawayError` for no width, or segments of no words."""

    def __init__(self, width: int, labels: Sequence[str], options: Options):
        super().__init__()
        if options.hidden < 1 or options.longest < 1:
            raise CutawayError(f"pointer: hidden {options.hidden}, longest {options.longest}: give at least 1 of each")
        self.labels = list(labels)
        self.longest = options.longest
        self.candidate = nn.Linear(width, options.hidden)
        self.begin = nn.Linear(width, options.hidden, bias=False)
        self.past = nn.Linear(options.hidden, options.hidden, bias=False)
        self.point = nn.Linear(options.hidden, 1, bias=False)
        self.length = nn.Parameter(torch.zeros(options.longest))
        self.lstm = nn.LSTM(3 * width, options.hidden, batch_first=True)
        self.label = nn.Linear(options.hidden, 1 + len(self.labels))
        self.dropout = nn.Dropout(options.dropout)

    def targets(self, spans: Sequence[Sequence[Span]], lengths: Sequence[int]) -> dict[str, Tensor]:
        """`target.ends` and `target.kinds [batch, segment]`: the last word of each segment, −1 if there is none, and its label.

        Raises:
            CutawayError: spans that overlap, do not lie in their sentence, or are longer than `longest`.
        """
        known = [[span for span in some if span.type in self.labels] for some in spans]
        rows = [self.segments(some, length) for some, length in zip(known, lengths, strict=True)]
        ends, kinds = (torch.full((len(rows), max(map(len, rows))), fill) for fill in (-1, 0))
        for row, segments in enumerate(rows):
            ends[row, : len(segments)] = torch.tensor([end for end, _ in segments])
            kinds[row, : len(segments)] = torch.tensor([kind for _, kind in segments])
        return {"target.ends": ends, "target.kinds": kinds}

    def segments(self, spans: Sequence[Span], length: int) -> list[tuple[int, int]]:
        """The last word and the label of each segment of a sentence."""
        check_flat(spans, length, "pointer")
        starting, made, at = {span.start: span for span in spans}, [], 0
        while at < length:
            span = starting.get(at)
            size = span.end - span.start if span else 1
            if size > self.longest:
                raise CutawayError(
                    f"a span has {size} words: set pointer.longest to at least that (it is {self.longest})"
                )
            made.append((at + size - 1, 1 + self.labels.index(span.type) if span else 0))
            at += size
        return made

    def losses(self, features: Features, lengths: Lengths, targets: dict[str, Tensor]) -> Float[Tensor, " batch"]:
        features, ends, kinds = self.dropout(features), targets["target.ends"], targets["target.kinds"]
        real, ends = ends >= 0, ends.clamp_min(0)
        begins = nn.functional.pad(ends[:, :-1] + 1, (1, 0)).where(real, 0)
        states, _ = self.lstm(_read(features, begins, ends))
        before = nn.functional.pad(states[:, :-1], (0, 0, 1, 0))
        points = self.points(self.words(features), lengths, begins, before).gather(2, (ends - begins)[..., None])
        labels = self.kinds(states, ends > begins).gather(2, kinds[..., None])
        return -(points + labels)[..., 0].masked_fill(~real, 0).sum(1)

    def words(self, features: Features) -> Words:
        """What each word is worth as an end, and as a beginning: W₁ h and W₂ h."""
        return self.candidate(features), self.begin(features)

    def points(
        self, words: Words, lengths: Lengths, begins: Places, before: States
    ) -> Float[Tensor, "batch segment size"]:
        """log p of each length of the segments that begin at `begins`."""
        as_end, as_begin = words
        sizes = torch.arange(min(self.longest, as_end.shape[1]), device=begins.device)
        at = begins[..., None] + sizes
        within = at < lengths[:, None, None]
        rows = torch.arange(len(begins), device=begins.device)[:, None]
        given = as_begin[rows, begins] + self.past(self.dropout(before))
        candidates = as_end[rows[..., None], at.where(within, 0)]
        scores = self.point((candidates + given[:, :, None]).tanh())[..., 0] + self.length[: len(sizes)]
        return scores.masked_fill(~within, FORBIDDEN).log_softmax(2)

    def kinds(self, states: States, several: Tensor) -> Float[Tensor, "batch segment kind"]:
        """log p of each label; a segment of several words is not outside, unless there are no labels."""
        scores = self.label(self.dropout(states))
        if self.labels:
            scores = torch.cat([scores[..., :1].masked_fill(several[..., None], FORBIDDEN), scores[..., 1:]], dim=2)
        return scores.log_softmax(2)

    @torch.no_grad()
    def walk(self, features: Features, lengths: Lengths) -> list[list[Segment]]:
        """The segments of each sentence, one at a time, all sentences at once."""
        found: list[list[Segment]] = [[] for _ in features]
        begins, state = torch.zeros_like(lengths)[:, None], None
        before, words = features.new_zeros(len(features), 1, self.past.in_features), self.words(features)
        while (begins[:, 0] < lengths).any():
            going = begins[:, 0] < lengths
            begins = begins.where(going[:, None], 0)
            sure, size = self.points(words, lengths, begins, before).max(2)
            ends = begins + size
            before, state = self.lstm(_read(features, begins, ends), state)
            surer, kinds = self.kinds(before, ends > begins).max(2)
            confidence = (sure + surer).exp()[:, 0].tolist()
            for row in going.nonzero()[:, 0].tolist():
                where = (int(begins[row, 0]), int(ends[row, 0]) + 1, int(kinds[row, 0]))
                found[row].append(Segment(*where, confidence[row]))
            begins = (ends + 1).where(going[:, None], lengths[:, None])
        return found

    def decode(self, features: Features, lengths: Lengths) -> list[list[Scored]]:
        """Segments that are not outside; the confidence is p(its end) · p(its label), given the segments before."""
        return [
            [Scored(Span(s.start, s.end, self.labels[s.kind - 1]), s.confidence) for s in segments if s.kind]
            for segments in self.walk(features, lengths)
        ]

    def uncertainty(self, features: Features, lengths: Lengths) -> Float[Tensor, " batch"]:
        """1 less the confidence of the least sure segment."""
        least = [min(s.confidence for s in segments) for segments in self.walk(features, lengths)]
        return 1 - torch.tensor(least, device=features.device)


def _read(features: Features, begins: Places, ends: Places) -> Float[Tensor, "batch segment three_widths"]:
    """What the LSTM reads of each segment: the mean of its words, the first and the last."""
    rows = torch.arange(len(begins), device=begins.device)[:, None]
    place = torch.arange(features.shape[1], device=begins.device)
    member = ((begins[..., None] <= place) & (place <= ends[..., None])).to(features.dtype)
    mean = (member @ features) / member.sum(2, keepdim=True)
    return torch.cat([mean, features[rows, begins], features[rows, ends]], dim=2)


DECODER = Part(
    name="pointer",
    build=Pointer,
    about="points at the end of each segment, then labels it",
    citation="Zhai, Potdar, Xiang & Zhou 2017 (model III); Vinyals, Fortunato & Jaitly 2015, §2.3",
    options=Options,
)
