"""What symbols, abbreviations and letters are called, language by language. Data for `normalise`, no code."""

from typing import NamedTuple


class Currency(NamedTuple):
    """A counted noun: the form after 1, after many, after 2-4 (Russian), and its hundredth where it is read out."""

    one: str
    many: str
    few: str = ""
    cent: str = ""
    cents: str = ""


SCRIPTS = {"en": ("LATIN",), "es": ("LATIN",), "fr": ("LATIN",), "it": ("LATIN",), "ru": ("CYRILLIC", "LATIN"),
           "zh": ("CJK", "LATIN")}
"""Language -> how the Unicode names of its letters begin. Other languages: any letter."""

SYMBOLS = {
    "en": {"&": "and", "+": "plus", "=": "equals", "@": "at", "#": "pound", "*": "star", "°": "degrees",
           "−": "minus", "×": "times", "№": "number", ">": "greater than", "<": "less than", "~": "tilde"},
    "es": {"&": "y", "+": "más", "=": "igual", "@": "arroba", "#": "almohadilla", "*": "asterisco", "°": "grados",
           "−": "menos", "×": "por", "№": "número", ">": "mayor que", "<": "menor que"},
    "fr": {"&": "et", "+": "plus", "=": "égal", "@": "arobase", "#": "dièse", "*": "étoile", "°": "degrés",
           "−": "moins", "×": "fois", "№": "numéro", ">": "supérieur à", "<": "inférieur à"},
    "it": {"&": "e", "+": "più", "=": "uguale", "@": "chiocciola", "#": "cancelletto", "*": "asterisco", "°": "gradi",
           "−": "meno", "×": "per", "№": "numero", ">": "maggiore di", "<": "minore di"},
    "ru": {"&": "и", "+": "плюс", "=": "равно", "@": "собака", "#": "решётка", "*": "звёздочка", "°": "градусов",
           "−": "минус", "×": "на", "№": "номер", ">": "больше", "<": "меньше"},
    "zh": {"&": "和", "+": "加", "=": "等于", "#": "井号", "*": "星号", "°": "度", "−": "负", "×": "乘"},
}
"""Symbol -> what one says."""

DOTS = {"en": "dot", "es": "punto", "fr": "point", "it": "punto", "ru": "точка"}
"""The full stop inside a host name. Numbers have their own words for it."""

PERCENT = {"en": Currency("percent", "percent"), "es": Currency("por ciento", "por ciento"),
           "fr": Currency("pour cent", "pour cent"), "it": Currency("per cento", "per cento"),
           "ru": Currency("процент", "процентов", "процента")}

CURRENCIES = {
    "en": {"$": Currency("dollar", "dollars", cent="cent", cents="cents"),
           "€": Currency("euro", "euros", cent="cent", cents="cents"),
           "£": Currency("pound", "pounds", cent="penny", cents="pence"), "¥": Currency("yen", "yen"),
           "₽": Currency("ruble", "rubles"), "¢": Currency("cent", "cents")},
    "es": {"$": Currency("dólar", "dólares"), "€": Currency("euro", "euros"), "£": Currency("libra", "libras"),
           "¥": Currency("yen", "yenes"), "₽": Currency("rublo", "rublos")},
    "fr": {"$": Currency("dollar", "dollars"), "€": Currency("euro", "euros"), "£": Currency("livre", "livres"),
           "¥": Currency("yen", "yens"), "₽": Currency("rouble", "roubles")},
    "it": {"$": Currency("dollaro", "dollari"), "€": Currency("euro", "euro"), "£": Currency("sterlina", "sterline"),
           "¥": Currency("yen", "yen"), "₽": Currency("rublo", "rubli")},
    "ru": {"$": Currency("доллар", "долларов", "доллара"), "€": Currency("евро", "евро", "евро"),
           "£": Currency("фунт", "фунтов", "фунта"), "¥": Currency("иена", "иен", "иены"),
           "₽": Currency("рубль", "рублей", "рубля")},
    "zh": {"$": Currency("美元", "美元"), "€": Currency("欧元", "欧元"), "£": Currency("英镑", "英镑"),
           "¥": Currency("元", "元")},
}

