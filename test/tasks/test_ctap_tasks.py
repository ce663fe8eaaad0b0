"""From a CTAP checkpoint trained for moments on chords to recognition, conversion, speech and probes, through files."""

import json
import subprocess

import numpy as np
import pytest
import torch
import yaml
from toy_corpus import folder, make_corpus
from verb_server import speechrep_at_once

from speechrep.data.alignment import read_ali
from speechrep.data.dataset import SpeechDataset, collate
from speechrep.data.folder import DataFolder, read_table
from speechrep.data.audio import read_wav
from speechrep.errors import SpeechrepError
from speechrep.metrics.score import read_per_utt, read_score
from speechrep.report.table import results_markdown
from speechrep.tasks import own_speech
from speechrep.tasks.base import load_task
from speechrep.tasks.generate import phones_to_say, tts_items, tts_mels
from speechrep.tasks.represent import score_recognition, score_representation
from speechrep.tasks.synthesis_score import Options, score_synthesis
from speechrep.tasks.train import train_task
from speechrep.train.pretrain import pretrain
from speechrep.upstream import Upstream, load_method
from speechrep.vocoder.neural import Vocoder

CTAP = {"method": "ctap", "weights": {"contrast": 1.0, "mel_speech": 1.0, "mel_phone": 1.0, "kl": 0.01},
        "model": {"kind": "tdnn", "dim": 48, "joint_dim": 32, "prompt_dim": 8, "prompt_frames": 40, "speech_layers": 2,
                  "token_layers": 1, "frame_layers": 1, "decoder_layers": 2, "dropout": 0.0},
        "train": {"steps": 80, "batch_sec": 15, "lr": 0.004, "warmup": 5, "dev_every": 40, "save_every": 80,
                  "precision": "fp32"}}
DURATION = {"method": "duration", "weights": {"duration": 1.0},
            "model": {"dim": 24, "layers": 1, "denoiser_layers": 2, "prompt_dim": 8, "prompt_frames": 40},
            "train": {"steps": 40, "batch_sec": 15, "lr": 0.003, "warmup": 5, "dev_every": 40, "save_every": 40}}
