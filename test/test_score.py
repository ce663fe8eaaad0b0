"""`speechrep score`: whole folders, with judges whose answers are known."""

import json

import numpy as np
import pytest
from toy_corpus import make_corpus

from speechrep.bin import main
from speechrep.data.audio import read_wav, write_wav
from speechrep.data.folder import DataFolder, write_folder
from speechrep.errors import SpeechrepError
from speechrep.metrics.judges import opinion, voice, whisper, world
from speechrep.metrics.score import metric, read_per_utt, read_score
from speechrep.report.table import over_seeds, results_markdown
from speechrep.tasks import synthesis_score
from speechrep.tasks.synthesis_score import Options, chosen, score_synthesis


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), {"train": 6, "test": 6})


@pytest.fixture
def judges(monkeypatch):
    """Judges that hear what a test can know: the recogniser always the same words, the voice the pitch."""
    heard = []

    def transcribe(audio, lang, threads):
        heard.extend(len(samples) for samples in audio)
        return ["ah bee."] * len(audio)

    for judge in (whisper, voice, opinion):
        monkeypatch.setattr(judge, "ready", lambda: None)
    monkeypatch.setattr(whisper, "languages", lambda: None)
    monkeypatch.setattr(whisper, "name", lambda: "a judge")
    monkeypatch.setattr(whisper, "transcribe", transcribe)
    monkeypatch.setattr(voice, "embed", _low_or_high)
    monkeypatch.setattr(opinion, "p808", lambda samples: 3.0)
    return heard


def _low_or_high(samples):
    """110 Hz or 220 Hz, the pitches of the two speakers (their chords' partials are multiples of these)."""
    power = np.abs(np.fft.rfft(samples))**2
    hz = np.fft.rfftfreq(len(samples), 1 / 16000)
    near = [power[(abs(hz - 110 * (2 * k + 1)) < 15)].sum() for k in range(1, 12)]
    return np.array([sum(near), power.sum() - sum(near)]) / power.sum()


def folder_of(corpus, tmp_path, name, **streams):
    """The test part under other utterance names, as a synthesised folder."""
    data = DataFolder(corpus / "data" / "test")
    tables = {stream: {f"x-{u}": data.read(stream)[u] for u in data.utts}
              for stream in ("wav.scp", "text", "utt2spk", "utt2lang", "ali")}
    tables |= {"utt2content": {f"x-{u}": u for u in data.utts}, "utt2parallel": {f"x-{u}": u for u in data.utts}}
    return write_folder(tmp_path / name, tables | streams)


