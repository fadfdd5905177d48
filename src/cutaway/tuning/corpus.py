"""A data set: examples to train on, to choose weights by, and to test on, found in a folder by the names of its files.

A set cannot both choose and judge, and one without answers can do neither. So of val, dev and test, in this order, those with
answers are taken: the last is the test set, the one before it the dev set; without one before, the dev set is a share of the
training examples. Of GLUE's folders that makes: CoLA, whose test has no answers, is chosen by val and tested on dev; RTE, whose dev
alone has answers, is tested on it and chosen by a share of train; MRPC has no dev and is chosen by a share of train; SST-2 and
STS-B have all three. The corpus says what it did.
"""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cutaway.core.errors import CutawayError
from cutaway.tuning.data import READERS, Example, Part, read_file

NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "dev": ("dev", "development"),
    "test": ("test", "testing"),
}
"""How files of a data set are called: one of these words is in the name. The parts read from them are train, dev and test."""

PARTS = ("train", "dev", "test")

USUAL = (("val", "dev"), ("dev", "dev"), ("test", "test"))
"""What a file that is called so is used as; else it is told."""

METRICS = {"labels": "accuracy", "scores": "correlation", "text": "log_likelihood"}
"""What chooses the weights, by the kind of answers; for CoLA, GLUE's own: Matthews' correlation."""


@dataclass(frozen=True)
class Corpus:
    """Examples in up to three parts. Weights are chosen on dev by `metric`, of which more is better; test is for the end."""

    name: str
    kind: str
    """What answers are: "labels", "scores" or "text"."""
    labels: tuple[str, ...]
    """The classes that the training examples show, sorted; none for other kinds."""
    metric: str
    train: tuple[Example, ...] = ()
    dev: tuple[Example, ...] = ()
    test: tuple[Example, ...] = ()
    dev_from_train: bool = False
    """The data had no dev set: it was set aside from the training examples."""
    notes: tuple[str, ...] = ()
    """What else was done with the files, to be told."""

    @classmethod
    def of(
        cls,
        name: str,
        kind: str,
        train: Sequence[Example],
        dev: Sequence[Example] = (),
        test: Sequence[Example] = (),
        *,
        metric: str = "",
        dev_from_train: bool = False,
        notes: Sequence[str] = (),
    ) -> "Corpus":
        """With the classes that the training examples show, and the usual metric of the kind.

        Raises:
            CutawayError: labels of fewer than two classes.
        """
        labels = sorted({str(e.answer) for e in train}) if kind == "labels" else []
        if kind == "labels" and len(labels) < 2:
            raise CutawayError(
                f"{name}: the training examples have no two labels ({', '.join(labels)}): give some of each"
            )
        best = metric or METRICS[kind]
        parts = (tuple(train), tuple(dev), tuple(test))
        return cls(name, kind, tuple(labels), best, *parts, dev_from_train=dev_from_train, notes=tuple(notes))

    @property
    def sha256(self) -> str:
        """Of the kind, the labels, the metric, and every text, pair and answer."""
        made = hashlib.sha256(repr((self.kind, self.labels, self.metric)).encode())
        for part in (self.train, self.dev, self.test):
            made.update(f"\n{len(part)}\n".encode())
            for example in part:
                made.update(repr((example.text, example.pair, example.answer)).encode())
        return made.hexdigest()

    def unseen(self, part: str) -> dict[str, int]:
        """Labels of dev or test that no training example has, and how often: no model can get these right."""
        known = set(self.labels)
        answers = (str(e.answer) for e in getattr(self, part) if self.kind == "labels")
        return dict(sorted(Counter(x for x in answers if x not in known).items()))

    def __str__(self) -> str:
        about = " (set aside from the training examples)" if self.dev_from_train else ""
        kind = f"{len(self.labels)} labels" if self.kind == "labels" else self.kind
        told = [
            f"{self.name}: {len(self.train)} examples to train on, {len(self.dev)} dev{about}, {len(self.test)} test",
            f"{kind}, chosen by {self.metric}",
            *self.notes,
        ]
        for part in ("dev", "test"):
            some = ", ".join(f"{label} {n}×" for label, n in self.unseen(part).items())
            told += [f"labels of {part} unseen in training, counted as wrong: {some}"] if some else []
        return "; ".join(told)


def read_corpus(path: str | Path, *, dev_share: float = 0.1, limit: int = 0, seed: int = 0) -> Corpus:
    """A data set from a folder of files, or one file to train on; how they become parts is told above.

    Args:
        dev_share: share of the training examples set aside where there is no dev set, drawn at random, always the same.
        limit: at most as many training examples, drawn after that by `seed` (which is not that of the training); 0: all.

    Raises:
        CutawayError: nothing to train on is found, two files for one part, three that could choose or judge, answers of different
            kinds, or a file that cannot be read.
    """
    path = Path(path)
    if limit < 0:
        raise CutawayError(f"limit is {limit}: give the number of training examples, or 0 for all")
    found = _Found.of(path)
    if "train" not in found.parts:
        raise CutawayError(f"{path} has no training examples: have train in a file's name ({_here(path)})")
    if found.parts["train"].kind is None:
        raise CutawayError(f"{found.files['train']} has no answers to learn: add a label, a score or a target")
    train, dev, aside = found.choosing(dev_share)
    notes = found.notes
    if 0 < limit < len(train):
        notes = (*notes, f"the training examples are drawn from {len(train)} (seed {seed})")
        train = tuple(train[i] for i in sorted(random.Random(seed).sample(range(len(train)), limit)))
    metric = "matthews" if found.parts["train"].layout == "cola" else ""
    test = found.parts["test"].examples if "test" in found.parts else ()
    kind, name = str(found.parts["train"].kind), path.resolve().name
    return Corpus.of(name, kind, train, dev, test, metric=metric, dev_from_train=aside, notes=notes)