ASR = {"task": "asr", "weights": {"ctc": 1.0}, "model": {"units": "chars"},
       "train": {"steps": 60, "batch_sec": 15, "lr": 0.01, "warmup": 5, "dev_every": 30, "save_every": 60}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A toy corpus with a trained CTAP, duration model and recogniser."""
    root = make_corpus(tmp_path_factory.mktemp("tasks"), {"train": 40, "dev": 6, "test": 8})
    for name, conf in (("ctap", CTAP), ("duration", DURATION), ("asr", ASR)):
        (root / f"{name}.yaml").write_text(yaml.safe_dump(conf))
    torch.set_num_threads(1)
    parts = root / "data/train", root / "data/dev"
    for name in ("ctap", "duration"):
        pretrain(root / f"{name}.yaml", *parts, root / "dump/logmel", root / "exp" / name, device="cpu")
    train_task(root / "asr.yaml", str(root / "exp/ctap/best.pt"), *parts, root / "dump", root / "exp/asr", device="cpu")
    return root


def speechrep(root, *arguments):
    return subprocess.run([speechrep_at_once(), *map(str, arguments)], cwd=root, capture_output=True, text=True)


def decode(root, task, *arguments):
    done = speechrep(root, "decode", task, "--data", "data/test", "--dump", "dump", "--out", f"out/{task}", *arguments)
    assert done.returncode == 0, done.stderr
    return root / "out" / task


def test_prototypes_and_ctc_recognise_chords(root):
    out = decode(root, "prototype", "--checkpoint", "exp/ctap/best.pt", "--prompts", "data/train")
    assert json.loads((out / "made.json").read_text()) == {"task": "prototype", "unlabelled": 0, "of": 8}
    score_recognition(out, "test", "prototype", 0, out)
    assert read_score(out / "score.json")["metrics"]["per"]["value"] < 40
    out = decode(root, "asr", "--checkpoint", "exp/asr/best.pt")
    score_recognition(out, "test", "asr", 0, out)
    assert read_score(out / "score.json")["metrics"]["cer"]["value"] < 60
    assert set(read_table(out / "ref")) == set(folder(root, "test").utts)


def test_a_missing_hypothesis_is_no_better_score(root, tmp_path):
    out = decode(root, "prototype", "--checkpoint", "exp/ctap/best.pt", "--prompts", "data/train")
    for name in ("units", "ref"):
        (tmp_path / name).write_text((out / name).read_text())
    (tmp_path / "hyp").write_text("".join((out / "hyp").read_text().splitlines(True)[1:]))
    with pytest.raises(SpeechrepError):
        score_recognition(tmp_path, "test", "x", 0, tmp_path)


def test_probes_tell_the_joint_space_from_an_untrained_one(root):
    errors = {}
    for name, spec in (("ctap", "exp/ctap/best.pt"), ("untrained", "random:exp/ctap/best.pt"), ("logmel", "logmel")):
        kind, _, path = spec.rpartition(":")
        full = spec if spec == "logmel" else f"{kind}:{root / path}" if kind else str(root / path)
        score_representation(full, folder(root, "train"), folder(root, "test"), root / "dump", root / "out/probe" / name,
                             name, 0)
        errors[name] = read_score(root / "out/probe" / name / "score.json")["metrics"]
    assert errors["ctap"]["phone_probe_error"]["value"] < 15
    assert errors["ctap"]["phone_probe_error"]["value"] < errors["untrained"]["phone_probe_error"]["value"]
    assert errors["ctap"]["retrieval_speech_to_phone"]["value"] > errors["untrained"]["retrieval_speech_to_phone"]["value"]
    assert "retrieval_speech_to_phone" not in errors["logmel"]


def test_retrieval_by_the_token_and_by_the_very_frame(root, tmp_path):
    """Counted again frame by frame; the note says which is which."""
    parts = folder(root, "train"), folder(root, "test")
    score_representation(str(root / "exp/ctap/best.pt"), *parts, root / "dump", tmp_path, "ctap", 0)
    score = read_score(tmp_path / "score.json")
    upstream = Upstream.open(str(root / "exp/ctap/best.pt"))
    dataset = SpeechDataset(parts[1], root / "dump/logmel/test", upstream.inventory, (*upstream.needs, "phones"))
    hits, frames = dict.fromkeys(("retrieval_speech_to_phone", "retrieval_phone_to_speech", "retrieval_speech_to_phone_frame",
                                  "retrieval_phone_to_speech_frame"), 0), 0
    for number in range(len(dataset)):
        with torch.no_grad():
            speech, phones, lengths, durations = upstream.method.joint(collate([dataset[number]]))
        token = [index for index, count in enumerate(durations[0].tolist()) for _ in range(count)]
        cosine = torch.cosine_similarity(speech[0][:, None], phones[0], dim=-1).numpy()
        for way, similarity in (("speech_to_phone", cosine), ("phone_to_speech", cosine.T)):
            for frame, row in enumerate(similarity):
                nearest = int(row.argmax())
                hits[f"retrieval_{way}"] += token[nearest] == token[frame]
                hits[f"retrieval_{way}_frame"] += nearest == frame
        frames += int(lengths[0])
    for name, count in hits.items():
        assert score["metrics"][name]["n"] == frames
        # Frames as near as each other to the last digit may fall either way.
        assert score["metrics"][name]["value"] == pytest.approx(100 * count / frames, abs=0.5), name
        assert name in read_per_utt(tmp_path / "per_utt.tsv")[parts[1].utts[0]]
    for way in ("speech_to_phone", "phone_to_speech"):
        strict, lax = (score["metrics"][f"retrieval_{way}{end}"]["value"] for end in ("_frame", ""))
        assert 0 < strict < lax - 10
    note, = (note for note in score["notes"] if note.startswith("retrieval"))
    assert "any frame of the same phone token" in note and "_frame, only the same frame" in note
    assert f"- {note}" in results_markdown([score])


def test_speech_is_left_as_a_data_folder(root):
    tts = DataFolder(decode(root, "tts", "--checkpoint", "exp/ctap/best.pt", "--duration", "exp/duration/best.pt",
                            "--prompts", "data/train") / "data")
    assert tts.utts == folder(root, "test").utts and tts.read("utt2parallel") == {utt: utt for utt in tts.utts}
    for utt, line in tts.read("ali").items():
        samples, rate_hz = read_wav(root / tts.read("wav.scp")[utt])
        assert rate_hz == 8000 and len(samples) / rate_hz == pytest.approx(float(line.split()[-1]), abs=1e-3)
    vc = DataFolder(decode(root, "vc", "--checkpoint", "exp/ctap/best.pt", "--prompts", "data/train", "--count", "2")
                    / "data")
    source = folder(root, "test")
    assert len(vc.utts) == 4
    for utt in vc.utts:
        content = vc.read("utt2content")[utt]
        assert vc.read("utt2spk")[utt] != vc.read("utt2source")[utt] == source.read("utt2spk")[content]
        assert vc.seconds[utt] == pytest.approx(source.seconds[content], abs=0.011)
    sources = [DataFolder(decode(root, kind, "--count", "2", "--sources") / "data") for kind in ("natural", "vocoded")]
    assert all(found.utts == sorted(set(vc.read("utt2content").values())) for found in sources)
    natural = decode(root, "natural", "--count", "3") / "data"
    assert len(DataFolder(natural).utts) == 3
    arguments = "decode", "natural", "--data", "data/test", "--dump", "dump", "--out", "out/natural"
    assert "already there" in speechrep(root, *arguments, "--count", "3").stdout
    assert "made anew" in speechrep(root, *arguments, "--count", "2").stdout and len(DataFolder(natural).utts) == 2


def test_conversion_takes_the_voice_of_the_prompt(root):
    """Speakers differ in the pitch of their chords: the converted mel must be nearer to the target's."""
    method = load_method(root / "exp/ctap/best.pt")
    test = folder(root, "test")
    vocoder = Vocoder.load("griffin-lim", own_speech.feature_config(method))
    wavs = test.read("wav.scp")
    a, b = (next(wavs[utt] for utt in test.utts if utt.startswith(speaker)) for speaker in ("spk0", "spk1"))
    samples = own_speech.convert(a, b, method, vocoder)
    assert np.isfinite(samples).all() and len(samples) == len(read_wav(a)[0]) // 80 * 80
    same, other = own_speech.convert(a, a, method, vocoder), own_speech.convert(a, b, method, vocoder)
    assert not np.allclose(same, other)


def test_the_verbs_on_own_files(root, tmp_path):
    test = folder(root, "test")
    wav = test.read("wav.scp")[test.utts[0]]
    done = speechrep(root, "convert", "--checkpoint", "exp/ctap/best.pt", "--source", wav, "--prompt", wav, "--out",
                     tmp_path / "c.wav")
    assert done.returncode == 0 and read_wav(tmp_path / "c.wav")[1] == 8000, done.stderr
    done = speechrep(root, "transcribe", "--checkpoint", "exp/asr/best.pt", wav)
    assert done.returncode == 0 and done.stdout.startswith(wav), done.stderr
    done = speechrep(root, "transcribe", "--checkpoint", "exp/ctap/best.pt", wav)
    assert done.returncode == 1 and "checkpoint of a method" in done.stderr
    done = speechrep(root, "synthesize", "--checkpoint", "exp/ctap/best.pt", "--duration", "exp/duration/best.pt",
                     "--text", "hello", "--lang", "en", "--prompt", wav, "--out", tmp_path / "s.wav")
    assert done.returncode == 1 and "phones that the checkpoint was trained on" in done.stderr


def test_a_text_is_spoken_for_as_long_as_its_phones_last(root, tmp_path):
    """`speechrep synthesize` with a lexicon of the chords' phones."""
    test = folder(root, "test")
    wav = test.read("wav.scp")[test.utts[0]]
    (tmp_path / "lexicon").write_text("hello K A1\nworld M S B\n")
    done = speechrep(root, "synthesize", "--checkpoint", "exp/ctap/best.pt", "--duration", "exp/duration/best.pt", "--text",
                     "Hello, world!", "--lang", "en", "--lexicon", tmp_path / "lexicon", "--prompt", wav, "--seed", "3",
                     "--out", tmp_path / "s.wav")
    assert done.returncode == 0, done.stderr
    samples, rate_hz = read_wav(tmp_path / "s.wav")
    method, duration = (load_method(root / f"exp/{name}/best.pt") for name in ("ctap", "duration"))
    phones = ["SIL", "K", "A1", "M", "S", "B", "SIL"]
    assert own_speech.phones_of("Hello, world!", "en", method, str(tmp_path / "lexicon")) == phones
    voice = own_speech.features_of(wav, own_speech.feature_config(method))
    frames = duration.durations(torch.tensor([[method.inventory.phone_id(phone) for phone in phones]]), torch.tensor([7]),
                                voice[None], torch.tensor([len(voice)]), torch.Generator().manual_seed(3))
    assert frames[0, 1:-1].min() >= 1 and rate_hz == 8000
    assert len(samples) == 80 * int(frames.sum()) and np.abs(samples).max() > 0.01
    assert f"{len(samples) / 8000:.2f} s" in done.stdout


def test_a_task_keeps_its_frozen_upstream_and_serves_alone(root):
    task = load_task(root / "exp/asr/best.pt")
    upstream = load_method(root / "exp/ctap/best.pt")
    for key, value in upstream.state_dict().items():
        assert torch.equal(task.state_dict()[f"upstream.method.{key}"], value), key
    assert json.loads((root / "exp/asr/done.json").read_text())["provenance"]["config"]["upstream"].endswith("best.pt")


@pytest.fixture(scope="module")
def labelled(root):
    """A list of some utterances of train none of which has an S, and an S in only some of those of test."""
    ali = folder(root, "train").read("ali")
    some = [utt for utt in ali if " S " not in ali[utt]][:5]
    (root / "labelled").write_text("".join(f"{utt}\n" for utt in some))
    assert {phone for utt in some for phone in ali[utt].split()[::2]} == {"SIL", "A1", "B", "K", "M"}
    return some


def test_a_task_learns_from_what_is_labelled_alone(root, labelled, tmp_path):
    parts = (root / "data/train", root / "data/dev", root / "dump")
    done = speechrep(root, "train", "--conf", "asr.yaml", "--upstream", "exp/ctap/best.pt", "--train", "data/train", "--dev",
                     "data/dev", "--dump", "dump", "--exp", tmp_path / "a", "--labelled", "labelled", "--set", "train.steps=3")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "a/done.json").read_text())["provenance"]["data"]
    assert data["train"]["utterances"] == len(labelled) == 5 and data["dev"]["utterances"] == 6
    assert "s" not in load_task(tmp_path / "a/best.pt").labels, "an S is a label that nobody told"
    assert "s" in load_task(root / "exp/asr/best.pt").labels
    with pytest.raises(SpeechrepError, match="labelled was labelled, is now None"):
        train_task(root / "asr.yaml", str(root / "exp/ctap/best.pt"), *parts, tmp_path / "a", device="cpu")


