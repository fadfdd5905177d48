"""A linear-chain conditional random field over tags (Lafferty, McCallum & Pereira 2001), for a batch of sentences at once.

    score(y) = start[y₁] + Σ emission[t, y_t] + Σ transition[y_{t-1}, y_t] + end[y_n]        p(y) = exp score(y) / Z

Sentences stand left-aligned; `lengths` are those of words, never of word pieces. Transitions that the tag scheme forbids have a
score of −∞ by construction: they are never learned and never predicted.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tagging.forward_backward import log_partition

FORBIDDEN = -1e4
"""Stands for −∞: large enough that no sum of real scores makes up for it, small enough for half precision."""


class Best(NamedTuple):
    """The n best tag sequences of each sentence, the best first; places behind a sentence's end hold −1."""

    tags: Int[Tensor, "batch n word"]
    score: Float[Tensor, "batch n"]


class CRF(nn.Module):
    """Transitions between `n_tags` tags.

    Args:
        follows: `[from, to]`, what the tag scheme allows; `begins`, `ends`: with what a sentence may.
    """

    def __init__(
        self,
        n_tags: int,
        *,
        follows: Bool[Tensor, "tag tag"] | None = None,
        begins: Bool[Tensor, " tag"] | None = None,
        ends: Bool[Tensor, " tag"] | None = None,
    ):
        super().__init__()
        if n_tags < 1:
            raise CutawayError(f"a CRF needs at least 1 tag, not {n_tags}")
        self.transition = nn.Parameter(torch.empty(n_tags, n_tags).uniform_(-0.1, 0.1))
        self.start = nn.Parameter(torch.empty(n_tags).uniform_(-0.1, 0.1))
        self.end = nn.Parameter(torch.empty(n_tags).uniform_(-0.1, 0.1))
        everything = torch.ones(n_tags, n_tags, dtype=torch.bool)
        self.register_buffer("follows", everything if follows is None else follows)
        self.register_buffer("begins", everything[0] if begins is None else begins)
        self.register_buffer("ends", everything[0] if ends is None else ends)

    def scores(self) -> tuple[Float[Tensor, "tag tag"], Float[Tensor, " tag"], Float[Tensor, " tag"]]:
        """Transition, start and end, with what is forbidden."""
        pairs = ((self.transition, self.follows), (self.start, self.begins), (self.end, self.ends))
        transition, start, end = (score.masked_fill(~may, FORBIDDEN) for score, may in pairs)
        return transition, start, end

    def forward(
        self,
        emissions: Float[Tensor, "batch word tag"],
        tags: Int[Tensor, "batch word"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """−log p(tags) of each sentence. What stands behind a sentence's end is not looked at."""
        return self.log_partition(emissions, lengths) - self.score(emissions, tags, lengths)

    def score(
        self,
        emissions: Float[Tensor, "batch word tag"],
        tags: Int[Tensor, "batch word"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The score of one tag sequence for each sentence."""
        _check(emissions, lengths)
        transition, start, end = self.scores()
        real = _real(emissions, lengths)
        tags = tags.masked_fill(~real, 0)
        own = emissions.gather(2, tags[..., None])[..., 0].masked_fill(~real, 0).sum(1)
        steps = transition[tags[:, :-1], tags[:, 1:]].masked_fill(~real[:, 1:], 0).sum(1)
        last = tags.gather(1, lengths[:, None] - 1)[:, 0]
        return start[tags[:, 0]] + own + steps + end[last]

    def log_partition(
        self, emissions: Float[Tensor, "batch word tag"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """log Z: the forward algorithm (`forward_backward.py`)."""
        _check(emissions, lengths)
        return log_partition(emissions, *self.scores(), lengths)

    def marginals(
        self, emissions: Float[Tensor, "batch word tag"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch word tag"]:
        """p(tag of a word | the sentence): the derivative of log Z by the emissions. Zero behind a sentence's end."""
        with torch.enable_grad():
            given = emissions.detach().requires_grad_()
            (found,) = torch.autograd.grad(self.log_partition(given, lengths).sum(), given)
        return found

    @torch.no_grad()
    def best(self, emissions: Float[Tensor, "batch word tag"], lengths: Int[Tensor, " batch"], n: int = 1) -> Best:
        """The `n` best tag sequences: Viterbi, keeping the n best ways to every tag.

        Where a sentence has fewer than n sequences, the rest score −∞ and hold −1.
        """
        _check(emissions, lengths)
        if n < 1:
            raise CutawayError(f"n is {n}: ask for at least the 1 best sequence")
        if n == 1:
            return self._viterbi(emissions, lengths)
        transition, start, end = self.scores()
        batch, words, tags = emissions.shape
        delta = emissions.new_full((batch, tags, n), -torch.inf)
        delta[..., 0] = start + emissions[:, 0]
        came: list[Tensor] = []
        stay = torch.arange(tags * n, device=emissions.device).view(1, tags, n)
        for t in range(1, words):
            ways = delta[:, :, :, None] + transition[None, :, None]  # [batch, from, rank, to]
            score, way = ways.reshape(batch, tags * n, tags).topk(n, dim=1)
            inside = (t < lengths)[:, None, None]
            delta = torch.where(inside, score.transpose(1, 2) + emissions[:, t, :, None], delta)
            came.append(torch.where(inside, way.transpose(1, 2), stay))
        score, place = (delta + end[:, None]).reshape(batch, tags * n).topk(n, dim=1)
        found = [place // n]
        for back in reversed(came):
            place = back.reshape(batch, tags * n).gather(1, place)
            found.append(place // n)
        path = torch.stack(found[::-1], dim=2)
        real = _real(emissions, lengths)[:, None] & score.isfinite()[..., None]
        return Best(path.masked_fill(~real, -1), score)

    def _viterbi(self, emissions: Float[Tensor, "batch word tag"], lengths: Int[Tensor, " batch"]) -> Best:
        """The one best sequence. Only the scores are kept on the way; where each tag came from is asked on the way back, and
        then for the one tag that was taken. `delta` is [tag, batch]: the largest over the first axis is the fastest to find."""
        transition, start, end = self.scores()
        scores = emissions.permute(1, 2, 0).contiguous()
        deltas = [start[:, None] + scores[0]]
        for t in range(1, len(scores)):
            ways = deltas[-1][:, None] + transition[..., None]  # [from, to, batch]
            deltas.append(torch.where(t < lengths, ways.amax(0) + scores[t], deltas[-1]))
        score, tag = (deltas.pop() + end[:, None]).max(0)
        path = [tag]
        for t in reversed(range(1, len(scores))):
            came = (deltas.pop() + transition[:, tag]).argmax(0)
            tag = torch.where(t < lengths, came, tag)
            path.append(tag)
        tags = torch.stack(path[::-1], dim=1).masked_fill(~_real(emissions, lengths), -1)
        return Best(tags[:, None], score[:, None])


def _real(emissions: Tensor, lengths: Tensor) -> Bool[Tensor, "batch word"]:
    return torch.arange(emissions.shape[1], device=lengths.device) < lengths[:, None]


def _check(emissions: Tensor, lengths: Tensor) -> None:
    if lengths.numel() and not 1 <= int(lengths.min()) <= int(lengths.max()) <= emissions.shape[1]:
        raise CutawayError(
            f"sentences must have 1 to {emissions.shape[1]} words here: lengths are {lengths.tolist()[:10]}"
        )
