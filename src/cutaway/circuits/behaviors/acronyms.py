"""Three-letter acronyms (García-Carrasco, Maté & Trujillo 2024, arXiv 2405.04156, §3), for any tokenizer and length.

    The Chief Executive Officer ( C E O
         C1 T1  C2 T2   C3 T3  ( A1 A2     predicts A1 at "(", A2 at A1, A3 at A2

Ci is the first token of word i, Ti the rest of it. The paper's own prompts fix two tokens a word for GPT-2; here the
tokenizer decides, and every prompt is checked to be cut as the roles say.
"""

import random
import string
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from itertools import permutations

from cutaway.circuits.behavior import Behavior, Row, Sample, Segment, Variant, assemble
from cutaway.circuits.behaviors.record import Reading, Recipe
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

LETTERS: str = string.ascii_uppercase

CORRUPTIONS = {
    "current word": "the word whose letter is asked is another word",
    "previous words": "all words before it are other words",
    "previous letters": "the letters already written are other letters",
    "everything": "all words and all letters already written are others",
}
"""The paper's three (§4.1) and all of them together, which ablations take their values from."""


@dataclass(frozen=True)
class Word:
    text: str
    ids: tuple[int, ...]

    @property
    def letter(self) -> str:
        return self.text[0]


@dataclass(frozen=True)
class Acronyms:
    """What to build. The defaults suit small models; the paper's prompts have no worked example."""

    n: int = 64
    """Prompts."""
    words: int = 3
    """Words in the phrase, 2 to 5: as many answer tokens."""
    word_tokens: tuple[int, int] = (2, 3)
    """Fewest and most tokens a word may have."""
    spelled: bool = False
    """Only words whose first token is the bare capital letter, as in the paper."""
    example: str = "The Chief Executive Officer (CEO)\n"
    """A worked example in front of every prompt; small models answer better with one. Empty for none."""
    bos: int | None = None
    """A token id to start every prompt with; nothing is added unless given."""
    seed: int = 0
    own_words: tuple[str, ...] = field(default=())
    """Words to draw from instead of the package's list; each starts with a capital A–Z."""


def build(tokenizer: Tokenizer, config: Acronyms = Acronyms()) -> Behavior:
    """Prompts with distinct letters drawn evenly, none twice, every corruption different from its clean form.

    Raises:
        CutawayError: n or words out of range, no single-token letters, an example whose end joins with what follows, or
            too few words of that many tokens.
    """
    if config.n < 1:
        raise CutawayError(f"n is {config.n}: ask for at least 1 prompt")
    if not 2 <= config.words <= 5:
        raise CutawayError(f"words is {config.words}: an acronym here has 2 to 5")
    maker = _Maker(tokenizer, config)
    samples = [sample for _, sample in zip(range(config.n), maker.samples(), strict=False)]
    return assemble(
        "acronyms",
        samples,
        about=BEHAVIOR.about,
        corruptions=CORRUPTIONS,
        reference="everything",
        step_names=tuple(f"letter {i + 1}" for i in range(config.words)),
        sources=tuple(f"C{i + 1}" for i in range(config.words)),
        mover="letter mover",
        recipe={"behavior": "acronyms", **{k: v for k, v in vars(config).items() if k != "own_words"}},
    )