def test_error_rates_durations_and_files(corpus, tmp_path, judges):
    utts = DataFolder(corpus / "data/test").utts
    ours = folder_of(corpus, tmp_path, "tts", text={f"x-{utt}": "ah bee sea" for utt in utts})
    arguments = ["score", "synthesis", str(ours.path), "--reference", str(corpus / "data/test"), "--enroll",
                 str(corpus / "data/train"), "--system", "tts", "--out", str(tmp_path / "out"), "--judges",
                 "recogniser,durations,voice,opinion"]
    assert main([*arguments, "--cache", str(tmp_path / "cache")]) == 0
    score = read_score(tmp_path / "out" / "score.json")
    assert (score["part"], score["system"], score["task"]) == ("test", "tts", "synthesis")
    metrics = score["metrics"]
    # "ah bee" for "ah bee sea": one of three words, three of eight letters
    assert metrics["wer"]["value"] == pytest.approx(1 / 3) and metrics["wer"]["n"] == 18
    assert metrics["cer"]["value"] == pytest.approx(3 / 8)
    assert (metrics["wer"]["low"], metrics["wer"]["high"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert metrics["duration_error"]["value"] == 0
    assert metrics["dnsmos_p808"]["value"] == 3.0 and metrics["cos_target"]["value"] > 0.9
    assert "closer_to_target" not in metrics and "mcd" not in metrics
    rows = read_per_utt(tmp_path / "out" / "per_utt.tsv")
    assert len(rows) == 6 and all(row["wer_errors"] == "1" and row["heard"] == "ah bee" for row in rows.values())
    # A second time, the cache answers.
    asked = len(judges)
    assert asked == 6 and main([*arguments, "--cache", str(tmp_path / "cache")]) == 0 and len(judges) == asked


def test_conversion_is_compared_with_both_voices(corpus, tmp_path, judges):
    data = DataFolder(corpus / "data" / "test")
    other = {"spk0": "spk1", "spk1": "spk0"}
    speakers = {f"x-{u}": data.read("utt2spk")[u] for u in data.utts}
    done = folder_of(corpus, tmp_path, "done", utt2source={u: other[s] for u, s in speakers.items()})
    others = {utt: other[speaker] for utt, speaker in speakers.items()}
    failed = folder_of(corpus, tmp_path, "failed", utt2source=speakers, utt2spk=others)
    enrolment = DataFolder(corpus / "data" / "train")
    found = score_synthesis(done, data, enrolment, Options(judges=("voice",)))
    assert found.metrics["closer_to_target"]["value"] == 1.0 and found.metrics["closer_to_target"]["n"] == 6
    assert found.metrics["cos_target"]["value"] > found.metrics["cos_source"]["value"] + 0.1
    found = score_synthesis(failed, data, enrolment, Options(judges=("voice",)))
    assert found.metrics["closer_to_target"]["value"] == 0.0
    with pytest.raises(SpeechrepError, match="no utterance of the speaker 'spk9'"):
        stranger = folder_of(corpus, tmp_path, "stranger", utt2spk={u: "spk9" for u in speakers})
        score_synthesis(stranger, data, enrolment, Options(judges=("voice",)))


def test_spectrum_against_the_parallel_utterance(corpus, tmp_path):
    try:
        world.ready()
    except SpeechrepError as error:
        pytest.skip(error.found)
    data = DataFolder(corpus / "data" / "test")
    same = score_synthesis(folder_of(corpus, tmp_path, "same"), data, None, Options(judges=("spectrum",))).metrics
    assert same["mcd"]["value"] == pytest.approx(0, abs=1e-4) and same["vuv"]["value"] == 0
    wavs = {}
    for utt in data.utts:
        samples, rate_hz = read_wav(data.read("wav.scp")[utt])
        noise = 0.05 * np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)
        write_wav(tmp_path / f"{utt}.wav", samples + noise, rate_hz)
        wavs[f"x-{utt}"] = str(tmp_path / f"{utt}.wav")
    noisy = folder_of(corpus, tmp_path, "noisy", **{"wav.scp": wavs})
    worse = score_synthesis(noisy, data, None, Options(judges=("spectrum",))).metrics
    assert worse["mcd"]["value"] > 2 and worse["mcd"]["n"] == 6
    with pytest.raises(SpeechrepError, match="is not in"):
        score_synthesis(noisy, DataFolder(corpus / "data" / "train"), None, Options(judges=("spectrum",)))


def test_a_missing_judge_leaves_a_note_or_stops(corpus, tmp_path, monkeypatch):
    def absent():
        raise SpeechrepError("the judge needs 'x'", "its package", "pip install x")
    monkeypatch.setattr(opinion, "ready", absent)
    data = DataFolder(corpus / "data" / "test")
    found = score_synthesis(data, None, None, Options(judges=("opinion",)))
    assert found.metrics == {} and any("pip install x" in note for note in found.notes)
    with pytest.raises(SpeechrepError, match="pip install x"):
        score_synthesis(data, None, None, Options(judges=("opinion",)), require=True)
    with pytest.raises(SpeechrepError, match="no judge 'opinions'"):
        score_synthesis(data, None, None, Options(judges=("opinions",)))


def test_a_score_is_kept_until_the_speech_or_the_judges_are_others(corpus, tmp_path, judges, monkeypatch, capsys):
    def absent():
        raise SpeechrepError("the judge needs 'x'", "its package", "pip install x")

    ours = folder_of(corpus, tmp_path, "tts")
    score = tmp_path / "out/score.json"
    arguments = ["score", "synthesis", str(ours.path), "--enroll", str(corpus / "data/train"), "--system", "tts", "--out",
                 str(tmp_path / "out"), "--judges", "recogniser,voice,opinion", "--keep"]

    def again(*more):
        before = score.stat().st_mtime_ns if score.is_file() else 0
        assert main([*arguments, *more]) == 0
        return score.stat().st_mtime_ns > before

    with monkeypatch.context() as patch:
        patch.setattr(opinion, "ready", absent)
        patch.setattr(voice, "ready", absent)
        assert again() and not again(), "what is missing still is nothing new"
        assert {note[:9] for note in read_score(score)["notes"]} >= {"no voice:", "no opinio"}
        patch.setattr(voice, "ready", lambda: None)
        capsys.readouterr()
        assert again() and "judges that were missing: voice\n" in capsys.readouterr().out
        assert "cos_target" in read_score(score)["metrics"] and "dnsmos_p808" not in read_score(score)["metrics"]
    assert again() and read_score(score)["metrics"]["dnsmos_p808"]["value"] == 3.0
    assert not again() and "already scored" in capsys.readouterr().out
    assert again("--note", "of few labels") and "of few labels" in read_score(score)["notes"]
    folder_of(corpus, tmp_path, "tts")
    assert again(), "the speech was made anew"


def test_a_language_that_the_recogniser_lacks_is_said(corpus, tmp_path, judges, monkeypatch):
    monkeypatch.setattr(whisper, "languages", lambda: ("en",))
    data = DataFolder(corpus / "data" / "test")
    languages = {f"x-{utt}": "fr" if number < 2 else "en" for number, utt in enumerate(data.utts)}
    mixed = folder_of(corpus, tmp_path, "mixed", utt2lang=languages)
    found = score_synthesis(mixed, data, None, Options(judges=("recogniser",)))
    assert sum("heard" in row for row in found.per_utt.values()) == 4
    assert any("2 utterances in 'fr' left out" in note for note in found.notes)


def test_the_same_contents_for_every_system(corpus, tmp_path):
    data = DataFolder(corpus / "data" / "test")
    twice = {f"{t}-{u}": u for u in data.utts for t in ("a", "b")}
    wav = data.read("wav.scp")
    pairs = write_folder(tmp_path / "pairs", {"wav.scp": {x: wav[u] for x, u in twice.items()}, "utt2content": twice})
    for count in (1, 3, 6):
        assert sorted(twice[x] for x in chosen(pairs, count)) == chosen(data, count)
        assert len(chosen(data, count)) == count
    assert set(chosen(data, 2)) < set(chosen(data, 4)) and chosen(data, 0) == data.utts
    assert len(chosen(pairs, 7)) == 7


def test_table_and_seeds(tmp_path, capsys):
    def score(system, seed, value, **more):
        metrics = {"wer": metric(value, value - 0.03, value + 0.03, n=10, unit="", better="lower")} | more
        return {"task": "tts", "part": "test", "system": system, "seed": seed, "metrics": metrics,
                "notes": ["by a judge"], "provenance": {}}
    mcd = metric(6.0, n=3, unit="dB", better="lower")
    scores = [score("natural", None, 0.1), score("ctap", 1, 0.2, mcd=mcd, wer_fr=mcd), score("ctap", 2, 0.3)]
    joined = over_seeds([s["metrics"]["wer"] for s in scores[1:]])
    spread = 1.96 * np.std([0.2, 0.3], ddof=1) / np.sqrt(2)
    assert joined["value"] == pytest.approx(0.25) and joined["high"] - 0.25 == pytest.approx(np.hypot(0.03, spread))
    text = results_markdown(scores)
    assert "| system | wer ↓ | mcd (dB) ↓ |" in text and "| system | wer_fr (dB) ↓ |" in text
    assert "| natural | 0.100 [0.070, 0.130] | – |" in text
    assert "| ctap (2 seeds) | 0.250" in text and text.count("- by a judge\n") == 1
    paths = []
    for number, one in enumerate(scores):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(one))
    assert main(["score", "table", *map(str, paths), "--out", str(tmp_path / "RESULTS.md")]) == 0
    assert (tmp_path / "RESULTS.md").read_text() == text
    assert main(["score", "table", str(tmp_path / "none.json")]) == 1 and "no such file" in capsys.readouterr().err