def test_prototypes_are_of_labelled_phones_alone(root, labelled):
    out = decode(root, "prototype", "--checkpoint", "exp/ctap/best.pt", "--prompts", "data/train", "--labelled", "labelled")
    said = set(" ".join(read_table(out / "hyp").values()).split())
    assert said == {"A", "B", "K", "M"} and "S" in " ".join(read_table(out / "ref").values()).split()


def test_speech_is_made_of_the_text_and_not_of_the_speakers_pauses(root, tmp_path):
    test = folder(root, "test")
    # The speaker of the first pauses behind the second phone, for half of the third.
    utt, lines = test.utts[0], dict(test.read("ali"))
    said = test.read("phones")[utt].split()
    words = lines[utt].split()
    lines[utt] = " ".join([*words[:6], "SIL", f"{(float(words[5]) + float(words[7])) / 2:.4f}", *words[6:]])
    paused = test.subset(test.utts, tmp_path / "test", {"ali": lines, "phones": test.read("phones") | {
        utt: f"{said[0]} {said[1]} | {' '.join(said[2:])}"}})
    (tmp_path / "dump").symlink_to(root / "dump")
    options = ("decode", "tts", "--checkpoint", "exp/ctap/best.pt", "--prompts", "data/train", "--data", tmp_path / "test",
               "--dump", tmp_path / "dump", "--out")
    models = ("--duration", "exp/duration/best.pt")
    for name, more in (("text", models), ("natural", (*models, "--pauses", "natural")), ("ceiling", ())):
        done = speechrep(root, *options, tmp_path / name, *more)
        assert done.returncode == 0, done.stderr
    spoken, natural, ceiling = (DataFolder(tmp_path / name / "data") for name in ("text", "natural", "ceiling"))
    assert read_ali(spoken.read("ali")[utt])[0] == ["SIL", *said, "SIL"]
    assert read_ali(natural.read("ali")[utt])[0] == ["SIL", *said[:2], "SIL", *said[2:], "SIL"]
    scores = [score_synthesis(made, paused, None, Options(judges=("durations",))) for made in (spoken, natural, ceiling)]
    assert [score.notes for score in scores] == [[], ["spoken with the pauses of natural speech: a ceiling"], [
        "spoken with the pauses of natural speech and its durations: a ceiling"]]
    # Both have the same phones to compare, though not the same silences.
    assert scores[0].metrics["duration_error"]["n"] == sum(len(line.split()) for line in test.read("phones").values())
    (true, true_ends), (ours, ends) = read_ali(lines[utt]), read_ali(spoken.read("ali")[utt])
    true, ours = ([end - start for name, start, end in zip(names, [0.0, *ends], ends) if name != "SIL"]
                  for names, ends in ((true, true_ends), (ours, ends)))
    wanted = 1000 * np.abs(np.subtract(true, ours)).mean()
    assert scores[0].per_utt[utt]["duration_ms"] == pytest.approx(wanted, rel=1e-6) and wanted > 1
    assert scores[2].metrics["duration_error"]["value"] < 5, "frames of 10 ms: half of one at either end at most"


