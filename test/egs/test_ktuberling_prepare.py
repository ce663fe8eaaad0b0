"""egs/ktuberling: from the package's layout to data folders, on a small tree of the same shape."""

import pytest
from recipe_tree import load, problems, tasks_of, write, write_sound

from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError

THEMES = {
    "fr": {"eye": "fr/patate_oeil.wav", "bow": "fr/patate_noeud-papillon.wav", "egypt_donkey": "fr/egypte_ane.wav",
           "xmas_tux": "fr/noel_Tux-le-pingouin.wav", "tux-idea": "fr/robin_j-ai-une-idee.wav",
           "tv_car": "fr/tv_voiture.wav"},
    "da": {"ear": "da/oere.ogg", "hat": "da/hat.ogg", "tv_accident": "da/tv_accident.ogg", "tv_car": "da/tv_bil.ogg",
           "tux-bow": "da/tux-bow.ogg", "tux-shoot": "da/tux-bow.ogg", "egypt_grass": "da/egypt_graes.ogg"},
    "en": {"egypt_palmtree": "en/egypt_palmtree.ogg", "pizzeria_brocolli": "en/pizzeria_broccolli.ogg", "eye": "en/eye.ogg"},
    "es": {"bow": "es/lazo.wav", "tie": "es/lazo.wav", "sunglasses": "es/gafasdesol.wav", "eye": "es/ojo.wav"},
    "ru": {"eye": "ru/eye.ogg"}, "sr@latin": {"eye": "sr@latin/oko.ogg"}, "id": {"ball": "id/ball_bola.wav"}}


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "corpus/usr/share/ktuberling/sounds"
    for code, sounds in THEMES.items():
        write(root / f"{code}.soundtheme", f'<language code="{code}">', "",
                    *(f'    <sound name="{name}" file="{file}" />' for name, file in sounds.items()), "</language>")
        for file in set(sounds.values()) if code != "id" else ():
            write_sound(root / file, 1.0, 8000 if code == "es" else 44100, 2 if code == "da" else 1,
                        **({"format": "OGG", "subtype": "VORBIS"} if file.endswith(".ogg") else {}))
    write_sound(root / "fr/oeil.wav", 1.0, 8000)
    write(root.parent / "pics/egypt.theme", '<playground gameboard="egypt.svg"/>')
    return tmp_path / "corpus"


def test_words(tree, tmp_path):
    load("ktuberling").prepare(tree, tmp_path / "data")
    assert tasks_of("ktuberling", tmp_path / "data") == ["asr_chars", "lid"]
    parts = [DataFolder(tmp_path / "data" / part) for part in ("train", "dev", "test")]
    assert problems(*(part.path for part in parts)) == []
    texts = {utt: line for part in parts for utt, line in part.read("text").items()}
    assert texts == {
        "fr_patate_oeil": "œil", "fr_patate_noeud-papillon": "nœud papillon", "fr_egypte_ane": "âne",
        "fr_noel_tux-le-pingouin": "tux le pingouin", "fr_robin_j-ai-une-idee": "j'ai une idée", "fr_tv_voiture": "voiture",
        "da_oere": "øre", "da_hat": "hat", "da_tv_bil": "bil", "da_egypt_graes": "græs",
        "en_egypt_palmtree": "palm tree", "en_pizzeria_broccolli": "broccoli", "en_eye": "eye",
        "es_lazo": "lazo", "es_gafasdesol": "gafas de sol", "es_ojo": "ojo"}
    assert {line for part in parts for line in part.read("utt2spk").values()} == {"fr", "da", "en", "es"}
    left_out = dict(line.split("\t") for line in (tmp_path / "data/left_out.tsv").read_text().splitlines())
    assert left_out == {
        "da/tv_accident.ogg": "no text: the file is named in English",
        "da/tux-bow.ogg": "no text: the file is named in English",
        "ru/eye.ogg": "no text: what is said in this language is not written down: ru",
        "sr@latin/oko.ogg": "no text: what is said in this language is not written down: sr@latin",
        "id/ball_bola.wav": "no such file in the package", "fr/oeil.wav": "in no theme"}


def test_spelling_is_used_up():
    """Every row of spelling.tsv is of a language that is prepared, and changes something or says that the word is Danish."""
    recipe = load("ktuberling")
    for (lang, named), written in recipe.read_spelling().items():
        assert lang in recipe.NAMED_IN_OWN and (lang == "da" or named != written)


def test_bad_input(tree, tmp_path):
    recipe = load("ktuberling")
    next(tree.rglob("fr.soundtheme")).write_text('<language><sound name="eye" /></language>')
    with pytest.raises(SpeechrepError, match="fr.soundtheme: not readable: KeyError"):
        recipe.prepare(tree, tmp_path / "data")
    with pytest.raises(SpeechrepError, match="no .soundtheme in it"):
        recipe.prepare(tmp_path / "none", tmp_path / "data")
