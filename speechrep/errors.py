"""The one exception whose message is meant for the person at the keyboard."""


class SpeechrepError(Exception):
    """Something outside the program is wrong: a file, a setting, the machine.

    The message says what was found, what was wanted and the cure, in that order. `speechrep VERB` prints it
    without a traceback and exits with status 1; anything else that escapes is a bug and keeps its traceback.
    """

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


class Diverged(SpeechrepError):
    """Training that came to nothing: a gradient that is not finite, a collapse. Another setting may do better."""
