"""Recognition and slot filling, from training to score.json, on chords."""

import json
import random

import pytest
import torch
import yaml
from toy_corpus import FEATURES, folder, make_corpus

from speechrep.bin import main
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.data.dump import dump
from speechrep.data.folder import DataFolder, read_table, write_table
from speechrep.errors import SpeechrepError
from speechrep.metrics.score import read_per_utt, read_score
from speechrep.report.results import number
from speechrep.tasks import asr, sf
from speechrep.tasks.base import load_task
from speechrep.tasks.represent import score_recognition
from speechrep.tasks.spelling import scored, spell, symbols_of
from speechrep.upstream import Upstream

TRAIN = {"steps": 200, "batch_sec": 15, "lr": 0.03, "warmup": 5, "dev_every": 100, "save_every": 200,
         "precision": "fp32"}
LINEAR = {"head": "linear", "head_dim": 32}
BLSTM = {"head": "blstm", "head_layers": 1, "head_dim": 16, "time_warp": 2, "time_masks": 1, "time_width": 4,
         "dim_masks": 1, "dim_width": 4}
MODELS = {"phones": LINEAR, "chars": {"units": "chars", **LINEAR},
          "pieces": {"units": "pieces", "pieces": 14, "spoken": True, "best_by": "words", **BLSTM}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Chords whose words end behind K, said with capitals and a full stop; K is the value of the slot `key`."""
    torch.set_num_threads(1)
    root = make_corpus(tmp_path_factory.mktemp("recognition"), {"train": 40, "dev": 6, "test": 10})
    for part in ("train", "dev", "test"):
        data = folder(root, part)
        texts = {utt: " ".join(text.replace("k", "k ").split()) for utt, text in data.read("text").items()}
        data.write("slots", {utt: " ".join(text.replace("k", " B-key k E-key ").split())
                             for utt, text in texts.items()})
        data.write("text", texts)
    for name, model in MODELS.items():
        conf = {"task": "asr", "weights": {"ctc": 1.0}, "model": model,
                "train": TRAIN | ({"steps": 8} if name == "pieces" else {})}
        (root / f"{name}.yaml").write_text(yaml.safe_dump(conf))
    (root / "sf.yaml").write_text(yaml.safe_dump({"task": "sf", "weights": {"ctc": 1.0},
                                                  "train": TRAIN | {"lr": 0.01},
                                                  "model": {"head_layers": 1, "head_dim": 32, "dropout": 0.0}}))
    for of in ("words", "chars", "phones"):
        assert run(root, "ngram", root / "data/train", "--of", of, "--order", 3, "--out", root / f"{of}.arpa") == 0
    return root


def run(root, *arguments):
    return main([str(value) for value in arguments]) or 0


def trained(root, name):
    exp = root / "exp" / name
    if not (exp / "best.pt").is_file():
        assert run(root, "train", "--conf", root / f"{name}.yaml", "--upstream", "logmel", "--train",
                   root / "data/train", "--dev", root / "data/dev", "--dump", root / "dump", "--exp", exp, "--device",
                   "cpu") == 0
    return exp / "best.pt"


def decoded(root, task, name, out, *more):
    return run(root, "decode", task, "--checkpoint", trained(root, name), "--data", root / "data/test", "--dump",
               root / "dump", "--out", out, *more)


@pytest.mark.parametrize("name, metrics, worst", [("phones", {"per"}, 50), ("chars", {"cer", "wer"}, 60),
                                                  ("pieces", {"cer", "wer"}, 150)])
def test_from_training_to_the_score(root, name, metrics, worst):
    out = root / "out" / name
    assert decoded(root, "asr", name, out) == 0
    for kind in ("predictions", "recognition"):
        assert run(root, "score", kind, out, "--part", "test", "--system", "logmel", "--out", root / "out" / kind) == 0
        score = read_score(root / "out" / kind / "score.json")
        assert set(score["metrics"]) == metrics and min(v["value"] for v in score["metrics"].values()) < worst
    done = json.loads((root / "exp" / name / "done.json").read_text())
    assert 0 <= done["dev"]["error_rate"] <= 1.5 and set(read_table(out / "ref")) == set(folder(root, "test").utts)
    by = "word_error_rate" if name == "pieces" else "error_rate"
    lines = [json.loads(line) for line in (root / "exp" / name / "log.jsonl").read_text().splitlines()]
    least = min((line[by], line["loss"], line["step"]) for line in lines if line["part"] == "dev")
    assert (done["best"]["by"], done["best"]["step"]) == (by, least[2])
    assert score["provenance"]["config"]["best"] == done["best"] == load_task(trained(root, name)).best


def test_utterances_without_a_reference_are_told_and_the_interval_is_shown(root, tmp_path, capsys):
    test = folder(root, "test")
    part = test.subset(test.utts, tmp_path / "test")
    part.write("text", {utt: test.read("text")[utt] for utt in test.utts[:7]})
    out = tmp_path / "out"
    assert run(root, "decode", "asr", "--checkpoint", trained(root, "chars"), "--data", part.path, "--dump", root / "dump",
               "--out", out) == 0
    for kind in ("recognition", "predictions"):
        capsys.readouterr()
        assert run(root, "score", kind, out, "--part", "test", "--system", "logmel", "--out", out) == 0
        score, printed = read_score(out / "score.json"), capsys.readouterr().out
        assert score["notes"] == ["3 of 10 utterances have no label and are not scored"]
        assert f"- {score['notes'][0]}\n" in printed
        for entry in score["metrics"].values():
            assert f"{number(entry['value'])} [{number(entry['low'])}, {number(entry['high'])}]" in printed
        assert score["provenance"]["data"]["test"]["utterances"] == 7 and score["provenance"]["config"]["lr"] == []


def test_what_the_best_weights_are_chosen_by(root):
    """Words: one wrong of two, none of one, an empty reference with one too many. Slots: F1 of 0 and 1."""
    task, _ = make_task(root, asr, units="chars", best_by="words", **LINEAR)
    found = task.path_metrics({"texts": ["ab k", "m", ""]}, [[*"ab m"], [*" m"], [*"k"]])
    assert found == {"word_error_rate": (2.0, 3.0)} and task.selects == "word_error_rate"
    task, _ = make_task(root, sf, best_by="slots", **LINEAR)
    lines = ["a B-key k E-key", "s m"]
    found = task.path_metrics({"labels": {"slots": lines}}, [[*"a k"], [*"s"]])
    assert found == {"slot_type_error": (1.0, 2.0)} and task.selects == "slot_type_error"
    with pytest.raises(ValueError, match="phones make no words"):
        asr.Config(best_by="words")


def test_beam_search_and_its_language_model(root):
    """Weight and score that dev chooses are no worse there than any tried; what was done stands beside the score."""
    greedy, beam, lm = (root / "out" / f"search/{name}" for name in ("greedy", "beam", "lm"))
    assert decoded(root, "asr", "chars", greedy) == 0
    assert decoded(root, "asr", "chars", beam, "--beam", 20) == 0
    assert decoded(root, "asr", "chars", lm, "--lm", root / "words.arpa", "--beam", 20, "--dev", root / "data/dev") == 0
    made = json.loads((lm / "decoding.json").read_text())
    tried = {(row["lm_weight"], row["word_score"]): row["error_rate"] for row in made["tried"]}
    assert tried[made["lm_weight"], made["word_score"]] == min(tried.values()) and len(tried) == 35
    assert made["beam"] == 20 and made["lm"].endswith("words.arpa") and made["chosen_on"].endswith("dev")
    known = {word for text in folder(root, "train").read("text").values() for word in text.split()}
    hypotheses = read_table(lm / "hyp").values()
    assert {word for line in hypotheses for word in line.replace(" ", "").split("_") if word} <= known
    errors = {name: {key: value["value"] for key, value in scored(path).metrics.items()}
              for name, path in (("greedy", greedy), ("beam", beam), ("lm", lm))}
    assert errors["beam"]["cer"] <= errors["greedy"]["cer"] + 3 and errors["lm"]["wer"] <= 100
    score_recognition(lm, "test", "logmel", 0, lm)
    assert read_score(lm / "score.json")["provenance"]["config"]["decoding"]["lm_weight"] == made["lm_weight"]


@pytest.mark.parametrize("name, lm", [("phones", "phones"), ("chars", "chars")])
def test_language_models_of_symbols(root, name, lm, tmp_path):
    assert decoded(root, "asr", name, tmp_path / "out", "--lm", root / f"{lm}.arpa", "--lm-of", "symbols",
                   "--lm-weight", 0.5) == 0
    plain = root / "out" / f"plain-{name}"
    assert decoded(root, "asr", name, plain) == 0
    errors = [min(value["value"] for value in scored(path).metrics.values()) for path in (tmp_path / "out", plain)]
    assert errors[0] < errors[1] + 8
    made = json.loads((tmp_path / "out/decoding.json").read_text())
    assert made["beam"] == 5 and made["lm_of"] == "symbols" and made["lm_weight"] == 0.5


def test_words_of_pieces(root, tmp_path):
    assert decoded(root, "asr", "pieces", tmp_path / "out", "--lm", root / "words.arpa", "--beam", 10) == 0
    assert (tmp_path / "out/units").read_text() == "pieces\n"
    assert set(" ".join(read_table(tmp_path / "out/hyp").values()).split()) <= {*"abkms_"}
    assert set(scored(tmp_path / "out").metrics) == {"cer", "wer"}


def test_what_cannot_be_decoded(root, tmp_path, capsys):
    for name, more, why in (("phones", ("--lm", root / "words.arpa"), "spells phones"),
                            ("pieces", ("--lm", root / "chars.arpa", "--lm-of", "symbols"), "spells pieces"),
                            ("chars", ("--dev", root / "data/dev"), "but no --lm"),
                            ("chars", ("--lm", root / "none.arpa"), "no such language model")):
        assert decoded(root, "asr", name, tmp_path / name, *more) == 1
        assert why in capsys.readouterr().err and not (tmp_path / name).exists()
    assert decoded(root, "sf", "sf", tmp_path / "sf", "--beam", 5) == 1 and "for asr alone" in capsys.readouterr().err


def dataset(root, needs, part="train"):
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    return SpeechDataset(folder(root, part), root / "dump/logmel" / part, inventory, ("feats", *needs))


def make_task(root, module, **values):
    config = module.Config(**values)
    train = dataset(root, module.Task.needs_of(config))
    torch.manual_seed(0)
    task = module.Task(config, Upstream.open("logmel", train.inventory), module.Task.labels_of(config, train))
    return task.eval(), train


def test_words_as_they_are_said_need_a_language(root, tmp_path):
    """An utterance without one is left out of the test, as out of training, and counted."""
    data = folder(root, "test")
    other = data.subset(data.utts, tmp_path / "test")
    write_table(tmp_path / "test/utt2lang", dict(list(data.read("utt2lang").items())[1:]))
    assert run(root, "decode", "asr", "--checkpoint", trained(root, "pieces"), "--data", other.path, "--dump", root / "dump",
               "--out", tmp_path / "out") == 0
    assert set(read_table(tmp_path / "out/ref")) == set(data.utts[1:])
    made = json.loads((tmp_path / "out/made.json").read_text())
    assert (made["unlabelled"], made["of"]) == (1, 10)


@pytest.mark.parametrize("units", ["chars", "pieces"])
def test_targets_spell_the_text(root, units):
    task, train = make_task(root, asr, units=units, pieces=14, spoken=True)
    batch = collate([train[i] for i in range(6)])
    batch["texts"][0], batch["texts"][1] = "Ab, K!", "qa"
    rows = [[task.symbols[i - 1] for i in row.tolist()] for row in task.target_rows(batch)]
    assert ["".join(task.spelt(row)) for row in rows[2:]] == batch["texts"][2:]
    assert "".join(task.spelt(rows[0])) == "ab k" and "q" not in "".join(rows[1])
    again = load_task(trained(root, "pieces"))
    if units == "pieces":
        assert again.tokenizer.pieces == task.tokenizer.pieces and again.encode("abk mk") == task.encode("abk mk")


def test_stress_is_kept_where_wanted(root):
    """The toy's first phone is A1; the spelling of `ali` and the targets agree."""
    for stress, name in ((False, "A"), (True, "A1")):
        task, train = make_task(root, asr, stress=stress)
        assert task.symbols == (name, "B", "K", "M", "S")
        batch = collate([train[i] for i in range(5)])
        for utt, row in zip(batch["utts"], task.target_rows(batch)):
            line = train.ali[utt]
            assert [task.symbols[i - 1] for i in row.tolist()] == symbols_of(line, "", "phones", False, stress)
            assert "A1" in line or name not in symbols_of(line, "", "phones", False, stress)


def test_augmentation_is_for_training_alone_and_by_the_utterance(root):
    task, train = make_task(root, asr, units="chars", **BLSTM)
    batch = task.prepare(collate([train[i] for i in range(4)]), torch.Generator())
    assert torch.equal(task.log_probs(batch)[0], task.log_probs(batch)[0])
    still = float(task(batch)["ctc"].detach())
    task.train()
    task.head.body.dropout.p = 0.0
    moved = float(task(batch)["ctc"].detach())
    alone = [task.prepare(collate([train[i]]), torch.Generator()) for i in range(4)]
    assert abs(moved - still) > 1e-3 and moved == pytest.approx(
        sum(float(task(b)["ctc"].detach()) for b in alone), rel=1e-4)


def test_low_resource(root, capsys):
    """A subset of all voices, recognised on frozen features and then with the upstream trained too."""
    assert run(root, "subset", root / "data/train", "--minutes", 0.3, "--voices", "all", "--folder",
               root / "data/small") == 0
    small = DataFolder(root / "data/small")
    assert len(set(small.read("utt2spk").values())) == 2 and 8 < sum(small.seconds.values()) <= 18
    dump(root / "data/small", root / "dump/logmel/small", FEATURES, cmvn=True)
    (root / "apc.yaml").write_text(yaml.safe_dump({
        "method": "apc", "weights": {"prediction": 1.0}, "model": {"dim": 16, "layers": 1},
        "train": TRAIN | {"steps": 5}}))
    assert run(root, "pretrain", "--conf", root / "apc.yaml", "--train", root / "data/train", "--dev",
               root / "data/dev", "--dump", root / "dump/logmel", "--exp", root / "exp/apc", "--device", "cpu") == 0
    parts = ("--conf", root / "chars.yaml", "--upstream", root / "exp/apc/best.pt", "--train", root / "data/small",
             "--dev", root / "data/dev", "--dump", root / "dump", "--device", "cpu", "--set", "train.steps=20")
    assert run(root, "train", *parts, "--exp", root / "exp/frozen", "--cache", root / "layers") == 0
    assert run(root, "train", *parts, "--exp", root / "exp/tuned", "--init", root / "exp/frozen/best.pt", "--set",
               "model.finetune=true") == 0
    frozen, tuned = (load_task(root / "exp" / name / "best.pt").upstream.state_dict() for name in ("frozen", "tuned"))
    fresh = Upstream.open(str(root / "exp/apc/best.pt")).state_dict()
    assert all(torch.equal(frozen[key], fresh[key]) for key in fresh)
    assert any(not torch.equal(tuned[key], fresh[key]) for key in fresh)


def test_slots_from_training_to_the_score(root, capsys):
    out = root / "out/sf"
    assert decoded(root, "sf", "sf", out) == 0
    assert run(root, "score", "predictions", out, "--part", "test", "--system", "logmel", "--out", out) == 0
    score = read_score(out / "score.json")
    found = {name: entry["value"] for name, entry in score["metrics"].items()}
    assert set(found) == {"slot_type_f1", "slot_value_cer", "wer"} and found["slot_type_f1"] > 50
    assert found["slot_value_cer"] < 60 and score["provenance"]["data"]["test"]["utterances"] == 10
    assert read_table(out / "ref") == folder(root, "test").read("slots")
    assert "slot_type_f1" in next(iter(read_per_utt(out / "per_utt.tsv").values()))


def test_spelling_of_slots(root):
    line = "set at B-time ten to E-time B-day B-52 E-day now"
    symbols = sf.symbols_of(line)
    assert symbols == [*"set at ", "B-time", *"ten to", "E-time", " ", "B-day", "B-52", "E-day", *" now"]
    assert sf.line_of(symbols) == line and sf.symbols_of("") == [] and sf.words_of(line) == "set at ten to now".split()
    assert sf.line_of(["B-a", "E-a", " ", " ", "x"]) == "B-a E-a x"
    task, train = make_task(root, sf, head="linear", head_dim=8)
    assert {"B-key", "E-key", " ", "k"} < set(task.symbols)
    batch = collate([train[i] for i in range(3)])
    rows = [sf.line_of([task.symbols[i - 1] for i in row.tolist()]) for row in task.target_rows(batch)]
    assert rows == batch["labels"]["slots"]


def test_scoring_slots_by_hand_and_what_is_refused(root, tmp_path):
    ref = {"a": "x B-key k E-key", "b": "x y"}
    write_table(tmp_path / "ref", ref)
    write_table(tmp_path / "hyp", {"a": "x B-key kk E-key", "b": "x B-key y E-key"})
    found = {name: entry["value"] for name, entry in sf.Task.score(tmp_path).metrics.items()}
    # One inserted character of one; types right in a, wrong in b; one word of four wrong.
    assert found == pytest.approx({"slot_type_f1": 50, "slot_value_cer": 100, "wer": 25})
    write_table(tmp_path / "hyp", {"a": "x"})
    with pytest.raises(SpeechrepError, match="without a hypothesis"):
        sf.Task.score(tmp_path)
    (tmp_path / "hyp").write_text("a x\na x\nb y\n")
    with pytest.raises(SpeechrepError, match="stands twice"):
        sf.Task.score(tmp_path)
    for name in ("ref", "hyp"):
        write_table(tmp_path / name, {"a": "x"})
    with pytest.raises(SpeechrepError, match="no slot in any"):
        sf.Task.score(tmp_path)
    with pytest.raises(SpeechrepError, match="no slot in it"):
        make_task(root, sf, stream="text")


def test_word_and_character_errors_by_hand(tmp_path):
    """An empty reference has no word; its insertions count."""
    write_table(tmp_path / "ref", {"a": "a b _ c", "b": ""})
    write_table(tmp_path / "hyp", {"a": "a b c", "b": "a"})
    (tmp_path / "units").write_text("chars\n")
    found = {name: entry["value"] for name, entry in scored(tmp_path).metrics.items()}
    assert found == pytest.approx({"cer": 50, "wer": 150})
    write_table(tmp_path / "ref", {"a": "", "b": "_"})
    with pytest.raises(SpeechrepError, match="no symbol in any reference"):
        scored(tmp_path)


@pytest.mark.parametrize("lines", [
    {"a": ("ab cd", "ab cd")}, {"a": ("ab cd", "abcd")}, {"a": ("abcd", "ab cd")}, {"a": ("ab cd ef", "abcd e f")},
    {"a": ("ab", " ab "), "b": ("c d", "cd  ")}, {"a": ("a  b", "a b")}, {"a": ("ab", ""), "b": ("", "x y")},
    {f"u{i:03d}": tuple("".join(random.Random(2 * i + side).choices("abc  ", k=3 + i % 17)) for side in (0, 1))
     for i in range(200)}])
def test_errors_are_jiwers(tmp_path, lines):
    """Of characters, spaces among them, and of words; over the corpus and, of characters, for each utterance."""
    jiwer = pytest.importorskip("jiwer", reason="jiwer is not installed")
    for name, side in (("ref", 0), ("hyp", 1)):
        write_table(tmp_path / name, {utt: " ".join(spell(pair[side])) for utt, pair in lines.items()})
    (tmp_path / "units").write_text("chars\n")
    found = scored(tmp_path)
    refs, hyps = map(list, zip(*lines.values()))
    assert found.metrics["cer"]["value"] == pytest.approx(100 * jiwer.cer(refs, hyps), abs=1e-9)
    assert found.metrics["wer"]["value"] == pytest.approx(100 * jiwer.wer(refs, hyps), abs=1e-9)
    for utt, (ref, hyp) in lines.items():
        peer = jiwer.process_characters(ref, hyp)
        assert found.per_utt[utt]["errors"] == peer.substitutions + peer.deletions + peer.insertions
