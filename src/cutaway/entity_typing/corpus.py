"""A data set: mentions to train on, to choose by, and to test on, with the list of their types, found in a folder by their names.

The folder of Ultra-Fine's release is understood as it is: its crowd-sourced mentions lie in `crowd/`, the types in
`ontology/types.txt`.
"""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cutaway.core.errors import CutawayError
from cutaway.entity_typing.data import Mention
from cutaway.entity_typing.reading import read_distant, read_mentions
from cutaway.entity_typing.type_list import TypeList, read_types

NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "valid", "validation", "val"),
    "test": ("test", "testing"),
}
"""How the parts of a data set are called: one of these words is in the name of the file."""

ENDINGS = (".json", ".jsonl", ".tsv", ".txt")

TYPES = "types.txt"


@dataclass(frozen=True)
class Corpus:
    """Mentions in up to three parts. Weights and thresholds are chosen on dev; test is for the end."""

    name: str
    types: TypeList
    train: tuple[Mention, ...] = ()
    dev: tuple[Mention, ...] = ()
    test: tuple[Mention, ...] = ()
    distant: tuple[Mention, ...] = ()
    """To train on as well, each with its weight."""
    dev_from_train: bool = False
    """The data had no dev set: it was set aside from the training mentions."""
    notes: tuple[str, ...] = ()
    """What else was done or found, to be told."""

    def seen(self) -> Counter[str]:
        """How often training shows each type; 0 for one it never shows."""
        return Counter(name for mention in (*self.train, *self.distant) for name in mention.types or ())

    @property
    def sha256(self) -> str:
        """Of all types, words, spans, and weights."""
        told = [
            [(m.left, m.span, m.right, m.types, m.weight) for m in part]
            for part in (self.train, self.dev, self.test, self.distant)
        ]
        return hashlib.sha256(repr((self.types.names, self.types.groups, told)).encode()).hexdigest()

    def with_distant(self, path: str | Path, *, weight: float, most: int | None = None, seed: int = 0) -> "Corpus":
        """With distant supervision mixed in, as `read_distant` reads and weighs it; again, for several files."""
        found = read_distant(path, self.types, weight=weight, most=most, seed=seed)
        told = f"{Path(path).name}: {len(found.mentions):,} mentions of weight {weight:g}, from {found.lines:,} lines"
        left = found.drawn - len(found.mentions)
        told += f"; {found.dropped:,} types that are not in the list left out, and {left:,} mentions with no other"
        return replace(self, distant=(*self.distant, *found.mentions), notes=(*self.notes, told))

    def __str__(self) -> str:
        about = " (set aside from the training mentions)" if self.dev_from_train else ""
        more = f", {len(self.distant):,} by distant supervision" if self.distant else ""
        return (
            f"{self.name}: {len(self.train):,} mentions to train on{more}, {len(self.dev):,} dev{about}, "
            f"{len(self.test):,} test; {len(self.types):,} types"
        )


def read_corpus(path: str | Path, types: str | Path | None = None, *, dev_share: float = 0.1) -> Corpus:
    """A data set from a folder with files whose names have `train`, `dev`, `test` in them, or from one file to train on.

    Args:
        types: the file of the type list; None: `types.txt` in the folder or in its `ontology`, or else the types that the training
            mentions have, in order of the alphabet.
        dev_share: share of the training mentions set aside where there is no dev set, drawn at random, always the same.

    Raises:
        CutawayError: nothing to train on is found, two files for one part, a file that cannot be read, a type that is not in the
            list, or mentions to train on without types.
    """
    path = Path(path)
    files, known = _files(path), type_list(path, types)
    if "train" not in files:
        raise CutawayError(f"{path} has no training mentions: name a file in it train ({_here(path)})")
    read = {part: tuple(read_mentions(file, known, repeats=part == "train")) for part, file in files.items()}
    for part, mentions in read.items():
        if any(mention.types is None for mention in mentions):
            raise CutawayError(
                f"{files[part]} has mentions without types: give types to all of them, if only none ([])"
            )
    train, dev = read["train"], read.get("dev", ())
    aside = not dev and len(train) > 1
    if aside:
        train, dev = _set_aside(train, dev_share)
    names = known or TypeList.of(sorted({name for mention in read["train"] for name in mention.types or ()}))
    made = Corpus(path.resolve().name, names, train, dev, read.get("test", ()), dev_from_train=aside)
    return replace(made, notes=tuple(_notes(made)))


