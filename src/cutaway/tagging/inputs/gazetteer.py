"""Lists of names: where the longest entries of each type stand in a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cutaway.core.errors import CutawayError

PLACES = "BIES"
"""The bits of a type: beginning, inside, end, and an entry of one word."""


class Gazetteer:
    """Names by type, compared without regard to case.

    Args:
        entries: type → names, each words with a blank between.
    """

    def __init__(self, entries: Mapping[str, Sequence[str]]):
        self.entries = {kind: list(names) for kind, names in entries.items()}
        self.width = len(PLACES) * len(self.entries)
        # first word → entries that begin with it, the longest first
        self._by_first: list[dict[str, list[tuple[str, ...]]]] = []
        for names in self.entries.values():
            by_first: dict[str, list[tuple[str, ...]]] = {}
            for entry in sorted({tuple(name.lower().split()) for name in names}, key=len, reverse=True):
                by_first.setdefault(entry[0], []).append(entry)
            self._by_first.append(by_first)

    @classmethod
    def read(cls, path: Path) -> "Gazetteer":
        """From a text file: a type, a tab and a name on each line; empty lines say nothing.

        Raises:
            CutawayError: no such file, not UTF-8, a line without a tab, a type or a name, or no names at all.
        """
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
            raise CutawayError(f"{path} cannot be read as a gazetteer: give a UTF-8 text file") from error
        entries: dict[str, list[str]] = {}
        for n, line in enumerate(lines, 1):
            if not line.strip():
                continue
            kind, _, name = (part.strip() for part in line.partition("\t"))
            if not kind or not name:
                raise CutawayError(f"{path}, line {n}: write a type, a tab and a name, not {line.strip()[:40]!r}")
            entries.setdefault(kind, []).append(" ".join(name.split()))
        if not entries:
            raise CutawayError(f"{path} has no names: give a type, a tab and a name on each line")
        return cls({kind: sorted(set(names)) for kind, names in sorted(entries.items())})

    def found(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Word and bit, for each type from left to right, the longest entry at each place; entries of one type do not overlap."""
        plain = tuple(word.lower() for word in words)
        for t, by_first in enumerate(self._by_first):
            i = 0
            while i < len(plain):
                entries = by_first.get(plain[i], ())
                length = next((len(entry) for entry in entries if plain[i : i + len(entry)] == entry), 0)
                for k in range(length):
                    place = "S" if length == 1 else "B" if k == 0 else "E" if k == length - 1 else "I"
                    yield i + k, len(PLACES) * t + PLACES.index(place)
                i += length or 1
