"""A new corpus: utils/new_recipe.sh, then its run.sh on a folder of <speaker>/<utt>.wav with <utt>.txt beside it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from verb_server import speechrep_at_once

from speechrep.align.textgrid import Interval, write_textgrid
from speechrep.metrics.score import read_score

ROOT = Path(__file__).resolve().parents[1]

SUBJECTS = ["the old man", "a small dog", "my sister", "the green boat", "our teacher", "every child"]
VERBS = ["looks at", "walks around", "finds", "never forgets", "paints"]
OBJECTS = ["the river", "that tall house", "two apples", "a yellow bird"]
LASTING = ("ali", "feats.scp", "durations", "feats.1.ark", "best.pt", "last.pt", "log.jsonl", "done.json", "score.json", "hyp")
SENTENCES = [f"{one} {two} {three}" for one in SUBJECTS for two in VERBS for three in OBJECTS]


@pytest.fixture
def top(tmp_path):
    """A checkout for recipes whose set-up is this environment."""
    shutil.copytree(ROOT / "utils", tmp_path / "utils")
    shutil.copytree(ROOT / "egs/TEMPLATE", tmp_path / "egs/TEMPLATE",
                    ignore=shutil.ignore_patterns("data", "dump", "exp", "downloads"))
    for name, command in {"tools/setup.sh": "true", ".venv/bin/python": f'exec {sys.executable} "$@"',
                          ".venv/bin/speechrep": f'exec {speechrep_at_once()} "$@"'}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/bash\n{command}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def run(*command, cwd):
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    return subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, env=environment)


def lines(path):
    return dict(line.split(" ", 1) for line in path.read_text().splitlines())


def test_new_recipe_copies_the_template(top):
    answer = run(top / "utils/new_recipe.sh", "my_corpus", cwd="/")
    assert answer.returncode == 0, answer.stderr
    made = top / "egs/my_corpus"
    files = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    assert files == {"run.sh", "path.sh", "cmd.sh", "README.md", "local/prepare.py"} | {
        f"conf/{path.name}" for path in (ROOT / "egs/TEMPLATE/conf").iterdir()}
    assert "my_corpus" in (made / "run.sh").read_text() and "NAME" not in (made / "README.md").read_text()
    assert os.access(made / "run.sh", os.X_OK)
    help_text = run(made / "run.sh", "--help", cwd="/")
    assert help_text.returncode == 0 and "--stop-stage N" in help_text.stdout


@pytest.mark.parametrize("name", ["", "My corpus", "../x", "TEMPLATE", "-x"])
def test_new_recipe_refuses(top, name):
    assert run(top / "utils/new_recipe.sh", name, cwd=top).returncode == 2
    assert [path.name for path in (top / "egs").iterdir()] == ["TEMPLATE"]


def test_new_recipe_keeps_what_is_there(top):
    run(top / "utils/new_recipe.sh", "twice", cwd=top)
    (top / "egs/twice/README.md").write_text("mine")
    answer = run(top / "utils/new_recipe.sh", "twice", cwd=top)
    assert answer.returncode == 1 and "egs/twice is there already" in answer.stderr
    assert (top / "egs/twice/README.md").read_text() == "mine"


@pytest.fixture
def tones(tmp_path):
    """120 sentences by two speakers, as tones: enough to prepare, not to align."""
    folder = tmp_path / "tones"
    for speaker in ("anna", "bert"):
        (folder / speaker).mkdir(parents=True)
        for number, sentence in enumerate(SENTENCES):
            wave = 0.1 * np.sin(np.arange(32000) * (0.1 + 0.001 * number)).astype(np.float32)
            soundfile.write(folder / speaker / f"{number:03d}.wav", wave, 16000, subtype="PCM_16")
            (folder / speaker / f"{number:03d}.txt").write_text(f"{sentence.capitalize()}.\n")
    (folder / "anna/000.txt").unlink()
    (folder / "anna/001.txt").write_text(" ... \n")
    (folder / "anna/002.txt").write_bytes(b"\xff\xfe\xff")
    return folder


def test_prepare(top, tones):
    run(top / "utils/new_recipe.sh", "tones", cwd=top)
    recipe = top / "egs/tones"
    answer = run(top / ".venv/bin/python", "local/prepare.py", tones, "data", cwd=recipe)
    assert answer.returncode == 0, answer.stderr
    text = {part: lines(recipe / f"data/{part}/text") for part in ("train", "dev", "test")}
    assert sum(map(len, text.values())) == 2 * len(SENTENCES) - 3
    assert set().union(*text.values()) == {f"{speaker}_{number:03d}" for speaker in ("anna", "bert") for number in
                                           range(len(SENTENCES))} - {"anna_000", "anna_001", "anna_002"}
    assert all(words == SENTENCES[int(utt[-3:])] for part in text.values() for utt, words in part.items())
    assert not set(text["train"].values()) & (set(text["test"].values()) | set(text["dev"].values()))
    assert not set(text["dev"].values()) & set(text["test"].values())
    assert 0.04 < len(text["test"]) / 237 < 0.2 and len(text["train"]) > 160
    assert set(lines(recipe / "data/train/spk2utt")) == {"anna", "bert"}
    assert set(lines(recipe / "data/test/utt2lang").values()) == {"en"}
    left_out = dict(line.split("\t") for line in (recipe / "data/left_out.tsv").read_text().splitlines())
    assert sorted(left_out) == ["anna_000", "anna_001", "anna_002"] and "UTF-8" in left_out["anna_002"]
    before = {path: path.read_bytes() for path in (recipe / "data").rglob("*") if path.is_file()}
    run(top / ".venv/bin/python", "local/prepare.py", tones, "data", cwd=recipe)
    assert before == {path: path.read_bytes() for path in (recipe / "data").rglob("*") if path.is_file()}


def test_bad_utterances_are_left_out_where_it_is_asked_for(top, tones):
    (tones / "bert/007.wav").write_bytes(b"RIFF")
    soundfile.write(tones / "bert/009.wav", np.zeros(32000, np.float32), 16000, subtype="PCM_16")
    run(top / "utils/new_recipe.sh", "tones", cwd=top)
    recipe = top / "egs/tones"
    command = recipe / "run.sh", "--corpus", tones, "--stop-stage", "1"
    answer = run(*command, cwd=top)
    assert answer.returncode == 1 and "--skip-bad true)" in answer.stdout.splitlines()[-1]
    good = set()
    # And once more, on what was prepared anew.
    for _ in range(2):
        answer = run(*command, "--skip-bad", "true", cwd=top)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        listed = "".join(path.read_text() for path in recipe.glob("data/*/skipped.tsv"))
        assert {line.split("\t")[0] for line in listed.splitlines()} == {"bert_007", "bert_009"}
        for part in ("train", "dev", "test"):
            utts = set(lines(recipe / f"data/{part}/wav.scp"))
            assert all(set(lines(recipe / f"data/{part}/{name}")) == utts for name in ("phones", "text", "utt2dur", "utt2spk"))
            good |= utts
        assert len(good) == 2 * len(SENTENCES) - 3 - 2 and not good & {"bert_007", "bert_009"}


def test_own_pronunciations_and_own_times(top, tones, tmp_path):
    """Words as a lexicon has them, the others by the phonemiser; times from TextGrids, for which nothing is trained."""
    (tmp_path / "own words.txt").write_text("THE\tD EH1\nthe DH AH0\n")
    run(top / "utils/new_recipe.sh", "tones", cwd=top)
    recipe = top / "egs/tones"
    answer = run(recipe / "run.sh", "--corpus", tones, "--lexicon", "own words.txt", "--stop-stage", "1", cwd=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    phones = {utt: line for part in ("train", "dev", "test") for utt, line in lines(recipe / f"data/{part}/phones").items()}
    assert phones["bert_000"].startswith("D EH1 | OW1 L D | ") and not any("DH AH0" in line for line in phones.values())
    for utt in phones:
        # Half of them as the Montreal Forced Aligner names them beside <speaker>/<utt>.wav.
        name = utt if int(utt[-3:]) % 2 else utt[5:]
        write_textgrid(tmp_path / f"times/{utt[:4]}/{name}.TextGrid", {"phones": [
            Interval(0.0, 0.5, "sil"), Interval(0.5, 1.25, "D"), Interval(1.25, 2.0, "EH1")]})
    times = recipe / "run.sh", "--stage", "2", "--stop-stage", "2", "--textgrids", "times"
    answer = run(*times, cwd=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for part in ("train", "dev", "test"):
        assert set(lines(recipe / f"data/{part}/ali").values()) == {"SIL 0.5000 D 1.2500 EH1 2.0000"}
    assert not (recipe / "exp/align").exists()
    answer = run(*times[:-1], "no-such-folder", cwd=tmp_path)
    assert answer.returncode == 1 and "no-such-folder: no UTT.TextGrid" in answer.stderr


def test_run_says_what_it_wants(top, tmp_path):
    run(top / "utils/new_recipe.sh", "empty", cwd=top)
    answer = run(top / "egs/empty/run.sh", cwd=tmp_path)
    assert answer.returncode == 1 and "--corpus FOLDER" in answer.stderr and "--stage 0" in answer.stderr
    (tmp_path / "nothing").mkdir()
    answer = run(top / "egs/empty/run.sh", "--corpus", "nothing", cwd=tmp_path)
    assert answer.returncode == 1 and "no recordings for train" in answer.stderr and "--stage 1" in answer.stderr
    answer = run(top / "egs/empty/run.sh", "--corpus", "no-such-folder", cwd=tmp_path)
    assert answer.returncode != 0 and "no-such-folder" in answer.stderr


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """The sentences as flite's quickest voice says them, high and low."""
    if not shutil.which("flite"):
        pytest.skip("no flite: apt-get install flite")
    folder = tmp_path_factory.mktemp("spoken")
    return speak(folder, SENTENCES[::2])