def test_phones_that_training_never_saw_are_not_spoken(root, tmp_path):
    test = folder(root, "test")
    method, items = load_method(root / "exp/ctap/best.pt"), tts_items(test, folder(root, "train"), 2)
    foreign = test.subset([item.utt for item in items], tmp_path / "test", {"phones": {items[0].utt: "p1 p2",
                                                                                      items[1].utt: "K"}})
    with pytest.raises(SpeechrepError, match=f"{items[0].utt} has no phone that the checkpoint knows"):
        tts_mels(method, load_method(root / "exp/duration/best.pt"), foreign, root / "dump/logmel", folder(root, "train"),
                 items, 0)
    with pytest.raises(SpeechrepError, match="no line for 1 utterances"):
        phones_to_say(test.subset(test.utts, tmp_path / "fewer", {"phones": {items[0].utt: "K"}}), items)


def test_only_what_training_can_say_is_spoken(root, labelled):
    test = folder(root, "test")
    can = [utt for utt, phones in test.read("phones").items() if "S" not in phones.split()]
    assert 2 <= len(can) < len(test.utts)
    options = ("--checkpoint", "exp/ctap/best.pt", "--duration", "exp/duration/best.pt", "--prompts", "data/train",
               "--labelled", "labelled")
    spoken = DataFolder(decode(root, "tts", *options) / "data")
    assert spoken.utts == can
    score = score_synthesis(spoken, test, None, Options(judges=("durations",)))
    assert score.notes == [f"{len(test.utts) - len(can)} of {len(test.utts)} utterances of test left out, they have phones "
                           "that no labelled utterance has"]
    assert len(DataFolder(decode(root, "tts", *options, "--count", "2") / "data").utts) == 2
    done = speechrep(root, "decode", "vc", "--data", "data/test", "--dump", "dump", "--out", "out/none", *options)
    assert done.returncode == 1 and "for tts and prototype alone" in done.stderr


