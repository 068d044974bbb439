"""An import that somebody takes back while it runs."""

from pathlib import Path

import orjson
import pytest

from data.domains import Domain
from data.pair_files import importer
from data.pair_files.importer import ImportReport
from data.pairs import imports, pairs
from data.store.db import Store


def test_an_import_that_is_undone_while_it_runs_adds_nothing_more(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    file = tmp_path / "p.jsonl"
    rows = ({"prompt": f"Question {n}?", "response": f"Answer {n}."} for n in range(2_500))
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    def undo(read: int, committed: ImportReport) -> None:
        assert committed.batch is not None
        assert imports.undo(store, committed.batch, "cli:ann") == 1_000

    with pytest.raises(imports.ImportUndone, match="was undone by cli:ann while it ran"):
        importer.import_file(store, domain, file, progress=undo)

    assert pairs.list_pairs(store.db, domain) == []
