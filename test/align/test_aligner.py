"""The aligner end to end, on sounds whose boundaries are known: coloured noises as phones, then flite."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechrep.align import corpus as corpus_module
from speechrep.align.corpus import align_folders, textgrid_ali
from speechrep.align.model import AlignConfig, Aligned, Aligner, base_phone, phone_words
from speechrep.align.textgrid import Interval, read_textgrid
from speechrep.align.train import choose, train
from speechrep.bin import main
from speechrep.data.alignment import format_ali, read_ali
from speechrep.data.audio import write_wav
from speechrep.data.folder import DataFolder, write_folder
from speechrep.errors import SpeechrepError
from speechrep.launch import run_jobs

RATE = 8000
BANDS = {"A": (200, 600), "B1": (700, 1100), "C": (1200, 1700), "D": (1800, 2400), "E": (2500, 3200), "F": (3200, 3900)}
CONF = "scales: [0.1, 0.2, 0.3]\nsplits: 1\nsplit_iterations: 2\n"


def noise(rng, low, high, samples):
    spectrum = np.fft.rfft(rng.normal(size=samples))
    hz = np.fft.rfftfreq(samples, 1 / RATE)
    return np.fft.irfft(spectrum * ((hz >= low) & (hz <= high)), samples)


def speak(rng, words):
    """Samples and true alignment of words of phones, with a pause before some words."""
    segments, parts = [("SIL", rng.uniform(0.1, 0.3))], []
    for index, word in enumerate(words):
        if index and rng.random() < 0.3:
            segments.append(("SIL", rng.uniform(0.08, 0.2)))
        segments += [(phone, rng.uniform(0.05, 0.15)) for phone in word]
    segments.append(("SIL", rng.uniform(0.1, 0.3)))
    ends, at = [], 0
    for phone, seconds in segments:
        n = int(seconds * RATE)
        parts.append(1e-4 * rng.normal(size=n) if phone == "SIL" else 0.1 * noise(rng, *BANDS[phone], n))
        at += n
        ends.append(at / RATE)
    return np.concatenate(parts).astype(np.float32), format_ali([p for p, _ in segments], ends)


def make(path, utterances, seed, spoil=()):
    rng = np.random.default_rng(seed)
    streams = {name: {} for name in ("wav.scp", "text", "utt2spk", "phones", "ali.true")}
    for i in range(utterances):
        utt = f"u{i:03d}"
        words = [[str(p) for p in rng.choice(list(BANDS), rng.integers(1, 4))] for _ in range(rng.integers(3, 7))]
        audio, ali = speak(rng, words)
        if utt in spoil:
            words = [[str(p) for p in rng.choice(list(BANDS), 3)] for _ in words]
        write_wav(path.parent / f"{path.name}_wav" / f"{utt}.wav", audio, RATE)
        streams["wav.scp"][utt] = str(path.parent / f"{path.name}_wav" / f"{utt}.wav")
        streams["phones"][utt] = " | ".join(" ".join(word) for word in words)
        streams["text"][utt] = " ".join("".join(word).lower() for word in words)
        streams["utt2spk"][utt] = f"s{i % 2}"
        streams["ali.true"][utt] = ali
    return write_folder(path, streams)


def errors(folder):
    """Seconds between aligned and true ends of phones, over all aligned utterances."""
    found, true = folder.read("ali"), folder.read("ali.true")
    gaps = []
    for utt, line in found.items():
        a, b = ([(p, e) for p, e in zip(*read_ali(text)) if p != "SIL"] for text in (line, true[utt]))
        assert [p for p, _ in a] == [p for p, _ in b]
        gaps += [x - y for (_, x), (_, y) in zip(a, b)]
    return np.array(gaps)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("align")
    (root / "align.yaml").write_text(CONF)
    train_part, test_part = make(root / "train", 60, 0), make(root / "test", 14, 1, spoil={"u004", "u009"})
    phones, wavs = dict(test_part.read("phones")), test_part.read("wav.scp")
    phones["u001"] = ""
    phones["u002"] = " | ".join(["A B1 C D"] * 60)
    phones["u003"] = phones["u003"].replace("A", "Q")
    write_wav(wavs["u005"], np.zeros(RATE // 100, np.float32), RATE)
    test_part.write("phones", phones)
    (test_part.path / "utt2dur").unlink(missing_ok=True)
    status = main(["align", "--exp", str(root / "exp"), "--nj", "2", "--conf", str(root / "align.yaml"), "--textgrids",
                   str(train_part.path), str(test_part.path)])
    assert status == 0
    return root


def test_boundaries_are_found(corpus):
    folder = DataFolder(corpus / "train")
    assert set(folder.read("ali")) == set(folder.utts)
    gaps = np.abs(errors(folder))
    assert gaps.mean() < 0.010 and (gaps < 0.02).mean() > 0.98
    for utt, line in folder.read("ali").items():
        phones, ends = read_ali(line)
        assert ends[-1] == pytest.approx(folder.seconds[utt], abs=1e-4)
        assert " ".join(p for p in phones if p != "SIL") == folder.read("phones")[utt].replace(" |", "")


def test_pauses_are_found(corpus):
    folder = DataFolder(corpus / "train")
    true = folder.read("ali.true")
    right = sum(read_ali(line)[0] == read_ali(true[utt])[0] for utt, line in folder.read("ali").items())
    assert right >= 57


def test_what_does_not_fit_is_rejected_with_its_reason(corpus):
    rows = [line.split("\t") for line in (corpus / "exp/rejected.tsv").read_text().splitlines()]
    assert rows[0] == ["folder", "utterance", "score", "reason"]
    reasons = {row[1]: row for row in rows[1:]}
    assert set(reasons) == {"u001", "u002", "u004", "u005", "u009"}
    assert reasons["u001"][3] == "no phones"
    assert "240 phones" in reasons["u002"][3] and "0.01 s" in reasons["u005"][3]
    assert float(reasons["u004"][2]) < 0 and "does not fit" in reasons["u004"][3]
    assert set(DataFolder(corpus / "test").read("ali")) == set(DataFolder(corpus / "test").utts) - set(reasons)


def test_a_phone_never_trained_is_aligned_under_its_own_name(corpus):
    folder = DataFolder(corpus / "test")
    assert "Q" in folder.read("phones")["u003"]
    phones = [p for p in read_ali(folder.read("ali")["u003"])[0] if p != "SIL"]
    assert " ".join(phones) == folder.read("phones")["u003"].replace(" |", "")


def test_textgrids(corpus):
    folder = DataFolder(corpus / "train")
    for utt in folder.utts[:5]:
        tiers = read_textgrid(corpus / "exp/textgrids/train" / f"{utt}.TextGrid")
        assert [item.label for item in tiers["words"] if item.label] == folder.read("text")[utt].split()
        assert textgrid_ali(tiers["phones"], folder.seconds[utt]) == folder.read("ali")[utt]


def test_the_same_for_any_number_of_jobs_and_threads(corpus, tmp_path):
    first = {part: (corpus / part / "ali").read_bytes() for part in ("train", "test")}
    rejected = (corpus / "exp/rejected.tsv").read_bytes()
    assert main(["align", "--exp", str(tmp_path / "exp"), "--nj", "1", "--conf", str(corpus / "align.yaml"),
                 str(corpus / "train"), str(corpus / "test")]) == 0
    assert first == {part: (corpus / part / "ali").read_bytes() for part in ("train", "test")}
    assert rejected == (tmp_path / "exp/rejected.tsv").read_bytes()


def test_what_is_finished_is_left_alone(tmp_path, monkeypatch):
    """A second run does nothing; a change of one folder aligns again, a change of the training part trains again."""
    folders = [make(tmp_path / name, 8, seed) for seed, name in enumerate(("train", "test"))]
    config = AlignConfig(scales=(0.1, 0.3), splits=0)
    trained, aligned = [], []
    monkeypatch.setattr(corpus_module, "train", lambda *args, **named: trained.append(1) or train(*args, **named))
    monkeypatch.setattr(corpus_module, "run_jobs",
                        lambda *args, **named: aligned.append(1) or run_jobs(*args, **named))

    def again(config=config, **named):
        trained.clear(), aligned.clear()
        counts = align_folders([DataFolder(folder.path) for folder in folders], tmp_path / "exp", config, **named)
        return counts, len(trained), len(aligned)

    first = again()
    files = [tmp_path / "exp/aligner.pt", tmp_path / "exp/rejected.tsv", tmp_path / "train/ali", tmp_path / "test/ali"]
    before = [path.read_bytes() for path in files]
    assert first[1:] == (1, 2) and again() == (first[0], 0, 0)
    assert again(textgrids=True)[1:] == (0, 2) and again(textgrids=True)[1:] == (0, 0)
    (tmp_path / "test/ali").write_text("u000 SIL 1.0\n")
    assert again()[1:] == (0, 2) and before == [path.read_bytes() for path in files]
    folders[1].write("phones", folders[1].read("phones") | {"u000": "A B1"})
    assert again()[1:] == (0, 2) and again(nj=2)[1:] == (0, 0)
    assert again(AlignConfig(scales=(0.1, 0.2), splits=0))[1:] == (1, 2) and again(seed=1)[1:] == (1, 2)
    (tmp_path / "exp/aligner.pt").write_bytes(b"cut off")
    assert again(seed=1)[1:] == (1, 2)
    folders[0].write("phones", folders[0].read("phones") | {"u000": "A B1"})
    assert again(seed=1)[1:] == (1, 2)


def test_the_model_is_plain_tensors(corpus, tmp_path):
    path = corpus / "exp/aligner.pt"
    assert torch.load(path, weights_only=True)["kind"] == "speechrep aligner"
    model = Aligner.load(path)
    assert model.rate_hz == RATE and model.config.scales == (0.1, 0.2, 0.3)
    assert model.units == ["?", "A", "B", "C", "D", "E", "F"]
    torch.save({"kind": "else"}, tmp_path / "x.pt")
    (tmp_path / "y.pt").write_bytes(b"nonsense")
    for name in ("x.pt", "y.pt", "z.pt"):
        with pytest.raises(SpeechrepError, match=name):
            Aligner.load(tmp_path / name)


def test_import_of_textgrids(corpus, tmp_path, capsys):
    folder = DataFolder(corpus / "train")
    before = folder.read("ali")
    copy = folder.subset(folder.utts[:3], tmp_path / "data")
    (copy.path / "ali").unlink()
    assert main(["align", "--from-textgrids", str(corpus / "exp/textgrids/train"), str(copy.path)]) == 0
    assert DataFolder(copy.path).read("ali") == {utt: before[utt] for utt in copy.utts}
    assert main(["align", "--from-textgrids", str(tmp_path), str(copy.path)]) == 1
    assert "files named by utterance id" in capsys.readouterr().err


def test_labels_of_the_montreal_forced_aligner():
    tier = [Interval(0, 0.1, ""), Interval(0.1, 0.2, "spn"), Interval(0.25, 0.4, "AH0"), Interval(0.4, 0.5, "sil")]
    assert textgrid_ali(tier, 0.504) == "SIL 0.2500 AH0 0.4000 SIL 0.5040"


def test_folder_without_phones(corpus, tmp_path, capsys):
    folder = DataFolder(corpus / "train").subset(["u000"], tmp_path / "data")
    (folder.path / "phones").unlink()
    assert main(["align", "--exp", str(tmp_path / "exp"), str(folder.path)]) == 1
    assert "phones" in capsys.readouterr().err and not (tmp_path / "exp").exists()


def test_a_misspelt_setting(corpus, capsys):
    assert main(["align", "--set", "spilts=2", str(corpus / "train")]) == 1
    assert "did you mean 'splits'" in capsys.readouterr().err


def test_choice_of_training_data(corpus):
    folder = DataFolder(corpus / "train")
    chosen = choose(folder, 0.5, 0)
    assert 25 < sum(folder.seconds[utt] for utt in chosen) < 35
    assert chosen == choose(folder, 0.5, 0) != choose(folder, 0.5, 1)
    speakers = [folder.read("utt2spk")[utt] for utt in chosen]
    assert abs(speakers.count("s0") - speakers.count("s1")) <= 4


def test_silence_instead_of_speech(tmp_path):
    folder = make(tmp_path / "data", 6, 2)
    for wav in folder.read("wav.scp").values():
        write_wav(wav, np.zeros(RATE, np.float32), RATE)
    (folder.path / "utt2dur").unlink(missing_ok=True)
    model = train(DataFolder(folder.path), AlignConfig(scales=(0.1, 0.3), splits=1, split_iterations=1))
    assert torch.isfinite(model.gmm.mean).all() and (model.gmm.var > 0).all()


def test_little_evidence_is_not_held_against_an_utterance():
    model = Aligner(AlignConfig(), 16000, ["?"], None, limit=-3.0, usual=-1.0)
    short, long = (Aligned(["A"], np.array([frames]), np.array([0]), -4.0) for frames in (100, 1000))
    assert model.fits(short) and not model.fits(long)  # (100 * -4 + 100 * -1) / 200 = -2.5 and (-4000 - 100) / 1100 = -3.7


def test_phones():
    assert [base_phone(p) for p in ("AH0", "zh_ong1", "ɑː", "5")] == ["AH", "zh_ong", "ɑː", "5"]
    assert phone_words("DH AH0 | | K AE1 T |") == [["DH", "AH0"], ["K", "AE1", "T"]]


@pytest.mark.slow
def test_flite_voices(tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    from flite_corpus import have_flite, make_flite_corpus
    if not have_flite():
        pytest.skip("flite with the voices slt, rms, awb and kal16 is not installed (apt-get install flite)")
    folder = DataFolder(make_flite_corpus(tmp_path / "flite", 240))
    assert main(["align", "--exp", str(tmp_path / "exp"), "--nj", str(os.cpu_count() or 1), str(folder.path)]) == 0
    folder = DataFolder(folder.path)
    assert set(folder.read("ali")) == set(folder.utts)
    gaps = np.abs(errors(folder))
    assert gaps.mean() <= 0.012 and (gaps < 0.02).mean() >= 0.90
