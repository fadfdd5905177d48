"""Every pair of words is scored as a span: spans within spans can be found.

Yu, Bohnet & Poesio (2020, §3): two small networks say what a word is as a beginning, h_s, and as an end, h_e; a biaffine form
scores each type, and "no span", for each pair (equation 3)

    r(i, j) = h_s(i)ᵀ U h_e(j) + W [h_s(i); h_e(j)] + b        p(type of i…j) = softmax r(i, j)

The loss is −log p summed over all pairs i ≤ j. Decoding takes spans from the surest on; one that crosses a span taken before is
left out, and, unless nested, one that has any of its words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.combination import check_flat, check_nested
from cutaway.tagging.parts import Decoder, Features, Lengths, Part, Scored, inside
from cutaway.tagging.schemes import Span

MOST = 2**24
"""Scores in flight while decoding."""

RARE = 4.0
"""Begins as the bias of "no span", which nearly every pair is: so that training does not begin by learning that."""


@dataclass(frozen=True)
class Options:
    """Of the biaffine decoder."""

    hidden: int = 150
    """Width of beginnings and ends."""
    nested: bool = True
    """May spans lie within spans?"""
    dropout: float = 0.2
    """Within the two networks, in training."""


class SpanDecoder(Decoder):
    """Raises `CutawayError` for no width."""

    nested = True

    def __init__(self, width: int, labels: Sequence[str], options: Options):
        super().__init__()
        if options.hidden < 1:
            raise CutawayError(f"span: hidden is {options.hidden}: give at least 1")
        self.labels, self.nested = list(labels), options.nested
        self.starts, self.ends = (
            nn.Sequential(nn.Linear(width, options.hidden), nn.ReLU(), nn.Dropout(options.dropout)) for _ in range(2)
        )
        kinds = 1 + len(self.labels)
        self.pair = nn.Parameter(torch.empty(kinds, options.hidden, options.hidden).normal_(std=1 / options.hidden))
        self.start = nn.Linear(options.hidden, kinds)
        self.end = nn.Linear(options.hidden, kinds, bias=False)
        with torch.no_grad():
            self.start.bias[0] = RARE

    def targets(self, spans: Sequence[Sequence[Span]], lengths: Sequence[int]) -> dict[str, Tensor]:
        """`target.kinds [batch, first, last]`: the label of each pair of words, 0 for no span.

        Raises:
            CutawayError: spans that do not lie in their sentence, cross, have two types, or overlap though not `nested`.
        """
        made = torch.zeros(len(spans), max(lengths), max(lengths), dtype=torch.long)
        for row, (some, length) in enumerate(zip(spans, lengths, strict=True)):
            known = [span for span in some if span.type in self.labels]
            check = check_nested if self.nested else check_flat
            check(known, length, "span")
            for span in known:
                made[row, span.start, span.end - 1] = 1 + self.labels.index(span.type)
        return {"target.kinds": made}

    def losses(self, features: Features, lengths: Lengths, targets: dict[str, Tensor]) -> Float[Tensor, " batch"]:
        logp = self.scores(self.starts(features), self.ends(features)).log_softmax(3)
        own = logp.gather(3, targets["target.kinds"][..., None])[..., 0]
        return -own.masked_fill(~_pairs(lengths, features.shape[1]), 0).sum((1, 2))

    def scores(
        self, starts: Float[Tensor, "batch first hidden"], ends: Float[Tensor, "batch last hidden"]
    ) -> Float[Tensor, "batch first last kind"]:
        both = torch.einsum("bfh,khg,blg->bflk", starts, self.pair, ends)
        return both + self.start(starts)[:, :, None] + self.end(ends)[:, None]

    @torch.no_grad()
    def decode(self, features: Features, lengths: Lengths) -> list[list[Scored]]:
        found: list[list[Scored]] = [[] for _ in features]
        for at, sure, kinds in self.parts(features, lengths):
            for row, first, last in kinds.nonzero().tolist():
                label = self.labels[int(kinds[row, first, last]) - 1]
                found[row].append(Scored(Span(at + first, last + 1, label), float(sure[row, first, last])))
        return [self.taken(some) for some in found]

    @torch.no_grad()
    def uncertainty(self, features: Features, lengths: Lengths) -> Float[Tensor, " batch"]:
        """1 less the probability of what the least sure pair of words is taken for."""
        return 1 - torch.stack([sure.flatten(1).amin(1) for _, sure, _ in self.parts(features, lengths)]).amin(0)

    def parts(self, features: Features, lengths: Lengths):
        """Likeliest label of each pair, and its probability, for as many beginnings at a time as memory wants; what is no pair
        is surely no span."""
        starts, ends = self.starts(features), self.ends(features)
        real = _pairs(lengths, features.shape[1])
        step = max(1, MOST // (len(features) * features.shape[1] * (1 + len(self.labels))))
        for at in range(0, features.shape[1], step):
            sure, kinds = self.scores(starts[:, at : at + step], ends).softmax(3).max(3)
            there = real[:, at : at + step]
            yield at, sure.where(there, 1), kinds.where(there, 0)

    def taken(self, candidates: Sequence[Scored]) -> list[Scored]:
        """The surest that go together, in order."""
        taken: list[Scored] = []
        for candidate in sorted(candidates, key=lambda scored: (-scored.confidence, scored.span)):
            clash = _crosses if self.nested else _overlaps
            if not any(clash(candidate.span, other.span) for other in taken):
                taken.append(candidate)
        return sorted(taken, key=lambda scored: (scored.span.start, -scored.span.end))


def _pairs(lengths: Lengths, words: int) -> Bool[Tensor, "batch first last"]:
    real = inside(lengths, words)
    return (real[:, :, None] & real[:, None]).triu()


def _crosses(a: Span, b: Span) -> bool:
    return a.start < b.start < a.end < b.end or b.start < a.start < b.end < a.end


def _overlaps(a: Span, b: Span) -> bool:
    return a.start < b.end and b.start < a.end


DECODER = Part(
    name="span",
    build=SpanDecoder,
    about="every pair of words is scored; the only one for spans within spans",
    citation="Yu, Bohnet & Poesio 2020, §3; Dozat & Manning 2017, §2",
    options=Options,
)
