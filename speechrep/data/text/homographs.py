"""Which of two pronunciations an English word has, by rules on its neighbours.

`ENTRIES` holds common words whose meanings sound different; `tag` tells noun from verb for the many that only shift
their stress (`record`, `permit`). The rules look two words around and take the usual reading when in doubt.
"""

_DETERMINERS = frozenset("a an the this these those my your his her its our their no any some every each another "
                         "which what either neither whose one two three four five six seven eight nine ten".split())
_PREPOSITIONS = frozenset("of in on at from by with without into for under over about per through during after "
                          "before between against within".split())
_SUBJECTS = frozenset("i you we they who people".split())
_SINGULAR = frozenset("he she it that which who".split())
_BEFORE_VERB = frozenset("to will would can could shall should may might must please let's don't doesn't didn't "
                         "won't can't cannot couldn't wouldn't shouldn't i'll you'll we'll they'll he'll she'll it'll "
                         "i'd you'd we'd they'd do does did let not never always".split())
_HAVE = frozenset("have has had having i've you've we've they've he's she's haven't hasn't hadn't".split())
_BE = frozenset("is are was were be been being am isn't aren't wasn't weren't it's that's".split())
_PAST = frozenset("yesterday ago last earlier already once recently when".split())
_OBJECTS = frozenset("the a an this that these those my your his her its our their it them him me us you".split())
_ADVERBS = frozenset("also just only often usually quickly then now really ever never always still even".split())

ENTRIES: dict[str, dict[str, str]] = {
    "read": {"base": "R IY1 D", "past": "R EH1 D"},
    "lead": {"base": "L IY1 D", "metal": "L EH1 D"},
    "live": {"verb": "L IH1 V", "adjective": "L AY1 V"},
    "lives": {"verb": "L IH1 V Z", "noun": "L AY1 V Z"},
    "wind": {"noun": "W IH1 N D", "verb": "W AY1 N D"},
    "winds": {"noun": "W IH1 N D Z", "verb": "W AY1 N D Z"},
    "tear": {"noun": "T IH1 R", "verb": "T EH1 R"},
    "tears": {"noun": "T IH1 R Z", "verb": "T EH1 R Z"},
    "bow": {"verb": "B AW1", "knot": "B OW1"},
    "wound": {"noun": "W UW1 N D", "verb": "W AW1 N D"},
    "minute": {"noun": "M IH1 N AH0 T", "adjective": "M AY0 N UW1 T"},
    "close": {"verb": "K L OW1 Z", "adjective": "K L OW1 S"},
    "used": {"verb": "Y UW1 Z D", "habit": "Y UW1 S T"},
    "invalid": {"adjective": "IH0 N V AE1 L AH0 D", "noun": "IH1 N V AH0 L AH0 D"},
    "does": {"verb": "D AH1 Z", "noun": "D OW1 Z"},
    "resume": {"verb": "R IH0 Z UW1 M", "noun": "R EH1 Z AH0 M EY2"},
    "bass": {"music": "B EY1 S", "fish": "B AE1 S"},
    "object": {"verb": "AH0 B JH EH1 K T", "noun": "AA1 B JH EH0 K T"},
    "process": {"noun": "P R AA1 S EH2 S"},
    "content": {"noun": "K AA1 N T EH0 N T", "adjective": "K AH0 N T EH1 N T"},
    "contents": {"noun": "K AA1 N T EH0 N T S"},
    "learned": {"verb": "L ER1 N D"},
    "mouth": {"noun": "M AW1 TH"},
    "absent": {"adjective": "AE1 B S AH0 N T"},
    "closer": {"adjective": "K L OW1 S ER0"},
}
"""Word -> reading -> phones. The first reading is what one takes when in doubt; `choose` knows the rest."""

_METAL = frozenset("pipe pipes paint pencil pencils poisoning shot bullet bullets weight weights acid mine mines "
                   "glass foil solder".split())
_LIVE_NOUNS = frozenset("music concert concerts show shows broadcast broadcasts audio video performance wire stream "
                        "streams tv television demo agent agents event events data coverage recording".split())
_SMALL = frozenset("detail details amount amounts quantity quantities particle particles "
                   "difference differences".split())
_LAKE = frozenset("fish fishing lake caught sea striped river".split())


def choose(words: list[str], index: int) -> str:
    """The phones (separated by spaces) of the word at `index`, which is in `ENTRIES`."""
    word = words[index]
    before, after = _near(words, index, -1), _near(words, index, 1)
    readings = ENTRIES[word]
    reading = next(iter(readings))
    if word == "read":
        if before in _HAVE | _BE | _SINGULAR or _PAST & set(words) and before not in _BEFORE_VERB:
            reading = "past"
        if before in _ADVERBS and _near(words, index, -2) in _HAVE | _BE:
            reading = "past"
    elif word == "lead" and (after in _METAL or before == "of" and _near(words, index, -2) in ("made", "pound")):
        reading = "metal"
    elif word == "live" and (after in _LIVE_NOUNS or before in _BE | frozenset("a an go goes going broadcast".split())):
        reading = "adjective"
    elif word == "lives" and (before in _DETERMINERS | _PREPOSITIONS):
        reading = "noun"
    elif word in ("wind", "winds") and (before in _BEFORE_VERB | _SUBJECTS or after in ("up", "down", "through")
                                         or after in _OBJECTS and _near(words, index, 2) in ("up", "down")):
        reading = "verb"
    elif word in ("tear", "tears") and (before in _BEFORE_VERB | _SUBJECTS or after in ("up", "apart", "off")):
        reading = "verb"
    elif word == "bow" and (after in ("tie", "ties", "and") or before in _DETERMINERS and after != "to"):
        reading = "knot"
    elif word == "wound" and after in ("up", "around", "down"):
        reading = "verb"
    elif word == "minute" and after in _SMALL:
        reading = "adjective"
    elif word == "close" and (before in _BE | frozenset("very so too how as quite come came get stay near".split())
                              or after in ("to", "by", "enough", "friend", "friends", "call")
                              and before not in _BEFORE_VERB):
        reading = "adjective"
    elif word == "used" and after == "to" and before not in _BE | _HAVE:
        reading = "habit"
    elif word == "does" and before in ("the", "two", "three", "many"):
        reading = "noun"
    elif word == "invalid" and before in ("an", "the") and after in ("", "in", "and", "was", "is"):
        reading = "noun"
    elif word == "resume" and before in _DETERMINERS:
        reading = "noun"
    elif word == "bass" and _LAKE & set(words):
        reading = "fish"
    elif word == "object" and tag(words, index) != "V":
        reading = "noun"
    elif word == "content" and (before in _BE or after == "with"):
        reading = "adjective"
    return readings[reading]


def tag(words: list[str], index: int) -> str | None:
    """"V" or "N" for the word at `index` by its neighbours, None where they do not tell. Adjectives count as nouns."""
    before, after = _near(words, index, -1), _near(words, index, 1)
    if before in _BEFORE_VERB | _SUBJECTS:
        return "V"
    if before in _DETERMINERS or before in _PREPOSITIONS or before in _BE:
        return "N"
    if before in _ADVERBS and _near(words, index, -2) in _BEFORE_VERB | _SUBJECTS:
        return "V"
    if after in _OBJECTS or words[index] == "object" and after == "to":
        return "V"
    return None


def _near(words: list[str], index: int, step: int) -> str:
    place = index + step
    return words[place] if 0 <= place < len(words) else ""
