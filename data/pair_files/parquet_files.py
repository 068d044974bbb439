"""Parquet files, in which data sets of the Hugging Face hub are kept
(https://huggingface.co/docs/hub/datasets-adding#file-formats).

They need pyarrow, which takes 170 MB and comes with `pip install 'understudy[parquet]'`.
"""

from collections.abc import Iterator
from typing import IO

from data.pair_files.reading import Lines, PairFormat, Reading, no_text
from data.pair_files.rows import read_row
from data.pair_files.verdicts import NumberedRow
from data.store.errors import Invalid

MAGIC = b"PAR1"
ROWS = 1_000  # that are read at once
INSTALL = (
    "{} is a Parquet file, and pyarrow, which reads them, is not installed. Install it with "
    "`pip install 'understudy[parquet]'` (170 MB), or save the data set as JSON Lines: "
    "`datasets.load_dataset(...)['train'].to_json('pairs.jsonl')`."
)


def is_parquet(file: IO[bytes]) -> bool:
    start = file.read(4)
    file.seek(0)
    return start == MAGIC


def read_parquet(lines: Lines, reading: Reading) -> Iterator[NumberedRow]:
    """The rows, numbered from 1. Raises Invalid if pyarrow is not installed, and for what is no
    Parquet file."""
    if not lines.peek(1):
        return
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise Invalid(INSTALL.format(reading.path)) from None
    try:
        file = parquet.ParquetFile(lines.file)
        number = 0
        for batch in file.iter_batches(batch_size=ROWS):
            for row in batch.to_pylist():
                number += 1
                yield from read_row(row, number, reading.columns)
            lines.read = lines.file.tell()
    except (ArrowException, OSError) as error:
        said = str(error).split("\n")[0]
        raise Invalid(f"{reading.path} cannot be read as a Parquet file: {said}") from None


PARQUET = PairFormat(starts=no_text, read=read_parquet, packed=is_parquet)