def read_part(path: str | Path, part: str, types: TypeList | None = None) -> list[Mention]:
    """The mentions of one part of a data set, or of a file. Raises as `read_corpus`."""
    path = Path(path)
    if path.is_file() or not path.is_dir():
        return read_mentions(path, types)
    if part not in NAMES:
        raise CutawayError(f"there is no part {part!r}: give {', '.join(NAMES)}")
    files = _files(path)
    if part not in files:
        raise CutawayError(f"{path} has no part {part!r} ({_here(path)})")
    return read_mentions(files[part], types, repeats=part == "train")


def seen_in_training(path: str | Path, types: TypeList | None = None) -> Counter[str] | None:
    """How often the training mentions of a data set show each type; None if `path` has none. Raises as `read_corpus`."""
    path = Path(path)
    files = _files(path) if path.is_dir() else {}
    if "train" not in files:
        return None
    mentions = read_mentions(files["train"], types, repeats=True)
    return Counter(name for mention in mentions for name in mention.types or ())


def type_list(path: Path, types: str | Path | None = None) -> TypeList | None:
    """The list that was given, or the one that lies with the data; None if there is none."""
    if types is not None:
        return read_types(types)
    folder = path if path.is_dir() else path.parent
    places = [folder / TYPES, folder / "ontology" / TYPES]
    places += [folder.parent / "ontology" / TYPES] if folder.resolve().name == "crowd" else []
    found = next((place for place in places if place.is_file()), None)
    return read_types(found) if found else None


def _files(path: Path) -> dict[str, Path]:
    """The file of each part."""
    if not path.is_dir():
        return {"train": path}
    folder = path / "crowd" if (path / "crowd").is_dir() else path
    found: dict[str, list[Path]] = {}
    for file in sorted(x for x in folder.iterdir() if x.is_file() and x.suffix.lower() in ENDINGS):
        words = set(re.findall("[a-z]+", file.stem.lower()))
        for part, called in NAMES.items():
            if words & set(called):
                found.setdefault(part, []).append(file)
    for part, files in found.items():
        if len(files) > 1:
            raise CutawayError(f"{folder} has several files for {part}: {', '.join(x.name for x in files)}; leave one")
    return {part: found[part][0] for part in NAMES if part in found}


def _notes(corpus: Corpus) -> list[str]:
    told = []
    for part, mentions in (("train", corpus.train), ("dev", corpus.dev), ("test", corpus.test)):
        if empty := sum(not mention.types for mention in mentions):
            told.append(f"{empty:,} of {len(mentions):,} mentions of {part} have no types")
    seen = corpus.seen()
    new = {name for mention in (*corpus.dev, *corpus.test) for name in mention.types or () if not seen[name]}
    if new:
        told.append(f"{len(new):,} types of dev and test are never seen in training")
    return told


def _here(path: Path) -> str:
    """What there is instead."""
    some = sorted(x.name for x in path.iterdir())[:8] if path.is_dir() else []
    return f"it has {', '.join(some) or 'nothing'}"


def _set_aside(mentions: Sequence[Mention], share: float) -> tuple[tuple[Mention, ...], tuple[Mention, ...]]:
    n = min(max(1, round(share * len(mentions))), len(mentions) - 1)
    chosen = set(random.Random(0).sample(range(len(mentions)), n))
    rest = tuple(m for i, m in enumerate(mentions) if i not in chosen)
    return rest, tuple(mentions[i] for i in sorted(chosen))
