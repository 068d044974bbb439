"""Clicks and commands of the last minutes, by trigger id. Slack sends each only once, so a memory
is enough for those that people send twice, and no acknowledgement waits for the store."""

MOST = 10_000


class TriggerDedup:
    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def is_new(self, trigger: str) -> bool:
        """Remember it; False when it was here before. '' is always new."""
        if trigger in self._seen:
            return False
        if trigger:
            self._seen[trigger] = None
        if len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]
        return True
