"""What this machine has and lacks: Python, packages against their pins, Debian programs, disk, processor, GPU."""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[1]
"""The checkout; an installed copy without it has no tools/, and then only what the package itself says is looked at."""

MIN_FREE_GB = 5

GROUPS = {"slurm": "jobs through Slurm", "english": "phones of English", "mandarin": "phones of Mandarin",
          "espeak": "phones of other languages", "report": "the map of the joint space",
          "vision": "pictures beside speech",
          "judge": "scores by independent listeners", "world": "MCD and F0 in the scores", "dev": "tests"}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: `cure` is the command that mends it."""

    subject: str
    state: Literal["ok", "note", "missing", "broken"]
    found: str
    cure: str = ""

    @property
    def bad(self) -> bool:
        """Whether something that every recipe needs is not right."""
        return self.state == "broken"


def examine() -> Iterator[Finding]:
    """Everything worth telling, in the order in which one would mend it."""
    yield _python()
    yield from packages()
    yield from programs()
    yield _disk()
    yield _processor()
    yield _gpu()
    yield _jobs()


def requirements() -> dict[str, dict[str, str]]:
    """Group ("core" or an extra) -> package -> pinned version ("" where it has no pin), from the package's metadata.

    A requirement for another Python version is left out.
    """
    groups: dict[str, dict[str, str]] = {"core": {}} | {group: {} for group in GROUPS}
    try:
        lines = importlib.metadata.requires("speechrep") or []
    except importlib.metadata.PackageNotFoundError:
        return groups
    for line in lines:
        requirement, _, marker = line.partition(";")
        if not _holds(marker):
            continue
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", marker)
        group = extra[1] if extra else "core"
        name, _, version = requirement.strip().partition("==")
        if group in groups:
            groups[group][name.strip()] = version.strip()
    for line in _table("no-deps.txt"):
        name, _, version = line[0].partition("==")
        groups["judge"][name] = version
    return groups


def packages() -> Iterator[Finding]:
    """The Python packages: one finding a core package that is not right, one an extra."""
    groups = requirements()
    if not groups["core"]:
        yield Finding("packages", "broken", "speechrep is not installed, so its pins are unknown", "tools/setup.sh")
        return
    wrong = [(name, wanted, have) for name, wanted in groups["core"].items() if (have := _version(name)) != wanted]
    for name, wanted, have in wrong:
        cure = f"{_pip()} '{name}=={wanted}'" if wanted else f"{_pip()} {name}"
        if have is None:
            yield Finding(name, "broken", "not installed", cure)
        elif wanted:
            yield Finding(name, "note", f"{have}; tested with {wanted}", cure)
    if not any(have is None for _, _, have in wrong):
        yield Finding("packages", "ok", f"{len(groups['core'])} core packages" + (", as pinned" if not wrong else ""))
        for name in ("torch", "torchaudio", "soundfile"):
            problem = _import_problem(name)
            if problem:
                yield Finding(name, "broken", f"does not import: {problem}", "rm -rf .venv && tools/setup.sh")
    for group, use in GROUPS.items():
        lacking = [f"{name}=={wanted}" if wanted else name for name, wanted in groups[group].items()
                   if _version(name) is None]
        if lacking:
            setup = "tools/setup.sh --test" if group == "dev" else f"tools/setup.sh, or {_pip()} {' '.join(lacking)}"
            yield Finding(f"[{group}]", "missing", f"{', '.join(lacking)} ({use})", setup)
        else:
            yield Finding(f"[{group}]", "ok", use)


def programs() -> Iterator[Finding]:
    """The programs of tools/debian-packages.txt: those of the group `recipe` are needed, others make tests skip."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for group, package, program, *use in _table("debian-packages.txt"):
        if shutil.which(program, path=path):
            yield Finding(program, "ok", " ".join(use))
        else:
            yield Finding(program, "broken" if group == "recipe" and shutil.which("apt-get") else "missing",
                          f"not there ({' '.join(use)})", f"apt-get install {package}")


def report(findings: Iterator[Finding]) -> tuple[str, bool]:
    """The findings as a text, and whether all that is needed is there."""
    marks = {"ok": "ok", "note": "note", "missing": "optional", "broken": "MISSING"}
    lines, good = [], True
    for finding in findings:
        good &= not finding.bad
        lines.append(f"{marks[finding.state]:9s} {finding.subject:12s} {finding.found}")
        if finding.cure:
            lines.append(f"{'':22s} -> {finding.cure}")
    lines.append("All that recipes need is there." if good else "Something that recipes need is missing: see above.")
    return "\n".join(lines), good


def _python() -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Finding("python", "ok", f"{version} ({sys.executable})")
    return Finding("python", "broken", f"{version}; wanted: 3.11 or 3.12", "PYTHON=python3.12 tools/setup.sh")


def _disk() -> Finding:
    folder = ROOT if (ROOT / "tools").is_dir() else Path.cwd()
    free = shutil.disk_usage(folder).free / 1e9
    if free < MIN_FREE_GB:
        return Finding("disk", "note", f"{free:.1f} GB free in {folder}; a recipe says beforehand what it needs",
                       "free some space, or link egs/*/{data,dump,exp} to another disk")
    return Finding("disk", "ok", f"{free:.0f} GB free in {folder}")


def _processor() -> Finding:
    flags: set[str] = set()
    info = Path("/proc/cpuinfo")
    if info.exists():
        match = re.search(r"^(?:flags|Features)\s*:(.*)$", info.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        flags = set(match[1].split()) if match else set()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    fast = [name for flag, name in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512_bf16", "AVX-512 bf16"),
                                    ("amx_bf16", "AMX bf16")) if flag in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    bf16 = "bf16 pays in training" if "amx_bf16" in flags else "without AMX, bf16 may gain little"
    return Finding("processor", "ok", f"{cores} cores, {memory:.0f} GiB, {', '.join(fast) or platform.machine()}: {bf16}")


def _gpu() -> Finding:
    try:
        import torch
        if not torch.cuda.is_available():
            return Finding("gpu", "note", "none: the quick sizes of the recipes are made for this")
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return Finding("gpu", "ok", ", ".join(f"{gpu.name} {gpu.total_memory / 2**30:.0f} GiB" for gpu in names))
    except Exception as error:
        return Finding("gpu", "note", f"torch cannot tell: {error}")


def _jobs() -> Finding:
    backend = os.environ.get("SPEECHREP_BACKEND", "local")
    if backend == "slurm" and not shutil.which("sbatch"):
        return Finding("jobs", "broken", "SPEECHREP_BACKEND=slurm, but there is no sbatch", "train_backend=local in cmd.sh")
    return Finding("jobs", "ok", f"{backend}; Slurm is {'there' if shutil.which('sbatch') else 'not there'}")


def _holds(marker: str) -> bool:
    match = re.search(r"""python_version\s*(<|>=)\s*['"]3\.(\d+)""", marker)
    if not match:
        return True
    return sys.version_info[1] < int(match[2]) if match[1] == "<" else sys.version_info[1] >= int(match[2])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_problem(name: str) -> str:
    try:
        importlib.import_module(name)
    except Exception as error:  # a package built for another torch dies in its own way
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ""


def _pip() -> str:
    return f"{'.venv/bin/' if (ROOT / '.venv').is_dir() else ''}pip install"


def _table(name: str) -> Iterator[list[str]]:
    path = ROOT / "tools" / name
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                yield line.split()
