"""Weights and data from URLs and the hub; the web server and the hub are on this machine."""

import hashlib
import http.server
import threading
from pathlib import Path

import pytest

from cutaway.core.errors import CutawayError
from cutaway.core.sources import Hub, Url, fetch

WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "cache"


def left_over(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() or ".partial" in path.name]


# --- URLs ---


@pytest.fixture
def served(tmp_path):
    """A web server on this machine: a folder, its address, and what was asked of it."""
    folder, asked = tmp_path / "www", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_a_url_with_the_right_checksum_is_fetched_once(served, cache):
    folder, address, asked = served
    (folder / "data 1.txt").write_bytes(WEIGHTS)
    source = Url(f"{address}/data%201.txt?v=1", hashlib.sha256(WEIGHTS).hexdigest(), "CC0")
    path = fetch(source)
    assert path.name == "data_1.txt"
    assert path.read_bytes() == WEIGHTS
    assert fetch(source, offline=True) == path
    assert len(asked) == 1


def test_a_url_with_another_checksum_keeps_nothing(served, cache):
    folder, address, _ = served
    (folder / "data.txt").write_bytes(WEIGHTS[:-1])
    with pytest.raises(CutawayError, match="sha256 expected"):
        fetch(Url(f"{address}/data.txt", hashlib.sha256(WEIGHTS).hexdigest(), "CC0"))
    assert left_over(cache) == []


def test_a_url_that_is_not_there_or_does_not_answer(served, cache):
    _, address, _ = served
    with pytest.raises(CutawayError, match="answered 404; check the address"):
        fetch(Url(f"{address}/none.txt", "0" * 64, "CC0"))
    with pytest.raises(CutawayError, match=r"no network, or no answer \(ConnectionError\)"):
        fetch(Url("http://127.0.0.1:9/none.txt", "0" * 64, "CC0"))
    with pytest.raises(CutawayError, match="not the address of a file"):
        Url("file:///etc/hostname", "0" * 64, "CC0")


# --- the hub ---


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for the hub's client: a snapshot folder, or an error; and the calls it got."""
    import huggingface_hub

    state = {"files": {"config.json": b"{}", "model.safetensors": WEIGHTS}, "error": None, "calls": []}

    def snapshot_download(repo, **kw):
        state["calls"].append((repo, kw))
        if state["error"]:
            raise state["error"]
        folder = Path(kw["cache_dir"] or tmp_path / "hf") / "snapshot"
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in state["files"].items():
            if not (folder / name).exists():  # as the real one: what is there is taken for good
                (folder / name).write_bytes(data)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return state


def test_a_repository_is_fetched_once_without_pickles_and_used_without_the_hub_after(hub, cache):
    path = fetch(Hub("owner/name", "v1"))
    assert (path / "model.safetensors").read_bytes() == WEIGHTS
    repo, asked = hub["calls"][0]
    assert (repo, asked["revision"]) == ("owner/name", "v1")
    assert not any(pattern.endswith((".bin", ".pt", ".pth")) for pattern in asked["allow_patterns"])
    assert {"*.bin", "*.pt", "*.pth", "*.pkl"} <= set(asked["ignore_patterns"])
    assert fetch(Hub("owner/name", "v1"), offline=True) == path
    assert len(hub["calls"]) == 1
    assert fetch(Hub("owner/name")) == path
    assert len(hub["calls"]) == 2  # another revision is another thing


def test_a_spoilt_file_of_the_hub_is_fetched_again_but_not_offline(hub, cache):
    path = fetch(Hub("owner/name"))
    (path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CutawayError, match=r"not whole in the cache .* and offline"):
        fetch(Hub("owner/name"), offline=True)
    assert (fetch(Hub("owner/name")) / "model.safetensors").read_bytes() == WEIGHTS


def test_files_of_other_programs_in_a_snapshot_do_not_matter(hub, cache):
    hub["files"]["pytorch_model.bin"] = b"pickle"
    path = fetch(Hub("owner/name"))
    (path / "pytorch_model.bin").unlink()
    fetch(Hub("owner/name"))
    assert len(hub["calls"]) == 1


def test_offline_reads_what_the_hubs_cache_holds_and_never_asks_the_hub(hub, cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetch(Hub("owner/name"))
    assert hub["calls"][0][1]["local_files_only"] is True


def test_a_repository_of_pickles_only_is_refused(hub, cache):
    del hub["files"]["model.safetensors"]
    with pytest.raises(CutawayError, match="pickles are not loaded"):
        fetch(Hub("owner/name"))


def hub_error(name: str) -> Exception:
    from huggingface_hub import errors

    kind = getattr(errors, name)
    return kind.__new__(kind, "said")  # their constructors want an HTTP response of one or another library


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("GatedRepoError", "licence must be accepted"),
        ("RepositoryNotFoundError", "no such repository"),
        ("RevisionNotFoundError", "no such revision"),
        ("HFValidationError", "owner/name"),
        ("LocalEntryNotFoundError", "no network"),
    ],
)
def test_what_the_hub_says_becomes_one_line_with_a_remedy(hub, cache, name, told):
    hub["error"] = hub_error(name)
    with pytest.raises(CutawayError, match=f"^hub owner/name: .*{told}") as error:
        fetch(Hub("owner/name"))
    assert "\n" not in str(error.value)
    assert left_over(cache) == []


def test_a_full_disk_under_the_hub_is_not_called_a_missing_network(hub, cache):
    hub["error"] = OSError(28, "No space left on device")
    with pytest.raises(CutawayError, match="No space left on device"):
        fetch(Hub("owner/name"))
