"""Some minutes of one voice: whose, how much, always the same."""

import pytest
from toy_corpus import make_corpus

from speechrep.bin import main
from speechrep.data.folder import DataFolder, read_table, write_folder
from speechrep.data.subset import all_voices, one_voice
from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.train.pretrain import pretrain


@pytest.fixture
def folder(tmp_path):
    """a speaks for 20 times 10 s and, of that, 5 times in French; b for 30 times 10 s, c once for 4 s."""
    spoken = [("a", "fr" if i < 5 else "en", 10) for i in range(20)] + [("b", "en", 10)] * 30 + [("c", "en", 4)]
    tables = {name: {} for name in ("wav.scp", "utt2spk", "utt2lang", "utt2dur", "ali")}
    for i, (speaker, lang, seconds) in enumerate(spoken):
        values = f"u{i}.wav", speaker, lang, str(seconds), f"SIL {seconds}"
        for table, value in zip(tables.values(), values):
            table[f"{speaker}-{i:02d}"] = value
    return write_folder(tmp_path / "data", tables)


def test_how_much_of_whom(folder):
    minute = one_voice(folder, 1)
    assert len(minute) == 6 and {utt[0] for utt in minute} == {"b"} and minute == sorted(minute)
    assert one_voice(folder, 5) == [utt for utt in folder.utts if utt[0] == "b"]
    assert {utt[0] for utt in one_voice(folder, 2, "a")} == {"a"} and one_voice(folder, 4 / 60, "c") == ["c-50"]
    assert one_voice(folder, 0.5, lang="fr") == one_voice(folder, 0.5, "a", "fr") != []
    # 65 s: six of 10 s, and never more than was asked for.
    assert len(one_voice(folder, 65 / 60)) == 6


def test_the_same_each_time(folder, tmp_path):
    first, other = one_voice(folder, 2), one_voice(folder, 2, seed=1)
    assert first == one_voice(DataFolder(folder.path), 2) and first != other
    assert one_voice(folder, 1)[0] in first, "less of it is a part of more"
    fewer = folder.subset([utt for utt in folder.utts if utt not in first[:1]], tmp_path / "fewer")
    assert len(set(first[1:]) - set(one_voice(fewer, 2))) == 0


def test_too_little(folder, capsys, tmp_path):
    with pytest.raises(SpeechrepError, match=r"c speaks for 0\.1 min.*b 5\.0 min(?s:.*)wanted: 1 min"):
        one_voice(folder, 1, "c")
    with pytest.raises(SpeechrepError, match="nobody speaks"):
        one_voice(folder, 1, lang="de")
    folder.write("ali", {"b-20": "SIL 10"})
    assert one_voice(folder, 1 / 6) == ["b-20"]
    assert main(["subset", str(folder.path), "--out", str(tmp_path / "list")]) == 1
    assert "fewer --minutes" in capsys.readouterr().err and not (tmp_path / "list").exists()


def test_verb_and_what_pretraining_makes_of_it(tmp_path, capsys):
    root = make_corpus(tmp_path, {"train": 16, "dev": 2})
    assert main(["subset", str(root / "data/train"), "--minutes", "0.08", "--speaker", "spk1",
                 "--out", str(root / "exp/labelled")]) == 0
    listed = read_table(root / "exp/labelled")
    assert 2 <= len(listed) <= 8 and all(utt.startswith("spk1") for utt in listed)
    assert f"{len(listed)} utterances of spk1" in capsys.readouterr().out
    (root / "conf.yaml").write_text(
        "method: ctap\nweights: {contrast: 1, mel_speech: 1, mel_phone: 1, kl: 0.01}\n"
        "model: {kind: tdnn, dim: 8, joint_dim: 8, prompt_dim: 4, prompt_frames: 20, speech_layers: 1, token_layers: 1, "
        "frame_layers: 1, decoder_layers: 1}\ntrain: {steps: 2, batch_sec: 8}\n")
    common = (root / "conf.yaml", root / "data/train", root / "data/dev", root / "dump/logmel")
    pretrain(*common, root / "exp/run", device="cpu", labelled=root / "exp/labelled")
    assert f"labelled_utterances: {len(listed)}" in (root / "exp/run/config.yaml").read_text()
    data = read_json(root / "exp/run/done.json")["provenance"]["data"]
    assert data["train"]["utterances"] == 16, "of the others it learns the speech"
    (root / "duration.yaml").write_text(
        "method: duration\nweights: {duration: 1}\nmodel: {dim: 8, layers: 1, denoiser_layers: 1, prompt_dim: 4, "
        "prompt_frames: 20}\ntrain: {steps: 2, batch_sec: 8}\n")
    pretrain(root / "duration.yaml", *common[1:], root / "exp/duration", device="cpu", labelled=root / "exp/labelled")
    data = read_json(root / "exp/duration/done.json")["provenance"]["data"]
    assert data["train"]["utterances"] == len(listed) and data["dev"]["utterances"] == 2
    (root / "exp/foreign").write_text("nobody-000\n")
    with pytest.raises(SpeechrepError, match="nobody-000"):
        pretrain(*common, root / "exp/other", device="cpu", labelled=root / "exp/foreign")


def test_all_voices_take_turns(folder):
    folder.write("text", dict.fromkeys(folder.utts, "x"))
    some = {minutes: all_voices(folder, minutes) for minutes in (0.4, 1, 5)}
    # c has but 4 s; a and b take turns of 10 s: 64 s are too much for a minute, 54 s are not.
    assert [utt[0] for utt in some[1]].count("a") in (2, 3) and {utt[0] for utt in some[1]} == {"a", "b", "c"}
    assert 50 <= sum(folder.seconds[utt] for utt in some[1]) <= 60
    assert set(some[0.4]) < set(some[1]) < set(some[5]), "less of it is a part of more"
    assert some[1] == all_voices(DataFolder(folder.path), 1) != all_voices(folder, 1, seed=1)
    assert len(all_voices(folder, 504 / 60)) == 51 and {utt[0] for utt in all_voices(folder, 50 / 60, "fr")} == {"a"}
    with pytest.raises(SpeechrepError, match=r"8\.4 min(?s:.*)wanted: 9 min"):
        all_voices(folder, 9)


def test_a_folder_of_all_voices(folder, tmp_path, capsys):
    folder.write("text", dict.fromkeys(folder.utts, "x"))
    small = str(tmp_path / "small")
    assert main(["subset", str(folder.path), "--minutes", "1", "--voices", "all", "--folder", small]) == 0
    made = DataFolder(tmp_path / "small")
    assert made.utts == all_voices(folder, 1) and set(made.read("utt2spk").values()) == {"a", "b", "c"}
    assert f"{len(made.utts)} utterances of 3 speakers" in capsys.readouterr().out
    assert main(["subset", str(folder.path)]) == 1 and main(
        ["subset", str(folder.path), "--voices", "all", "--speaker", "a", "--out", str(tmp_path / "list")]) == 1
