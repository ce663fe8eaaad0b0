"""Beam search against a search over all paths."""

import itertools
import math

import pytest
import torch

pytest.importorskip("flashlight.lib.text.decoder", reason="flashlight-text is not installed")

from speechrep.data.text.ngram import END, START, estimate, log10_probability, write_arpa  # noqa: E402
from speechrep.errors import SpeechrepError  # noqa: E402
from speechrep.tasks.beam import BeamDecoder, Search  # noqa: E402
from speechrep.tasks.ctc import best_path  # noqa: E402

SYMBOLS = ("a", "b", " ")


def outputs(seed, frames=5, spread=1.5):
    return (spread * torch.randn(frames, 4, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)


def summed(log_probs):
    """Every symbol sequence with its probability, by going over all paths."""
    found = {}
    for path in itertools.product(range(4), repeat=len(log_probs)):
        ids = [i for i, _ in itertools.groupby(path)]
        text = "".join(SYMBOLS[i - 1] for i in ids if i)
        found[text] = found.get(text, 0.0) + math.exp(sum(float(row[i]) for row, i in zip(log_probs, path)))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_most_likely_sequence(seed):
    log_probs = outputs(seed)
    truth = summed(log_probs)
    assert sum(truth.values()) == pytest.approx(1)
    assert "".join(BeamDecoder(Search(beam=500), SYMBOLS, 3)(log_probs)) == max(truth, key=truth.get)


def test_it_is_another_than_the_best_path():
    """Blank twice is the best path, 0.36; but a is said by three others, 0.24 + 0.24 + 0.16."""
    log_probs = torch.tensor([[0.6, 0.4, 1e-9, 1e-9]] * 2).log()
    assert best_path(log_probs, SYMBOLS) == [] and BeamDecoder(Search(beam=10), SYMBOLS)(log_probs) == ["a"]
    assert BeamDecoder(Search(beam=10), SYMBOLS)(log_probs[:0]) == []


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Bigrams of words and of symbols, as files and as tables."""
    folder = tmp_path_factory.mktemp("lm")
    said = [["ab", "a"], ["ab", "a"], ["a", "b"], ["b"]]
    made = {}
    for name, sentences in (("words", said), ("symbols", [list("_".join(line)) for line in said])):
        model = estimate(sentences, 2)
        write_arpa(folder / f"{name}.arpa", model)
        made[name] = folder / f"{name}.arpa", model
    return made


def lm_score(model, words):
    padded = [START, *words, END]
    return sum(log10_probability(model, padded[i], padded[:i]) for i in range(1, len(padded)))


@pytest.mark.parametrize("seed", range(8))
def test_words_of_a_language_model(models, seed):
    """ln p(paths) + weight * log10 p(words) + score * words, over all sequences of words that the model knows. Spaces
    at the ends and double ones make no words."""
    path, model = models["words"]
    log_probs, search = outputs(seed), Search(500, path, "words", 1.7, 0.4)
    known = {"a", "b", "ab"}
    likely = {}
    for text, p in summed(log_probs).items():
        words = tuple(text.split())
        if set(words) <= known:
            likely[words] = likely.get(words, 0.0) + p
    truth = {words: math.log(p) + 1.7 * lm_score(model, words) + 0.4 * len(words) for words, p in likely.items()}
    decoder = BeamDecoder(Search(500, path, "words"), SYMBOLS, 3).weighed(search.lm_weight, search.word_score)
    assert decoder.search == search
    assert tuple("".join(decoder(log_probs)).split()) == max(truth, key=truth.get)


@pytest.mark.parametrize("seed", range(8))
def test_words_of_pieces(models, seed):
    """Pieces that begin a word are marked, none ends it; the model's words are chosen among all hypotheses."""
    path, model = models["words"]
    table = {"a": " a", "b": " b", " ": "b"}
    written = lambda pieces: list("".join(table[piece] for piece in pieces).strip())  # noqa: E731
    log_probs = outputs(seed)
    truth = {text: math.log(p) + 1.7 * lm_score(model, "".join(written(text)).split())
             + 0.4 * len("".join(written(text)).split()) for text, p in summed(log_probs).items()}
    found = BeamDecoder(Search(500, path, "words", 1.7, 0.4), SYMBOLS, None, written)(log_probs)
    assert "".join(found) == "".join(written(max(truth, key=truth.get)))


def test_the_language_model_decides_where_the_sound_does_not(models):
    path, _ = models["words"]
    # "ab a" or "a a" by the sound.
    log_probs = torch.tensor([[.01, .97, .01, .01], [.49, .01, .49, .01], [.01, .01, .01, .97],
                              [.01, .97, .01, .01]]).log()
    assert "".join(BeamDecoder(Search(50, path, "words", 3.0, 0.0), SYMBOLS, 3)(log_probs)) == "ab a"
    decoder = BeamDecoder(Search(50, path, "words", 3.0, 0.0), SYMBOLS, 3)
    many, few = ("".join(decoder.weighed(0.0, score)(torch.full((7, 4), 0.25).log())).split() for score in (3.0, -3.0))
    assert len(many) > len(few)


@pytest.mark.parametrize("seed", range(4))
def test_symbols_of_a_language_model(models, seed):
    path, model = models["symbols"]
    log_probs = outputs(seed)
    truth = {text: math.log(p) + 1.5 * lm_score(model, list(text.replace(" ", "_")))
             for text, p in summed(log_probs).items()}
    found = "".join(BeamDecoder(Search(500, path, "symbols", 1.5), SYMBOLS, 3)(log_probs))
    assert found == max(truth, key=truth.get)


def test_what_is_refused(models, tmp_path):
    path, _ = models["words"]
    for search, why in ((Search(0), "--beam 0"), (Search(5, tmp_path / "no.arpa"), "no such language model"),
                        (Search(5, path), "none of its words can be spelt")):
        with pytest.raises(SpeechrepError, match=why):
            BeamDecoder(search, ("x", " "), 2)
    (tmp_path / "no.arpa").write_text("some text\n")
    with pytest.raises(SpeechrepError, match="not a language model|not an ARPA file"):
        BeamDecoder(Search(5, tmp_path / "no.arpa", "symbols"), SYMBOLS)
