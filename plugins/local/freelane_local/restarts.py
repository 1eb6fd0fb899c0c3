"""When a server that died is started again, and when that is given up."""

_MOST_FAILED_STARTS = 5
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
_STEADY_S = 30.0
_HOPELESS = frozenset({2, 3})  # the task does not hold, the model does not load


class Restarts:
    """Whether, and after how long, a server that died is started again."""

    def __init__(self) -> None:
        self.count = 0
        self._failed_in_a_row = 0
        self._pause_s = _FIRST_PAUSE_S

    def after(self, code: int | None, *, ready_s: float | None) -> float | None:
        """Seconds to wait; None gives up. `ready_s` None: it never answered since its start."""
        if ready_s is None:
            self._failed_in_a_row += 1
            if code in _HOPELESS and self.count == 0:
                return None
            if self._failed_in_a_row >= _MOST_FAILED_STARTS:
                return None
        else:
            self._failed_in_a_row = 0
            if ready_s >= _STEADY_S:
                self._pause_s = _FIRST_PAUSE_S
        self.count += 1
        pause_s, self._pause_s = self._pause_s, min(_LONGEST_PAUSE_S, self._pause_s * 2)
        return pause_s