def speak(folder: Path, sentences: list[str]) -> Path:
    """<speaker>/<utt>.wav and <utt>.txt of two voices."""
    for speaker, pitch in (("anna", 180), ("bert", 95)):
        (folder / speaker).mkdir()
        for number, sentence in enumerate(sentences):
            subprocess.run(["flite", "-voice", "kal16", "--setf", f"int_f0_target_mean={pitch}", "-t", sentence,
                            "-o", str(folder / speaker / f"{number:03d}.wav")], check=True)
            (folder / speaker / f"{number:03d}.txt").write_text(sentence + "\n")
    return folder


def test_recipe_runs_as_it_is(top, spoken):
    run(top / "utils/new_recipe.sh", "spoken", cwd=top)
    recipe = top / "egs/spoken"
    answer = run(recipe / "run.sh", "--corpus", os.path.relpath(spoken, top), "--nj", "2", "--stop-stage", "3", cwd=top)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert [line.split()[2] for line in answer.stdout.splitlines() if line.startswith("== stage")] == ["0:", "1:", "2:", "3:"]
    for part in ("train", "dev", "test"):
        utts = set(lines(recipe / f"data/{part}/wav.scp"))
        frames = lines(recipe / f"dump/logmel/{part}/utt2num_frames")
        assert set(frames) == utts
        seconds = lines(recipe / f"data/{part}/utt2dur")
        assert all(int(frames[utt]) == int(float(seconds[utt]) * 16000 + 0.5) // 160 for utt in utts)
        aligned = lines(recipe / f"data/{part}/ali")
        assert len(aligned) >= 0.98 * len(utts)
        for utt, line in aligned.items():
            phones, ends = line.split()[::2], [float(end) for end in line.split()[1::2]]
            assert ends == sorted(ends) and abs(ends[-1] - float(seconds[utt])) < 0.02
            spoken_phones = [phone for phone in lines(recipe / f"data/{part}/phones")[utt].split() if phone != "|"]
            assert [phone for phone in phones if phone != "SIL"] == spoken_phones
    again = run(recipe / "run.sh", "--stage", "3", "--stop-stage", "3", cwd=top)
    assert again.returncode == 0 and "already there" in again.stderr
    other = run(recipe / "run.sh", "--stage", "5", "--stop-stage", "5", "--set", "model.speech_layer=2", cwd=top)
    assert other.returncode == 1 and "did you mean 'speech_layers'" in other.stderr


def test_a_new_recipe_from_nothing_to_the_page_and_again(top, tmp_path_factory):
    """Every stage, with a minute of speech, networks of a layer and trainings of three steps."""
    if not shutil.which("flite"):
        pytest.skip("no flite: apt-get install flite")
    corpus = speak(tmp_path_factory.mktemp("few"), SENTENCES[::5])
    run(top / "utils/new_recipe.sh", "small", cwd=top)
    recipe = top / "egs/small"
    shorten(recipe / "conf/quick.yaml", dim=32, joint_dim=16, speech_layers=1, token_layers=1, frame_layers=1, decoder_layers=1)
    shorten(recipe / "conf/duration.yaml", dim=16, layers=1, denoiser_layers=1)
    shorten(recipe / "conf/vocoder.yaml", dim=16, hidden_dim=32, layers=1)
    shorten(recipe / "conf/asr.yaml")
    # Recognisers and judges of the voice are networks that take longer than all else.
    for full, short in (("train.steps=300", "train.steps=3"), ("--task speech", "--task speech --judges spectrum,durations")):
        stages = (top / "utils/ctap.sh").read_text()
        assert stages.count(full) == 1
        (top / "utils/ctap.sh").write_text(stages.replace(full, short))
    command = recipe / "run.sh", "--corpus", corpus, "--nj", "1"
    done = run(*command, cwd=top)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert [line.split()[2] for line in done.stdout.splitlines() if line.startswith("== stage")] == [
        f"{number}:" for number in range(9)]
    results = (recipe / "exp/RESULTS.md").read_text()
    rows = {line.split("|")[1].strip() for line in results.splitlines() if line.startswith("| ")} - {"system"}
    assert rows == {"natural", "natural, Griffin-Lim", "natural, neural vocoder", "natural, sources of vc",
                    "natural, sources of vc, Griffin-Lim", "ctap-quick-0", "ctap-quick-0 tts",
                    "ctap-quick-0 tts, regressed durations", "ctap-quick-0 vc", "random-quick", "logmel", "mfcc",
                    "ctap/quick-0/prototype", "ctap/quick-0/asr_frozen", "ctap/quick-0/asr_finetuned",
                    "mfcc/asr_frozen-0"}
    scores = list((recipe / "exp").rglob("score.json"))
    assert len(scores) == len(rows)
    for path in scores:
        assert read_score(path)["metrics"], path
    page = (recipe / "exp/report/index.html").read_text()
    assert "<audio" in page and "ctap-quick-0 vc" in page
    made = {path: path.stat().st_mtime_ns for path in recipe.rglob("*") if path.is_file() and path.name in LASTING}
    assert len([path for path in made if path.name == "best.pt"]) == 7 and len(made) > 50
    again = run(*command, "--stage", "2", "--stop-stage", "6", cwd=top)
    assert again.returncode == 0, again.stderr[-3000:]
    assert made == {path: path.stat().st_mtime_ns for path in made}


def shorten(conf: Path, **sizes) -> None:
    """Three steps, and of the model what is given."""
    settings = yaml.safe_load(conf.read_text())
    settings["train"] |= {"steps": 3, "batch_sec": 8, "micro_sec": 60}
    settings["model"] |= sizes
    conf.write_text(yaml.safe_dump(settings))
