"""Normalisation against hand-written tables, language by language."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechrep.data.text.normalise import normalise, remarks
from speechrep.data.text.numbers import mandarin_number
from speechrep.errors import SpeechrepError

TABLES = {
    "en": {
        "vm-Old": "vm old",
        "Please enter a new extension, followed by #.": "please enter a new extension followed by pound",
        "press * to toggle": "press star to toggle",
        "call 1-900 now": "call one nine hundred now",
        "3D audio": "three d audio",
        "A.M. and P.M.": "a m and p m",
        "the Asterisk PBX and IAX2": "the asterisk p b x and i a x two",
        "MGCP": "m g c p",
        "N B S": "n b s",
        "voice over IP": "voice over i p",
        "THE CAT SAT ON MR SMITH'S HMM": "the cat sat on mister smith's hmm",
        "visit www.asterisk.org.": "visit w w w dot asterisk dot org",
        "a 28.8 kilobit modem": "a twenty eight point eight kilobit modem",
        "extension 1234 and password 4242": "extension one two three four and password four two four two",
        "dial 500": "dial five hundred",
        "in 1984, 2004": "in nineteen eighty four two thousand and four",
        "1,984": "one thousand nine hundred and eighty four",
        "the 1990s": "the nineteen nineties",
        "I have $250, £1 & 5%": "i have two hundred and fifty dollars one pound and five percent",
        "$3.50 or $1.5 million": "three dollars and fifty cents or one point five million dollars",
        "the 1st, 2nd, 21st": "the first second twenty first",
        "-5°": "minus five degrees",
        "dial 007": "dial zero zero seven",
        "Dr. Smith vs. Mrs. Jones, e.g. here": "doctor smith versus missus jones for example here",
        "“Curly” don’t ‘quote’": "curly don't quote",
        "o'clock": "o'clock",
        "café naïve": "café naïve",
        "cafe\u0301": "café",
        "at [@]": "at",
        "IAX (note: does not say \"2\")": "i a x",
        "<beep ascending>": "",
        "[this is a simple beep tone]": "",
        "...": "",
    },
    "es": {
        "Trés u 8; ¿qué?": "trés u ocho qué",
        "modem de 28.8 Kb": "modem de veintiocho punto ocho kilobits",
        "1.234,5 €": "mil doscientos treinta y cuatro coma cinco euros",
        "el 2º y la 3ª": "el segundo y la tercera",
        "$1, 100 %": "un dólar cien por ciento",
        "extension 1234": "extension uno dos tres cuatro",
        "Ud. y la Sra. Núñez": "usted y la señora núñez",
        "X-Ray, a.m.": "x ray a m",
        "uno y dos": "uno y dos",
    },
    "fr": {
        "Échec à l’ouverture": "échec à l'ouverture",
        "appuyez sur * ou #": "appuyez sur étoile ou dièse",
        "80 % des 71": "quatre vingts pour cent des soixante et onze",
        "les 3 premières, la 1re, le 2ème": "les trois premières la première le deuxième",
        "s'il-vous-plaît": "s'il vous plaît",
        "Vraiment ? dit-il.": "vraiment dit il",
        "modem 28,8": "modem vingt huit virgule huit",
        "le poste 8500": "le poste huit cinq zéro zéro",
    },
    "it": {
        "C’è già": "c'è già",
        "Se componi l'1234": "se componi l'milleduecentotrentaquattro",
        "28Kilobit": "ventotto kilobit",
        "attivare/disattivare": "attivare disattivare",
        "l'interno 1234": "l'interno uno due tre quattro",
        "Davvero? sì, 3º": "davvero sì terzo",
        "numero…": "numero",
    },
    "ru": {
        "28,8 килобит": "двадцать восемь целых восемь десятых килобит",
        "1,01": "одна целая одна сотая",
        "буквы «Q» и 9 для «Z»": "буквы кью и девять для зед",
        "АТС": "а тэ эс",
        "Д А Х Д И": "дэ а ха дэ и",
        "я и он, с нами": "я и он с нами",
        "1 %, 3 %, 5 %, 21 %": "один процент три процента пять процентов двадцать один процент",
        "ПИН-код": "пин код",
        "ещё и т.д.": "ещё и так далее",
        "1-й и 2-я": "первый и вторая",
        "3 $": "три доллара",
        "паролем 4242": "паролем четыре два четыре два",
    },
    "zh": {
        "我有3个苹果。": "我有三个苹果",
        "２０２４年，10%": "二零二四年 百分之十",
        "电话12345": "电话一二三四五",
        "￥105": "一百零五元",
        "3.14": "三点一四",
        "重庆银行，行长！": "重庆银行 行长",
    },
    "de": {"50 Äpfel, größer!": "fünfzig äpfel größer"},
}


@pytest.mark.parametrize("lang, written, spoken",
                         [(lang, *pair) for lang, table in TABLES.items() for pair in table.items()])
def test_table(lang, written, spoken):
    assert normalise(written, lang) == spoken
    assert normalise(spoken, lang) == spoken


@pytest.mark.parametrize("lang, text, named", [
    ("en", "snow ☃ man", "U+2603 SNOWMAN"),
    ("en", "say привет", "CYRILLIC SMALL LETTER PE"),
    ("ru", "скажи 你", "CJK"),
    ("en", "caf\ufffd", "U+FFFD"),
    ("it", "La conferenza ? piena.", "a letter was lost"),
    ("it", "Al segnale il tempo sar? esattamente", "a letter was lost"),
    ("it", "La chiamata pu? essere", "a letter was lost"),
    ("es", "Aqu?l", "a letter was lost"),
    ("de", "50 & 3", "AMPERSAND"),
    ("en", "one\x07two", "U+0007"),
])
def test_unreadable_is_an_error_that_names_it(lang, text, named):
    with pytest.raises(SpeechrepError, match=named.replace("+", r"\+")):
        normalise(text, lang)


def test_number_in_an_unknown_language():
    with pytest.raises(SpeechrepError, match="the number 5 in the language 'xx'"):
        normalise("5 a", "xx")


def test_remarks():
    assert remarks("at [@] (in <b> all)") == ["[@]", "(in <b> all)"]
    assert normalise("a (b (c) d) e", "it") == "a e"


@pytest.mark.parametrize("number, words", [
    (0, "零"), (10, "十"), (11, "十一"), (20, "二十"), (101, "一百零一"), (110, "一百一十"), (1001, "一千零一"),
    (1010, "一千零一十"), (10001, "一万零一"), (12000, "一万二千"), (100010, "十万零一十"), (10100000, "一千零一十万"),
    (100010000, "一亿零一万"), (123456789, "一亿二千三百四十五万六千七百八十九"), (2000000005, "二十亿零五"),
])
def test_mandarin_numbers(number, words):
    assert mandarin_number(number) == words


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("abcMRxyzéй Иßü0123456789.,'-?!%$#&()[]’“/:;。三"), max_size=24),
       st.sampled_from(["en", "es", "fr", "it", "ru", "zh"]))
def test_normalising_twice_changes_nothing(text, lang):
    try:
        once = normalise(text, lang)
    except SpeechrepError:
        return
    assert normalise(once, lang) == once
    assert once == " ".join(once.split()) and once == once.lower()
    assert all(char.isalpha() or char in " '" for char in once)
