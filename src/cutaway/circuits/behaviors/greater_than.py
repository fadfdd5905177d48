"""Greater-than (Hanna, Liu & Variengien 2023, arXiv 2305.00586): a span of years ends after it began.

    The   siege   lasted from the year   17   32   to the year   17      predicts 33 to 99
    start noun    began                  XX   YY   to            END

The paper measures Σ p(years above YY) − Σ p(years up to YY). A behaviour here has one right answer: a year drawn from
the `reach` years after YY, and it competes with all years up to YY, none above. So `logit_diff` asks whether one right
year beats the best wrong one; it agrees with the paper's number in sign where the model is sure, but is in logits, does
not reward mass on the other right years, and varies with the year drawn, which a mean over prompts evens out. The paper's
own number is `probability_difference`.
"""

import random
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behavior import Behavior, Sample, Variant, assemble
from cutaway.circuits.behaviors.marked import Piece, plain
from cutaway.circuits.behaviors.record import Recipe
from cutaway.circuits.behaviors.sentences import aligned, draw, of_role
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

NOUNS = (
    "siege",
    "drought",
    "strike",
    "campaign",
    "voyage",
    "reign",
    "conflict",
    "alliance",
    "famine",
    "truce",
    "rebellion",
    "expedition",
    "dispute",
    "project",
    "festival",
    "occupation",
    "crisis",
    "revolt",
    "blockade",
    "debate",
)
CENTURIES = range(11, 18)
YEARS = tuple(f"{year:02d}" for year in range(100))

CORRUPTIONS = {
    "start 01": "the span begins in 01, so that every later year is right (the paper's)",
    "later start": "the span begins in the answer's year or after it, so that the answer is wrong",
    "everything": "begins in 01; another noun, another century",
}


@dataclass(frozen=True)
class GreaterThan:
    """What to build."""

    n: int = 64
    """Prompts."""
    reach: int = 20
    """The right year lies 1 to this many years after the start."""
    bos: int | None = None
    """A token id to start every prompt with; nothing is added unless given."""
    seed: int = 0


def build(tokenizer: Tokenizer, config: GreaterThan = GreaterThan()) -> Behavior:
    """Prompts with start years from 02 to 98, none twice.

    Raises:
        CutawayError: n or reach out of range, or a tokenizer that does not write a year as two two-digit tokens.
    """
    if not 1 <= config.reach <= 97:
        raise CutawayError(f"reach is {config.reach}: an answer lies 1 to 97 years after the start")
    years = year_ids(tokenizer)
    rng = random.Random(config.seed)
    return assemble(
        "greater_than",
        draw(lambda: _draft(tokenizer, years, rng, config), config.n, "ask for fewer (n)"),
        about=BEHAVIOR.about,
        corruptions=CORRUPTIONS,
        reference="everything",
        step_names=("year",),
        recipe={"behavior": "greater_than", **vars(config)},
    )


def year_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The token of each two digits from 00 to 99, as they stand behind ` 17`.

    Raises:
        CutawayError: the tokenizer writes digits one by one, or puts others together.
    """
    lead = tokenizer.encode(" 17")
    rows = tokenizer.encode_many([f" 17{year}" for year in YEARS])
    found = {year: row[-1] for year, row in zip(YEARS, rows, strict=True) if len(lead) == 1 and row[:-1] == lead}
    # a few, such as 1700, are one token in most vocabularies: look for these behind another century
    for year in [year for year in YEARS if year not in found]:
        for century in CENTURIES:
            start, row = tokenizer.encode(f" {century}"), tokenizer.encode(f" {century}{year}")
            if len(start) == 1 and row[:-1] == start:
                found[year] = row[-1]
                break
    if len(set(found.values())) < len(YEARS) - 1:  # 00 may be missing: no span ends with it
        cut = " ".join(tokenizer.shown(i) for i in tokenizer.encode(" 1732"))
        raise CutawayError(
            f"this tokenizer writes 1732 as {cut.strip()!r}: greater_than needs years cut into two two-digit tokens, "
            "as GPT-2 does, so take such a model"
        )
    return found


def _draft(tokenizer: Tokenizer, years: dict[str, int], rng: random.Random, config: GreaterThan) -> Sample | None:
    noun, other = rng.sample(NOUNS, 2)
    century, another = rng.sample(CENTURIES, 2)
    start = rng.randint(2, 98)
    end = rng.randint(start + 1, min(start + config.reach, 99))
    forms = {
        "clean": (noun, century, start),
        "start 01": (noun, century, 1),
        "later start": (noun, century, rng.randint(end, 99)),
        "everything": (other, another, 1),
    }
    texts = {name: _pieces(*form) for name, form in forms.items()}
    rows = aligned(texts, tokenizer, config.bos)
    if rows is None:
        return None
    clean, text = rows.pop("clean"), plain(texts["clean"])
    if of_role(clean, "YY") != (years[YEARS[start]],) or len(of_role(clean, "END")) != 1:
        return None
    below = tuple(years[year] for year in YEARS[: start + 1] if year in years)
    answer = years[YEARS[end]]
    return Sample(text, clean, (answer,), (below,), {name: (Variant((0,), row),) for name, row in rows.items()})


def _pieces(noun: str, century: int, start: int) -> list[Piece]:
    return [
        Piece("start", "The"),
        Piece("noun", f" {noun}", marked=True),
        Piece("began", " lasted from the year"),
        Piece("XX", f" {century}", marked=True),
        Piece("YY", YEARS[start], marked=True),
        Piece("to", " to the year"),
        Piece("END", f" {century}", marked=True),
    ]


def probability_difference(
    logits: Float[Tensor, "batch vocab"], starts: list[int], years: dict[str, int]
) -> Float[Tensor, " batch"]:
    """Σ p(years above the start) − Σ p(years up to it), over the whole vocabulary: the paper's metric (§2.2).

    Args:
        logits: at the last token of each prompt.
        starts: each prompt's YY.
        years: as `year_ids` gives them.
    """
    p = logits.softmax(-1)[:, [years[year] for year in years]]
    above = torch.tensor([[int(year) > start for year in years] for start in starts], device=p.device)
    return p.where(above, -p).sum(-1)


BEHAVIOR = Recipe(
    name="greater_than",
    build=build,
    config=GreaterThan,
    about="a span of years ends after it began",
    citation="Hanna, Liu & Variengien 2023 (arXiv 2305.00586, §2)",
)
