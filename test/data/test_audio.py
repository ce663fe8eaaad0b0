import shlex
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from speechrep.data.audio import (AudioReader, header, read_mixed, read_wav, resample, run_pipe, segment_bounds, write_wav)
from speechrep.data.folder import write_folder
from speechrep.errors import SpeechrepError


def noise(count=8000, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def test_sixteen_bits_come_back_unchanged(tmp_path):
    every = (np.arange(-32768, 32768) / 32768).astype(np.float32)
    write_wav(tmp_path / "a.wav", every, 16000)
    samples, rate = read_wav(tmp_path / "a.wav")
    assert rate == 16000 and samples.dtype == np.float32 and np.array_equal(samples, every)
    assert header(tmp_path / "a.wav") == (16000, 65536, 1)
    assert soundfile.info(str(tmp_path / "a.wav")).subtype == "PCM_16"
    write_wav(tmp_path / "b.wav", np.array([2.0, -2.0, 1.0]), 8000)
    assert read_wav(tmp_path / "b.wav")[0].tolist() == [32767 / 32768, -1.0, 32767 / 32768]
    assert np.array_equal(read_wav(tmp_path / "a.wav", 10, 20)[0], every[10:20])
    with pytest.raises(SpeechrepError, match="finite"):
        write_wav(tmp_path / "c.wav", np.array([np.nan]), 8000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav"]


@pytest.mark.parametrize("form, subtype, tolerance", [
    ("FLAC", "PCM_16", 0), ("WAV", "PCM_24", 1e-6), ("WAV", "ULAW", 0.01), ("OGG", "VORBIS", 0.1),
    ("WAVEX", "PCM_16", 0), ("W64", "FLOAT", 0)])
def test_formats_of_libsndfile(tmp_path, form, subtype, tolerance):
    samples = np.round(noise() * 32768) / 32768
    soundfile.write(tmp_path / "a.x", samples, 8000, format=form, subtype=subtype)
    got, rate = read_wav(tmp_path / "a.x")
    assert rate == 8000 and len(got) == 8000
    np.testing.assert_allclose(got, samples, atol=tolerance)


def test_chunks_before_and_after_the_data(tmp_path):
    write_wav(tmp_path / "a.wav", noise(), 8000)
    data = (tmp_path / "a.wav").read_bytes()
    odd = b"LIST" + (5).to_bytes(4, "little") + b"INFOx" + b"\0"
    (tmp_path / "b.wav").write_bytes(data[:12] + odd + data[12:] + odd)
    assert np.array_equal(read_wav(tmp_path / "b.wav")[0], read_wav(tmp_path / "a.wav")[0])


@pytest.mark.parametrize("from_hz, to_hz", [(8000, 16000), (44100, 16000), (22050, 8000), (16000, 16000)])
def test_resampling_agrees_with_torchaudio(from_hz, to_hz):
    samples = noise(from_hz + 7)
    ours = resample(samples, from_hz, to_hz)
    judge = torchaudio.functional.resample(torch.from_numpy(samples), from_hz, to_hz).numpy()
    assert ours.shape == judge.shape == (-(-len(samples) * to_hz // from_hz),) and ours.dtype == np.float32
    np.testing.assert_allclose(ours, judge, atol=3e-6)


def folder_of(tmp_path, **streams):
    return write_folder(tmp_path / "data", {name.replace("_", "."): table for name, table in streams.items()})


def test_segments_are_cut_to_the_sample(tmp_path):
    write_wav(tmp_path / "rec.wav", noise(), 8000)
    whole = read_wav(tmp_path / "rec.wav")[0]
    data = folder_of(tmp_path, wav_scp={"rec": f"{tmp_path}/rec.wav"}, segments={
        "a": "rec 0.25 0.5", "b": "rec 0.9 -1", "c": "rec 0.29 1.005", "d": "rec 0.5 1.02", "e": "rec 0.5 0.5",
        "f": "other 0 1", "g": "rec 0.1"})
    reader = AudioReader(data)
    for utt, (start, stop) in {"a": (2000, 4000), "b": (7200, 8000), "c": (2320, 8000)}.items():
        samples, rate = reader.read(utt)
        assert rate == 8000 and np.array_equal(samples, whole[start:stop])
    assert len(AudioReader(data, rate_hz=16000).read("a")[0]) == 4000
    for utt, message in {"d": "ends at 1.02 s, beyond the recording of 1.000 s", "e": "empty", "f": "'other' is not in",
                         "g": "its segment 'rec 0.1'", "h": "no such utterance"}.items():
        with pytest.raises(SpeechrepError, match=f"{data.path}: {utt}: .*{message}"):
            reader.read(utt)
    # 1.001 s is 8008 samples, though in floating point it is 8007.999...
    assert segment_bounds(0.0, 1.001, 16000, 8000) == (0, 8008)


def test_bad_files_are_named(tmp_path):
    write_wav(tmp_path / "cut.wav", noise(), 8000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:-10])
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("hello")
    soundfile.write(tmp_path / "stereo.wav", np.zeros((10, 2)), 8000)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan]), 8000, subtype="FLOAT")
    (tmp_path / "folder.wav").mkdir()
    names = {"cut": "truncated, 10 bytes of 16000", "empty": "an empty file", "text": "not readable as audio",
             "stereo": "2 channels", "nan": "samples that are not numbers", "gone": "no such file",
             "folder": "cannot be opened"}
    data = folder_of(tmp_path, wav_scp={name: f"{tmp_path}/{name}.wav" for name in names})
    for name, message in names.items():
        with pytest.raises(SpeechrepError, match=f"data: {name}: .*{name}.wav: {message}") as caught:
            AudioReader(data).read(name)
        assert caught.value.cure


