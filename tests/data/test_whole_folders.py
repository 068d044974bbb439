"""Folders that are there completely or not at all."""

import errno
import os
from pathlib import Path

import pytest

from data import whole_folders
from data.store.errors import Conflict, Unavailable


def test_unfinished_folders_of_ended_processes_are_removed(tmp_path: Path) -> None:
    mine, ended = tmp_path / f".making-a-{os.getpid()}", tmp_path / ".making-b-999999999"
    mine.mkdir()
    ended.mkdir()

    whole_folders.remove_unfinished(tmp_path)

    assert mine.is_dir()
    assert not ended.exists()


def test_a_folder_appears_when_it_is_finished(tmp_path: Path) -> None:
    final = tmp_path / "kept" / "name"
    with whole_folders.making(final.parent, "name") as folder:
        (folder / "file").write_text("text")
        assert not final.exists()
        whole_folders.finish(folder, final, "it exists")

    assert [path.name for path in final.parent.iterdir()] == ["name"]
    assert (final / "file").read_text() == "text"


def test_nothing_is_left_of_a_folder_that_failed(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folders.making(tmp_path, "name") as folder:
            (folder / "file").write_text("text")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Unavailable, match="The disk of"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_process_is_not_replaced(tmp_path: Path) -> None:
    final = tmp_path / "name"
    final.mkdir()
    (final / "file").write_text("theirs")
    with whole_folders.making(tmp_path, "name") as folder:
        (folder / "file").write_text("mine")
        with pytest.raises(Conflict, match="it exists"):
            whole_folders.finish(folder, final, "it exists")
    assert (final / "file").read_text() == "theirs"