ABBREVIATIONS = {
    "en": ((r"\bmr\b\.?", "mister"), (r"\bmrs\b\.?", "missus"), (r"\bms\.(?=\s)", "miz"), (r"\bdr\b\.?", "doctor"),
           (r"\bprof\.", "professor"), (r"\bst\.(?=\s[A-Z])", "saint"), (r"\be\.\s?g\.", "for example"),
           (r"\bi\.\s?e\.", "that is"), (r"\betc\b\.?", "et cetera"), (r"\bvs\b\.?", "versus"),
           (r"\bno\.\s?(?=\d)", "number"), (r"#(?=\d)", "number")),
    "es": ((r"\bsr\.", "señor"), (r"\bsra\.", "señora"), (r"\bdr\.", "doctor"), (r"\bdra\.", "doctora"),
           (r"\buds\.", "ustedes"), (r"\bud\.", "usted"), (r"\betc\b\.?", "etcétera"), (r"\bp\.\s?ej\.", "por ejemplo"),
           (r"\b(?:n[º°]|núm\.)", "número"), (r"\bkbs?\b", "kilobits")),
    "fr": ((r"\bm\.(?=\s[A-ZÀ-Ý])", "monsieur"), (r"\bmme\b\.?", "madame"), (r"\bmlle\b\.?", "mademoiselle"),
           (r"\betc\b\.?", "et cetera"), (r"\bp\.\s?ex\.", "par exemple"), (r"\bn[º°]", "numéro")),
    "it": ((r"\bsig\.ra\b", "signora"), (r"\bsig\.", "signor"), (r"\bdott\.", "dottor"), (r"\becc\b\.?", "eccetera"),
           (r"\bn[º°]", "numero")),
    "ru": ((r"\bт\.\s?е\.", "то есть"), (r"\bи\s+т\.\s?д\.", "и так далее"), (r"\bи\s+т\.\s?п\.", "и тому подобное"),
           (r"\bи\s+др\.", "и другие")),
    "zh": (),
}
"""Patterns and the words that stand for them, tried in this order, whatever the case."""

ORDINALS = {
    "en": ((r"(?:st|nd|rd|th)", False),),
    "es": ((r"\.?º", False), (r"\.?ª", True)),
    "fr": ((r"(?:er|e|ème|eme)", False), (r"(?:re|ère)", True)),
    "it": ((r"[º°]", False), (r"ª", True)),
    "ru": ((r"-(?:й|ый|ой)", False), (r"-(?:я|ая)", True)),
}
"""Endings behind digits, and whether they are feminine."""

DIGIT_CUES = {
    "en": "extension|password|pin|code|dial|phone number|telephone number",
    "es": "extensi[oó]n|contrase[nñ]a|clave|c[oó]digo",
    "fr": "poste|mot de passe|code",
    "it": "interno|password|codice",
    "ru": "номером|паролем|код|пароль",
    "zh": "分机|密码|电话|号码",
}
"""Words after which four digits or more are an identifier and read one by one."""

TOP_LEVEL_DOMAINS = "com|org|net|edu|gov|info|ru|fr|it|es|cn|de|uk"

INITIALISMS = frozenset("pbx ivr iax usb mgcp misdn nbs www http https html url dvd cd tv mp gps sms pdf faq".split())
"""Said letter by letter in whatever case they are written."""

UPPERCASE_INITIALISMS = frozenset("IP ID UK EU US USA UN AM PM AI API АТС США ИП".split())
"""Said letter by letter when in capitals within a text of mixed case."""

LOST_LETTERS = {"es": r"[^\W\d_]\s+\?\s+[a-záéíóúñ]",
                "it": r"[^\W\d_]\s+\?\s+[a-zàèéìòù]|(?:[bcdfghlmnpqrstvz]|\b(?:pu|pi|gi|ci))\?\s+[a-zàèéìòù]"}
"""A question mark in the place of an accented letter, as failed conversions leave it: `la linea ? libera`, `sar? qui`.
Only where a question would not be written so; looked for in texts of mixed case."""

LETTER_NAMES = {
    "ru": dict(zip("abcdefghijklmnopqrstuvwxyz",
                   "эй би си ди и эф джи эйч ай джей кей эл эм эн оу пи кью ар эс ти ю ви даблю икс уай зед".split()))
          | dict(zip("абвгдеёжзиклмнопрстуфхцчшщыэюя",
                     "а бэ вэ гэ дэ е ё жэ зэ и ка эл эм эн о пэ эр эс тэ у эф ха цэ че ша ща ы э ю я".split())),
}
"""Names of letters where the phonemiser would read a lone letter as a word or in another language."""