def read_examples(
    path: str | Path, part: str = "test", *, kind: str | None = None, dev_share: float = 0.1
) -> list[Example]:
    """The examples of one file, with answers or without; or `part` of a folder, which is what `read_corpus` would have there. Where
    that has no test set, a file of that name without answers is taken: it can be predicted, though not measured.

    Args:
        kind: that of answers, if there are any.

    Raises:
        CutawayError: there are none, they cannot be read, or the answers are of another kind.
    """
    path = Path(path)
    read = _part(path, part, dev_share) if path.is_dir() else read_file(path)
    if kind and read.kind not in (kind, None):
        raise CutawayError(f"{path} has {read.kind} for answers where {kind} are wanted: give other examples")
    return list(read.examples)


def _part(path: Path, part: str, dev_share: float) -> Part:
    if part not in PARTS:
        raise CutawayError(f"there is no part {part!r}: give {', '.join(PARTS)}")
    found = _Found.of(path)
    if part != "train" and part in found.parts:
        return found.parts[part]
    if "train" in found.parts:
        train, dev, _ = found.choosing(dev_share)
        if some := {"train": train, "dev": dev}.get(part):
            return replace(found.parts["train"], examples=some)
    if part in found.unanswered:
        return found.unanswered[part]
    raise CutawayError(f"{path} has no part {part!r} ({_here(path)})")


@dataclass(frozen=True)
class _Found:
    """The files of a data set, as the parts that they are."""

    files: dict[str, Path]
    """By what they are called: train, val, dev, test."""
    parts: dict[str, Part]
    """With answers (train perhaps without): train, dev, test."""
    unanswered: dict[str, Part]
    """Held-out files without answers, by what they are called."""
    notes: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> "_Found":
        files = _files(path) if path.is_dir() else {"train": path}
        read = {name: read_file(file) for name, file in files.items()}
        held = {name: part for name, part in read.items() if name != "train"}
        unanswered = {name: part for name, part in held.items() if part.kind is None}
        answered = [name for name in held if name not in unanswered]
        if len(answered) > 2:
            some = ", ".join(files[name].name for name in answered)
            raise CutawayError(f"{path} has three sets to choose and to judge by ({some}): leave two")
        roles = dict(zip(("test", "dev"), reversed(answered), strict=False))
        parts = {role: held[name] for role, name in roles.items()}
        parts |= {"train": read["train"]} if "train" in read else {}
        kinds = {files[name].name: part.kind for name, part in read.items() if part.kind}
        if len(set(kinds.values())) > 1:
            told = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
            raise CutawayError(f"{path}: answers of different kinds ({told}): give one kind")
        moved = [f"{files[name].name} is the {role} set" for role, name in roles.items() if (name, role) not in USUAL]
        left = [f"{files[name].name} has no answers and is left out" for name in unanswered]
        return cls(files, parts, unanswered, (*moved, *left))

    def choosing(self, share: float) -> tuple[tuple[Example, ...], tuple[Example, ...], bool]:
        """To train on, to choose by, and whether the latter is set aside from the former."""
        train = self.parts["train"].examples
        if "dev" in self.parts:
            return train, self.parts["dev"].examples, False
        aside = len(train) > 1 and self.parts["train"].kind is not None
        return (*_set_aside(train, share), True) if aside else (train, (), False)


def _files(folder: Path) -> dict[str, Path]:
    """The file for each name, in the order of `NAMES`. What has such a name and no ending that can be read is left out, unless
    nothing else has that name."""
    found: dict[str, list[Path]] = {}
    for file in sorted(x for x in folder.iterdir() if x.is_file() and not x.name.startswith(".")):
        words = set(re.findall("[a-z]+", file.stem.lower()))
        called = [name for name, some in NAMES.items() if words & set(some)]
        if len(called) == 1:
            found.setdefault(called[0], []).append(file)
        elif called and file.suffix.lower() in READERS:
            raise CutawayError(f"{file} is called {' and '.join(called)}: rename it for what it is")
    chosen = {}
    for name in (name for name in NAMES if name in found):
        files = [x for x in found[name] if x.suffix.lower() in READERS] or found[name]
        if len(files) > 1:
            raise CutawayError(f"{folder} has several files for {name}: {', '.join(x.name for x in files)}; leave one")
        chosen[name] = files[0]
    return chosen


def _here(path: Path) -> str:
    """What there is instead."""
    some = sorted(x.name for x in path.iterdir())[:8] if path.is_dir() else []
    return f"it has {', '.join(some) or 'nothing'}"


def _set_aside(examples: Sequence[Example], share: float) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    n = min(max(1, round(share * len(examples))), len(examples) - 1)
    chosen = set(random.Random(0).sample(range(len(examples)), n))
    rest = tuple(e for i, e in enumerate(examples) if i not in chosen)
    return rest, tuple(examples[i] for i in sorted(chosen))
