"""Files from elsewhere, fuzzed: whatever bytes they hold, a sentence says why they are refused.

`FUZZ_EXAMPLES=100000 python -m pytest tests/data/test_fuzzed_files.py` fuzzes for longer.
"""

import contextlib
import os
import struct
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.adapters import safetensors_file
from data.adapters.safetensors_file import BadAdapter
from data.pair_files import files
from data.pair_files.formats import FORMATS
from data.pair_files.verdicts import BadRow
from data.pairs.pairs import Draft
from data.store.errors import Invalid

fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBER = st.one_of(st.integers(-3, 40), st.integers(), st.floats(), st.booleans(), st.none())
JSON = st.recursive(
    st.one_of(NUMBER, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
TENSOR = st.one_of(
    st.fixed_dictionaries(
        {
            "dtype": st.one_of(st.sampled_from(["F32", "F16", "BF16", "I64"]), JSON),
            "shape": st.one_of(st.lists(st.integers(-1, 4), max_size=3), JSON),
            "data_offsets": st.one_of(st.lists(st.integers(-1, 64), max_size=3), JSON),
        }
    ),
    JSON,
)
HEADER = st.dictionaries(
    st.one_of(st.sampled_from(["a", "b", "__metadata__"]), st.text(max_size=8)), TENSOR, max_size=4
)


def dumped(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS) if _fits(value) else b"{}"


def _fits(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits, or a lone surrogate
        return False
    return True


@fuzzed
@given(header=HEADER, body=st.binary(max_size=64), cut=st.integers(0, 200), length=NUMBER)
def test_a_safetensors_file_is_read_or_refused(
    tmp_path: Path, header: Any, body: bytes, cut: int, length: Any
) -> None:
    raw = dumped(header)
    wrong = isinstance(length, int) and not isinstance(length, bool) and 0 <= length < 2**64
    size = length if wrong and cut % 2 else len(raw)
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes((struct.pack("<Q", size) + raw + body)[: 8 + cut * 4])
    try:
        found = safetensors_file.read_header(file)
    except BadAdapter:
        return
    for tensor in found.values():
        assert 0 <= tensor.start <= tensor.end <= file.stat().st_size


@fuzzed
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_no_adapter(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(raw)
    with contextlib.suppress(BadAdapter):
        assert safetensors_file.read_header(file) == {}


LINES = st.one_of(
    st.binary(max_size=60),
    JSON.map(dumped),
    st.fixed_dictionaries({"prompt": JSON, "response": JSON}).map(dumped),
    st.fixed_dictionaries({"messages": JSON}).map(dumped),
    st.sampled_from([b"prompt,response", b"question;answer", b'"a', b"a,b", b"\xff\xfe", b"'=1,b"]),
)


@fuzzed
@given(
    lines=st.lists(LINES, max_size=6),
    name=st.sampled_from(["a.csv", "a.jsonl", "a"]),
    format=st.sampled_from(["auto", *FORMATS]),
)
def test_an_import_file_is_read_row_by_row_or_refused(
    tmp_path: Path, lines: list[bytes], name: str, format: str
) -> None:
    file = tmp_path / name
    file.write_bytes(b"\n".join(lines))
    try:
        rows = list(files.read(file, format))
    except Invalid:
        return
    for found in rows:
        assert isinstance(found, Draft | BadRow)
