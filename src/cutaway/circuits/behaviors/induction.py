"""Induction (Elhage et al. 2021; Olsson et al. 2022, arXiv 2209.11895): words at random, of which the last came before.

    owl  kite    cup lamp    fig jar    cup
    before       A   B       between    A again    predicts B

All other words differ, so nothing but the earlier pair says what comes next.
"""

import random
from collections import Counter
from dataclasses import dataclass
from importlib import resources

from cutaway.circuits.behavior import Behavior, Row, Sample, Segment, Variant, assemble
from cutaway.circuits.behaviors.record import Recipe
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

CORRUPTIONS = {
    "earlier pair": "the word after the first A is another word",
    "earlier key": "the first A is another word, so that nothing in front repeats",
    "everything": "all words are others, and none repeats",
}


@dataclass(frozen=True)
class Induction:
    """What to build."""

    n: int = 64
    """Prompts."""
    length: int = 12
    """Words in a prompt, each of one token; the last repeats an earlier one."""
    bos: int | None = None
    """A token id to start every prompt with; nothing is added unless given."""
    seed: int = 0
    own_words: tuple[str, ...] = ()
    """Words to draw from, without spaces; the package's list in small letters if none are given."""


def build(tokenizer: Tokenizer, config: Induction = Induction()) -> Behavior:
    """Prompts with the pair at any place, none twice.

    Raises:
        CutawayError: n or length out of range, or too few words that are one token each.
    """
    if config.n < 1:
        raise CutawayError(f"n is {config.n}: ask for at least 1 prompt")
    if config.length < 4:
        raise CutawayError(f"length is {config.length}: a prompt needs at least 4 words, A B, another, and A again")
    lead, words = single_tokens(tokenizer, config)
    rng = random.Random(config.seed)
    samples: dict[str, Sample] = {}
    for _ in range(20 * config.n + 200):
        drawn = rng.sample(sorted(words), 2 * config.length)
        sample = _sample(drawn, rng.randrange(config.length - 2), words, lead=lead, bos=config.bos)
        # tokenizers may join words that are single tokens on their own
        if tokenizer.encode(sample.text) == [i for s in sample.row if s.role != "BOS" for i in s.ids]:
            samples[sample.text] = sample
        if len(samples) == config.n:
            break
    else:
        raise CutawayError(
            f"found only {len(samples)} different prompts whose words stay single tokens side by side: ask for fewer "
            "(n), or bring own_words"
        )
    return assemble(
        "induction",
        list(samples.values()),
        about=BEHAVIOR.about,
        corruptions=CORRUPTIONS,
        reference="everything",
        step_names=("B",),
        sources=("B",),
        mover="induction",
        recipe={"behavior": "induction", **{k: v for k, v in vars(config).items() if k != "own_words"}},
    )


def single_tokens(tokenizer: Tokenizer, config: Induction) -> tuple[str, dict[str, int]]:
    """What a prompt starts with, and the words that are one token each: word → id.

    Most tokenizers make the space before a word part of it; some put one in front of the text by themselves.

    Raises:
        CutawayError: fewer words than a prompt and its corrupted forms take.
    """
    text = resources.files("cutaway.circuits.behaviors").joinpath("words.txt").read_text()
    texts = list(dict.fromkeys(config.own_words or text.lower().split()))
    found: dict[str, dict[str, int]] = {}
    for lead in (" ", ""):
        rows = tokenizer.encode_many([lead + word for word in texts])
        ids = {word: row[0] for word, row in zip(texts, rows, strict=True) if len(row) == 1}
        # what the tokenizer does not know, it may write as one and the same token
        uses = Counter(ids.values())
        found[lead] = {word: i for word, i in ids.items() if uses[i] == 1}
    lead = max(found, key=lambda lead: len(found[lead]))
    if len(found[lead]) < 2 * config.length:
        raise CutawayError(
            f"{len(found[lead])} of {len(texts)} words are one token under this tokenizer, but prompts of "
            f"{config.length} words and their corrupted forms take {2 * config.length}: make length smaller or bring "
            "own_words"
        )
    return lead, found[lead]


def _sample(drawn: list[str], at: int, ids: dict[str, int], *, lead: str, bos: int | None) -> Sample:
    """One prompt with its pair at `at`; the second half of `drawn` are words for its corrupted forms."""
    length = len(drawn) // 2
    words, others = [*drawn[: length - 1], drawn[at]], drawn[length:]
    answer = words[at + 1]
    forms = {
        "earlier pair": [*words[: at + 1], others[0], *words[at + 2 :]],
        "earlier key": [*words[:at], others[0], *words[at + 1 :]],
        "everything": others,
    }
    return Sample(
        text=lead + " ".join(words),
        row=_row([ids[word] for word in words], at, bos),
        answer=(ids[answer],),
        alternatives=(tuple(ids[word] for word in words[1:-1] if word != answer),),
        corrupted={name: (Variant((0,), _row([ids[word] for word in form], at, bos)),) for name, form in forms.items()},
    )


def _row(tokens: list[int], at: int, bos: int | None) -> Row:
    cuts = {
        "BOS": [] if bos is None else [bos],
        "before": tokens[:at],
        "A": tokens[at : at + 1],
        "B": tokens[at + 1 : at + 2],
        "between": tokens[at + 2 : -1],
        "A again": tokens[-1:],
    }
    return tuple(Segment(role, tuple(part)) for role, part in cuts.items() if part)


BEHAVIOR = Recipe(
    name="induction",
    build=build,
    config=Induction,
    about="say again what followed a word the last time",
    citation="Elhage et al. 2021 (transformer-circuits.pub); Olsson et al. 2022 (arXiv 2209.11895)",
)
