"""IPA from eSpeak NG: what it says, how it is cut into phones, and that nothing said before matters."""

import subprocess
import sys

import pytest

from speechrep.data.text import espeak
from speechrep.errors import SpeechrepError

try:
    espeak.load_espeak()
except SpeechrepError as error:
    pytest.skip(f"no eSpeak NG: {error}", allow_module_level=True)

SENTENCES = [("fr", "les enfants vous êtes bienvenus"), ("ru", "нажмите решётку asterisk"), ("en", "nature calls"),
             ("it", "ragazzo già"), ("zh", "重庆银行行长"), ("es", "chico whisky")]


@pytest.mark.parametrize("ipa, separator, phones", [
    ("ˈf_aɪ_n", "_", ["f", "aɪ1", "n"]),
    ("tʃ_ˈɜː_tʃ", "_", ["tʃ", "ɜː1", "tʃ"]),
    ("ˈaɪ", "_", ["aɪ1"]),
    ("b_ˈʌ_ʔ_n̩", "_", ["b", "ʌ1", "ʔ", "n̩"]),
    ("ˌn̩", "_", ["n̩2"]),
    ("(en)_k_j_ˈuː_(ru)", "_", ["k", "j", "uː1"]),
    ("(en)", "_", []),
    ("l_e-_z ɑ̃_f_ˈɑ̃", "_", ["l", "e", "z", "ɑ̃", "f", "ɑ̃1"]),
    ("m_ˈɑ5", "_", ["m", "ɑ5"]),
    ("t͡ʃˈɜːt͡ʃ", None, ["tʃ", "ɜː1", "tʃ"]),
    ("ˈkæt", None, ["k", "æ1", "t"]),
    ("pʰaɪ̯", None, ["pʰ", "a", "ɪ̯"]),
    ("", "_", []),
])
def test_split_ipa(ipa, separator, phones):
    assert espeak.split_ipa(ipa, separator) == phones


@pytest.mark.parametrize("lang, text, words", [
    ("en", "church nature", ["tʃ ɜː1 tʃ", "n eɪ1 tʃ ɚ"]),
    ("es", "chico número gracias", ["tʃ i1 k o", "n u1 m e ɾ o", "ɣ ɾ a1 θ j a s"]),
    ("es-419", "gracias", ["ɡ ɾ a1 s j a s"]),
    ("fr", "les enfants bonjour", ["l e z", "ɑ̃ f ɑ̃1", "b ɔ̃ ʒ u1 ʁ"]),
    ("it", "chiamata già ragazzo", ["k j a m a1 t a", "dʒ a1", "r a ɡ a1 tsː o"]),
    ("ru", "нажмите жизнь", ["n a ʒ mʲ i1 tʲ i", "ʒ y1 ʑ n"]),
    ("zh", "妈 麻 马", ["zh_m zh_ɑ5", "zh_m zh_ɑ3", "zh_m zh_ɑ2"]),
])
def test_words(lang, text, words):
    """Values of eSpeak NG 1.52, which the wheel holds."""
    if not espeak.load_espeak()[0].espeak_Info(None).startswith(b"1.52"):
        pytest.skip("another version of eSpeak NG")
    assert [" ".join(phones) for phones, _ in espeak.espeak_phones(text, lang)] == words


def test_foreign_words_are_known_by_the_switch():
    read = espeak.espeak_phones("нажмите asterisk server работает", "ru")
    assert [foreign for _, foreign in read] == [False, True, True, False]
    assert all("(" not in phone for phones, _ in read for phone in phones)


def test_nothing_said_before_matters():
    forward = [espeak.espeak_ipa(text, lang) for lang, text in SENTENCES]
    backward = [[espeak.espeak_ipa(text, lang) for _ in range(3)][2] for lang, text in reversed(SENTENCES)]
    assert forward == backward[::-1] and all(forward)
    script = ("import sys; from speechrep.data.text.espeak import espeak_ipa\n"
              f"for lang, text in {SENTENCES[::2]!r}:\n"
              "    sys.stdout.buffer.write((espeak_ipa(text, lang) + '\\n').encode())")
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.decode()
    assert other.splitlines() == forward[::2]


def test_unknown_voice():
    with pytest.raises(SpeechrepError, match="no voice for the language 'qq'"):
        espeak.espeak_ipa("hello", "qq")
    assert {"en", "es", "fr", "it", "ru", "zh", "pt"} <= set(espeak.espeak_languages())


def test_missing_engine_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(espeak.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(SpeechrepError, match="pip install espeakng-loader"):
        espeak.load_espeak.__wrapped__()
