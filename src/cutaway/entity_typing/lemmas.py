"""Words in the form of a dictionary: `engines` is `engine`, `wrote` stays. English, by endings, with a list of words to land on.

As WordNet's Morphy does (Fellbaum 1998, WordNet: an electronic lexical database), endings are taken off or exchanged, and what
comes out counts if it is a known word; a word that is a type stays as it is, so that a `building` does not become `build`. A few
nouns that have no ending to take off are listed. It needs no model and no download; what it does not know it leaves alone, and
of names it knows nothing: `James` becomes `jam` where that is a word.
"""

from collections.abc import Collection, Iterable

ENDINGS = (
    ("ies", "y"), ("ves", "fe"), ("ves", "f"), ("men", "man"), ("es", "e"), ("es", ""), ("s", ""),
    ("ied", "y"), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""),
)  # fmt: skip
"""Of nouns and verbs, and what stands for them in the form of the dictionary; tried in this order."""

IRREGULAR = {
    "people": "person", "children": "child", "men": "man", "women": "woman", "feet": "foot", "teeth": "tooth", "mice": "mouse",
    "geese": "goose", "oxen": "ox", "media": "medium", "criteria": "criterion", "phenomena": "phenomenon", "alumni": "alumnus",
    "crises": "crisis", "analyses": "analysis", "bases": "base", "data": "data", "news": "news",
}  # fmt: skip

SHORTEST = 3
"""Letters that must be left: `as` is not `a`, and `his` not `hi`."""


class Lemmas:
    """Lemmas of words, with what is a word.

    Args:
        types: names of types; the parts of one (`body_part`) are words too.
        words: of the texts at hand.
    """

    def __init__(self, types: Collection[str], words: Iterable[str] = ()):
        self.types = frozenset(part for name in types for part in words_of(name))
        self.known = self.types | {word.lower() for word in words}

    def __call__(self, word: str) -> str:
        """Of one word, in small letters."""
        word = word.lower()
        if word in self.types:
            return word
        if word in IRREGULAR:
            return IRREGULAR[word]
        return next((lemma for lemma in _forms(word) if lemma in self.known), word)


def words_of(name: str) -> tuple[str, ...]:
    """The words of a type's name: of `body_part` two, of a path (/person/artist) those of its last step."""
    return tuple(part for part in name.rstrip("/").split("/")[-1].lower().replace("_", " ").split() if part)


def _forms(word: str) -> Iterable[str]:
    """What a word may be a form of, if it is long enough."""
    if word.endswith("ss"):
        return
    for ending, instead in ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or len(stem + instead) < SHORTEST:
            continue
        yield stem + instead
        if not instead and ending in ("ed", "ing") and len(stem) > SHORTEST and stem[-1] == stem[-2]:
            yield stem[:-1]  # stopped, running
