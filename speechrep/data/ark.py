"""Matrices in Kaldi's ark and scp files, through kaldiio."""

import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import kaldiio
import numpy as np
from kaldiio.matio import read_kaldi

from speechrep.data.folder import read_table, write_table
from speechrep.errors import SpeechrepError

ENTRY = re.compile(r"(?P<path>.+?):(?P<offset>\d+)(\[(?P<first>\d+):(?P<last>\d+)\])?")
"""`file.ark:offset`, optionally with the first and last row wanted, as Kaldi writes them."""

PLAIN = re.compile(r"(?P<path>.+):(?P<offset>\d+)")
"""An entry without a row range."""
FLOAT_MATRIX = b"\0BFM "
HEADER = struct.Struct("<5sbibi")
"""What stands before the numbers of a matrix: its type, then twice the size of an integer and that integer."""
MAX_OPEN = 64
"""Arks that a reader keeps open."""


class ArkWriter:
    """Writes matrices to `FOLDER/NAME.ark` and their places to `FOLDER/NAME.scp`; a context manager.

    Both are written under temporary names and renamed when the block ends, the scp last; if it is left by an exception
    neither appears. The scp names the ark as `folder` was given: relative paths start at the working directory, as in
    Kaldi. `places` and `num_frames` hold the place and the rows of each matrix so far; `scp=False` writes no scp.
    """

    def __init__(self, folder: str | Path, name: str, scp: bool = True):
        self._with_scp = scp
        self.ark, self.scp = Path(folder) / f"{name}.ark", Path(folder) / f"{name}.scp"
        if re.search(r"\s", str(self.ark)):
            raise SpeechrepError(f"{self.ark}: a space in the path", "a path that can stand in an scp file",
                                 "write to another folder")
        self.num_frames: dict[str, int] = {}
        self.places: dict[str, str] = {}
        self._tmp = self.ark.with_name(f".{name}.{os.getpid()}.tmp.ark")

    def __enter__(self) -> "ArkWriter":
        self.ark.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._tmp, "wb")
        return self

    def write(self, utt: str, matrix: np.ndarray) -> None:
        """Append `matrix` [N, D], stored as float32. Raises `SpeechrepError` for a duplicate or a wrong shape."""
        if utt in self.places:
            raise SpeechrepError(f"{self.ark}: '{utt}' twice", "each utterance once")
        if matrix.ndim != 2:
            raise SpeechrepError(f"{self.ark}: '{utt}' has the shape {matrix.shape}", "a matrix [N, D]")
        self.places[utt] = f"{self.ark}:{self._file.tell() + len(utt.encode()) + 1}"
        self.num_frames[utt] = len(matrix)
        kaldiio.save_ark(self._file, {utt: np.ascontiguousarray(matrix, dtype=np.float32)})

    def __exit__(self, kind, value, traceback) -> None:
        try:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                os.replace(self._tmp, self.ark)
                if self._with_scp:
                    write_table(self.scp, self.places)
        finally:
            self._file.close()
            self._tmp.unlink(missing_ok=True)


class ScpReader(Mapping[str, np.ndarray]):
    """Utterance -> float32 [N, D], read from its ark when asked for; the order is that of the scp file.

    Arks stay open, so that a matrix costs two reads and no search; matrices that are not plain float32 go through
    kaldiio.
    """

    def __init__(self, places: dict[str, str], name: str):
        self._places, self._name = places, name
        self._open: dict[str, BinaryIO] = {}

    def __getitem__(self, utt: str) -> np.ndarray:
        return self.window(utt)

    def window(self, utt: str, rows: int = 0, share: float = 0.0) -> np.ndarray:
        """`rows` rows of the matrix, of which the first lies at `share` (0 to 1) of what they leave free; all of it where
        it has no more than that, or `rows` is 0. Only these are read."""
        match = PLAIN.fullmatch(self._places[utt])
        if match:
            file, offset = self._file(match["path"]), int(match["offset"])
            header = os.pread(file.fileno(), HEADER.size, offset) if file else b""
            if len(header) == HEADER.size and header.startswith(FLOAT_MATRIX):
                _, four, count, also_four, dim = HEADER.unpack(header)
                if four == also_four == 4 and count >= 0 and dim > 0:
                    first, kept = _window_of(count, rows, share)
                    matrix = np.empty((kept, dim), dtype="<f4")
                    if os.preadv(file.fileno(), [matrix], offset + HEADER.size + first * dim * 4) == matrix.nbytes:
                        return matrix
        # Whatever this is, the slow reader reads it or says what is wrong with it.
        matrix = read_matrix(self._places[utt], f"{self._name}: {utt}")
        first, kept = _window_of(len(matrix), rows, share)
        return np.array(matrix[first:first + kept], order="C")

    def _file(self, path: str) -> BinaryIO | None:
        if path not in self._open:
            if len(self._open) >= MAX_OPEN:
                self._open.pop(next(iter(self._open))).close()
            try:
                self._open[path] = open(path, "rb", buffering=0)
            except OSError:
                return None
        return self._open[path]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_open": {}}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, utt: object) -> bool:
        return utt in self._places


def _window_of(count: int, rows: int, share: float) -> tuple[int, int]:
    """The first row and the number of rows of a window in a matrix of `count`."""
    return (0, count) if not 0 < rows < count else (int(share * (count - rows + 1)), rows)


def read_scp(path: str | Path) -> ScpReader:
    """The matrices of an scp file by utterance, each read when asked for; nothing is kept in memory.

    Reads what Kaldi writes (compressed matrices and row ranges too), but runs no commands and loads no pickles, which
    kaldiio would. Raises `SpeechrepError` for a missing or malformed file, and on reading for a bad entry.
    """
    return ScpReader(read_table(path), str(path))


def read_matrix(entry: str, where: str = "") -> np.ndarray:
    """The matrix at `file.ark:offset` or `file.ark:offset[first:last]` (rows, both included), float32 [N, D]."""
    where = where or entry
    match = ENTRY.fullmatch(entry)
    if not match:
        raise SpeechrepError(f"{where}: the entry '{entry}'", "file.ark:offset", "make it again: speechrep dump")
    try:
        with open(match["path"], "rb") as file:
            file.seek(int(match["offset"]))
            if file.read(2) != b"\0B":
                raise ValueError("no binary matrix there")
            file.seek(int(match["offset"]))
            matrix = np.asarray(read_kaldi(file), dtype=np.float32)
        if matrix.ndim != 2:
            raise ValueError(f"an array of shape {matrix.shape}")
    except FileNotFoundError:
        raise SpeechrepError(f"{where}: no file {match['path']}", "the ark that the scp names",
                             "run where it was made (paths may be relative), or make it again") from None
    except (ValueError, AssertionError, EOFError, RuntimeError, IndexError) as error:
        raise SpeechrepError(f"{where}: {entry} cannot be read: {error}", "a matrix [N, D]",
                             "make it again: speechrep dump") from None
    if match["first"] is not None:
        matrix = matrix[int(match["first"]):int(match["last"]) + 1]
    return matrix
