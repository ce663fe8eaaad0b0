"""What a command says of its object and its place, marked in its words for slot filling."""

import re

from speechrep.data.text.normalise import normalise

NAMES = {
    "en": {"lights": "lights|light(?! up)", "lamp": "lamp", "heat": "heating|heat|temperature",
           "volume": "volume|sound",
           "music": "music|songs|song", "newspaper": "newspaper", "shoes": "shoes", "juice": "juice",
           "kitchen": "kitchen", "bedroom": "bedroom|bed", "bathroom": "bathroom"},
    "zh": {"lights": "灯", "lamp": "台灯", "heat": "温度|暖气", "volume": "音量|声音", "music": "音乐|歌",
           "newspaper": "报纸", "shoes": "鞋子|鞋", "juice": "果汁",
           "kitchen": "厨房", "bedroom": "卧室|床", "bathroom": "浴室"},
}
"""Language -> object or place of an intent -> how it is named, as a pattern; English ones are whole words."""


def mark_slots(text: str, intent: str, lang: str) -> str:
    """The words of a command as they are said, with B-object, E-object, B-location and E-location around what names the
    object and the place of its `intent` (action|object|location). Where a command does not name them, they are not
    marked."""
    said = normalise(text, lang)
    _, thing, place = intent.split("|")
    for slot, value in (("object", thing), ("location", place)):
        if value != "none":
            names = NAMES[lang][value]
            said = re.sub(rf"\b(?:{names})\b" if lang == "en" else names, rf" B-{slot} \g<0> E-{slot} ", said)
    return " ".join(said.split())
