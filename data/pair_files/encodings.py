"""Files that are not UTF-8: read as UTF-8 all the same.

UTF-16 and UTF-32 are recognised by their byte order mark. A file that is not valid UTF-8, whose
bytes beyond ASCII are mostly no UTF-8, is in an older encoding, which charset-normalizer guesses;
the report says which. In any other file, a byte that is no UTF-8 costs its own row. Lines that end
with a carriage return alone, as Excel's "CSV (Macintosh)" has them, end with a line feed.
"""

import codecs
import gzip
import tempfile
import zlib
from typing import IO

from data.pair_files.reading import Reading
from data.store.errors import Invalid

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
OLDER = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "shift_jis", "gb18030",
    "big5", "euc_kr",
)  # fmt: skip
AT_ONCE = 1024 * 1024  # bytes
LINE = 64 * 1024  # bytes that hold a whole line
SAMPLE = 32 * 1024  # bytes of lines beyond ASCII that an encoding is guessed from


def as_utf8(file: IO[bytes], reading: Reading) -> IO[bytes]:
    """The file as UTF-8, from its beginning. Raises Invalid if it is damaged."""
    try:
        start = _start(file, 4)
        encoding = next((name for mark, name in MARKS if start.startswith(mark)), "")
        if not encoding:
            encoding = _older(file)
            if encoding:
                reading.notes.append(
                    f"{reading.path.name} is not UTF-8. It was read as {encoding}: check a pair "
                    "with special letters."
                )
        text = _transcoded(file, encoding) if encoding else file
        start = _start(text, LINE)
        old_ends = b"\r" in start[:-1] and b"\n" not in start
        return _with_line_feeds(text) if old_ends else text
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Invalid(f"{reading.path} is damaged: {error}") from None
    except UnicodeDecodeError as error:
        raise Invalid(f"{reading.path} is not valid {encoding} text: {error.reason}.") from None


def _start(file: IO[bytes], count: int) -> bytes:
    start = file.read(count)
    file.seek(0)
    return start


def _older(file: IO[bytes]) -> str:
    """The older encoding that a file is in, '' if it is UTF-8 or no text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while data := file.read(AT_ONCE):
            if b"\x00" in data:
                return ""
            decoder.decode(data)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        file.seek(0)
        return _guessed(file)
    finally:
        file.seek(0)
    return ""


def _guessed(file: IO[bytes]) -> str:
    from charset_normalizer import from_bytes

    sample = bytearray()
    for line in file:
        if not line.isascii():
            sample += line[:SAMPLE]
        if len(sample) > SAMPLE:
            break
    text = sample.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    if sum(not letter.isascii() for letter in text) >= 2 * broken:
        return ""  # UTF-8 with broken rows
    matches = from_bytes(bytes(sample), cp_isolation=list(OLDER))
    best = matches.best()
    western = (m for m in matches if "cp1252" in (m.encoding, *m.could_be_from_charset))
    found = next(western, None)
    if best is None or (found is not None and found.chaos <= best.chaos):
        return "cp1252"
    return best.encoding


def _transcoded(file: IO[bytes], encoding: str) -> IO[bytes]:
    """A temporary file with the same text in UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)("strict" if "utf" in encoding else "replace")
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    while data := file.read(AT_ONCE):
        made.write(decoder.decode(data).encode("utf-8", "replace"))
    made.write(decoder.decode(b"", True).encode("utf-8", "replace"))
    made.seek(0)
    return made


def _with_line_feeds(file: IO[bytes]) -> IO[bytes]:
    """A temporary file with the same text, whose lines end with a line feed."""
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    before = b""
    while data := file.read(AT_ONCE):
        cut = data.removeprefix(b"\n") if before == b"\r" else data
        made.write(cut.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
        before = data[-1:]
    made.seek(0)
    return made
