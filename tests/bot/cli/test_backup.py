"""`understudy backup`: the unpacked file is a working home folder."""

import resource
import tarfile
from pathlib import Path

from data import domains
from data.store.db import Store
from tests.bot.cli.conftest import Run


def test_a_backup_holds_the_store_and_the_adapters(run: Run, home: Path) -> None:
    run("domains", "add", "art")
    file = home / "adapters" / "art" / "1-abc" / "adapter_model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")

    result = run("backup", "b.tar")

    assert result.exit_code == 0, result.output
    with tarfile.open(home / "b.tar") as tar:
        tar.extractall(home / "restored", filter="data")
    with Store(home / "restored" / "understudy.db") as restored:
        assert [d.name for d in domains.list_domains(restored.db)] == ["art"]
    again = home / "restored" / file.relative_to(home)
    assert again.read_bytes() == b"weights"


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
