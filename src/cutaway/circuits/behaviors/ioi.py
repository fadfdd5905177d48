"""Indirect object identification (Wang et al. 2022, arXiv 2211.00593): of two names, the one that is not said again.

    Once   Mary   and   John   had met at the mill,   John   passed a coin   to     predicts Mary
    start  IO     and   S1     middle                 S2     action          END

Half the prompts name the indirect object first (ABBA, as above), half the subject (BABA).
"""

import random
import re
from dataclasses import dataclass

from cutaway.circuits.behavior import Behavior, Sample, Variant, assemble
from cutaway.circuits.behaviors.marked import Piece, plain
from cutaway.circuits.behaviors.record import Recipe
from cutaway.circuits.behaviors.sentences import aligned, draw, enough, listed, of_role, one_token
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

TEMPLATES = (
    "Once {first} and {second} had met at the {place}, {again} passed a {thing} to",
    "Then {first} and {second} walked over to the {place}, and {again} handed a {thing} to",
    "While {first} and {second} were waiting near the {place}, {again} offered a {thing} to",
    "At the {place} {first} and {second} sat down, and {again} lent a {thing} to",
    "On Monday {first} and {second} came to the {place}, where {again} sold a {thing} to",
    "Because {first} and {second} worked together at the {place}, {again} brought a {thing} to",
    "Late that day {first} and {second} left the {place}, and {again} threw a {thing} to",
    "Before {first} and {second} could leave the {place}, {again} had to show a {thing} to",
)
PLACES = ("market", "station", "harbor", "library", "garden", "museum", "office", "school", "theater", "bridge")
THINGS = ("book", "coin", "ticket", "letter", "basket", "camera", "hammer", "ring", "map", "bottle", "key", "lamp")

ORDERS = {"ABBA": ("IO", "S1"), "BABA": ("S1", "IO")}
"""Which of the two stands first."""

CORRUPTIONS = {
    "subject flipped": "the name said again is the other one, so that the other answer is right",
    "subject new": "in place of the name said again stands a third one, so that nothing repeats",
    "first mention": "where the subject stood first stands a third name, so that nothing repeats",
    "everything": "three other names, none of which repeats (the paper's ABC prompts)",
}


@dataclass(frozen=True)
class IOI:
    """What to build."""

    n: int = 64
    """Prompts."""
    order: str = "both"
    """ABBA, BABA, or both by turns."""
    bos: int | None = None
    """A token id to start every prompt with; nothing is added unless given."""
    seed: int = 0
    own_names: tuple[str, ...] = ()
    """Names to draw from; the package's list if none are given."""


def build(tokenizer: Tokenizer, config: IOI = IOI()) -> Behavior:
    """Prompts of names that are one token each, none twice. The metric is logit(IO) − logit(S), the paper's (§2.1).

    Raises:
        CutawayError: n or order out of range, or too few names of one token.
    """
    if config.order not in (*ORDERS, "both"):
        raise CutawayError(f"order is {config.order!r}: allowed are ABBA, BABA, both")
    names = list(dict.fromkeys(config.own_names or listed("names.txt")))
    ids = one_token(tokenizer, names)
    pool = enough(ids, 5, len(names), "names", "own_names")
    rng = random.Random(config.seed)
    turns = [0]

    def draft() -> Sample | None:
        turns[0] += 1
        order = list(ORDERS)[turns[0] % 2] if config.order == "both" else config.order
        filled = rng.choice(TEMPLATES).replace("{place}", rng.choice(PLACES)).replace("{thing}", rng.choice(THINGS))
        return _sample(tokenizer, ids, filled, ORDERS[order], rng.sample(pool, 5), config.bos)

    return assemble(
        "ioi",
        draw(draft, config.n, "ask for fewer (n), or bring own_names"),
        about=BEHAVIOR.about,
        corruptions=CORRUPTIONS,
        reference="everything",
        step_names=("IO",),
        sources=("IO",),
        mover="name mover",
        recipe={"behavior": "ioi", **{k: v for k, v in vars(config).items() if k != "own_names"}},
    )


def _sample(
    tokenizer: Tokenizer, ids: dict[str, int], filled: str, order: tuple[str, str], drawn: list[str], bos: int | None
) -> Sample | None:
    """One prompt with its corrupted forms; None where they do not line up."""
    io, s, *others = drawn
    forms = {
        "clean": (io, s, s),
        "subject flipped": (io, s, io),
        "subject new": (io, s, others[0]),
        "first mention": (io, others[0], s),
        "everything": tuple(others),
    }
    texts = {name: _pieces(filled, order, *names) for name, names in forms.items()}
    rows = aligned(texts, tokenizer, bos)
    if rows is None:
        return None
    clean, text = rows.pop("clean"), plain(texts["clean"])
    answer = tokenizer.encode(f"{text} {io}")[len(tokenizer.encode(text)) :]
    names = tuple(ids[name] for name in (io, s, s))
    if tuple(of_role(clean, role)[0] for role in ("IO", "S1", "S2")) != names or answer != [ids[io]]:
        return None
    return Sample(text, clean, (ids[io],), ((ids[s],),), {name: (Variant((0,), row),) for name, row in rows.items()})


def _pieces(filled: str, order: tuple[str, str], io: str, s1: str, s2: str) -> list[Piece]:
    """A template with its place and thing filled in, as pieces: its names, and what lies between them."""
    start, _, between, _, middle, _, action = re.split(r"( \{\w+\})", filled)
    name = {"IO": io, "S1": s1}
    return [
        Piece("start", start),
        Piece(order[0], f" {name[order[0]]}", marked=True),
        Piece("and", between),
        Piece(order[1], f" {name[order[1]]}", marked=True),
        Piece("middle", middle),
        Piece("S2", f" {s2}", marked=True),
        Piece("action", action.removesuffix(" to")),
        Piece("END", " to", marked=True),
    ]


BEHAVIOR = Recipe(
    name="ioi",
    build=build,
    config=IOI,
    about="of two names, the one that is not said again",
    citation="Wang et al. 2022 (arXiv 2211.00593, §2)",
)
