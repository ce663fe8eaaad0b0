"""What is found in an experiment folder."""

import pytest
from toy_corpus import folder

from speechrep.errors import SpeechrepError
from speechrep.report import collect


def test_runs_and_logs(recipe):
    asr, ctap = collect.find_runs(recipe / "exp")
    assert (asr.name, ctap.name) == ("asr", "ctap/quick")
    assert asr.done == {} and asr.config == ""
    assert ctap.log["train"]["contrast"] == [(1, 5.0), (2, 2.5), (3, 5 / 3)]
    assert ctap.log["dev"]["retrieval_speech_to_phone"] == [(3, 0.25)]
    assert max(step for step, _ in ctap.log["train"]["kl"]) == 3, "the line that a kill cut off is passed over"
    assert "dim: 24" in ctap.config and ctap.done["parameters"] == 12345


def test_scores(recipe):
    found = collect.find_scores(recipe / "exp")
    assert [score["path"] for score in found] == ["ctap/quick/tts/test", "ctap/quick/vc/test", "natural/test"]
    assert found[0]["metrics"]["mcd"]["value"] == 5.4321


@pytest.mark.parametrize("text", ["not json", "{}", "[]", '{"metrics": {"wer": 3}}'])
def test_a_file_that_is_no_score_is_named(recipe, text):
    (recipe / "exp/natural/test/score.json").write_text(text)
    with pytest.raises(SpeechrepError, match="natural/test/score.json"):
        collect.find_scores(recipe / "exp")


def test_speech(recipe):
    found = collect.find_speech(recipe / "exp")
    assert [(s.kind, s.system, s.part, len(s.folder.utts)) for s in found] == [
        ("vocoded", "griffin-lim/vocoded", "test", 8), ("tts", "ctap/quick/tts", "test", 8),
        ("vc", "ctap/quick/vc", "test", 8)]
    (recipe / "exp/ctap/quick/tts").rename(recipe / "exp/ctap/quick/tts_natural-durations")
    assert [s.system for s in collect.find_speech(recipe / "exp")][1] == "ctap/quick/tts_natural-durations"


def test_the_part_wanted_else_the_first(recipe):
    found = collect.find_speech(recipe / "exp")
    assert collect.of_part(found, "test") == ("test", found)
    assert collect.of_part(found, "dev") == ("test", found)
    assert collect.of_part([], "dev") == ("dev", [])


def test_the_checkpoint_with_a_joint_space(recipe):
    exp = recipe / "exp"
    assert collect.find_joint(exp, collect.find_runs(exp)) == exp / "ctap/quick/best.pt"
    (exp / "ctap/quick/config.yaml").write_text("method: vocos\n")
    assert collect.find_joint(exp, collect.find_runs(exp)) is None
    (exp / "ctap/quick/config.yaml").unlink()
    assert collect.find_joint(exp, collect.find_runs(exp)) is None


def test_parts_of_the_corpus(recipe):
    rows = collect.describe_parts(recipe / "data")
    assert [(row["part"], row["utterances"], row["speakers"]) for row in rows] == [
        ("test", 8, ["spk0", "spk1"]), ("train", 8, ["spk0", "spk1"])]
    assert rows[0]["hours"] == pytest.approx(sum(folder(recipe, "test").seconds.values()) / 3600)
    assert collect.describe_parts(recipe / "nowhere") == []
