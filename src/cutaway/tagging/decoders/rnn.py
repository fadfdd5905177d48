"""A recurrent decoder: word by word, it reads the word's features and the tag it gave to the word before, and gives the next tag.

Shen et al. (2018, §3): an LSTM begins with a GO tag and is greedy; with beam > 1 it keeps several beginnings. Each step is a
softmax over what the tag scheme allows after the last tag, so that

    −log p(tags | words) = −Σₜ log p(yₜ | y₁ … yₜ₋₁, words)

is a true likelihood over the legal sequences. It costs no tag × tag table, and looks back further than one tag.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging import schemes
from cutaway.tagging.crf import FORBIDDEN
from cutaway.tagging.parts import Features, Lengths, Part, Scored, inside
from cutaway.tagging.word_tags import TagDecoder

State = tuple[Float[Tensor, "1 row hidden"], Float[Tensor, "1 row hidden"]]


@dataclass(frozen=True)
class Options:
    """Of the recurrent decoder."""

    scheme: Literal["IOB2", "BIOES"] = "BIOES"
    """How spans are written as tags inside."""
    hidden: int = 100
    """Width of the LSTM."""
    tag_dim: int = 25
    """Width of the vector of the last tag."""
    beam: int = 1
    """Beginnings that are kept in decoding; 1 is greedy."""
    dropout: float = 0.25
    """Of the features and of what the LSTM gives, in training."""


class Rnn(TagDecoder):
    """Raises `CutawayError` for no width or no beam."""

    def __init__(self, width: int, labels: Sequence[str], options: Options):
        if options.hidden < 1 or options.tag_dim < 1 or options.beam < 1:
            raise CutawayError(
                f"rnn: hidden {options.hidden}, tag_dim {options.tag_dim}, beam {options.beam}: give at least 1 of each"
            )
        super().__init__(options.hidden, labels, options.scheme)
        self.chain.requires_grad_(False)  # of it only the rules are used
        self.beam = options.beam
        self.go = len(self.tags)
        self.last = nn.Embedding(len(self.tags) + 1, options.tag_dim)
        self.lstm = nn.LSTM(width + options.tag_dim, options.hidden, batch_first=True)
        self.dropout = nn.Dropout(options.dropout)
        rules = torch.cat([self.chain.follows, self.chain.begins[None]])
        self.register_buffer("after", rules, persistent=False)
        """`[last tag or GO, tag]`: what may come."""

    def losses(self, features: Features, lengths: Lengths, targets: dict[str, Tensor]) -> Float[Tensor, " batch"]:
        tags = targets["target.tags"]
        before = torch.cat([torch.full_like(tags[:, :1], self.go), tags[:, :-1]], dim=1)
        place = torch.arange(tags.shape[1], device=tags.device)
        logp, _ = self.steps(self.dropout(features), before, place == lengths[:, None] - 1)
        own = logp.gather(2, tags[..., None])[..., 0]
        return -own.masked_fill(~inside(lengths, tags.shape[1]), 0).sum(1)

    def steps(
        self,
        features: Float[Tensor, "row word width"],
        before: Int[Tensor, "row word"],
        final: Bool[Tensor, "row word"],
        state: State | None = None,
    ) -> tuple[Float[Tensor, "row word tag"], State]:
        """log p of every tag, given the tags before; `final` says at which word a sentence ends."""
        states, state = self.lstm(torch.cat([features, self.last(before)], dim=2), state)
        may = self.after[before] & (self.chain.ends | ~final[..., None])
        scores = self.project(self.dropout(states)).masked_fill(~may, FORBIDDEN)
        return scores.log_softmax(2), state

    def search(
        self, features: Features, lengths: Lengths
    ) -> tuple[Int[Tensor, "batch word"], Float[Tensor, "batch word"]]:
        """The likeliest sequence that the beam finds, and log p of each of its steps; 0 behind the end."""
        batch, words, _ = features.shape
        scores = features.new_full((batch, self.beam), -torch.inf)
        scores[:, 0] = 0
        last = lengths.new_full((batch, self.beam), self.go)
        rows = torch.arange(batch, device=lengths.device)[:, None]
        state, taken = None, []
        for t in range(words):
            own = features[:, t, None].expand(-1, self.beam, -1).flatten(0, 1)[:, None]
            final = (lengths == t + 1).repeat_interleave(self.beam)[:, None]
            logp, state = self.steps(own, last.flatten()[:, None], final, state)
            logp = logp.view(batch, self.beam, -1)
            best, way = (scores[..., None] + logp).flatten(1).topk(self.beam)
            came, last = way // logp.shape[2], way % logp.shape[2]
            taken.append((came, last, logp[rows, came, last]))
            scores = best.where((t < lengths)[:, None], scores)
            hidden, memory = (s.view(1, batch, self.beam, -1)[:, rows, came].flatten(1, 2) for s in state)
            state = (hidden, memory)
        place = torch.zeros_like(rows)
        path, steps = [], []
        for t in reversed(range(words)):
            came, tag, logp = taken[t]
            # a sentence that is over by now has its best beginning in place 0 still
            within = t < lengths[:, None]
            path.append(tag.gather(1, place).where(within, 0))
            steps.append(logp.gather(1, place).where(within, 0))
            place = came.gather(1, place).where(within, 0)
        return torch.cat(path[::-1], dim=1), torch.cat(steps[::-1], dim=1)

    @torch.no_grad()
    def decode(self, features: Features, lengths: Lengths) -> list[list[Scored]]:
        """Spans of the best sequence; the confidence is the product of the steps over a span's words."""
        tags, steps = self.search(features, lengths)
        found = []
        for path, step, length in zip(tags.tolist(), steps, lengths.tolist(), strict=True):
            spans = schemes.spans([self.tags[i] for i in path[:length]])
            found.append([Scored(span, step[span.start : span.end].sum().exp().item()) for span in spans])
        return found

    @torch.no_grad()
    def uncertainty(self, features: Features, lengths: Lengths) -> Float[Tensor, " batch"]:
        """1 less the probability of the least sure step."""
        return 1 - self.search(features, lengths)[1].amin(1).exp()


DECODER = Part(
    name="rnn",
    build=Rnn,
    about="an LSTM that is fed its own last tag; greedy or with a beam",
    citation="Shen, Yun, Lipton, Kronrod & Anandkumar 2018, §3",
    options=Options,
)
