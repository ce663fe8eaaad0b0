"""The systems that are compared: upstreams with the names under which they stand in tables and folders.

`SPEC` or `NAME=SPEC`, several by commas. SPEC is what `Upstream.open` takes: mfcc, fbank, logmel, a checkpoint,
random:CHECKPOINT or a folder in transformers' format, or mean: and one of these; `{seed}` in it stands for the seed of the
run, where each seed has a checkpoint of its own. Without a name, exp/METHOD/SIZE-SEED/best.pt is METHOD-SIZE, a folder is
called as it is, random:exp/METHOD/... is random-METHOD, and mean:SPEC is mean- and the name of SPEC.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from speechrep.errors import SpeechrepError
from speechrep.upstream import FEATURES, MEAN_OF, RANDOM, source_of

NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.+-]*)=(.+)")


@dataclass(frozen=True)
class System:
    """An upstream in one seed."""

    name: str
    """In tables, whatever the seed."""
    spec: str
    """For `Upstream.open`."""
    seed: int
    """Of the tasks, and of the upstream where its name tells."""


def find_systems(upstream: str, seeds: list[int]) -> list[System]:
    """The systems of `upstream`, each in every seed. Raises `SpeechrepError` for a file that is missing and for one
    name of two specs."""
    found, specs = [], {}
    for word in (word.strip() for word in upstream.split(",") if word.strip()):
        match = NAMED.fullmatch(word)
        name, spec = match.groups() if match else (name_of(word, seeds), word)
        if specs.setdefault(name, spec) != spec:
            raise SpeechrepError(f"two upstreams called {name}: {specs[name]} and {spec}", "a name for each",
                                 f"say NAME={spec}")
        for seed in seeds:
            own = spec.replace("{seed}", str(seed))
            source = source_of(own)
            if source not in FEATURES and not Path(source).exists():
                raise SpeechrepError(f"upstream {own}: no such file or folder",
                                     f"{', '.join(FEATURES)}, a checkpoint, random:CHECKPOINT, a folder in transformers' "
                                     "format, or mean: and one of these", "check the path, or train it (stage 5)")
            system = System(name, own, seed)
            if system not in found:
                found.append(system)
    if not found:
        raise SpeechrepError("no upstream", "a spec, or several by commas", "name one, such as --upstream mfcc")
    return found


def name_of(spec: str, seeds: list[int]) -> str:
    """The name of a spec that says none."""
    if spec.startswith(MEAN_OF):
        return f"mean-{name_of(spec.removeprefix(MEAN_OF), seeds)}"
    path = Path(source_of(spec))
    if spec in FEATURES:
        return spec
    if path.suffix != ".pt":
        name = path.resolve().name
    else:
        method, size = path.resolve().parts[-3:-1]
        name = method if spec.startswith(RANDOM) else f"{method}-{_without_seed(size, seeds)}"
    return f"random-{name}" if spec.startswith(RANDOM) else name


def _without_seed(size: str, seeds: list[int]) -> str:
    """small-{seed}, or small-0 where 0 is the only seed, as small."""
    stem, dash, end = size.rpartition("-")
    return stem if dash and end in ("{seed}", *(map(str, seeds) if len(seeds) == 1 else ())) else size