def test_pipes(tmp_path):
    write_wav(tmp_path / "a b.wav", noise(), 8000)
    path = shlex.quote(str(tmp_path / "a b.wav"))
    half = shlex.join([sys.executable, "-c", "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d)"])
    fail = shlex.join([sys.executable, "-c", "import sys; sys.exit('no luck')"])
    data = folder_of(tmp_path, wav_scp={
        "a": f"cat {path} |", "b": f"cat {path} | {half} |", "c": f"{fail} | cat |", "d": "no-such-program x |",
        "e": f"cat {path} > {tmp_path}/trap |", "f": f"cat {path}; touch {tmp_path}/trap |", "g": "cat 'x |",
        "h": "| cat |",
        "i": f"cat $(touch {tmp_path}/trap) |", "j": "echo hello |"})
    whole = read_wav(tmp_path / "a b.wav")[0]
    with pytest.raises(SpeechrepError, match="a: wav.scp holds a command: cat") as caught:
        AudioReader(data).read("a")
    assert "--allow-pipes" in caught.value.cure
    reader = AudioReader(data, allow_pipes=True)
    for utt in "ab":
        assert np.array_equal(reader.read(utt)[0], whole)
    for utt, message in {"c": "no luck", "d": "no-such-program", "e": "'>' needs a shell", "f": "';' needs a shell",
                         "g": "quotation", "h": "an empty command", "i": "needs a shell", "j": "not audio"}.items():
        with pytest.raises(SpeechrepError, match=message):
            reader.read(utt)
    assert not (tmp_path / "trap").exists()


def test_a_pipe_larger_than_its_buffer(tmp_path):
    size = 3_000_000
    program = f"import sys; sys.stderr.write('x' * 200000); sys.stdout.write('y' * {size})"
    command = shlex.join([sys.executable, "-c", program])
    assert run_pipe(f"{command} | cat | cat |") == b"y" * size
    # the reader that ends early is no failure of the writer
    assert run_pipe("yes | head -c 4 |") == subprocess.run(["head", "-c", "4"], input=b"y\n" * 4, stdout=-1).stdout


def test_segments_of_a_pipe(tmp_path):
    write_wav(tmp_path / "rec.wav", noise(), 8000)
    data = folder_of(tmp_path, wav_scp={"rec": f"cat {tmp_path}/rec.wav |"},
                     segments={"a": "rec 0 0.5", "b": "rec 0.5 -1"})
    reader = AudioReader(data, rate_hz=8000, allow_pipes=True)
    both = np.concatenate([reader.read("a")[0], reader.read("b")[0]])
    assert np.array_equal(both, read_wav(tmp_path / "rec.wav")[0])


TONE = 0.5 * np.sin(np.arange(8000) / 7).astype(np.float32)


@pytest.mark.parametrize("channels, how, wanted", [
    ([TONE], "", TONE),
    ([TONE, TONE], "mean", TONE),
    ([TONE, 0.4 * TONE], "mean", 0.7 * TONE),
    ([TONE, 0 * TONE], "channel 1", TONE),
    ([0.01 * TONE, TONE], "channel 2", TONE),
    ([0.9 * TONE, -TONE], "channel 2", -TONE),
    ([TONE, TONE, TONE], "mean", TONE),
])
def test_channels_are_mixed_without_loss(tmp_path, channels, how, wanted):
    soundfile.write(tmp_path / "a.wav", np.stack(channels, 1), 16000, subtype="FLOAT")
    samples, rate_hz, found = read_mixed(tmp_path / "a.wav")
    assert (rate_hz, found) == (16000, how)
    np.testing.assert_allclose(samples, wanted, atol=1e-6)


def test_ogg_is_read(tmp_path):
    soundfile.write(tmp_path / "a.ogg", np.stack([TONE, TONE], 1), 44100, format="OGG", subtype="VORBIS")
    samples, rate_hz, how = read_mixed(tmp_path / "a.ogg")
    assert rate_hz == 44100 and how == "mean" and len(samples) == 8000
    assert np.corrcoef(samples, TONE)[0, 1] > 0.99


def test_what_cannot_be_mixed_is_refused(tmp_path):
    (tmp_path / "a.ogg").write_bytes(b"OggS and no more")
    soundfile.write(tmp_path / "b.wav", np.full((10, 2), np.nan), 8000, subtype="FLOAT")
    for name, found in (("a.ogg", "not readable as audio"), ("b.wav", "NaN"), ("c.wav", "no such file")):
        with pytest.raises(SpeechrepError, match=found):
            read_mixed(tmp_path / name)
