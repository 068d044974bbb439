"""Draws the loss curve of a run as a PNG, with nothing but zlib.

Slack does not show SVG, and a plotting library is a large dependency for a single picture. The
image uses a palette, one byte per pixel.
"""

import itertools
import math
import struct
import zlib
from collections.abc import Sequence

from data.runs.runs import LossPoint

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 30, 40  # margins, in pixels
WHITE, GREY, INK, BLUE, ORANGE = range(5)
PALETTE = (b"\xff\xff\xff", b"\xdd\xdd\xdd", b"\x33\x33\x33", b"\x1f\x77\xb4", b"\xe8\x7b\x0e")
HUGE = 1e6  # nats per token; a diverged loss above this would flatten the rest of the curve
SCALE = 2  # pixels per dot of a letter

# 3 x 5 dots per letter; each octal digit is a row, from the top
LETTERS = {
    "0": 0o75557, "1": 0o26227, "2": 0o71747, "3": 0o71717, "4": 0o55711, "5": 0o74717,
    "6": 0o74757, "7": 0o71122, "8": 0o75757, "9": 0o75717, ".": 0o00002, "-": 0o00700,
    "A": 0o25755, "D": 0o65556, "E": 0o74647, "G": 0o74557, "I": 0o72227, "L": 0o44447,
    "N": 0o65555, "O": 0o75557, "P": 0o75744, "R": 0o75655, "S": 0o74717, "T": 0o72222,
    "V": 0o55552, " ": 0,
}  # fmt: skip


def loss_curve(curve: Sequence[LossPoint]) -> bytes | None:
    """A PNG of training and validation loss by step, or None with fewer than two points."""
    training = [(p.step, p.loss) for p in curve if _finite(p.loss)]
    validation = [(p.step, p.validation_loss) for p in curve if _finite(p.validation_loss)]
    points = [(s, v) for s, v in [*training, *validation] if v is not None]
    if len({step for step, _ in points}) < 2:
        return None
    picture = _Picture(points)
    picture.axes()
    picture.line([(s, v) for s, v in training if v is not None], BLUE)
    picture.line([(s, v) for s, v in validation if v is not None], ORANGE, dots=True)
    picture.text("TRAINING LOSS", LEFT + 10, 8, BLUE)
    if validation:
        picture.text("VALIDATION LOSS", LEFT + 150, 8, ORANGE)
    return _png(picture.rows)


class _Picture:
    """Rows of palette indexes, and the scales that map a loss point to a pixel."""

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        self.rows = [bytearray(WIDTH) for _ in range(HEIGHT)]
        self.first, self.last = min(s for s, _ in points), max(s for s, _ in points)
        low, high = min(v for _, v in points), max(v for _, v in points)
        self.step = _round_step(max(high - low, 1e-6) / 5)
        self.low = math.floor(low / self.step) * self.step
        self.high = max(math.ceil(high / self.step) * self.step, self.low + self.step)

    def axes(self) -> None:
        """Grid lines labelled with round loss values, and the first and last step."""
        digits = max(0, -math.floor(math.log10(self.step)))
        for number in range(round((self.high - self.low) / self.step) + 1):
            value = self.low + number * self.step
            y = self._y(value)
            for x in range(LEFT, WIDTH - RIGHT):
                self.dot(x, y, GREY)
            self.text(f"{value:.{digits}f}".rjust(7), 4, y - 5, INK)
        for step in (self.first, self.last):
            x = min(self._x(step), WIDTH - RIGHT - 8 * len(str(step)))
            self.text(str(step), x, HEIGHT - BOTTOM + 10, INK)
        self.text("STEP", (WIDTH + LEFT) // 2, HEIGHT - BOTTOM + 10, INK)

    def line(self, points: Sequence[tuple[int, float]], colour: int, dots: bool = False) -> None:
        """A line through all points, two pixels wide. `dots` marks every point, not only the
        last."""
        pixels = [(self._x(s), self._y(v)) for s, v in points]
        for (x0, y0), (x1, y1) in itertools.pairwise(pixels):
            length = max(abs(x1 - x0), abs(y1 - y0), 1)
            for i in range(length + 1):
                x, y = x0 + (x1 - x0) * i // length, y0 + (y1 - y0) * i // length
                self.dot(x, y, colour)
                self.dot(x, y + 1, colour)
        for x, y in pixels if dots else pixels[-1:]:
            for dx in range(-3, 4):
                for dy in range(-3, 4):
                    self.dot(x + dx, y + dy, colour)

    def text(self, text: str, x: int, y: int, colour: int) -> None:
        for letter in text:
            pattern = LETTERS[letter]
            for row in range(5):
                bits = pattern >> 3 * (4 - row) & 0b111
                for column in range(3):
                    if bits >> (2 - column) & 1:
                        self._block(x + SCALE * column, y + SCALE * row, colour)
            x += SCALE * 4

    def dot(self, x: int, y: int, colour: int) -> None:
        if 0 <= x < WIDTH and 0 <= y < HEIGHT:
            self.rows[y][x] = colour

    def _block(self, x: int, y: int, colour: int) -> None:
        for dx in range(SCALE):
            for dy in range(SCALE):
                self.dot(x + dx, y + dy, colour)

    def _x(self, step: int) -> int:
        share = (step - self.first) / (self.last - self.first)
        return LEFT + round(share * (WIDTH - LEFT - RIGHT - 1))

    def _y(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - round(share * (HEIGHT - TOP - BOTTOM - 1))


def _round_step(step: float) -> float:
    """`step` rounded up to 1, 2, 5 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * 0.999)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and abs(value) < HUGE


def _png(rows: Sequence[bytearray]) -> bytes:
    """Signature, header, palette, pixels and end, as in https://www.w3.org/TR/png/."""
    size = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\x00" + row for row in rows), 9)
    chunks = ((b"IHDR", size), (b"PLTE", b"".join(PALETTE)), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
