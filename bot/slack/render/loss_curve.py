"""Draws the loss curve of a run as a PNG, with nothing but zlib.

Slack does not show SVG, and a plotting library is a large dependency for a single picture. The
image uses a palette, one byte per pixel.
"""

import itertools
import struct
import zlib
from collections.abc import Sequence

from data.runs.chart_axes import HUGE, Curve, curve, linear, path, round_axis
from data.runs.runs import LossPoint

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 30, 40  # margins, in pixels
WHITE, GREY, INK, BLUE, ORANGE = range(5)
PALETTE = (b"\xff\xff\xff", b"\xdd\xdd\xdd", b"\x33\x33\x33", b"\x1f\x77\xb4", b"\xe8\x7b\x0e")
SCALE = 2  # pixels per dot of a letter

# 3 x 5 dots per letter; each octal digit is a row, from the top
LETTERS = {
    "0": 0o75557, "1": 0o26227, "2": 0o71747, "3": 0o71717, "4": 0o55711, "5": 0o74717,
    "6": 0o74757, "7": 0o71122, "8": 0o75757, "9": 0o75717, ".": 0o00002, "-": 0o00700,
    "A": 0o25755, "D": 0o65556, "E": 0o74647, "G": 0o74557, "I": 0o72227, "L": 0o44447,
    "N": 0o65555, "O": 0o75557, "P": 0o75744, "R": 0o75655, "S": 0o74717, "T": 0o72222,
    "V": 0o55552, " ": 0,
}  # fmt: skip


def loss_curve(measured: Sequence[LossPoint]) -> bytes | None:
    """A PNG of training and validation loss by step, or None with fewer than two points."""
    training = curve(measured, "loss", HUGE)
    validation = curve(measured, "validation_loss", HUGE)
    points = [*training, *validation]
    if len({step for step, _ in points}) < 2:
        return None
    picture = _Picture(points)
    picture.axes()
    picture.line(training, BLUE)
    picture.line(validation, ORANGE, dots=True)
    picture.text("TRAINING LOSS", LEFT + 10, 8, BLUE)
    if validation:
        picture.text("VALIDATION LOSS", LEFT + 150, 8, ORANGE)
    return _png(picture.rows)


class _Picture:
    """Rows of palette indexes, and the scales that map a loss point to a pixel."""

    def __init__(self, points: Curve) -> None:
        self.rows = [bytearray(WIDTH) for _ in range(HEIGHT)]
        self.first, self.last = min(s for s, _ in points), max(s for s, _ in points)
        self.axis = round_axis(min(v for _, v in points), max(v for _, v in points))
        self.x = linear(self.first, self.last, LEFT, WIDTH - RIGHT - 1)
        self.y = linear(self.axis.low, self.axis.high, HEIGHT - BOTTOM, TOP + 1)

    def axes(self) -> None:
        """Grid lines labelled with round loss values, and the first and last step."""
        for value in self.axis.ticks():
            y = round(self.y(value))
            for x in range(LEFT, WIDTH - RIGHT):
                self.dot(x, y, GREY)
            self.text(self.axis.label(value).rjust(7), 4, y - 5, INK)
        for step in (self.first, self.last):
            x = min(round(self.x(step)), WIDTH - RIGHT - 8 * len(str(step)))
            self.text(str(step), x, HEIGHT - BOTTOM + 10, INK)
        self.text("STEP", (WIDTH + LEFT) // 2, HEIGHT - BOTTOM + 10, INK)

    def line(self, points: Curve, colour: int, dots: bool = False) -> None:
        """A line through all points, two pixels wide. `dots` marks every point, not only the
        last."""
        pixels = [(round(x), round(y)) for x, y in path(points, self.x, self.y)]
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


def _png(rows: Sequence[bytearray]) -> bytes:
    """Signature, header, palette, pixels and end, as in https://www.w3.org/TR/png/."""
    size = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\x00" + row for row in rows), 9)
    chunks = ((b"IHDR", size), (b"PLTE", b"".join(PALETTE)), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
