"""egs/tuxpaint: from the package's layout to data folders, on a small tree of the same shape and on the real package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipe_tree import tasks_of

from speechrep.data.audio import read_wav
from speechrep.data.folder import DataFolder
from speechrep.data.picture import SIZE_PX, read_picture, write_picture

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "egs/tuxpaint/local"
STREAMS = ("wav.scp", "image.scp", "text", "utt2spk", "utt2lang", "utt2dur", "utt2picture", "category")
ANIMALS = ("ant bee cat cow crow deer dog duck eel elk emu ewe fly fox frog goat hare hen "
           "ibis jay kite koala lark lion lynx").split()
SPANISH = {name: f"{name}o" for name in ANIMALS}

SVG = ('<svg xmlns="http://www.w3.org/2000/svg" width="40mm" height="20mm" viewBox="0 0 4 2">'
       '<rect width="2" height="2" fill="#ff0000"/></svg>')


def script(name, *arguments, environment=None):
    command = [sys.executable, str(LOCAL / name)] if name.endswith(".py") else ["bash", str(LOCAL / name)]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {})
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=env, timeout=600)


class Tree:
    """Writes stamps as the package has them."""

    def __init__(self, root: Path):
        self.stamps = root / "usr/share/tuxpaint/stamps"
        self.draw = np.random.default_rng(5)

    def text(self, stamp: str, *lines: str) -> None:
        path = self.stamps / f"{stamp}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def picture(self, stamp: str, svg: bool = False) -> None:
        if svg:
            (self.stamps / f"{stamp}.svg").write_text(SVG)
        else:
            write_picture(self.stamps / f"{stamp}.png", self.draw.integers(0, 256, (30, 20, 3)).astype(np.uint8))

    def sound(self, name: str, samples=None, rate_hz: int = 44100, seconds: float = 1.0, channels: int = 2) -> np.ndarray:
        path = self.stamps / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if samples is None:
            tone = 0.3 * np.sin(2 * np.pi * self.draw.uniform(100, 900) * np.arange(int(seconds * rate_hz)) / rate_hz)
            samples = np.stack([tone] * channels, 1)
        if path.suffix == ".wav":
            soundfile.write(path, samples, rate_hz)
        else:
            soundfile.write(path, samples, rate_hz, format="OGG", subtype="VORBIS")
        return samples

    def stamp(self, stamp: str, *lines: str, langs: tuple[str, ...] = (), svg: bool = False) -> None:
        self.text(stamp, *lines)
        self.picture(stamp, svg)
        for lang in langs:
            self.sound(f"{stamp}_desc{'_' + lang if lang else ''}.ogg")


def make_tree(root: Path) -> Path:
    tree = Tree(root)
    for name in ANIMALS:
        tree.stamp(f"animals/wild/{name}", f"A {name}.", f"es.utf8=Un {SPANISH[name]}.", "ca@valencia.utf8=Altre.",
                   langs=("", "es"))
    tree.sound("animals/wild/cow.ogg")
    tree.stamp("food/apple", "An apple.", "fr.utf8=Une pomme.", "es.utf8=Una manzana (roja).", "bg.utf8=3 ябълки.",
               langs=("fr", "es", "bg", "be", "ml"), svg=True)
    tree.stamp("food/apple2", "Two apples.", "fr.utf8=Une pomme.", langs=("fr",))
    tree.stamp("symbols/math/3", "Three.", "fr.utf8=Trois.", langs=("fr",))
    tree.sound("symbols/math/3_fr.ogg", channels=1)
    tree.stamp("symbols/math/operators/plus", "Plus.", "fr.utf8=Le signe plus.", langs=("fr",))
    tree.stamp("symbols/alphabets/english/a_filled", "The letter a.", "fr.utf8=La lettre a.", langs=("fr",))
    tree.sound("symbols/alphabets/english/a_filled_en_GB.ogg")
    tree.sound("town/lost_desc_el.ogg")
    tree.text("town/blind", "Blind.", "fr.utf8=Sans image.")
    tree.sound("town/blind_desc_fr.ogg")
    tree.stamp("town/inukshuk", "Stones.", "da.utf8=En sten.", langs=())
    tree.sound("town/inukshuk_desc_da.ogg.ogg")
    tree.stamp("town/tower", "A tower.", "fr.utf8=Une tour.", "ru.utf8=Башня.", "da.utf8=Et tårn.", "ro.utf8=Un turn.",
               "nl.utf8=Een heel erg lange beschrijving van een toren die niemand zo snel kan uitspreken.",
               "ca.utf8=Una torre.", "el.utf8=Πύργος.", "be.utf8=Вежа.")
    left = 0.3 * np.sin(np.arange(44100) / 20)
    tree.sound("town/tower_desc_fr.ogg", np.stack([left * 0, left], 1))
    tree.sound("town/tower_desc_ru.ogg", np.stack([left, -left], 1))
    tree.sound("town/tower_desc_da.ogg", rate_hz=8000, channels=1)
    tree.sound("town/tower_desc_ro.ogg", seconds=0.2)
    tree.sound("town/tower_desc_nl.ogg")
    tree.sound("town/tower_desc_ca.ogg", np.zeros((44100, 1)))
    (tree.stamps / "town/tower_desc_el.ogg").write_bytes(b"OggS but no more")
    tree.stamp("town/twin", "A twin.", "be.utf8=Двайнік.")
    tree.sound("town/tower_desc_be.ogg")
    shutil.copy(tree.stamps / "town/tower_desc_be.ogg", tree.stamps / "town/twin_desc_be.ogg")
    tree.sound("food/apple_desc_pt_BR.wav", channels=1)
    return root


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    pytest.importorskip("resvg_py")
    folder = tmp_path_factory.mktemp("tuxpaint")
    make_tree(folder / "corpus")
    done = script("prepare.py", folder / "corpus", folder / "data")
    assert done.returncode == 0, done.stderr
    parts = {part: DataFolder(folder / "data" / part) for part in ("train", "dev", "test")}
    everything = {stream: {utt: line for part in parts.values() for utt, line in part.read(stream).items()}
                  for stream in STREAMS}
    return folder, parts, everything, done.stdout


def test_what_the_suite_finds(prepared):
    assert tasks_of("tuxpaint", prepared[0] / "data") == ["asr_chars", "category", "lid"]


def test_descriptions_become_utterances(prepared):
    _, _, everything, _ = prepared
    assert everything["text"]["unnamed_en_en_animals-wild-crow"] == "a crow"
    assert everything["text"]["estefania_es_animals-wild-crow"] == "un crowo"
    assert everything["text"]["joe_da_town-inukshuk"] == "en sten"
    assert everything["text"]["paulk_fr_symbols-math-operators-plus"] == "le signe plus"
    assert everything["utt2spk"]["edwin_ru_town-tower"] == "edwin"
    assert everything["utt2lang"]["edwin_ru_town-tower"] == "ru"
    assert everything["category"]["edwin_ru_town-tower"] == "town"
    assert everything["utt2picture"]["estefania_es_animals-wild-crow"] == "animals/wild/crow"
    assert len({*map(tuple, (list(table) for table in everything.values()))}) == 1
    assert len(everything["text"]) == 2 * len(ANIMALS) + 8


def test_audio_is_one_channel_at_16_khz(prepared):
    folder, _, everything, _ = prepared
    for utt, path in everything["wav.scp"].items():
        samples, rate_hz = read_wav(path)
        assert rate_hz == 16000 and abs(len(samples) / 16000 - float(everything["utt2dur"][utt])) < 1e-4
        # Nothing cancelled, nothing halved: all tones have the same loudness.
        assert 0.19 < np.sqrt(np.mean(samples ** 2)) < 0.23, utt
    notes = (folder / "data/notes.tsv").read_text(encoding="utf-8")
    assert "paulk_fr_town-tower\tonly channel 2 of the recording" in notes
    # The two channels cancel each other.
    assert "edwin_ru_town-tower\tonly channel" in notes
    assert "joe_da_town-tower\trecorded at 8000 Hz" in notes


def test_pictures_are_small_squares(prepared):
    _, _, everything, _ = prepared
    for path in set(everything["image.scp"].values()):
        assert read_picture(path).shape == (SIZE_PX, SIZE_PX, 3)
    apple = read_picture(everything["image.scp"]["paulk_fr_food-apple"])
    # A drawing twice as wide as high, its left half red: white above, below and on the right.
    assert apple[SIZE_PX // 2, 10].tolist() == [255, 0, 0]
    assert apple[5, 10].tolist() == apple[SIZE_PX // 2, -10].tolist() == [255, 255, 255]
    both = [everything["image.scp"][f"{voice}_animals-wild-crow"] for voice in ("estefania_es", "unnamed_en_en")]
    assert both[0] == both[1]


def test_what_is_left_out_says_why(prepared):
    folder, _, _, shown = prepared
    rows = (folder / "data/left_out.tsv").read_text(encoding="utf-8").splitlines()
    reasons = dict(row.split("\t") for row in rows)
    assert reasons.pop("animals/wild/cow.ogg") == "a sound effect"
    assert reasons.pop("symbols/math/3_desc_fr.ogg") == reasons.pop("symbols/math/3_fr.ogg") == "a number"
    assert reasons.pop("symbols/alphabets/english/a_filled_desc_fr.ogg") == "a letter"
    assert reasons.pop("symbols/alphabets/english/a_filled_en_GB.ogg") == "a letter"
    assert "brackets" in reasons.pop("food/apple_desc_es.ogg")
    assert reasons.pop("food/apple_desc_bg.ogg") == "unreadable text: the number 3 in the language 'bg'"
    assert reasons.pop("food/apple_desc_be.ogg") == "no text: no line for be"
    assert reasons.pop("food/apple_desc_ml.ogg") == "too few in this language: ml"
    assert reasons.pop("food/apple_desc_pt_BR.wav") == "too few in this language: pt_BR"
    assert reasons.pop("town/lost_desc_el.ogg") == "no text: no .txt"
    assert reasons.pop("town/blind_desc_fr.ogg") == "no picture"
    assert reasons.pop("town/tower_desc_ro.ogg") == "too short: 0.20 s"
    assert "cannot be said in 1.00 s" in reasons.pop("town/tower_desc_nl.ogg")
    assert reasons.pop("town/tower_desc_ca.ogg") == "unusable audio: nothing but silence"
    assert "not readable as audio" in reasons.pop("town/tower_desc_el.ogg")
    assert reasons.pop("town/twin_desc_be.ogg") == "duplicate: the same samples as kseniya_be_town-tower"
    assert reasons == {}
    assert "left out: 17 sounds" in shown and "2 a number" in shown
    assert not (folder / "data/wav/kseniya/kseniya_be_town-twin.wav").exists()


def test_no_picture_and_no_text_in_two_parts(prepared):
    _, parts, everything, _ = prepared
    for stream in ("utt2picture", "text", "image.scp"):
        seen = {}
        for name, part in parts.items():
            for value in part.read(stream).values():
                assert seen.setdefault(value, name) == name, f"'{value}' is in {seen[value]} and {name}"
    apples = {"paulk_fr_food-apple", "paulk_fr_food-apple2"}
    assert len([part for part in parts.values() if apples & set(part.utts)]) == 1
    pictures = {name: len(set(part.read("utt2picture").values())) for name, part in parts.items()}
    assert sum(pictures.values()) == len(ANIMALS) + 5 and pictures["test"] >= 3 and pictures["dev"] >= 1


def test_again_gives_the_same_files(prepared, tmp_path):
    folder, parts, _, _ = prepared
    assert script("prepare.py", folder / "corpus", folder / "data", environment={"PYTHONHASHSEED": "7"}).returncode == 0
    for part in parts.values():
        fresh = DataFolder(part.path)
        assert {stream: fresh.read(stream) for stream in STREAMS} == {stream: part.read(stream) for stream in STREAMS}


def test_encoders_tell_french_voices_apart(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(LOCAL))
    from stamps import encoder_of
    (tmp_path / "a.ogg").write_bytes(b"OggS" + bytes(60) + b"\x03vorbis\x1d\x00\x00\x00Xiph.Org libVorbis I 20070622")
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    assert encoder_of(tmp_path / "a.ogg") == "20070622" and encoder_of(tmp_path / "b.wav") == ""


def test_folder_that_the_user_names(prepared, tmp_path):
    folder = prepared[0]
    done = script("download.sh", "--corpus", folder / "corpus", tmp_path / "downloads")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "downloads/corpus").resolve() == (folder / "corpus").resolve()


def test_folder_without_the_corpus_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    done = script("download.sh", "--corpus", tmp_path / "empty", tmp_path / "downloads")
    assert done.returncode == 1 and "no spoken descriptions" in done.stderr and "cure:" in done.stderr
    done = script("prepare.py", tmp_path / "empty", tmp_path / "data")
    assert done.returncode == 1 and "no stamps" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_real_package(tmp_path):
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} on this machine")
    done = script("download.sh", tmp_path / "downloads")
    if done.returncode and ("could not be fetched" in done.stderr or "package lists" in done.stderr):
        pytest.skip(f"the Debian package is out of reach: {done.stderr.splitlines()[-3]}")
    assert done.returncode == 0, done.stderr
    assert "GPL-2" in (tmp_path / "downloads/attribution/tuxpaint-stamps-default.copyright").read_text()
    assert "there already" in script("download.sh", tmp_path / "downloads").stderr
    done = script("prepare.py", tmp_path / "downloads/corpus", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    parts = {name: DataFolder(tmp_path / "data" / name) for name in ("train", "dev", "test")}
    minutes = sum(sum(part.seconds.values()) for part in parts.values()) / 60
    assert 115 < minutes < 135
    assert len(set(parts["test"].read("utt2lang").values())) == 11
    pictures = [set(part.read("utt2picture").values()) for part in parts.values()]
    assert not (pictures[0] & pictures[1] or pictures[0] & pictures[2] or pictures[1] & pictures[2])
    checked = subprocess.run([sys.executable, "-m", "speechrep", "check", *(str(part.path) for part in parts.values())],
                             capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=300)
    assert checked.returncode == 0, checked.stdout[-2000:]
