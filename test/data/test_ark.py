import pickle

import kaldiio
import numpy as np
import pytest

from speechrep.data import ark
from speechrep.data.ark import ArkWriter, read_matrix, read_scp
from speechrep.errors import SpeechrepError


@pytest.fixture
def matrices():
    rng = np.random.default_rng(0)
    return {utt: rng.standard_normal((count, 5)).astype(np.float32)
            for utt, count in [("a", 3), ("é-2", 1), ("b", 0), ("z_9", 50)]}


def write(folder, matrices):
    with ArkWriter(folder, "feats.1") as writer:
        for utt, matrix in matrices.items():
            writer.write(utt, matrix)
    return writer


def test_kaldiio_reads_what_we_write(tmp_path, matrices):
    writer = write(tmp_path, matrices)
    assert writer.num_frames == {"a": 3, "é-2": 1, "b": 0, "z_9": 50}
    by_scp = kaldiio.load_scp(str(tmp_path / "feats.1.scp"))
    by_ark = dict(kaldiio.load_ark(str(tmp_path / "feats.1.ark")))
    assert sorted(by_scp) == sorted(by_ark) == sorted(matrices)
    for utt, matrix in matrices.items():
        assert np.array_equal(by_scp[utt], matrix) and by_scp[utt].dtype == np.float32
        assert np.array_equal(by_ark[utt], matrix)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feats.1.ark", "feats.1.scp"]


@pytest.mark.parametrize("compression", [None, 1, 2, 3, 5])
def test_we_read_what_kaldiio_writes(tmp_path, matrices, compression):
    del matrices["b"]
    with kaldiio.WriteHelper(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp", compression_method=compression) as helper:
        for utt in sorted(matrices):
            helper(utt, matrices[utt])
    ours = read_scp(tmp_path / "x.scp")
    judge = kaldiio.load_scp(str(tmp_path / "x.scp"))
    assert list(ours) == sorted(matrices) and len(ours) == 3 and "a" in ours and "q" not in ours
    for utt, matrix in ours.items():
        assert matrix.dtype == np.float32
        np.testing.assert_array_equal(matrix, judge[utt])
        np.testing.assert_allclose(matrix, matrices[utt], atol=0 if compression is None else 0.05)


@pytest.mark.parametrize("compression", [None, 2])
def test_windows(tmp_path, compression):
    """Rows read alone are those of the whole matrix; plain matrices and others."""
    matrix = np.random.default_rng(1).standard_normal((10, 3)).astype(np.float32)
    with kaldiio.WriteHelper(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp", compression_method=compression) as helper:
        helper("a", matrix[:2]), helper("b", matrix)
    reader = pickle.loads(pickle.dumps(read_scp(tmp_path / "x.scp")))
    whole = reader["b"]
    # Seven places for four rows; the last share still fits.
    for share, first in ((0.0, 0), (0.15, 1), (0.5, 3), (0.999999, 6)):
        part = reader.window("b", 4, share)
        np.testing.assert_array_equal(part, whole[first:first + 4])
        assert part.flags.writeable and part.flags.c_contiguous and part.dtype == np.float32
    for rows in (0, 10, 11):
        np.testing.assert_array_equal(reader.window("b", rows, 0.9), whole)
    assert pickle.loads(pickle.dumps(reader))["b"].shape == (10, 3), "an open reader can be sent to a worker"


def test_more_arks_than_are_kept_open(tmp_path, matrices, monkeypatch):
    monkeypatch.setattr(ark, "MAX_OPEN", 2)
    places = {}
    for number in range(4):
        with ArkWriter(tmp_path, f"feats.{number}") as writer:
            writer.write(f"u{number}", np.full((2, 2), number, np.float32))
        places |= writer.places
    reader = ark.ScpReader(places, "x")
    for number in (0, 1, 2, 3, 1, 0):
        assert reader[f"u{number}"][0, 0] == number and len(reader._open) <= 2


def test_double_matrices_and_row_ranges(tmp_path):
    wide = np.arange(20, dtype=np.float64).reshape(10, 2)
    kaldiio.save_ark(str(tmp_path / "d.ark"), {"u": wide}, scp=str(tmp_path / "d.scp"))
    entry = (tmp_path / "d.scp").read_text().split(maxsplit=1)[1].strip()
    assert np.array_equal(read_matrix(entry), wide.astype(np.float32))
    # Kaldi counts the last row in.
    assert np.array_equal(read_matrix(entry + "[2:4]"), wide[2:5])


def test_an_exception_leaves_nothing(tmp_path, matrices):
    with pytest.raises(RuntimeError):
        with ArkWriter(tmp_path, "feats.1") as writer:
            writer.write("a", matrices["a"])
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SpeechrepError, match="twice"), ArkWriter(tmp_path, "feats.1") as writer:
        writer.write("a", matrices["a"])
        writer.write("a", matrices["a"])
    with pytest.raises(SpeechrepError, match="space"):
        ArkWriter(tmp_path / "a folder", "feats.1")


def test_bad_entries_are_named_and_nothing_is_run(tmp_path, matrices, monkeypatch):
    write(tmp_path, matrices)
    path = tmp_path / "feats.1.ark"
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return open, (str(trap), "w")

    (tmp_path / "pickle.ark").write_bytes(b"u PKL" + pickle.dumps(Trap()))
    (tmp_path / "cut.ark").write_bytes(path.read_bytes()[:-8])
    last = dict(line.split() for line in (tmp_path / "feats.1.scp").read_text(encoding="utf-8").splitlines())["z_9"]
    offset = last.rpartition(":")[2]
    for name, entry in {"pipe": f"touch {trap} |", "pickle": f"{tmp_path}/pickle.ark:2", "gone": f"{tmp_path}/no.ark:2",
                        "cut": f"{tmp_path}/cut.ark:{offset}", "off": f"{path}:1", "far": f"{path}:999999"}.items():
        (tmp_path / "bad.scp").write_text(f"{name} {entry}\n")
        with pytest.raises(SpeechrepError, match=f"bad.scp: {name}"):
            read_scp(tmp_path / "bad.scp")[name]
    assert not trap.exists()