def letter_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The token of each capital letter as it stands right after an opening bracket.

    Raises:
        CutawayError: the tokenizer has no such single tokens.
    """
    found = {}
    for letter in LETTERS:
        bracket, both = tokenizer.encode(" ("), tokenizer.encode(f" ({letter}")
        if len(both) == len(bracket) + 1 and both[: len(bracket)] == bracket:
            found[letter] = both[-1]
    if len(set(found.values())) < 26:
        missing = "".join(letter for letter in LETTERS if letter not in found) or "some"
        raise CutawayError(
            f"the tokenizer does not write {missing} after a bracket as a token of its own: the acronym behaviour needs "
            "single-letter tokens A to Z, so take a model with a byte-level BPE or similar vocabulary"
        )
    return found


def read(tokenizer: Tokenizer, config: Acronyms, text: str) -> Reading:
    """A phrase of 2 to 5 capitalised words as a prompt; its answer is its initials.

    Args:
        text: the phrase, with or without `The`, the worked example in front and the bracket behind.

    Raises:
        CutawayError: other words or another number of them, or one that the tokenizer cannot spell.
    """
    writer, texts = _Writer(tokenizer, config), text.strip().removeprefix(config.example).removesuffix("(").split()
    texts = texts[1:] if texts[:1] == ["The"] else texts
    if not 2 <= len(texts) <= 5 or not all(word[0] in LETTERS and "(" not in word for word in texts):
        raise CutawayError("a phrase here is 2 to 5 words, each with a capital A–Z: such as The Frozen Kettle Bank")
    words = [Word(word, tuple(tokenizer.encode(f" {word}"))) for word in texts]
    letters = [word.letter for word in words]
    unknown = [word.text for word in words if tokenizer.decode(list(word.ids)).strip() != word.text]
    if unknown or not writer.cut_as_said(words, []):
        raise CutawayError(
            f"{unknown[0] if unknown else texts[-1]!r} is not cut into tokens of its own here: try another word"
        )
    answer = tuple(writer.letters[letter] for letter in letters)
    sample = Sample(writer.text(words), writer.row(words, letters), answer, writer.rivals(answer))
    return Reading(f"The {' '.join(texts)}", sample)


class _Writer:
    """Words and letters to a prompt."""

    def __init__(self, tokenizer: Tokenizer, config: Acronyms):
        self.tokenizer, self.config = tokenizer, config
        self.letters = letter_ids(tokenizer)
        self.head = ((Segment("BOS", (config.bos,)),) if config.bos is not None else ()) + self._example()
        self.the = (Segment("The", tuple(tokenizer.encode("The"))),)
        self.bracket = tokenizer.encode(" (")

    def _example(self) -> Row:
        text, encode = self.config.example, self.tokenizer.encode
        if not text:
            return ()
        if encode(f"{text}The") != encode(text) + encode("The"):
            raise CutawayError(
                f"the end of the example {text[-20:]!r} joins with the word after it: end the example with one line "
                "break, or give none (example='')"
            )
        return (Segment("example", tuple(encode(text))),)

    def text(self, words: list[Word]) -> str:
        return f"{self.config.example}The {' '.join(word.text for word in words)} ("

    def cut_as_said(self, words: list[Word], letters: list[str]) -> bool:
        """Does the tokenizer cut the whole text, answer included, exactly into our segments?"""
        row = self.row(words, letters)
        ids = [i for segment in row if segment.role != "BOS" for i in segment.ids]
        ids += [self.letters[letter] for letter in letters[-1:]]
        return self.tokenizer.encode(self.text(words) + "".join(letters)) == ids

    def row(self, words: list[Word], letters: list[str]) -> Row:
        row = [*self.head, *self.the]
        for i, word in enumerate(words, 1):
            row.append(Segment(f"C{i}", word.ids[:1]))
            if word.ids[1:]:
                row.append(Segment(f"T{i}", word.ids[1:]))
        row.append(Segment("(", tuple(self.bracket)))
        return (*row, *(Segment(f"A{i}", (self.letters[letter],)) for i, letter in enumerate(letters[:-1], 1)))

    def rivals(self, answer: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """For each letter the 25 others."""
        return tuple(tuple(i for i in self.letters.values() if i != token) for token in answer)


class _Maker(_Writer):
    """Draws words and letters."""

    def __init__(self, tokenizer: Tokenizer, config: Acronyms):
        super().__init__(tokenizer, config)
        self.rng = random.Random(config.seed)
        self.pool = self._pool()
        self.followers = self._followers()
        self.drawn = [Counter() for _ in range(config.words)]

    def _pool(self) -> dict[str, dict[int, list[Word]]]:
        """letter → number of tokens → words."""
        config = self.config
        listed = resources.files("cutaway.circuits.behaviors").joinpath("words.txt").read_text()
        texts = config.own_words or listed.split()
        used = set(config.example.replace("(", " ").split())
        texts = [text for text in dict.fromkeys(texts) if text not in used]
        initials = {letter: self.tokenizer.encode(f" {letter}") for letter in LETTERS}
        low, high = config.word_tokens
        pool: dict[str, dict[int, list[Word]]] = {}
        for text, ids in zip(texts, self.tokenizer.encode_many([f" {text}" for text in texts]), strict=True):
            fits = low <= len(ids) <= high and (not config.spelled or ids[:1] == initials.get(text[0], [None]))
            if fits and text[0] in LETTERS:
                pool.setdefault(text[0], {}).setdefault(len(ids), []).append(Word(text, tuple(ids)))
        if len(pool) < 2 * config.words + 1:
            raise CutawayError(
                f"only {len(pool)} letters have words of {low} to {high} tokens under this tokenizer: "
                f"{2 * config.words + 1} are needed, so widen word_tokens or bring own_words"
            )
        return pool

    def samples(self) -> Iterator[Sample]:
        seen: set[str] = set()
        misses = 0
        while misses < 2_000:
            letters = self._letters()
            words = [self._word(letter) for letter in letters]
            text = self.text(words)
            if text in seen or not self.cut_as_said(words, letters):
                misses += 1
                continue
            misses = 0
            seen.add(text)
            for slot, letter in zip(self.drawn, letters, strict=True):
                slot[letter] += 1
            yield self._sample(text, words, letters)
        raise CutawayError(
            f"found only {len(seen)} different prompts of {self.config.words} words: ask for fewer (n), widen "
            "word_tokens, or bring own_words"
        )

    def _followers(self) -> dict[str, list[str]]:
        """For each letter the others that may stand after it, because both stay single tokens."""
        pairs = list(permutations(sorted(self.pool), 2))
        cuts = self.tokenizer.encode_many([f" ({a}{b}" for a, b in pairs])
        apart = {(a, b) for (a, b), ids in zip(pairs, cuts, strict=True) if ids == self._after_bracket([a, b])}
        return {a: [b for b in sorted(self.pool) if (a, b) in apart] for a in sorted(self.pool)}

    def _after_bracket(self, letters: list[str]) -> list[int]:
        return [*self.bracket, *(self.letters[letter] for letter in letters)]

    def _letters(self) -> list[str]:
        """Distinct letters that stay single tokens side by side; of some proposals, those drawn least so far."""
        fits = [walk for walk in (self._walk() for _ in range(40)) if len(walk) == self.config.words]
        fits = fits or [self.rng.sample(sorted(self.pool), self.config.words)]
        return min(fits, key=lambda walk: sum(slot[letter] for slot, letter in zip(self.drawn, walk, strict=True)))

    def _walk(self) -> list[str]:
        """Letters one after the other, as many as find a follower."""
        walk: list[str] = []
        while len(walk) < self.config.words:
            choices = [b for b in (self.followers[walk[-1]] if walk else sorted(self.pool)) if b not in walk]
            if not choices:
                break
            walk.append(self.rng.choice(choices))
        return walk

    def _word(self, letter: str, n_tokens: int | None = None) -> Word:
        by_count = self.pool[letter]
        words = [w for group in by_count.values() for w in group] if n_tokens is None else by_count[n_tokens]
        return self.rng.choice(words)

    def _sample(self, text: str, words: list[Word], letters: list[str]) -> Sample:
        k = len(words)
        others = [self._other_word(word, letters) for word in words]
        wrong = self._other_letters(letters)
        every = range(k)

        def row(changed_words, changed_letters) -> Row:
            return self.row(
                [others[i] if i in changed_words else words[i] for i in every],
                [wrong[i] if i in changed_letters else letters[i] for i in every],
            )

        corrupted = {
            "current word": tuple(Variant((i,), row({i}, ())) for i in every),
            "previous words": tuple(Variant((i,), row(range(i), ())) for i in every if i),
            "previous letters": tuple(Variant((i,), row((), range(i))) for i in every if i),
            "everything": (Variant(tuple(every), row(every, every)),),
        }
        answer = tuple(self.letters[letter] for letter in letters)
        return Sample(text, self.row(words, letters), answer, self.rivals(answer), corrupted)

    def _other_word(self, word: Word, letters: list[str]) -> Word:
        """A word of as many tokens whose letter is none of the acronym's."""
        n = len(word.ids)
        choices = [letter for letter, by_count in sorted(self.pool.items()) if n in by_count and letter not in letters]
        if not choices:
            raise CutawayError(f"no other word of {n} tokens to corrupt {word.text!r} with: bring more own_words")
        return self._word(self.rng.choice(choices), n)

    def _other_letters(self, letters: list[str]) -> list[str]:
        return self.rng.sample([letter for letter in LETTERS if letter not in letters], len(letters))


BEHAVIOR = Recipe(
    name="acronyms",
    build=build,
    config=Acronyms,
    read=read,
    about="write the initials of a phrase, one letter at a time",
    citation="García-Carrasco, Maté & Trujillo 2024 (arXiv 2405.04156, §3)",
)
