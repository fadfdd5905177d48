"""Folders that are whole or not there."""

import os
from pathlib import Path

import pytest

from cutaway.core import stamps


@pytest.mark.parametrize(
    "stamp", ["", "[]", "{}", '{"path": "model.gguf", "files": {}}', '{"path": 1, "files": {"a": 2}}']
)
def test_a_stamp_that_says_nothing_vouches_for_nothing(tmp_path, stamp):
    (tmp_path / "model.gguf").write_bytes(b"weights")
    (tmp_path / "model.gguf.source.json").write_text(stamp)
    assert stamps.whole(tmp_path / "model.gguf.source.json") is None


def test_a_stamp_vouches_for_sizes_at_once_and_for_bytes_when_asked(tmp_path):
    folder, stamp = tmp_path / "model", tmp_path / "model.source.json"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("abc")
    (folder / "b.bin").write_text("other program's")
    stamps.write_stamp(stamp, folder, origin="test one==1", licence="CC0", patterns=["*.txt"])
    assert stamps.whole(stamp, deep=True) == folder
    (folder / "b.bin").unlink()
    assert stamps.whole(stamp, deep=True) == folder
    (folder / "deep" / "a.txt").write_text("abd")
    assert stamps.whole(stamp) == folder
    assert stamps.whole(stamp, deep=True) is None
    assert stamps.inspect(stamp, deep=True) == (folder, [folder / "deep" / "a.txt"])
    (folder / "deep" / "a.txt").write_text("ab")
    assert stamps.whole(stamp) is None
    (folder / "deep" / "a.txt").unlink()
    assert stamps.whole(stamp) is None


def test_a_stamped_folder_may_be_moved_with_its_stamp(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.txt").write_text("abc")
    stamps.write_stamp(tmp_path / "here" / "a.source.json", tmp_path / "here" / "a.txt", origin="test", licence="CC0")
    (tmp_path / "here").rename(tmp_path / "there")
    assert stamps.whole(tmp_path / "there" / "a.source.json") == tmp_path / "there" / "a.txt"


def test_an_exception_while_a_folder_is_filled_leaves_the_old_one(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("1")

    def interrupted() -> None:
        with stamps.replacing(tmp_path / "model") as fresh:
            (fresh / "new").write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["model", "model/old"]


def test_two_processes_that_put_the_same_folder_in_place_leave_one_whole_folder(tmp_path, monkeypatch):
    target = tmp_path / "model"
    replace, rivals = os.replace, [target]

    def with_a_rival(source, destination):
        if Path(source).name == "new" and rivals:
            rivals.pop().mkdir()
            (target / "theirs").write_text("2")
        replace(source, destination)

    monkeypatch.setattr(stamps.os, "replace", with_a_rival)
    with stamps.replacing(target) as fresh:
        (fresh / "mine").write_text("1")
        (fresh / "more").write_text("1")
    assert sorted(file.name for file in target.iterdir()) == ["mine", "more"]
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path):
    old, new = tmp_path / ".partial-old", tmp_path / ".partial-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    with stamps.replacing(tmp_path / "model"):
        pass
    assert (old.exists(), new.exists()) == (False, True)
