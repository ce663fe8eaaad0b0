"""n-gram models: a hand-worked case, sums to one, and KenLM as the peer that reads them."""

import itertools
import math
import random

import pytest

from speechrep.bin import main
from speechrep.data.text.ngram import (END, START, UNKNOWN, estimate, log10_probability, perplexity, read_arpa,
                                       vocabulary, write_arpa)
from speechrep.errors import SpeechrepError

SMALL = [["a", "b"], ["a", "c"]]


@pytest.fixture(scope="module")
def text():
    rng = random.Random(0)
    return [rng.choices("ab cd ef gh ij".split(), [5, 3, 2, 1, 1], k=rng.randint(1, 7)) for _ in range(60)]


def test_hand_worked_bigrams():
    """Bigrams: <s> a twice, a b, a c, b </s>, c </s> once, so D = 4 / (4 + 2) = 2/3. Different words in front: of a, b
    and c one, of </s> two; D = 3 / (3 + 2) = 3/5, and 3/5 * 4/5 is left for 5 words alike: 0.096 each."""
    unigrams, bigrams = estimate(SMALL, 2)
    p = {gram: 10 ** logp for gram, (logp, _) in {**unigrams, **bigrams}.items()}
    one, two = 0.4 / 5 + 0.096, 1.4 / 5 + 0.096
    assert {word: p[word,] for word in ("a", "b", "c", END, UNKNOWN)} == pytest.approx(
        {"a": one, "b": one, "c": one, END: two, UNKNOWN: 0.096})
    assert p["a", "b"] == p["a", "c"] == pytest.approx((1 - 2 / 3) / 2 + 2 / 3 * one)
    assert p[START, "a"] == pytest.approx((2 - 2 / 3) / 2 + 1 / 3 * one)
    assert p["b", END] == pytest.approx(1 / 3 + 2 / 3 * two)
    weights = {gram[0]: 10 ** weight for gram, (_, weight) in unigrams.items()}
    assert weights == pytest.approx({START: 1 / 3, "a": 2 / 3, "b": 2 / 3, "c": 2 / 3, END: 1, UNKNOWN: 1})
    assert unigrams[START,][0] == -99
    # Never seen behind b: backed off to.
    assert 10 ** log10_probability([unigrams, bigrams], "a", ["b"]) == pytest.approx(2 / 3 * one)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_sum_to_one(text, order):
    model = estimate(text, order)
    words = [gram[0] for gram in model[0] if gram[0] != START]
    contexts = [()] + [context for size in range(1, order) for context in itertools.product(
        [word for word in words if word != END], repeat=size)][:150]
    contexts += [(START, *context) for context in contexts if len(context) < order - 1]
    for context in contexts:
        assert sum(10 ** log10_probability(model, word, context) for word in words) == pytest.approx(1, abs=1e-9)


def test_kenlm_reads_the_same_probabilities(text, tmp_path):
    kenlm = pytest.importorskip("flashlight.lib.text.decoder.kenlm", reason="flashlight-text is not installed")
    from flashlight.lib.text.dictionary import Dictionary
    model = estimate(text, 3)
    write_arpa(tmp_path / "lm.arpa", model)
    words = [*vocabulary(tmp_path / "lm.arpa"), "unheard"]
    peer = kenlm.KenLM(str(tmp_path / "lm.arpa"), Dictionary(words))
    rng = random.Random(1)
    for _ in range(50):
        said = rng.choices(range(len(words)), k=5)
        state, context = peer.start(False), [START]
        for index in said:
            state, score = peer.score(state, index)
            assert score == pytest.approx(log10_probability(model, words[index], context), abs=1e-4)
            context.append(words[index])
        assert peer.finish(state)[1] == pytest.approx(log10_probability(model, END, context), abs=1e-4)


def test_files_come_back(text, tmp_path):
    model = estimate(text, 3)
    write_arpa(tmp_path / "lm.arpa", model)
    again = read_arpa(tmp_path / "lm.arpa")
    assert [set(table) for table in again] == [set(table) for table in model]
    for table, other in zip(model, again):
        for gram, values in table.items():
            assert other[gram] == pytest.approx(values, abs=1e-6)
    assert vocabulary(tmp_path / "lm.arpa") == ["ab", "cd", "ef", "gh", "ij"]
    (tmp_path / "no.arpa").write_text("some text\n")
    for path in (tmp_path / "no.arpa", tmp_path / "missing"):
        with pytest.raises(SpeechrepError, match="not an ARPA file"):
            read_arpa(path)


def test_perplexity(text):
    # The unigram model of one sentence, "a": counts a 1, </s> 1; D = 0.9 (at its bound), 0.9 / 3 to each of three
    # words.
    model = estimate([["a"]], 1)
    assert perplexity(model, [["a"]]) == pytest.approx(1 / (0.1 / 2 + 0.9 / 3))
    longer = [perplexity(estimate(text, order), text) for order in (1, 2, 3)]
    assert longer[0] > longer[1] > longer[2] > 1 and math.isfinite(longer[0])


def test_what_is_refused():
    for sentences, order, why in ((SMALL, 0, "order 0"), ([[]], 2, "no text"), ([["a", START]], 2, "<s>"),
                                  ([["a b"]], 2, "has spaces")):
        with pytest.raises(SpeechrepError, match=why):
            estimate(sentences, order)


def test_the_verb(tmp_path, capsys):
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "wav.scp").write_text("u1 a.wav\nu2 b.wav\n")
    (folder / "text").write_text("u1 The cat.\nu2 A cat!\n")
    (folder / "utt2lang").write_text("u1 en\nu2 en\n")
    (folder / "ali").write_text("u1 SIL 0.1 K 0.2 AE1 0.3 T 0.4\nu2 K 0.2 SIL 0.4\n")
    (tmp_path / "more.txt").write_text("the dog\n")

    def made(*options):
        assert main(["ngram", str(folder), "--out", str(tmp_path / "lm.arpa"), *options]) == 0
        return vocabulary(tmp_path / "lm.arpa")

    assert made("--order", "2") == ["A", "The", "cat!", "cat."]
    assert made("--spoken", "--lines", str(tmp_path / "more.txt")) == ["a", "cat", "dog", "the"]
    assert made("--of", "chars", "--spoken") == sorted("_aceht")
    assert made("--of", "phones") == ["AE", "K", "T"] and made("--of", "phones", "--stress") == ["AE1", "K", "T"]
    assert "perplexity" in capsys.readouterr().out
    assert main(["ngram", str(folder), "--out", str(tmp_path / "x"), "--of", "words", "--order", "0"]) == 1
