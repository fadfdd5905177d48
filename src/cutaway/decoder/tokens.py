"""Text to tokens and back. Nothing is ever added silently: what you encode is what the model sees."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from cutaway.core.errors import CutawayError


@dataclass(frozen=True)
class Encoded:
    """Token ids and, for each, the characters of the text it covers (start, end)."""

    ids: list[int]
    spans: list[tuple[int, int]]


class Tokenizer:
    """A thin reading of the `tokenizers` library that adds no special token, no padding and no truncation."""

    def __init__(self, fast: FastTokenizer):
        self._fast = fast
        fast.no_padding()
        fast.no_truncation()

    def encode(self, text: str) -> list[int]:
        return self._fast.encode(text, add_special_tokens=False).ids

    def encode_spans(self, text: str) -> Encoded:
        encoding = self._fast.encode(text, add_special_tokens=False)
        return Encoded(encoding.ids, [tuple(span) for span in encoding.offsets])

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._fast.encode_batch(texts, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        return self._fast.decode(ids, skip_special_tokens=False)

    def single(self, text: str) -> int | None:
        """The id of `text` if it is exactly one token, else None."""
        ids = self.encode(text)
        return ids[0] if len(ids) == 1 and self.decode(ids) == text else None

    def shown(self, token: int) -> str:
        """One token as a person reads it: a leading space stays a space, line ends are escaped."""
        return self.decode([token]).replace("\n", "\\n").replace("\t", "\\t")

    def __len__(self) -> int:
        return self._fast.get_vocab_size()


def load_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer beside a checkpoint: `tokenizer.json`, or GPT-2's vocabulary and merges; None if there is none.

    Raises:
        CutawayError: a tokenizer file that cannot be read.
    """
    if (file := folder / "tokenizer.json").is_file():
        try:
            return Tokenizer(FastTokenizer.from_file(str(file)))
        except Exception as error:  # the Rust library raises bare Exception
            raise CutawayError(f"{file} is not a tokenizer file the `tokenizers` library can read: {error}") from error
    for vocabulary, merges in (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")):
        if (folder / vocabulary).is_file() and (folder / merges).is_file():
            return gpt2_tokenizer(folder / vocabulary, folder / merges)
    return None


def gpt2_tokenizer(vocabulary: Path, merges: Path) -> Tokenizer:
    """GPT-2's byte-level BPE from its two original files."""
    from tokenizers import decoders, models, pre_tokenizers

    fast = FastTokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens(["<|endoftext|>"])
    return Tokenizer(fast)
