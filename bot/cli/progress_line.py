"""A line in the terminal that says what is being done."""

from bot.cli import terminal


class ProgressLine:
    """Shows each step, and the share of it that is done; nothing when `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = terminal.console(stderr=True, quiet=quiet)
        self.status = self.console.status("")
        self.shown = ""

    def __enter__(self) -> "ProgressLine":
        self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.status.stop()

    def __call__(self, what: str, share: float | None) -> None:
        text = what if share is None else f"{what}: {share:.0%}"
        self.status.update(text)
        if what != self.shown and not self.console.is_terminal:
            self.console.print(what, highlight=False)
        self.shown = what
