"""The acronym paper's own prompts and corruptions (García-Carrasco, Maté & Trujillo 2024, arXiv 2405.04156, §3, §4.1).

The prompts are a file of the authors' repository (`acronyms_2_common.txt`), one a line, with the letters written twice:

    The Ketchup Lark Wreck (KL, KLW

Corrupted prompts are the same ones shuffled, so that a corrupted token can by chance be the clean one; and the words of
a few letters fill most of the file. `acronyms.build` has neither weakness; this module is for comparing with the paper.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from cutaway.circuits.behavior import Behavior, Row, Sample, Segment, Variant, assemble
from cutaway.circuits.behaviors.acronyms import BEHAVIOR, CORRUPTIONS, LETTERS, letter_ids
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

ROLES = ("The", "C1", "T1", "C2", "T2", "C3", "T3", "(", "A1", "A2")
"""One token each."""


@dataclass(frozen=True)
class Line:
    """One prompt of the file: its text up to the bracket, the three words, the three letters."""

    text: str
    words: tuple[str, ...]
    letters: str


def read_lines(file: Path) -> list[Line]:
    """All prompts of the file, in its order.

    Raises:
        CutawayError: no such file, or a line of another form, by its number.
    """
    if not file.is_file():
        raise CutawayError(f"{file} does not exist: give acronyms_2_common.txt of the paper's repository")
    lines = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        found = re.fullmatch(r"(The (\S+) (\S+) (\S+) \()([A-Z]{2}), ([A-Z]{3})", line)
        if not found or found[6][:2] != found[5]:
            raise CutawayError(
                f"{file}, line {number} is {line[:60]!r}: it must look like 'The Ketchup Lark Wreck (KL, KLW'"
            )
        lines.append(Line(found[1], (found[2], found[3], found[4]), found[6]))
    return lines


def paper_prompts(file: Path, tokenizer: Tokenizer, n: int = 50, *, bos: int | None = 50256, seed: int = 0) -> Behavior:
    """The first `n` prompts of the file, as in all of the authors' scripts, corrupted as theirs are.

    The rows are shuffled once for the words and once more, independently, for the letters already written. Where the
    authors disturb nothing (words before the first, letters before the first), there is no run, and effects are NaN.

    Args:
        bos: the token id in front of every prompt (GPT-2's, as the authors have it); None for none.
        seed: of the two shuffles; the authors' have none.

    Raises:
        CutawayError: `n` out of range, or a prompt that this tokenizer does not cut into one token for each role.
    """
    lines = read_lines(Path(file))
    if not 1 <= n <= len(lines):
        raise CutawayError(f"n is {n}: {file} has {len(lines)} prompts, ask for 1 to {len(lines)}")
    letters = letter_ids(tokenizer)
    ids = [_ids(line, tokenizer, letters, f"{file}, line {i}") for i, line in enumerate(lines[:n], 1)]
    rng = random.Random(seed)
    words_from, letters_from = rng.sample(range(n), n), rng.sample(range(n), n)
    samples = [
        _sample(line, ids[i], (ids[words_from[i]], ids[letters_from[i]]), letters, bos)
        for i, line in enumerate(lines[:n])
    ]
    return assemble(
        BEHAVIOR.name,
        samples,
        about=BEHAVIOR.about,
        corruptions=CORRUPTIONS,
        reference="everything",
        step_names=("letter 1", "letter 2", "letter 3"),
        chance=True,
        sources=("C1", "C2", "C3"),
        mover="letter mover",
        recipe={"behavior": BEHAVIOR.name, "file": Path(file).name, "n": n, "bos": bos, "seed": seed},
    )


def tokenisation_report(file: Path, tokenizer: Tokenizer) -> dict[str, int]:
    """What the paper says of its prompts (§3), counted: with GPT-2's tokenizer, every word and every prompt is as said.

    Keys:
        `prompts`, `distinct_prompts`, `distinct_words`, `distinct_acronyms`;
        `words`: distinct words that are two tokens, the first a space and the capital;
        `acronyms`: prompts whose three letters are three tokens; `ten_tokens`: prompts of ten tokens in all;
        `letter_triples`: of all 17,576 triples of capitals, those that stay three tokens.
    """
    lines = read_lines(Path(file))
    words = sorted({word for line in lines for word in line.words})
    cuts = tokenizer.encode_many([f" {word}" for word in words])
    triples = ["".join(letters) for letters in product(LETTERS, repeat=3)]
    whole = {triple: len(ids) for triple, ids in zip(triples, tokenizer.encode_many(triples), strict=True)}
    acronyms = [line.letters for line in lines]
    return {
        "prompts": len(lines),
        "distinct_prompts": len(set(lines)),
        "distinct_words": len(words),
        "distinct_acronyms": len(set(acronyms)),
        "words": sum(len(c) == 2 and c[:1] == tokenizer.encode(f" {w[0]}") for w, c in zip(words, cuts, strict=True)),
        "acronyms": sum(whole[acronym] == 3 for acronym in acronyms),
        "ten_tokens": sum(
            len(ids) == 10 for ids in tokenizer.encode_many([line.text + line.letters[:2] for line in lines])
        ),
        "letter_triples": sum(count == 3 for count in whole.values()),
    }


def _ids(line: Line, tokenizer: Tokenizer, letters: dict[str, int], where: str) -> tuple[int, ...]:
    """The ten tokens before the last letter, which must follow as a token of its own."""
    ids = tokenizer.encode(line.text + line.letters)
    if len(ids) != len(ROLES) + 1 or ids[-3:] != [letters[letter] for letter in line.letters]:
        raise CutawayError(
            f"{where}: this tokenizer does not cut {line.text!r} into the paper's ten tokens; take GPT-2's, or "
            "acronyms.build, which cuts words of any length"
        )
    return tuple(ids[:-1])


def _sample(
    line: Line,
    clean: Sequence[int],
    others: tuple[Sequence[int], Sequence[int]],
    letters: dict[str, int],
    bos: int | None,
) -> Sample:
    """`others` are the tokens of the rows that words and letters are taken from."""
    words_from, letters_from = others

    def row(words: Sequence[int] = (), written: Sequence[int] = ()) -> Row:
        """With these of the three words, and of the letters already written, from the other rows."""
        changed = {role: words_from for i in words for role in (f"C{i + 1}", f"T{i + 1}")}
        changed |= {f"A{i + 1}": letters_from for i in written}
        cut = (Segment(role, (changed.get(role, clean)[at],)) for at, role in enumerate(ROLES))
        return (Segment("BOS", (bos,)), *cut) if bos is not None else tuple(cut)

    answer = tuple(letters[letter] for letter in line.letters)
    return Sample(
        text=line.text,
        row=row(),
        answer=answer,
        alternatives=tuple(tuple(i for i in letters.values() if i != token) for token in answer),
        corrupted={
            "current word": tuple(Variant((i,), row([i])) for i in range(3)),
            "previous words": tuple(Variant((i,), row(range(i))) for i in (1, 2)),
            "previous letters": tuple(Variant((i,), row((), range(i))) for i in (1, 2)),
            "everything": (Variant((0, 1, 2), row(range(3), range(2))),),
        },
    )
