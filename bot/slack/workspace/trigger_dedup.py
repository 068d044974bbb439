"""Drops clicks and commands that arrive twice, by their trigger ids.

The ids are kept in memory, so that no acknowledgement waits for the store. That is enough, because
Slack itself does not repeat clicks and commands."""

MAX_TRIGGERS = 10_000


class TriggerDedup:
    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def is_new(self, trigger: str) -> bool:
        """Remember a trigger id. Returns False if it was seen before. '' is always new."""
        if trigger in self._seen:
            return False
        if trigger:
            self._seen[trigger] = None
        if len(self._seen) > MAX_TRIGGERS:
            del self._seen[next(iter(self._seen))]
        return True
