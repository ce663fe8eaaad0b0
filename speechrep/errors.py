"""The one exception whose message is meant for the person at the keyboard."""


class SpeechrepError(Exception):
    """Something outside the program is wrong: a file, a setting, the machine.

    The message says what was found, what was wanted and the cure, in that order. `speechrep VERB` prints it
    without a traceback and exits with `status`; anything else that escapes is a bug and keeps its traceback.
    """

    status = 1
    """What the process exits with."""

    def __init__(self, found: str, wanted: str = "", cure: str = ""):
        self.found, self.wanted, self.cure = found, wanted, cure
        parts = [found]
        if wanted:
            parts.append(f"wanted: {wanted}")
        if cure:
            parts.append(f"cure: {cure}")
        super().__init__("\n  ".join(parts))

    def __reduce__(self):
        return type(self), (self.found, self.wanted, self.cure)


class Stopped(SpeechrepError):
    """A signal asked a run to end, which it did behind a checkpoint. The exit status is a shell's for SIGTERM."""

    status = 143


class Diverged(SpeechrepError):
    """Training that came to nothing: a gradient that is not finite, a collapse. Another setting may do better."""
