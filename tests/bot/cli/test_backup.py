"""`understudy backup`: the unpacked file is a working home folder."""

import resource
import tarfile
from pathlib import Path

from data import domains
from data.adapters import placements
from data.store.db import Store
from tests.bot.cli.conftest import Run, make_adapter


def test_a_backup_holds_the_store_and_the_adapters(run: Run, home: Path) -> None:
    run("domains", "add", "art")
    with Store(home / "understudy.db") as store:
        made = [make_adapter(store, "art", version) for version in (1, 2)]
    file = home / made[0].path / "adapter_model.safetensors"
    file.write_bytes(b"weights")
    (home / made[1].path).rmdir()
    unfinished = home / "adapters" / "art" / ".making-7-1" / "adapter_model.safetensors"
    unfinished.parent.mkdir(parents=True)
    unfinished.symlink_to("/nowhere")

    result = run("backup", "b.tar")

    assert result.exit_code == 0, result.output
    assert "art@2 is left out" in result.output
    with tarfile.open(home / "b.tar") as tar:
        tar.extractall(home / "restored", filter="data")
    with Store(home / "restored" / "understudy.db") as restored:
        assert [d.name for d in domains.list_domains(restored.db)] == ["art"]
    again = home / "restored" / file.relative_to(home)
    assert again.read_bytes() == b"weights"
    assert not (home / "restored" / unfinished.parent.relative_to(home)).exists()


def test_a_restored_store_knows_no_engine(run: Run, home: Path, store: Store) -> None:
    run("domains", "add", "art")
    with store.write() as db:
        placements.record_heartbeat(db, "local-1", "http://127.0.0.1:8100", "pocket", "ready")
    run("backup", "b.tar")
    with tarfile.open(home / "b.tar") as tar:
        tar.extractall(home / "restored", filter="data")

    with Store(home / "restored" / "understudy.db") as restored:
        assert placements.replicas(restored.db) == []
    assert [r.name for r in placements.replicas(store.db)] == ["local-1"]


def test_a_backup_never_overwrites(run: Run, home: Path) -> None:
    (home / "b.tar").write_text("precious")

    result = run("backup", "b.tar")

    assert result.exit_code == 1
    assert (home / "b.tar").read_text() == "precious"


def test_a_backup_that_does_not_fit_leaves_nothing(run: Run, home: Path) -> None:
    """A limit on the file size acts as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    try:
        result = run("backup", "b.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert result.exit_code == 1
    assert "could not be written" in result.output
    assert [f.name for f in home.iterdir() if "tar" in f.name] == []
