"""egs/klettres: from the package's layout to data folders, on a small tree of the same shape and on the real package."""

import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
from recipe_tree import EGS, load, problems, tasks_of, write, write_sound

from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError

SYLLABLES = "LA LE LI LO LU DE DA DI DO DU".split()


def write_language(root: Path, code: str, letters: dict[str, str], syllables: dict[str, str]) -> None:
    """letters, syllables: as written -> file below the folder of languages; .ogg files are made."""
    def sounds(table):
        return [f'\t<sound name="{name}" file="{file}" />' for name, file in table.items()]
    write(root / code / "sounds.xml", "<!-- KDE EDU KLettres -->", "<klettres>", f'<language code="{code}">',
                "<menuitem>", "  <label>&amp;Some language</label>", "</menuitem>", "<alphabet>", *sounds(letters),
                "</alphabet>", "<syllables>", *sounds(syllables), "</syllables>", "</language>", "</klettres>")
    for file in [*letters.values(), *syllables.values()]:
        if file.endswith(".ogg"):
            write_sound(root / file, 1.0, 44100, format="OGG", subtype="VORBIS")


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "corpus/usr/share/klettres"
    write_language(root, "fr", {"A": "fr/alpha/a-0.ogg", "B": "fr/alpha/a-1.ogg"},
                   {name: f"fr/syllab/ad-{i}.ogg" for i, name in enumerate(SYLLABLES)})
    # The O of this syllable is Latin, as in the package.
    write_language(root, "ru", {"Б": "ru/alpha/be.ogg", "Ъ": "ru/alpha/hard.ogg"},
                   {"К\u004f": "ru/syllab/ko.ogg", "ЖИТЬ": "ru/syllab/zhyt.ogg"})
    write_language(root, "en_GB", {"A": "en_GB/alpha/a.ogg"}, {"BALL": "en_GB/syllab/ball.ogg", "TH": "en_GB/syllab/th.ogg"})
    write_language(root, "nds", {"A": "nds/alpha/a.ogg"}, {})
    write_language(root, "id", {"A": "id/alpha/a.wav"}, {})
    write_language(root, "tn", {}, {"KI": "tn/syllab/ki.ogg", "KU": "tn/syllab/ki.ogg", "BA": "tn/syllab/ba.ogg"})
    write_sound(root / "fr/alpha/more.ogg", 1.0, 44100, format="OGG", subtype="VORBIS")
    shutil.copy(root / "ru/alpha/be.ogg", root / "ru/syllab/zhyt.ogg")
    return tmp_path / "corpus"


def test_letters_and_syllables(tree, tmp_path):
    load("klettres").prepare(tree, tmp_path / "data")
    assert tasks_of("klettres", tmp_path / "data") == ["asr_chars", "lid"]
    parts = {part: DataFolder(tmp_path / "data" / part) for part in ("train", "dev", "test")}
    assert problems(*(part.path for part in parts.values())) == []
    read = {stream: {utt: line for part in parts.values() for utt, line in part.read(stream).items()}
            for stream in ("text", "utt2spk", "utt2lang", "wav.scp")}
    assert read["text"]["fr_syllable-ad-3"] == "lo" and read["text"]["fr_letter-a-1"] == "b"
    assert read["text"]["ru_letter-be"] == "бэ" and read["text"]["ru_letter-hard"] == "твёрдый знак"
    assert read["text"]["ru_syllable-ko"] == "\u043a\u043e"
    assert read["text"]["en_gb_syllable-ball"] == "ball"
    assert read["utt2spk"]["en_gb_letter-a"] == "en_gb" and read["utt2lang"]["en_gb_letter-a"] == "en"
    assert {soundfile.info(path).samplerate for path in read["wav.scp"].values()} == {16000}
    # Every text is in one part, and French, which has enough, in each.
    assert sum(len(part.utts) for part in parts.values()) == len(read["text"]) == 18
    for lang in ("fr", "ru"):
        texts = [{line for utt, line in part.read("text").items() if utt.startswith(lang)} for part in parts.values()]
        assert all(texts) and not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    left_out = dict(line.split("\t") for line in (tmp_path / "data/left_out.tsv").read_text().splitlines())
    assert left_out == {
        "en_GB/syllab/th.ogg TH": "doubtful text: letters that are no syllable: TH",
        "fr/alpha/more.ogg": "no text: sounds.xml does not name it",
        "id/alpha/a.wav A": "no such file in the package",
        "nds/alpha/a.ogg A": "a language without a code of two letters: nds",
        "ru_syllable-zhyt": "duplicate: the same samples as ru_letter-be",
        "tn_syllable-ki ki": "doubtful text: sounds.xml gives the file two",
        "tn_syllable-ki ku": "doubtful text: sounds.xml gives the file two"}


def test_german_letters_are_another_voice(tmp_path):
    root = tmp_path / "klettres"
    write_language(root, "de", {"A": "de/alpha/a.ogg", "B": "de/alpha/b.ogg"}, {"AFFE": "de/syllab/affe.ogg"})
    load("klettres").prepare(tmp_path, tmp_path / "data")
    speakers = {utt: line for part in ("train", "dev", "test")
                for utt, line in DataFolder(tmp_path / "data" / part).read("utt2spk").items()}
    assert speakers == {"de_letters_letter-a": "de_letters", "de_letters_letter-b": "de_letters", "de_syllable-affe": "de"}


def test_bad_input(tree, tmp_path):
    recipe = load("klettres")
    next(tree.rglob("fr/sounds.xml")).write_text("<klettres>")
    with pytest.raises(SpeechrepError, match="fr/sounds.xml: not readable"):
        recipe.prepare(tree, tmp_path / "data")
    with pytest.raises(SpeechrepError, match="no sounds.xml in it"):
        recipe.prepare(tmp_path / "none", tmp_path / "data")


@pytest.mark.parametrize("recipe", ["klettres", "ktuberling"])
def test_folder_that_the_user_names(tmp_path, recipe):
    (tmp_path / "empty").mkdir()
    command = [str(EGS / recipe / "local/download.sh"), "--corpus", str(tmp_path / "empty"), str(tmp_path / "downloads")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and "cure:" in done.stderr
    (tmp_path / "empty/fr").mkdir()
    for name in ("fr/sounds.xml", "fr.soundtheme"):
        (tmp_path / "empty" / name).write_text("<x/>")
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and (tmp_path / "downloads/corpus").resolve() == tmp_path / "empty"


@pytest.mark.slow
@pytest.mark.parametrize("recipe, utterances, langs", [("klettres", 1300, 18), ("ktuberling", 410, 10)])
def test_real_package(tmp_path, recipe, utterances, langs):
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} on this machine")
    done = subprocess.run([str(EGS / recipe / "local/download.sh"), str(tmp_path / "downloads")], capture_output=True,
                          text=True, timeout=600)
    if done.returncode and ("could not be fetched" in done.stderr or "package lists" in done.stderr):
        pytest.skip(f"the Debian package is out of reach: {done.stderr.splitlines()[-3]}")
    assert done.returncode == 0, done.stderr
    assert "GPL-2" in (tmp_path / f"downloads/attribution/{recipe}-data.copyright").read_text()
    load(recipe).prepare(tmp_path / "downloads/corpus", tmp_path / "data")
    parts = [DataFolder(tmp_path / "data" / part) for part in ("train", "dev", "test")]
    assert sum(len(part.utts) for part in parts) > utterances
    assert len(set(parts[0].read("utt2lang").values())) == len(set(parts[2].read("utt2lang").values())) == langs
    assert problems(*(part.path for part in parts)) == []
