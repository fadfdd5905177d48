"""What decoders that give every word a tag have in common: the tags of a scheme, constrained decoding, confidences.

A word's features become scores, one a tag; a chain says which tag may follow which. The likeliest sequence that the scheme
allows is read as spans. How sure it is of a span is the probability, under the same chain, of all sequences that have exactly
this span: its tags where they are, and not going on behind it. With Z summed over all sequences, and over those alone,

    p(span | sentence) = Z(only the span's tags at its words, none that goes on at the next) / Z

which counts how the tags of a span depend on each other; the product of each word's marginals would not.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cutaway.tagging import schemes
from cutaway.tagging.crf import CRF, FORBIDDEN
from cutaway.tagging.parts import Decoder, Features, Lengths, Scored
from cutaway.tagging.schemes import Span

MOST = 2**24
"""Scores in flight while confidences are computed."""


class TagDecoder(Decoder):
    """Scores from one linear layer, and a chain between the tags. What is learned, and how, is each decoder's own.

    Args:
        labels: the span types; there may be none, then everything is outside.
        constrained: only sequences that the scheme allows; otherwise all, read as conlleval reads them.
    """

    def __init__(self, width: int, labels: Sequence[str], scheme: str, *, constrained: bool = True):
        super().__init__()
        self.scheme = schemes.scheme(scheme)
        prefixes = [prefix for prefix in self.scheme.prefixes if prefix != schemes.OUTSIDE]
        self.tags = [schemes.OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in prefixes)]
        self.number = {tag: i for i, tag in enumerate(self.tags)}
        self.labels = frozenset(labels)
        rules = [torch.tensor(rule) for rule in schemes.allowed(self.tags, scheme)] if constrained else [None] * 3
        self.chain = CRF(len(self.tags), follows=rules[0], begins=rules[1], ends=rules[2])
        self.project = nn.Linear(width, len(self.tags))
        goes_on = [[a != "O" and b != "O" and len(schemes.spans([a, b])) == 1 for b in self.tags] for a in self.tags]
        self.register_buffer("goes_on", torch.tensor(goes_on), persistent=False)

    def targets(self, spans: Sequence[Sequence[Span]], lengths: Sequence[int]) -> dict[str, Tensor]:
        """`target.tags [batch, word]`, 0 behind a sentence's end."""
        made = torch.zeros(len(spans), max(lengths), dtype=torch.long)
        for row, (some, length) in enumerate(zip(spans, lengths, strict=True)):
            known = [span for span in some if span.type in self.labels]
            tags = schemes.tags(known, length, self.scheme.name)
            made[row, :length] = torch.tensor([self.number[tag] for tag in tags])
        return {"target.tags": made}

    def decode(self, features: Features, lengths: Lengths) -> list[list[Scored]]:
        scores = self.project(features)
        best = self.chain.best(scores, lengths).tags[:, 0].tolist()
        found = [
            (row, span)
            for row, (tags, length) in enumerate(zip(best, lengths.tolist(), strict=True))
            for span in schemes.spans([self.tags[i] for i in tags[:length]])
        ]
        sure = self._confidences(scores, lengths, best, found)
        made: list[list[Scored]] = [[] for _ in best]
        for (row, span), confidence in zip(found, sure, strict=True):
            made[row].append(Scored(span, confidence))
        return made

    def uncertainty(self, features: Features, lengths: Lengths) -> Float[Tensor, " batch"]:
        """1 less the marginal of the likeliest tag of the least sure word."""
        sure = self.chain.marginals(self.project(features), lengths).amax(-1)
        behind = torch.arange(sure.shape[1], device=sure.device) >= lengths[:, None]
        return 1 - sure.masked_fill(behind, 1).amin(1)

    def _confidences(
        self,
        scores: Float[Tensor, "batch word tag"],
        lengths: Int[Tensor, " batch"],
        best: list[list[int]],
        found: list[tuple[int, Span]],
    ) -> list[float]:
        if not found:
            return []
        whole = self.chain.log_partition(scores, lengths)
        sure: list[float] = []
        step = max(1, MOST // scores[0].numel())
        for start in range(0, len(found), step):
            some = found[start : start + step]
            rows = torch.tensor([row for row, _ in some], device=scores.device)
            only = scores[rows]
            for i, (row, span) in enumerate(some):
                tags = torch.tensor(best[row][span.start : span.end], device=scores.device)
                own = only[i, span.start : span.end].gather(1, tags[:, None])
                only[i, span.start : span.end] = FORBIDDEN
                only[i, span.start : span.end].scatter_(1, tags[:, None], own)
                if span.end < int(lengths[row]):
                    only[i, span.end].masked_fill_(self.goes_on[tags[-1]], FORBIDDEN)
            share = self.chain.log_partition(only, lengths[rows]) - whole[rows]
            sure += share.exp().clamp(0, 1).tolist()
        return sure
