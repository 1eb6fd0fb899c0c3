"""How long to wait before a worker that ended is started again."""


class Backoff:
    """Doubles with every end in a row; forgotten once a worker answers, or all has been well."""

    def __init__(
        self, *, least_s: float = 0.1, most_s: float = 5.0, forget_after_s: float = 30.0
    ) -> None:
        self.least_s = least_s
        self.failures = 0
        self._most_s = most_s
        self._forget_after_s = forget_after_s
        self._well_since: float | None = None

    def failed(self) -> float:
        """A worker ended or did not start; how long to wait before the next."""
        self._well_since = None
        delay_s = min(self._most_s, self.least_s * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return delay_s

    def succeeded(self) -> None:
        """A worker answered."""
        self.failures = 0

    def look(self, now: float) -> None:
        """Forget the failures once it was well for long enough."""
        if self._well_since is None:
            self._well_since = now
        elif now - self._well_since >= self._forget_after_s:
            self.failures = 0
