"""An engine's files are bounded: logs are rotated, and sockets are deleted with their engine."""

import os
import signal
import tempfile
import textwrap
from pathlib import Path

import pytest

from data.store.errors import Unavailable
from serving.engine import files
from tests.conftest import wait_until
from tests.serving.engine.test_engine import HEALTHY, program, settings, started

__all__ = ["program", "settings"]  # fixtures

BINDS_A_SOCKET = """
    import os, socket, uuid
    ours = socket.socket(socket.AF_UNIX)
    ours.bind(os.path.join(os.environ["VLLM_RPC_BASE_PATH"], str(uuid.uuid4())))
"""


def contents(log: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in log.parent.iterdir()}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "LOG_BYTES", 10)
    return tmp_path / "logs" / "engine.log"


def test_logs_are_rotated_at_each_start(log: Path) -> None:
    for number in range(6):
        files.rotate(log)
        log.write_text(f"life {number}")
    expected = {"engine.log": "life 5", "engine.log.1": "life 4", "engine.log.2": "life 3"}
    assert contents(log) == {**expected, "engine.log.3": "life 2"}


def test_a_large_log_is_rotated_while_it_is_written(log: Path) -> None:
    files.rotate(log)
    with log.open("ab", buffering=0) as output:
        for number in range(6):
            output.write(b"short")
            files.shorten(log)
            assert log.read_text() == "short"
            output.write(f", then long {number}".encode())
            files.shorten(log)
    kept = {f"engine.log.{n}": f"short, then long {6 - n}" for n in (1, 2, 3)}
    assert contents(log) == {"engine.log": "", **kept}


def test_a_log_that_cannot_be_copied_is_truncated(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path, to: Path) -> None:
        to.write_text("as far as there was space")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.shutil, "copyfile", full)
    files.rotate(log)
    log.write_text("more than ten bytes")
    files.shorten(log)
    assert contents(log) == {"engine.log": ""}


def test_a_log_that_cannot_be_truncated_does_not_stop_the_engine(
    log: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def deleted(from_: Path, _: Path) -> None:
        from_.unlink()
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(files.shutil, "copyfile", deleted)
    files.rotate(log)
    log.write_text("more than ten bytes")
    files.shorten(log)
    assert "cannot be truncated" in caplog.text


def test_a_deleted_log_is_left_alone(log: Path) -> None:
    files.shorten(log)
    assert not log.exists()


@pytest.mark.integration
def test_an_engine_that_logs_much_has_a_bounded_log(settings, program, monkeypatch):
    monkeypatch.setattr(files, "LOG_BYTES", 10_000)
    monkeypatch.setattr("serving.engine.engine.POLL_READY_S", 0.01)
    talk = """
        import threading, time
        def talk():
            while True:
                print("word " * 200, flush=True)
                time.sleep(0.001)
        threading.Thread(target=talk, daemon=True).start()
    """
    program(f"{textwrap.dedent(talk)}\n{textwrap.dedent(HEALTHY)}")
    with started(settings) as engine:
        fourth = engine.log_path.with_name(f"{engine.log_path.name}.{files.LOGS_KEPT + 1}")
        third = engine.log_path.with_name(f"{engine.log_path.name}.{files.LOGS_KEPT}")
        wait_until(third.exists, "three earlier logs", 20)
        assert engine.starts == 1
        assert not fourth.exists()
        assert b"\0" not in third.read_bytes()  # no hole where its writer believed to be


@pytest.mark.integration
def test_the_sockets_of_an_engine_are_deleted_when_it_ends(settings, program):
    """However it ends: neither vLLM's crash nor its quiet end deletes them."""
    program(f"{textwrap.dedent(BINDS_A_SOCKET)}\n{textwrap.dedent(HEALTHY)}")
    with started(settings) as engine:
        folder = files.sockets(settings.home, 1)
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        assert folder.stat().st_mode & 0o777 == 0o700
        (first,) = folder.iterdir()
        os.kill(engine.pid, signal.SIGKILL)
        wait_until(lambda: engine.starts == 2, "the second life", 5)
        (second,) = folder.iterdir()
        assert first != second
    assert not folder.exists()


@pytest.mark.integration
def test_sockets_of_a_killed_service_are_deleted_at_the_next_start(settings, program, tmp_path):
    """SIGKILL gives nobody time to tidy up."""
    folder = files.sockets(settings.home, 1)
    files.make_empty(folder)
    (folder / "left").touch()
    program(f"{textwrap.dedent(BINDS_A_SOCKET)}\n{textwrap.dedent(HEALTHY)}")
    with started(settings) as engine:
        wait_until(lambda: engine.state == "ready", "readiness", 5)
        assert len(list(folder.iterdir())) == 1
        assert not (folder / "left").exists()


def test_each_engine_of_each_home_has_its_own_short_socket_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 50)
    folders = [files.sockets(home, n) for home in (tmp_path, deep) for n in (1, 2)]
    assert len(set(folders)) == 4
    for folder in folders:
        name = os.fsencode(folder / "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f")
        assert len(name) <= files.SOCKET_PATH_BYTES


def test_a_temporary_folder_with_a_too_long_path_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", f"/tmp/{'deep' * 20}")
    with pytest.raises(Unavailable, match="Set TMPDIR to a shorter one"):
        files.sockets(tmp_path, 1)


def test_a_folder_of_another_user_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "theirs")
    with pytest.raises(FileExistsError):
        files.make_empty(tmp_path / "folder")