def test_what_cannot_be_normalised_still_counts_as_heard():
    assert synthesis_score._readable("Hello, 3 dogs!", "en") == "hello three dogs"
    assert isinstance(synthesis_score._readable("Привет ♪♪ $", "en"), str)


def test_letters_of_another_script_cost_phones_but_not_the_score(corpus, tmp_path, judges, monkeypatch):
    """Recognisers mix scripts now and then, when what they hear is no speech."""
    monkeypatch.setattr(whisper, "transcribe", lambda audio, lang, threads: ["ah be\u0646e."] + ["ah bee."] * (len(audio) - 1))
    utts = [f"x-{utt}" for utt in DataFolder(corpus / "data/test").utts]
    ours = folder_of(corpus, tmp_path, "tts", text=dict.fromkeys(utts, "ah bee sea"))
    assert main(["score", "synthesis", str(ours.path), "--reference", str(corpus / "data/test"), "--out", str(tmp_path / "out"),
                 "--system", "tts", "--judges", "recogniser"]) == 0
    found = read_score(tmp_path / "out" / "score.json")
    # AA B IY S IY, of which S IY are not heard in any, whatever stands within a word.
    assert found["metrics"]["per"]["value"] == pytest.approx(2 / 5)
    assert found["metrics"]["wer"]["value"] == pytest.approx(7 / 18), "the word that is written so is no word of ours"
    assert [note for note in found["notes"] if note.startswith("PER without the letters")] == [
        "PER without the letters of other languages that the recogniser wrote in 1 utterance(s)"]
