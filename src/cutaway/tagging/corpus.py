"""A data set: sentences to train on, to choose by, and to test on, found in a folder by their names."""

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cutaway.core.errors import CutawayError
from cutaway.core.text_files import text_lines
from cutaway.tagging.data import Sentence, read_columns, read_joint
from cutaway.tagging.json_lines import read_json_lines

NAMES = {"train": ("train",), "dev": ("dev", "valid", "val"), "test": ("test",)}
"""How the parts of a data set are called."""


@dataclass(frozen=True)
class Corpus:
    """Sentences in up to three parts. Weights, temperatures and thresholds are chosen on dev; test is for the end."""

    name: str
    train: tuple[Sentence, ...] = ()
    dev: tuple[Sentence, ...] = ()
    test: tuple[Sentence, ...] = ()
    outside: tuple[Sentence, ...] = field(default=())
    """Sentences of another domain to choose the threshold of rejection by; never those it is tested with."""
    dev_from_train: bool = False
    """The data had no dev set: it was set aside from the training sentences."""

    @property
    def sha256(self) -> str:
        """Of all words, tags, intents, and spans within spans if there are any."""
        parts = (self.train, self.dev, self.test)
        told = [[(s.words, s.tags, s.intents, *([s.within] if s.within else [])) for s in part] for part in parts]
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def __str__(self) -> str:
        about = " (set aside from the training sentences)" if self.dev_from_train else ""
        return (
            f"{self.name}: {len(self.train)} sentences to train on, {len(self.dev)} dev{about}, {len(self.test)} test"
        )


def read_corpus(path: str | Path, *, dev_share: float = 0.1) -> Corpus:
    """A data set from a folder: `train`, `dev`, `test` as folders of joint files, or as files of columns or of JSON lines (.jsonl)
    with such names; or one file to train on.

    Args:
        dev_share: share of the training sentences set aside where there is no dev set, drawn at random, always the same.

    Raises:
        CutawayError: nothing to train on is found, two files for one part, or a file that cannot be read.
    """
    path = Path(path)
    found = {part: _one(path, part) for part in NAMES} if path.is_dir() else {"train": path}
    if found["train"] is None:
        here = ", ".join(sorted(x.name for x in path.iterdir())[:8]) or "nothing"
        raise CutawayError(f"{path} has no training sentences: name a folder or a file in it train (it has {here})")
    read = {part: tuple(read_sentences(place)) for part, place in found.items() if place is not None}
    train, dev = read["train"], read.get("dev", ())
    aside = not dev and len(train) > 1
    if aside:
        train, dev = _set_aside(train, dev_share)
    return Corpus(path.resolve().name, train, dev, read.get("test", ()), dev_from_train=aside)


def read_sentences(path: str | Path, part: str | None = None, **layout: Any) -> list[Sentence]:
    """The sentences of one part: a folder of joint files, a file of columns or JSON lines, or `part` of a data set's folder.

    Args:
        layout: of the columns, as `read_columns` takes it.

    Raises:
        CutawayError: there are none, or they cannot be read.
    """
    path = Path(path)
    if (path / "seq.in").is_file():
        return read_joint(path)
    if path.is_dir() and part:
        if part not in NAMES:
            raise CutawayError(f"there is no part {part!r}: give {', '.join(NAMES)}")
        if (place := _one(path, part)) is None:
            here = ", ".join(sorted(x.name for x in path.iterdir())[:8]) or "nothing"
            raise CutawayError(f"{path} has no part {part!r}: it has {here}")
        return read_sentences(place, **layout)
    if path.is_dir():
        raise CutawayError(f"{path} has no seq.in: give a folder with seq.in, seq.out and label, or a file of columns")
    return read_json_lines(path) if _is_json_lines(path) else read_columns(path, **layout)


def read_plain(path: str | Path) -> list[Sentence]:
    """A text file with a sentence on each line, words between spaces, empty lines left out; or JSON lines, of which the words are
    taken. Raises as `read_sentences`."""
    path, found = Path(path), []
    if _is_json_lines(path):
        return [Sentence(sentence.words) for sentence in read_json_lines(path)]
    for n, line in enumerate(text_lines(path), 1):
        try:
            found += [Sentence(tuple(words))] if (words := line.split()) else []
        except CutawayError as error:
            raise CutawayError(f"{path}, line {n}: {error}") from error
    if not found:
        raise CutawayError(f"{path} has no sentences: give a file with at least one")
    return found


def _is_json_lines(path: Path) -> bool:
    return path.suffix.lower() == ".jsonl"


def _one(folder: Path, part: str) -> Path | None:
    """The folder or file of a part."""
    exact = [folder / name for name in NAMES[part] if (folder / name).is_dir()]
    named = [x for x in sorted(folder.iterdir()) if x.is_file() and any(name in x.name.lower() for name in NAMES[part])]
    found = exact or named
    if len(found) > 1:
        raise CutawayError(f"{folder} has several files for {part}: {', '.join(x.name for x in found)}; leave one")
    return found[0] if found else None


def _set_aside(sentences: tuple[Sentence, ...], share: float) -> tuple[tuple[Sentence, ...], tuple[Sentence, ...]]:
    n = min(max(1, round(share * len(sentences))), len(sentences) - 1)
    chosen = set(random.Random(0).sample(range(len(sentences)), n))
    rest = tuple(s for i, s in enumerate(sentences) if i not in chosen)
    return rest, tuple(sentences[i] for i in sorted(chosen))
