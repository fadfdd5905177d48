"""From any name, path or repository to a folder; nothing here touches a network."""

import difflib
import hashlib
from pathlib import Path

import pytest

from cutaway.core import sources
from cutaway.core.errors import CutawayError
from cutaway.core.sources import Hub, Url
from cutaway.decoder import catalog
from cutaway.decoder.catalog import KNOWN_MODELS, KnownModel, locate


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """An empty cache, an empty working folder, and no way out."""
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*args, **kwargs):
        raise AssertionError("a process was started")

    monkeypatch.setattr(sources.subprocess, "run", run)


@pytest.fixture
def conversions(monkeypatch) -> list[Path]:
    """The converter's stand-in: writes a config and remembers what it was asked for."""
    from cutaway.decoder import gguf

    asked = []

    def convert(file, folder):
        asked.append(file)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(f'{{"from": "{file.read_text()}"}}')
        return folder

    monkeypatch.setattr(gguf, "convert", convert)
    return asked


def test_every_known_model_says_what_it_is_and_under_which_licence():
    for name, model in KNOWN_MODELS.items():
        assert name == model.name == name.lower()
        assert model.sources
        assert model.licence
        assert model.about
        assert model.convert == any(str(source).startswith("wheel ") for source in model.sources)
    assert {"smollm2-135m", "gpt2", "gpt2-medium", "pythia-70m", "qwen3-0.6b"} <= KNOWN_MODELS.keys()


def test_a_folder_is_taken_as_it_is(tmp_path):
    assert locate(tmp_path) == tmp_path
    assert locate(str(tmp_path)) == tmp_path


def test_a_folder_named_as_a_known_model_is_taken_if_it_holds_one(monkeypatch):
    monkeypatch.setattr(catalog, "fetch_first", lambda name, *args, **kwargs: Path("fetched"))
    Path("gpt2").mkdir()
    assert locate("gpt2") == Path("fetched")
    Path("gpt2", "config.json").write_text("{}")
    assert locate("gpt2") == Path("gpt2")


def test_an_unknown_name_is_answered_with_the_nearest_known_ones():
    with pytest.raises(CutawayError) as error:
        locate("smolm2-135m")
    text = str(error.value)
    assert text.startswith("no model or folder named 'smolm2-135m'; did you mean smollm2-135m")
    assert "owner/name" in text
    assert "\n" not in text
    assert all(name in text for name in KNOWN_MODELS)
    with pytest.raises(CutawayError, match=r"named 'GPT-2'; did you mean gpt2"):
        locate("GPT-2")
    assert not difflib.get_close_matches("zzzz", KNOWN_MODELS)
    with pytest.raises(CutawayError, match=r"named 'zzzz'; Known: "):
        locate("zzzz")


@pytest.mark.parametrize("name", ["/none/such", "./none/such", "a/b/c", Path("owner/name"), "owner/", ""])
def test_what_is_neither_a_folder_nor_a_repository_is_not_asked_of_the_hub(name, monkeypatch):
    monkeypatch.setattr(catalog, "fetch", lambda *args, **kwargs: pytest.fail("the hub was asked"))
    with pytest.raises(CutawayError, match="no model or folder named"):
        locate(name)


def test_a_repository_is_fetched_from_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr(catalog, "fetch", lambda source, **kw: asked.append((source, kw)) or Path("snapshot"))
    assert locate("owner/some-name.v1", offline=True) == Path("snapshot")
    assert asked == [(Hub("owner/some-name.v1"), {"cache": None, "offline": True})]


def test_a_gguf_file_is_converted_once_for_each_content(tmp_path, conversions, capfd):
    file = tmp_path / "a.gguf"
    file.write_text("one")
    first = locate(file)
    assert first.is_relative_to(tmp_path / "cache")
    assert hashlib.sha256(b"one").hexdigest()[:16] in first.name
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "converting a.gguf" in said
    assert locate(str(file)) == first
    assert len(conversions) == 1
    assert capfd.readouterr().err == ""
    file.write_text("two")
    assert (locate(file) / "config.json").read_text() == '{"from": "two"}'
    assert len(conversions) == 2


def test_a_damaged_conversion_is_made_again(tmp_path, conversions):
    file = tmp_path / "a.gguf"
    file.write_text("one")
    folder = locate(file)
    whole = (folder / "config.json").read_text()
    (folder / "config.json").write_text("half")
    assert (locate(file) / "config.json").read_text() == whole
    assert len(conversions) == 2


def test_a_gguf_that_is_not_there_or_not_one(tmp_path):
    with pytest.raises(CutawayError, match="there is no file"):
        locate("none.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"not one")
    with pytest.raises(CutawayError, match="is not a GGUF file"):
        locate(tmp_path / "bad.gguf")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_known_gguf_is_converted_beside_its_file_and_its_bytes_are_checked(tmp_path, conversions, monkeypatch):
    data, fetched = b"weights", []

    def download(self, url, output, pooch):
        fetched.append(url)
        Path(output).write_bytes(data)

    import pooch

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
    source = Url("https://models.invalid/tiny.gguf", hashlib.sha256(data).hexdigest(), "CC0")
    monkeypatch.setitem(KNOWN_MODELS, "tiny", KnownModel("tiny", (source,), "CC0", "a test's", convert=True))
    folder = locate("tiny")
    file = folder.parent / "tiny.gguf"
    assert file.read_bytes() == data
    assert locate("tiny", offline=True) == folder
    assert (len(fetched), len(conversions)) == (1, 1)
    file.write_bytes(b"Weights")  # of the same size: only its checksum tells
    assert locate("tiny") == folder
    assert file.read_bytes() == data
    assert len(fetched) == 2


def test_planted_names_are_not_ours():
    with pytest.raises(CutawayError, match="no model or folder named 'planted:acronyms'"):
        locate("planted:acronyms")
