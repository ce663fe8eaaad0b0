"""A queue's notice before it kills."""

import signal


class TermSignal:
    """Notices SIGTERM, a queue's notice before it kills; `came` says so."""

    came = False

    def __enter__(self) -> "TermSignal":
        try:
            self.before = signal.signal(signal.SIGTERM, self._note)
        except ValueError:  # signals can be handled in the main thread only
            self.before = None
        return self

    def _note(self, *_) -> None:
        self.came = True

    def __exit__(self, *_) -> None:
        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)
