import json

import pytest

from speechrep.errors import SpeechrepError
from speechrep.metrics.score import metric, read_per_utt, read_score, write_score


def test_what_is_written_is_read(tmp_path):
    metrics = {"wer": metric(0.5, 0.25, 0.75, n=4, unit="", better="lower")}
    written = write_score(tmp_path / "x" / "score.json", task="tts", part="test", system="ctap", seed=1,
                          metrics=metrics, provenance={"commit": None}, notes=["a note"],
                          per_utt={"b": {"errors": 1, "text": "x\ty"}, "a": {"errors": 0, "mcd": 1.25}})
    assert read_score(tmp_path / "x" / "score.json") == written
    assert written["metrics"]["wer"] == {"value": 0.5, "low": 0.25, "high": 0.75, "n": 4, "unit": "", "better": "lower"}
    assert metric(0.5, n=4, unit="", better="lower", conditions="no collar")["conditions"] == "no collar"
    assert (tmp_path / "x" / "per_utt.tsv").read_text() == "utt\terrors\ttext\tmcd\na\t0\t\t1.25\nb\t1\tx y\t\n"
    assert read_per_utt(tmp_path / "x" / "per_utt.tsv")["b"] == {"errors": "1", "text": "x y", "mcd": ""}


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="better"):
        metric(1.0, n=1, unit="", better="less")
    with pytest.raises(ValueError, match="not finite"):
        metric(float("nan"), n=1, unit="", better="lower")
    with pytest.raises(SpeechrepError, match="no such file"):
        read_score(tmp_path / "score.json")
    (tmp_path / "score.json").write_text("{")
    with pytest.raises(SpeechrepError, match="not a score"):
        read_score(tmp_path / "score.json")
    (tmp_path / "score.json").write_text(json.dumps({"metrics": {}}))
    with pytest.raises(SpeechrepError, match="not a score"):
        read_score(tmp_path / "score.json")
