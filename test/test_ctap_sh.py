"""utils/ctap.sh: what it asks of `speechrep`, which is a stand-in here that notes its arguments."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAND_IN = """#!/bin/bash
echo "$*" >>said
[[ $1-$2 != decode-@(tts|vc|natural|vocoded) ]] || mkdir -p "${@: -1}/data"
while [ $# -gt 0 ]; do
  if [ "$1" = --out ]; then mkdir -p "$(dirname "$2")"; fi
  shift
done
"""


@pytest.fixture
def ask(tmp_path):
    """The commands that a stage gives, in a recipe whose test part has two speakers."""
    (tmp_path / "data/test").mkdir(parents=True)
    (tmp_path / "data/test/spk2utt").write_text("a a-1\nb b-1\n")
    (tmp_path / "exp").mkdir()
    program = tmp_path / "bin/speechrep"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)

    def call(stage, *more, **settings):
        (tmp_path / "said").unlink(missing_ok=True)
        environment = os.environ | {"conf": "conf/quick.yaml", "seed": "0", "nj": "2", "processes": "1", "labelled_min": "0",
                                    "tag": "", "vocoder": "griffin-lim", "count": "3", "pair_count": "1"} | settings
        environment["PATH"] = f"{tmp_path / 'bin'}:{environment['PATH']}"
        done = subprocess.run([ROOT / "utils/ctap.sh", stage, *more], cwd=tmp_path, env=environment, capture_output=True,
                              text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return sorted((tmp_path / "said").read_text().splitlines())

    return call


def value(command, option):
    words = command.split()
    return words[words.index(option) + 1] if option in words else None


def test_whatever_learns_from_phones_learns_from_the_labelled_ones_alone(ask):
    made = ask("pretrain", labelled_min="15")
    assert "subset --minutes 15 --out exp/quick-15min.labelled data/train" in made
    trained = {value(line, "--exp"): value(line, "--labelled") for line in made if line.startswith("pretrain")}
    listed = "exp/quick-15min.labelled"
    assert trained == {"exp/ctap/quick-15min-0": listed, "exp/duration/diffusion-quick-15min-0": listed,
                       "exp/duration/regression-quick-15min-0": listed, "exp/vocoder/0": None}
    heads = {value(line, "--exp"): value(line, "--labelled") for line in ask("train", labelled_min="15")}
    assert heads == {f"exp/{name}": listed for name in ("ctap/quick-15min-0/asr_frozen", "ctap/quick-15min-0/asr_finetuned",
                                                        "mfcc/asr_frozen-quick-15min-0")}


def test_a_run_on_all_labels_keeps_its_names(ask):
    trained = {value(line, "--exp"): value(line, "--labelled") for line in ask("pretrain")}
    assert trained == dict.fromkeys(("exp/ctap/quick-0", "exp/duration/diffusion-0", "exp/duration/regression-0",
                                     "exp/vocoder/0"))
    heads = {value(line, "--exp"): value(line, "--labelled") for line in ask("train")}
    assert heads == dict.fromkeys(("exp/ctap/quick-0/asr_frozen", "exp/ctap/quick-0/asr_finetuned", "exp/mfcc/asr_frozen-0"))
    assert not any("--labelled" in line or "--note" in line for line in ask("score"))


def test_a_tag_keeps_a_training_apart(ask):
    made = ask("pretrain", "--set", "train.steps=7", tag="long", labelled_min="15")
    tagged, = (line for line in made if "train.steps=7" in line)
    assert value(tagged, "--exp") == "exp/ctap/quick-15min-long-0"
    others = {value(line, "--exp") for line in ask("pretrain", tag="long") if line.startswith("pretrain")}
    assert others == {"exp/ctap/quick-long-0", "exp/duration/diffusion-0", "exp/duration/regression-0", "exp/vocoder/0"}, \
        "what --set does not reach is trained once"
    heads = [value(line, "--exp") for line in ask("train", tag="long")]
    assert sorted(heads)[:2] == ["exp/ctap/quick-long-0/asr_finetuned", "exp/ctap/quick-long-0/asr_frozen"]
    assert "exp/representation/ctap-quick-long-0-0" in {value(line, "--out") for line in ask("score", tag="long")}


def test_an_untrained_network_is_of_the_size_it_stands_beside(ask):
    """The rows of two sizes must not be one."""
    for conf, out in (("conf/quick.yaml", "exp/representation/random-quick-0"), ("conf/full.yaml",
                                                                                 "exp/representation/random-full-0")):
        line, = (line for line in ask("score", conf=conf) if "--upstream random:" in line)
        assert value(line, "--out") == out
        assert value(line, "--upstream") == f"random:exp/ctap/{Path(conf).stem}-0/best.pt"


def test_the_device_goes_to_whatever_has_one(ask):
    def verb(line):
        return " ".join(line.split()[:2 if line.startswith("score") else 1])

    for stage in ("pretrain", "train", "score"):
        for device in ("cuda:1", None):
            asked = {verb(line): set() for line in ask(stage)}
            for line in ask(stage, **({"device": device} if device else {})):
                asked[verb(line)].add(value(line, "--device"))
            device_verbs = {"pretrain", "train", "decode", "score representation"} & asked.keys()
            assert device_verbs and all(asked[verb] == {device or "auto"} for verb in device_verbs), asked
            assert all(asked[verb] == {None} for verb in asked.keys() - device_verbs), asked


def test_scores_of_minimal_supervision_say_so(ask):
    made = ask("score", labelled_min="15")
    decoded = {value(line, "--out"): line for line in made if line.startswith("decode")}
    run = "exp/ctap/quick-15min-0"
    for name, duration in (("tts", "diffusion"), ("tts_regression", "regression")):
        assert value(decoded[f"{run}/{name}/test"], "--duration") == f"exp/duration/{duration}-quick-15min-0/best.pt"
        assert value(decoded[f"{run}/{name}/test"], "--labelled") == "exp/quick-15min.labelled"
    assert value(decoded[f"{run}/prototype/test"], "--labelled") == "exp/quick-15min.labelled"
    assert "exp/mfcc/asr_frozen-quick-15min-0/test" in decoded
    noted = {value(line, "--system") for line in made if "the aligner that set their times has heard all texts" in line}
    assert noted == {f"ctap/quick-15min-0/{name}" for name in ("prototype", "asr_frozen", "asr_finetuned")} | {
        "ctap-quick-15min-0"}, "what learnt nothing has no such note"
    scored = {value(line, "--out"): "--note" in line for line in made if line.startswith("score synthesis --keep")}
    assert scored == {f"{run}/{name}/test/score": True for name in ("tts", "tts_regression", "vc")} | {
        f"exp/{name}/test/score": False for name in ("natural", "vocoded/neural-0", "vocoded/griffin-lim", "sources/natural",
                                                     "sources/griffin-lim")}
    ceilings = [line for line in made if value(line, "--out") in ("exp/sources/natural/test", "exp/sources/griffin-lim/test")]
    assert len(ceilings) == 2 and all("--sources --count 1" in line for line in ceilings)


def test_another_vocoder_stands_beside_the_usual_one(ask):
    trained, = (line for line in ask("pretrain", vocoder_conf="conf/vocoder_full.yaml") if "vocoder" in line)
    assert (value(trained, "--conf"), value(trained, "--exp")) == ("conf/vocoder_full.yaml", "exp/vocoder/vocoder_full-0")
    scored = ask("score", vocoder_conf="conf/vocoder_full.yaml", vocoder="neural")
    heard = {value(line, "--out"): value(line, "--vocoder") for line in scored if line.startswith(("decode tts", "decode vocoded"))}
    assert heard == {"exp/vocoded/griffin-lim/test": None, "exp/sources/griffin-lim/test": None,
                     "exp/vocoded/vocoder_full-0/test": "exp/vocoder/vocoder_full-0/best.pt",
                     "exp/ctap/quick-0/tts/test": "exp/vocoder/vocoder_full-0/best.pt",
                     "exp/ctap/quick-0/tts_regression/test": "exp/vocoder/vocoder_full-0/best.pt"}
