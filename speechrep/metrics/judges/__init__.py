"""Independent models that judge speech: a recogniser, a speaker encoder, a predictor of opinion scores.

Each ships its weights in its package and runs offline; each package is imported when its judge is first asked.
"""

import importlib
import warnings
from types import ModuleType

from speechrep.errors import SpeechrepError

RATE_HZ = 16000
"""All judges listen at 16 kHz. Speech of a lower rate is resampled and keeps its narrow band."""


def load(module: str, *packages: str) -> ModuleType:
    """Import a judge's module. Raises `SpeechrepError` with the line that installs `packages` if it is missing."""
    try:
        with warnings.catch_warnings():
            # Of what the package itself imports, which nobody who scores can change.
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            return importlib.import_module(module)
    except ImportError as error:
        raise SpeechrepError(f"the judge needs '{module}', which cannot be imported ({error})", "its package",
                             f"pip install {' '.join(packages)}, or leave this judge out") from None
