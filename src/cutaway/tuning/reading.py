"""From examples to what a model is called with: pieces, masks, the tokens to be written, and which states stand for a text.

    encoder             [CLS] text [SEP] pair [SEP], as its tokenizer has it
    decoder             text, a line break and the pair; or a prompt, the answer, and an end where `stop` is set
    encoder-decoder     the prompt on one side, the answer on the other

Padding stands on the right. A prompt that is too long loses its beginning, a text its end.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.core.encoders import KNOWN_ENCODERS
from cutaway.core.errors import CutawayError
from cutaway.tuning.backbone import Backbone
from cutaway.tuning.config import Config
from cutaway.tuning.data import Example

NO_TARGET = -100
"""Where nothing is to be predicted."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "decoder_input_ids")


class Reader:
    """Reads examples for one model and one kind of answers.

    Raises:
        CutawayError: a model that cannot give answers of this kind.
    """

    def __init__(self, config: Config, kind: str, backbone: Backbone):
        about: Any = backbone.model.config
        self.kind, self.tokenizer, self.folder = kind, backbone.tokenizer, backbone.folder
        self.length = min(config.length, backbone.longest)
        self.stop = config.stop
        self.both = bool(getattr(about, "is_encoder_decoder", False))
        self.writes = self.both or backbone.model.get_output_embeddings() is not None
        if kind == "text" and not self.writes:
            raise CutawayError(
                f"{config.model} is an encoder, which cannot write text: give labels, scores, or a decoder"
            )
        if kind != "text" and self.both:
            raise CutawayError(
                f"{config.model} has an encoder and a decoder and answers in words: give answers as `target`"
            )
        self.types = getattr(about, "type_vocab_size", 0) > 1
        self.pad = about.pad_token_id if isinstance(about.pad_token_id, int) else 0
        ends = about.eos_token_id
        self.end: int | None = ends[0] if isinstance(ends, list) else ends
        start = getattr(about, "decoder_start_token_id", None)
        if self.both and start is None:
            raise CutawayError(f"{config.model} does not say what its decoder begins with: set decoder_start_token_id")
        self.start = int(start or 0)
        """What a decoder beside an encoder begins with."""
        known = KNOWN_ENCODERS.get(config.model)
        auto = "last" if self.writes else known.sentence if known else "first"
        self.pool = auto if config.pool == "auto" else config.pool

    # --- pieces -------------------------------------------------------------------------------------------------------

    def collate(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Pieces of a batch, padded, with `targets` where text is to be written."""
        if self.kind != "text":
            return self._texts(examples)
        return self._seq2seq(examples) if self.both else self._continued(examples)

    def inputs(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What the model is called with."""
        given = {name: batch[name] for name in INPUTS if name in batch}
        return given | ({"use_cache": False} if self.writes else {})

    def _texts(self, examples: Sequence[Example]) -> dict[str, Any]:
        if self.writes:
            texts = [x.text if x.pair is None else f"{x.text}\n{x.pair}" for x in examples]
            ids = [e.ids[: self.length] for e in self.tokenizer.encode_batch(texts)]
            return self._padded(ids)
        self.tokenizer.enable_truncation(self.length)  # the longer of the two first
        pairs = [x.text if x.pair is None else (x.text, x.pair) for x in examples]
        read = self.tokenizer.encode_batch(pairs)
        self.tokenizer.no_truncation()
        batch = self._padded([e.ids for e in read])
        if self.types:
            batch["token_type_ids"] = _rows([e.type_ids for e in read], 0)
        return batch

    def _continued(self, examples: Sequence[Example]) -> dict[str, Any]:
        ids, targets = [], []
        for example in examples:
            prompt = self.tokenizer.encode(example.text).ids
            answer = self.answer(example)
            prompt = prompt[max(0, len(prompt) + len(answer) - self.length) :]
            row = (prompt + answer)[: self.length]
            ids.append(row)
            first = max(len(prompt), 1)  # nothing stands before the first token that could foretell it
            targets.append([NO_TARGET] * (first - 1) + row[first:] + [NO_TARGET])
        return self._padded(ids) | {"targets": _rows(targets, NO_TARGET)}

    def _seq2seq(self, examples: Sequence[Example]) -> dict[str, Any]:
        prompts = [e.ids[: self.length] for e in self.tokenizer.encode_batch([x.text for x in examples])]
        answers = [self.answer(x)[: self.length] for x in examples]
        begun = [[self.start, *answer[:-1]] if answer else [self.start] for answer in answers]
        targets = [answer or [NO_TARGET] for answer in answers]
        return self._padded(prompts) | {
            "decoder_input_ids": _rows(begun, self.pad),
            "targets": _rows(targets, NO_TARGET),
        }

    def answer(self, example: Example) -> list[int]:
        """The tokens to be written; an end behind them where there was a prompt."""
        if example.answer is None:
            return []
        ids = self.tokenizer.encode(str(example.answer), add_special_tokens=False).ids
        ends = self.stop and (self.both or bool(example.text))
        return [*ids, self.end] if ends and self.end is not None else ids

    def begun(self, rows: Sequence[tuple[str, list[int]]]) -> dict[str, Tensor]:
        """Prompts with the tokens written so far; `last` is the position that says the next."""
        prompts = [self.tokenizer.encode(prompt).ids for prompt, _ in rows]
        if self.both:
            told = [[self.start, *written] for _, written in rows]
            last = torch.tensor([len(row) - 1 for row in told])
            batch = self._padded([ids[: self.length] for ids in prompts])
            return batch | {"decoder_input_ids": _rows(told, self.pad), "last": last}
        joined = [[*ids, *written][-self.length :] for ids, (_, written) in zip(prompts, rows, strict=True)]
        batch = self._padded(joined)
        return batch | {"last": batch["lengths"] - 1}

    def _padded(self, ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        ids = [row or [self.pad] for row in ids]  # where a text is empty and the tokenizer adds nothing
        return {
            "input_ids": _rows(ids, self.pad),
            "attention_mask": _rows([[1] * len(row) for row in ids], 0),
            "lengths": torch.tensor([len(row) for row in ids]),
        }

    def sizes(self, examples: Sequence[Example]) -> list[int]:
        """Pieces of each example, so that batches can be made of like ones."""
        return [int(n) for at in range(0, len(examples), 256) for n in self.collate(examples[at : at + 256])["lengths"]]

    # --- states -------------------------------------------------------------------------------------------------------

    def pooled(
        self, hidden: Float[Tensor, "batch pos d_model"], batch: Mapping[str, Any]
    ) -> Float[Tensor, "batch d_model"]:
        """What stands for each text."""
        if self.pool == "first":
            return hidden[:, 0]
        if self.pool == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), batch["lengths"] - 1]
        mask = batch["attention_mask"][..., None].to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)


def _rows(rows: Sequence[Sequence[int]], fill: int) -> Int[Tensor, "batch pos"]:
    wide = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (wide - len(row))] for row in rows])