def test_fine_tuning_begins_where_the_frozen_run_ended(root, tmp_path):
    parts = (root / "data/train", root / "data/dev", root / "dump")
    still = ["model.finetune=true", "train.steps=1", "train.lr=1e-12"]
    first = root / "exp/asr/best.pt"
    train_task(root / "asr.yaml", str(root / "exp/ctap/best.pt"), *parts, tmp_path / "a", device="cpu", overrides=still,
               init=first)
    begun = json.loads((tmp_path / "a/done.json").read_text())["dev"]["ctc"]
    assert begun == pytest.approx(torch.load(first, weights_only=True)["dev"]["ctc"], rel=1e-3)
    # Not all of the method's parameters have a gradient then, which two processes must put up with.
    done = speechrep(root, "train", "--conf", "asr.yaml", "--upstream", "exp/ctap/best.pt", "--train", "data/train", "--dev",
                     "data/dev", "--dump", "dump", "--exp", str(tmp_path / "c"), "--init", str(first), "--processes", "2",
                     "--set", "model.finetune=true", "--set", "train.steps=3")
    assert done.returncode == 0, done.stderr
    with pytest.raises(SpeechrepError, match="other shapes"):
        train_task(root / "asr.yaml", "logmel", *parts, tmp_path / "b", device="cpu", init=first)


def test_an_upstream_gives_the_same_layers_as_its_method(root):
    upstream = Upstream.open(str(root / "exp/ctap/best.pt"))
    batch = {"feats": torch.randn(2, 31, 20), "feats_lengths": torch.tensor([31, 20])}
    with torch.no_grad():
        layers, lengths = upstream.layers(batch)
    assert upstream.dims == tuple(layer.shape[-1] for layer in layers) and lengths.tolist() == [16, 10]
    assert upstream.stride == 2 and upstream.hop_samples == 160
