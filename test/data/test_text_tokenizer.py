"""Tokenisers: what goes in comes out, unknown characters are told."""

import random

import pytest

from speechrep.data.text.tokenizer import CharTokenizer, SentencePieceTokenizer, load_tokenizer
from speechrep.errors import SpeechrepError

TEXTS = ["hello world", "привет мир", "ça va été", "你好 世界", "the cat sat on the mat", "it's the hat"] * 3


def test_characters(tmp_path):
    tokenizer = CharTokenizer.train(["ba c", "éя"])
    assert tokenizer.symbols == ("a", "b", "c", "é", "я", "▁") and len(tokenizer) == 7
    assert tokenizer.encode("ab é") == [1, 2, 6, 4]
    assert tokenizer.decode([1, 2, 6, 4]) == "ab é"
    assert tokenizer.encode("axb") == [1, 0, 2] and tokenizer.decode([1, 0, 2]) == "a\ufffdb"
    tokenizer.save(tmp_path / "chars.json")
    assert load_tokenizer(tmp_path / "chars.json").symbols == tokenizer.symbols
    with pytest.raises(ValueError, match="id 7"):
        tokenizer.decode([7])
    with pytest.raises(ValueError, match="each once"):
        CharTokenizer(["a", "a"])


@pytest.mark.parametrize("kind, size", [("unigram", 60), ("bpe", 50)])
def test_sentencepiece(tmp_path, kind, size):
    tokenizer = SentencePieceTokenizer.train(TEXTS, size, kind)
    assert len(tokenizer) <= size and tokenizer.symbols[0] == "<unk>" and len(tokenizer.symbols) == len(tokenizer)
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert 0 not in ids and tokenizer.decode(ids) == text
    assert 0 in tokenizer.encode("cat ★") and "\ufffd" in tokenizer.decode(tokenizer.encode("cat ★"))
    tokenizer.save(tmp_path / "bpe.model")
    again = load_tokenizer(tmp_path / "bpe.model")
    assert again.symbols == tokenizer.symbols and again.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])
    assert SentencePieceTokenizer.train(TEXTS, size, kind).symbols == tokenizer.symbols
    with pytest.raises(ValueError, match="not within"):
        tokenizer.decode([len(tokenizer)])


def test_sentencepiece_merges_what_is_frequent():
    tokenizer = SentencePieceTokenizer.train(["the cat", "the hat", "the mat"] * 20, 14, "bpe")
    assert "▁the" in tokenizer.symbols and len(tokenizer.encode("the")) == 1


def test_errors(tmp_path):
    with pytest.raises(SpeechrepError, match="5 pieces for"):
        SentencePieceTokenizer.train(TEXTS, 5)
    with pytest.raises(SpeechrepError, match="no text"):
        SentencePieceTokenizer.train(["  "], 5)
    with pytest.raises(SpeechrepError, match="no such tokeniser"):
        load_tokenizer(tmp_path / "none")
    (tmp_path / "bad.model").write_bytes(b"\x99nonsense")
    with pytest.raises(SpeechrepError, match="not a SentencePiece model"):
        load_tokenizer(tmp_path / "bad.model")
    (tmp_path / "bad.json").write_text('{"x": 1}')
    with pytest.raises(SpeechrepError, match="not a character tokeniser"):
        load_tokenizer(tmp_path / "bad.json")


def test_pieces_with_their_scores_are_the_whole_tokenizer():
    """What is rebuilt from them spells every text as the trained one does, characters and spaces that it never saw
    too."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdeéfg", k=rng.randint(1, 6))) for _ in range(60)]
    trained = SentencePieceTokenizer.train([" ".join(rng.choices(words, k=6)) for _ in range(200)], 60)
    rebuilt = SentencePieceTokenizer.from_pieces([(piece, float(repr(score))) for piece, score in trained.pieces])
    assert rebuilt.symbols == trained.symbols and len(rebuilt) == len(trained)
    for _ in range(300):
        text = "".join(rng.choices("abcdeéfgxyz  ", k=rng.randint(0, 30)))
        assert rebuilt.encode(text) == trained.encode(text), text
        assert rebuilt.decode(rebuilt.encode(text)) == trained.decode(trained.encode(text))
