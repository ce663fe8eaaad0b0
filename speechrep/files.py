"""Writing that leaves nothing half done: a temporary name first, then a rename."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechrep.errors import SpeechrepError

TEMPORARY = re.compile(r"\..+\.(?P<pid>[0-9]+)\.(tmp(\..*)?|old)")
"""The names that a process gives to what it has not finished."""


@contextlib.contextmanager
def atomic_path(path: str | Path, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`, on failure removed.

    The temporary name keeps the suffix, since writers such as soundfile choose the format by it. Who writes thousands of
    files says sync=False and calls `os.sync` once, before the file that tells they are there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield tmp
        if sync:
            with open(tmp, "rb") as file:
                os.fsync(file.fileno())
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it replaces `path`, on failure it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp, old = (path.with_name(f".{path.name}.{os.getpid()}.{name}") for name in ("tmp", "old"))
    shutil.rmtree(tmp, ignore_errors=True)
    tmp.mkdir()
    try:
        yield tmp
        # Moved aside rather than deleted in place: a folder of which half is gone would look like a whole one.
        if path.exists():
            os.replace(path, old)
        os.replace(tmp, path)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def alone_in(folder: str | Path, patience_sec: float = 10.0) -> Iterator[None]:
    """Keep a folder, which is made where it is missing, from other processes that ask for it in the same way.

    Raises `SpeechrepError` when another has it for `patience_sec` seconds more; what it holds ends with the process.
    The worker processes of one that was killed may hold it for some seconds, hence the patience. Where a file system
    knows no locks, nobody is kept out.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + patience_sec
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    break
            if time.monotonic() >= deadline:
                raise SpeechrepError(f"{folder}: another process is at work there", "one at a time",
                                     "wait for it, stop it, or choose another folder")
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def remove_leftovers(*folders: str | Path, of: str = "*") -> None:
    """Delete what killed processes of this machine left in these folders under temporary names; of living ones it is kept.

    `of`: only of this file or folder; to be named where other machines may be writing beside it.
    """
    for folder in folders:
        for path in Path(folder).glob(f".{of}.*"):
            match = TEMPORARY.fullmatch(path.name)
            if match and not _alive(int(match["pid"])):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_text(path: str | Path, text: str, sync: bool = True) -> None:
    """Write `text` as UTF-8, atomically. sync: see `atomic_path`."""
    with atomic_path(path, sync) as tmp:
        tmp.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value) -> None:
    """Write `value` as indented JSON, atomically; NaN is refused, since other readers choke on it."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path):
    """The value in a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def fingerprint(*things: Any) -> str:
    """SHA-256 of plain values and of the contents of files, which are given as `Path`, a folder for all in it; a missing
    file counts as such.

    What a finished stage remembers of its inputs and outputs, so that it is done again only when one has changed.
    """
    digest = hashlib.sha256()
    for thing in things:
        if isinstance(thing, Path) and thing.is_dir():
            thing = {path.relative_to(thing).as_posix(): _digest(path) for path in thing.rglob("*") if path.is_file()}
        elif isinstance(thing, Path):
            thing = _digest(thing) if thing.is_file() else None
        digest.update(json.dumps(thing, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
