"""A text as the model reads it: tokens, their roles, and an answer fed back; and which tokens of two phrases line up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cutaway.circuits.behavior import ANSWER, Row, Segment
from cutaway.circuits.behaviors.record import Recipe
from cutaway.circuits.explore.question import Place
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

TOKENS = 128
"""Most tokens beyond those that all prompts of the run share; more where a prompt of the run has more."""
STEPS = 8
"""Most tokens of an answer."""

Slot = tuple[str, int]
"""The role of a token and its place in that role."""


@dataclass(frozen=True)
class Prompt:
    """A phrase up to where its answer begins.

    `read` says whether its tokens have the roles of the behaviour; where it is not, they have none (`""`). `fed` names
    the roles of the answer's tokens but the last, which are fed back. `expected` is the answer that the behaviour asks
    for, and `rivals` the tokens it competes with at each step; both empty where nobody knows.
    """

    phrase: str
    text: str
    row: Row
    read: bool
    fed: tuple[str, ...]
    expected: tuple[int, ...] = ()
    rivals: tuple[tuple[int, ...], ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(i for segment in self.row for i in segment.ids)

    @property
    def steps(self) -> int:
        """Tokens of its answer, unless another one is given."""
        return len(self.fed) + 1


@dataclass(frozen=True)
class Phrase:
    """A prompt with an answer fed back (all but its last token). The last tokens predict the answer, one each."""

    prompt: Prompt
    answer: tuple[int, ...]
    given: bool
    """Was the answer given, or is it what the model says?"""

    @property
    def tokens(self) -> tuple[int, ...]:
        return (*self.prompt.ids, *self.answer[:-1])

    @property
    def slots(self) -> tuple[Slot, ...]:
        names = [*self.prompt.fed, *(f"answer {i + 1}" for i in range(len(self.prompt.fed), len(self.answer) - 1))]
        fed = [Segment(name, (token,)) for name, token in zip(names, self.answer[:-1], strict=False)]
        return tuple((segment.role, i) for segment in (*self.prompt.row, *fed) for i in range(len(segment.ids)))

    @property
    def steps(self) -> int:
        return len(self.answer)

    def at(self, place: Place) -> list[bool]:
        """Which tokens a place names.

        Raises:
            CutawayError: a role that no token has, or the number of none.
        """
        n = len(self.tokens)
        if place is None:
            return [True] * n
        if isinstance(place, int):
            if not 0 <= place < n:
                raise CutawayError(f"the phrase has the tokens 0 to {n - 1}: patch one of them")
            return [i == place for i in range(n)]
        if place == ANSWER:
            return [i >= n - self.steps for i in range(n)]
        found = [role == place for role, _ in self.slots]
        if not place or not any(found):
            known = dict.fromkeys(role for role, _ in self.slots if role)
            raise CutawayError(f"no token of the phrase has that role: roles here are {', '.join([*known, ANSWER])}")
        return found


def line_up(phrase: Phrase, other: Phrase) -> list[int]:
    """For each token of `phrase` the token of `other` that stands for it, −1 where there is none.

    By role and place in the role where both are read so, else by position.

    Raises:
        CutawayError: phrases that are lined up by position and differ in length.
    """
    if phrase.prompt.read and other.prompt.read:
        where = {slot: i for i, slot in enumerate(other.slots)}
        return [where.get(slot, -1) for slot in phrase.slots]
    ours, theirs = len(phrase.tokens), len(other.tokens)
    if ours != theirs:
        raise CutawayError(
            f"the phrase is {ours} tokens with its answer, the second phrase {theirs}: where roles do not line them up, "
            "make them equally long"
        )
    return list(range(ours))


@dataclass(frozen=True)
class Reader:
    """Reads texts as prompts: as the behaviour does where it says how, as a prompt of the run, or as plain text.

    `known` are the run's own prompts by their text, `shared` the tokens that all of them begin with, `fed` the roles of
    the answer's tokens that are fed back.
    """

    tokenizer: Tokenizer
    n_ctx: int
    known: dict[str, Prompt]
    fed: tuple[str, ...]
    shared: tuple[int, ...] = ()
    recipe: Recipe | None = None
    config: Any = None
    most: int = field(init=False)

    def __post_init__(self):
        longest = max((len(self._own(prompt.ids)) for prompt in self.known.values()), default=0)
        object.__setattr__(self, "most", max(TOKENS, longest))

    def prompt(self, text: str) -> Prompt:
        """The text as a prompt.

        Raises:
            CutawayError: what the behaviour says of a text that it cannot read, or too many tokens.
        """
        prompt = self._read(text)
        if (n := len(self._own(prompt.ids))) > self.most:
            raise CutawayError(f"the phrase is {n} tokens: give at most {self.most}")
        if len(prompt.ids) + STEPS > self.n_ctx:
            raise CutawayError(f"the prompt is {len(prompt.ids)} tokens, too many for a context of {self.n_ctx}")
        return prompt

    def answer(self, prompt: Prompt, text: str) -> tuple[int, ...]:
        """The tokens of a given answer, cut as they are behind the prompt; the behaviour's own as the behaviour cuts it.

        Raises:
            CutawayError: an answer that joins with the end of the prompt, or of too many tokens.
        """
        if prompt.expected and text == self.tokenizer.decode(list(prompt.expected)):
            return prompt.expected
        before, both = self.tokenizer.encode(prompt.text), self.tokenizer.encode(prompt.text + text)
        if both[: len(before)] != before or len(both) == len(before):
            raise CutawayError(
                "the answer joins with the last token of the phrase: begin it with a space, or otherwise"
            )
        if len(both) - len(before) > STEPS:
            raise CutawayError(f"the answer is {len(both) - len(before)} tokens: give at most {STEPS}")
        return tuple(both[len(before) :])

    def _read(self, text: str) -> Prompt:
        if self.recipe and self.recipe.read:
            made = self.recipe.read(self.tokenizer, self.config, text)
            sample = made.sample
            asked = len(sample.row) - (len(sample.answer) - 1)  # segments before those that are fed back, a token each
            fed = tuple(segment.role for segment in sample.row[asked:])
            return Prompt(made.phrase, sample.text, sample.row[:asked], True, fed, sample.answer, sample.alternatives)
        if text in self.known:
            return self.known[text]
        bos = getattr(self.config, "bos", None)
        row = [Segment("BOS", (bos,))] if bos is not None else []
        return Prompt(text, text, (*row, Segment("", tuple(self.tokenizer.encode(text)))), False, self.fed)

    def _own(self, ids: Sequence[int]) -> Sequence[int]:
        """Without what all prompts of the run begin with."""
        shared = self.shared
        return ids[len(shared) :] if tuple(ids[: len(shared)]) == shared else ids
