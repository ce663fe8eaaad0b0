"""The wrappers of the judges. Each test is skipped where its packages are not installed."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from speechrep.errors import SpeechrepError
from speechrep.metrics.judges import RATE_HZ, load, opinion, sphinx, voice, whisper, world
from speechrep.metrics.judges.cache import Cache


def needs(judge):
    try:
        judge.ready()
    except SpeechrepError as error:
        pytest.skip(error.found)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Two sentences by two flite voices, at 16 kHz."""
    if not shutil.which("flite"):
        pytest.skip("flite (Debian package) is not installed")
    from speechrep.data.audio import read_wav, resample
    folder = tmp_path_factory.mktemp("flite")
    found = {}
    for name in ("slt", "rms"):
        for number, text in enumerate(("please leave a message after the tone", "your call is important to us")):
            wav = folder / f"{name}{number}.wav"
            subprocess.run(["flite", "-voice", name, "-t", text, "-o", str(wav)], check=True)
            samples, rate_hz = read_wav(wav)
            found[name, number] = resample(samples, rate_hz, RATE_HZ)
    return found


def test_a_missing_package_is_named_with_its_cure():
    with pytest.raises(SpeechrepError, match="pip install no-such-judge==1.0"):
        load("no_such_judge", "no-such-judge==1.0")


def test_nothing_heavy_is_imported_before_a_judge_is_asked():
    code = ("import sys; from speechrep.metrics.judges import opinion, sphinx, voice, whisper, world; "
            "heavy = {'torch', 'librosa', 'onnxruntime', 'ctranslate2', 'pyworld', 'resemblyzer'}; "
            "print(sorted(heavy & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_cache(tmp_path):
    asked = []
    sound = np.arange(5, dtype=np.float32)

    def ask(cache, judge="a", samples=sound):
        return cache.ask(judge, samples, lambda: asked.append(judge) or {"heard": len(asked)})

    cache = Cache(tmp_path)
    assert not cache.knows("a", sound)
    assert ask(cache) == ask(cache) == ask(Cache(tmp_path)) == {"heard": 1} and cache.knows("a", sound)
    assert ask(cache, "b") == {"heard": 2} and ask(cache, samples=sound + 1) == {"heard": 3}
    assert ask(Cache()) == {"heard": 4}
    for path in tmp_path.rglob("*.json"):
        path.write_text("{ broken")
    assert ask(Cache(tmp_path)) == {"heard": 5}


def test_world_finds_the_pitch_and_a_change_of_timbre():
    needs(world)
    from speechrep.metrics.mcd import mel_cepstral_distortion
    time = np.arange(RATE_HZ) / RATE_HZ
    buzz = 0.1 * sum(np.cos(2 * np.pi * 150 * k * time) for k in range(1, 53))
    f0, cepstra = world.analyse(buzz, RATE_HZ)
    assert cepstra.shape == (len(f0), 24) and np.isfinite(cepstra).all()
    assert np.median(f0[f0 > 0]) == pytest.approx(150, abs=1) and (f0 > 0).mean() > 0.8
    dark = 0.1 * sum(np.cos(2 * np.pi * 150 * k * time) / k for k in range(1, 53))
    _, other = world.analyse(dark, RATE_HZ)
    _, louder = world.analyse(3 * buzz, RATE_HZ)
    assert mel_cepstral_distortion(cepstra, louder)[0] < 0.5 < 3 < mel_cepstral_distortion(cepstra, other)[0]
    assert np.isfinite(world.analyse(np.zeros(4000), 8000)[1]).all()


@pytest.mark.slow
def test_whisper_understands(spoken):
    needs(whisper)
    texts = whisper.transcribe([spoken["slt", 0], spoken["slt", 1]], "en")
    assert "leave a message after the tone" in texts[0].lower() and "important to us" in texts[1].lower()
    # The batch that an utterance was in does not matter.
    assert whisper.transcribe([spoken["slt", 1]], "en") == texts[1:]
    assert whisper.transcribe([], "en") == []
    with pytest.raises(SpeechrepError, match="has no 'xx'"):
        whisper.transcribe([spoken["slt", 0]], "xx")


@pytest.mark.slow
def test_pocketsphinx_understands(spoken):
    needs(sphinx)
    texts = sphinx.transcribe([spoken["slt", 0], spoken["slt", 1]])
    assert "leave a message after" in texts[0]
    assert sphinx.transcribe([spoken["slt", 1], spoken["slt", 0]]) == texts[::-1]


def test_voice_tells_speakers_apart(spoken):
    needs(voice)
    from speechrep.metrics.speaker import cosine
    vectors = {key: voice.embed(samples) for key, samples in spoken.items()}
    assert all(np.linalg.norm(vector) == pytest.approx(1, abs=1e-5) for vector in vectors.values())
    same = cosine(vectors["slt", 0], vectors["slt", 1])
    other = max(cosine(vectors["slt", i], vectors["rms", j]) for i in (0, 1) for j in (0, 1))
    assert same > 0.75 > other
    assert np.isfinite(voice.embed(np.full(2000, 1e-3, dtype=np.float32))).all()


def test_opinion_prefers_clean_speech(spoken):
    needs(opinion)
    clean = spoken["slt", 0]
    noisy = clean + 0.1 * np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)
    assert 1 <= opinion.p808(noisy) < opinion.p808(clean) - 0.3 <= 5


@pytest.mark.slow
def test_opinion_agrees_with_the_package(spoken):
    needs(opinion)
    from speechmos import dnsmos
    clean = np.clip(np.tile(spoken["slt", 0], 5), -1, 1)
    peer = dnsmos.run(clean, RATE_HZ, return_df=False)
    assert opinion.overall(clean) == pytest.approx(peer["ovrl_mos"], abs=1e-5)
    assert opinion.p808(clean) == pytest.approx(peer["p808_mos"], abs=1e-4)
