"""The laboratory bench: a model, what its run knows, and the phrases last looked at. It answers questions."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from cutaway.circuits.explore.changes import NO_SECOND, Untouched, Values, alone, changes, notes
from cutaway.circuits.explore.findings import Answer, Pattern, Read, Step, Sweep, Token, sayings
from cutaway.circuits.explore.means import Means
from cutaway.circuits.explore.passes import Pass, run
from cutaway.circuits.explore.phrase import Phrase, Prompt, Reader
from cutaway.circuits.explore.question import Question
from cutaway.circuits.explore.sweep import rivals, sweep
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Past, Site

PHRASES = 8
"""Phrases whose runs are kept."""

Check = Callable[[], None]
"""Called between portions of work; whatever it raises ends the work."""


def nobody_waits() -> None:
    """The check of those who will not cancel."""


@dataclass(frozen=True)
class Ran:
    """What was run for a question: the phrase and the second phrase untouched, and the phrase with the changes."""

    ours: Untouched
    theirs: Untouched | None
    trouble: str
    """Why there is no second phrase, where one was given that cannot be read."""
    values: Values
    after: Pass


@dataclass
class Bench:
    """Answers one question at a time. What it keeps between two questions only makes the next one quicker."""

    model: Decoder
    reader: Reader
    means: Means
    _phrases: OrderedDict[tuple, Untouched] = field(default_factory=OrderedDict, repr=False)
    _last: tuple[Phrase, Pass] | None = field(default=None, repr=False)
    _past: Past | None = field(default=None, repr=False)

    def answer(self, question: Question, check: Check = nobody_waits) -> Answer:
        """What the model says on the phrase, untouched and with the changes asked for.

        Raises:
            CutawayError: a phrase that cannot be read, or changes that cannot be made.
        """
        made = self.run(question, check)
        tokenizer, asked = self.reader.tokenizer, made.ours.phrase.answer
        said = (sayings(some.logits, asked, tokenizer) for some in (made.ours.plain, made.after))
        steps = (Step(tokenizer.shown(token), *pair) for token, *pair in zip(asked, *said, strict=True))
        second = self._shown(made.theirs.phrase) if made.theirs else None
        told = notes(question, made.values)
        return Answer(self._shown(made.ours.phrase), tuple(steps), told, second, made.trouble)

    def sweep(self, question: Question, check: Check = nobody_waits) -> Sweep:
        """Every head by itself, patched from the second phrase into the untouched run of the phrase.

        Raises:
            CutawayError: as for `answer`, or no second phrase.
        """
        with torch.inference_mode():
            ours, theirs, trouble = self._both(question, check)
            if theirs is None:
                raise CutawayError(trouble or NO_SECOND)
            values = Values.of(ours, theirs, self.means)
            against, about = rivals(ours, theirs)
            past = self._shared(ours.phrase, theirs.phrase)
            before, effects = sweep(self.model, ours.phrase, theirs.phrase, against, past=past, check=check)
        shown = tuple(map(self.reader.tokenizer.shown, ours.phrase.answer))
        rounded = [[[round(x, 4) for x in row] for row in grid] for grid in effects.tolist()]
        return Sweep(shown, rounded, tuple(before.tolist()), about, alone(values))

    def pattern(self, question: Question, head: Site, check: Check = nobody_waits) -> Pattern:
        """The attention of a head on the phrase, untouched and, if the question changes anything, with the changes.

        Raises:
            CutawayError: as for `answer`.
        """
        made = self.run(question, check)
        before, after = (_attention(some, head) for some in (made.ours.plain, made.after))
        return Pattern(str(head), self._tokens(made.ours.phrase), before, after if made.after.changes else None)

    def run(self, question: Question, check: Check = nobody_waits) -> Ran:
        """The runs that a question is about. Raises as `answer` does."""
        with torch.inference_mode():
            ours, theirs, trouble = self._both(question, check)
            values = Values.of(ours, theirs if question.needs_second else None, self.means)
            check()
            known = [ours.plain]
            if self._last and self._last[0] == ours.phrase:
                known.append(self._last[1])
            made = changes(question, values)
            after = run(self.model, ours.phrase.tokens, ours.phrase.steps, made, known)
            self._last = (ours.phrase, after)
            return Ran(ours, theirs, trouble, values, after)

    # --- runs -------------------------------------------------------------------------------------------------------

    def _both(self, question: Question, check: Check) -> tuple[Untouched, Untouched | None, str]:
        """The phrase, the second phrase if there is one that can be read, and else why not."""
        prompt = self.reader.prompt(question.phrase)
        given = self.reader.answer(prompt, question.answer) if question.answer else ()
        ours = self._ran(prompt, given, len(given) or prompt.steps, check)
        try:
            other = self.reader.prompt(question.second) if question.second.strip() else None
        except CutawayError as error:
            if question.needs_second:
                raise CutawayError(f"second phrase: {error}") from error
            return ours, None, str(error)
        if other is None:
            return ours, None, ""
        # phrases lined up by position must have equally long answers
        apart = prompt.read and other.read
        return ours, self._ran(other, (), other.steps if apart else ours.phrase.steps, check), ""

    def _ran(self, prompt: Prompt, given: tuple[int, ...], steps: int, check: Check) -> Untouched:
        """A phrase run with nothing changed, if it has not been."""
        key = (prompt, given, steps)
        if key not in self._phrases:
            self._phrases[key] = self._with(prompt, given, check) if given else self._said(prompt, steps, check)
            if len(self._phrases) > PHRASES:
                self._phrases.popitem(last=False)
        self._phrases.move_to_end(key)
        return self._phrases[key]

    def _with(self, prompt: Prompt, given: tuple[int, ...], check: Check) -> Untouched:
        check()
        phrase = Phrase(prompt, given, given=True)
        return Untouched(phrase, run(self.model, phrase.tokens, phrase.steps))

    def _said(self, prompt: Prompt, steps: int, check: Check) -> Untouched:
        """With the likeliest token at each step. A guess is fed whole; each run makes at least one more token right, and
        where the guess was right, the first one makes all."""
        guess = (*prompt.expected, *prompt.ids[-1:] * steps)[:steps]
        while True:
            check()
            made = run(self.model, Phrase(prompt, guess, given=False).tokens, steps)
            said = tuple(made.logits.argmax(-1).tolist())
            if said[:-1] == guess[:-1]:
                return Untouched(Phrase(prompt, said, given=False), made)
            guess = said

    def _shared(self, *phrases: Phrase) -> Past | None:
        """The run of the tokens that all prompts of the run begin with, if these phrases do."""
        shared = self.reader.shared
        if not shared or any(phrase.prompt.ids[: len(shared) + 1][:-1] != shared for phrase in phrases):
            return None
        if self._past is None:
            self._past = self.model.prefill(torch.tensor([shared], device=self.model.device))
        return self._past

    # --- what is shown ----------------------------------------------------------------------------------------------

    def _tokens(self, phrase: Phrase) -> tuple[Token, ...]:
        shown = self.reader.tokenizer.shown
        return tuple(Token(shown(i), i, role) for i, (role, _) in zip(phrase.tokens, phrase.slots, strict=True))

    def _shown(self, phrase: Phrase) -> Read:
        prompt, decode = phrase.prompt, self.reader.tokenizer.decode
        expected = decode(list(prompt.expected)) if prompt.expected else None
        return Read(prompt.phrase, self._tokens(phrase), decode(list(phrase.answer)), phrase.given, expected)


def _attention(made: Pass, head: Site) -> list[list[float]]:
    return [[round(x, 3) for x in row] for row in made.pattern[head.layer][0, head.head].float().tolist()]
