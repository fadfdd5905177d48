"""Docstrings (Heimersheim & Janiak 2023, alignmentforum.org): the arguments of a Python function, named in their order.

    def cabin(self, load, size, files, last):
        \"""Return oil column

        :param load: crime village
        :param size: unit shadow
        :param                              predicts files

Of the arguments `A B C D` in the definition, A and B are described; C is next. C may be of several tokens.
"""

import random
from collections import Counter
from dataclasses import dataclass

from cutaway.circuits.behavior import Behavior, Row, Sample, Segment, Variant, assemble
from cutaway.circuits.behaviors.marked import Piece, plain
from cutaway.circuits.behaviors.record import Recipe
from cutaway.circuits.behaviors.sentences import aligned, draw, enough, listed, of_role, one_token
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

CORRUPTIONS = {
    "answer": "the third argument of the definition has another name",
    "definition": "the first two arguments of the definition have other names",
    "docstring": "the arguments described so far have other names",
    "everything": "all names and words are others, and the arguments described are not those of the definition",
}
NAMES, WORDS = 4, 7
"""Arguments, and other words, of a prompt."""
DRAWN = NAMES + NAMES + 2
"""Names that a prompt and its corrupted forms take."""


@dataclass(frozen=True)
class Docstring:
    """What to build."""

    n: int = 64
    """Prompts."""
    name_tokens: int = 1
    """Tokens of every argument's name, 1 to 4: as many answer tokens."""
    bos: int | None = None
    """A token id to start every prompt with; nothing is added unless given."""
    seed: int = 0
    own_words: tuple[str, ...] = ()
    """Words to draw all names from; the package's list in small letters if none are given."""


def build(tokenizer: Tokenizer, config: Docstring = Docstring()) -> Behavior:
    """Prompts of words, none twice. An answer competes with the other arguments of the definition, token by token.

    Raises:
        CutawayError: n or name_tokens out of range, or too few words of that many tokens.
    """
    if not 1 <= config.name_tokens <= 4:
        raise CutawayError(f"name_tokens is {config.name_tokens}: a name here has 1 to 4 tokens")
    texts = list(dict.fromkeys(config.own_words or [word.lower() for word in listed("words.txt")]))
    singles = enough(one_token(tokenizer, texts), 2 * WORDS, len(texts), "words", "own_words")
    names = _names(tokenizer, texts, config.name_tokens)
    if len(names) < DRAWN:
        raise CutawayError(
            f"{len(names)} names of {config.name_tokens} tokens, {DRAWN} are needed: change name_tokens or bring own_words"
        )
    rng = random.Random(config.seed)

    def draft() -> Sample | None:
        arguments = rng.sample(names, DRAWN)
        words = rng.sample([word for word in singles if word not in arguments], 2 * WORDS)
        return _sample(tokenizer, arguments, words, config)

    return assemble(
        "docstring",
        draw(draft, config.n, "ask for fewer (n), or bring own_words"),
        about=BEHAVIOR.about,
        corruptions=CORRUPTIONS,
        reference="everything",
        step_names=tuple(f"token {i + 1}" for i in range(config.name_tokens)),
        # a name's several tokens stand in one role, so that only names of one token say where a step's answer is
        sources=("C",) if config.name_tokens == 1 else (),
        mover="argument mover",
        recipe={"behavior": "docstring", **{k: v for k, v in vars(config).items() if k != "own_words"}},
    )


def _names(tokenizer: Tokenizer, texts: list[str], n_tokens: int) -> list[str]:
    """Words of that many tokens, and, where a name takes more, two words joined by an underscore: `oil_column`."""
    joined = [f"{a}_{b}" for a, b in zip(texts, texts[1:] + texts[:1], strict=True)]
    candidates = texts if n_tokens == 1 else texts + joined
    lead = tokenizer.encode("self,")
    rows = tokenizer.encode_many([f"self, {name}" for name in candidates])
    cut = {
        name: tuple(row[len(lead) :]) for name, row in zip(candidates, rows, strict=True) if row[: len(lead)] == lead
    }
    # what a tokenizer does not know, it may write as one and the same token
    uses = Counter(cut.values())
    return [name for name, ids in cut.items() if len(ids) == n_tokens and uses[ids] == 1]


def _sample(tokenizer: Tokenizer, arguments: list[str], words: list[str], config: Docstring) -> Sample | None:
    """One prompt with its corrupted forms; None where they do not line up."""
    (a, b, c, d), (w, x, y, z), (u, v) = arguments[:NAMES], arguments[NAMES:-2], arguments[-2:]
    own, others = words[:WORDS], words[WORDS:]
    forms = {
        "clean": ([a, b, c, d], [a, b], own),
        "answer": ([a, b, y, d], [a, b], own),
        "definition": ([w, x, c, d], [a, b], own),
        "docstring": ([a, b, c, d], [w, x], own),
        "everything": ([w, x, y, z], [u, v], others),
    }
    texts = {name: _pieces(*form) for name, form in forms.items()}
    rows = aligned(texts, tokenizer, config.bos)
    if rows is None:
        return None
    clean, text = rows["clean"], plain(texts["clean"])
    answer, rivals = of_role(clean, "C"), [of_role(clean, role) for role in "ABD"]
    if any(len(ids) != config.name_tokens for ids in (answer, *rivals)):
        return None
    alternatives = tuple(
        tuple(dict.fromkeys(ids[step] for ids in rivals if ids[step] != token)) for step, token in enumerate(answer)
    )
    if not all(alternatives) or tokenizer.encode(f"{text} {c}") != [*tokenizer.encode(text), *answer]:
        return None
    # the tokens fed back are those of the right answer; where everything is another, those of the other one
    fed = {name: of_role(row, "C") if name == "everything" else answer for name, row in rows.items()}
    whole = {name: _with_answer(row, fed[name]) for name, row in rows.items()}
    clean, steps = whole.pop("clean"), tuple(range(len(answer)))
    return Sample(text, clean, answer, alternatives, {name: (Variant(steps, row),) for name, row in whole.items()})


def _with_answer(row: Row, answer: tuple[int, ...]) -> Row:
    """A prompt with all tokens of its answer but the last."""
    return (*row, Segment("C written", answer[:-1])) if answer[1:] else row


def _pieces(defined: list[str], described: list[str], words: list[str]) -> list[Piece]:
    function, *rest = words
    about, a, b = (f" {rest[i]} {rest[i + 1]}" for i in (0, 2, 4))
    return [
        Piece("def", f"def {function}(self,"),
        Piece("A", f" {defined[0]}", marked=True),
        Piece(",A", ","),
        Piece("B", f" {defined[1]}", marked=True),
        Piece(",B", ","),
        Piece("C", f" {defined[2]}", marked=True),
        Piece(",C", ","),
        Piece("D", f" {defined[3]}", marked=True),
        Piece("about", f'):\n    """Return{about}\n\n    :param'),
        Piece("A described", f" {described[0]}", marked=True),
        Piece("about A", f":{a}\n    :param"),
        Piece("B described", f" {described[1]}", marked=True),
        Piece("about B", f":{b}\n    :"),
        Piece("param", "param", marked=True),
    ]


BEHAVIOR = Recipe(
    name="docstring",
    build=build,
    config=Docstring,
    about="name the next argument of a Python function in its docstring",
    citation="Heimersheim & Janiak 2023 (alignmentforum.org/posts/u6KXXmKFbXfWzoAXn)",
)
