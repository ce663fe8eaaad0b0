"""Query by example from data folders to score.json, on chords."""

import shutil
from argparse import Namespace

import numpy as np
import pytest
from toy_corpus import FEATURES, folder, make_corpus

from speechrep.bin import main
from speechrep.bin.score import qbe as verb
from speechrep.data.dump import dump
from speechrep.data.folder import DataFolder, read_table, write_folder, write_table
from speechrep.data.queries import cut_queries
from speechrep.errors import SpeechrepError
from speechrep.metrics.mtwv import mtwv
from speechrep.metrics.score import read_per_utt, read_score
from speechrep.tasks import qbe
from speechrep.tasks.predict import score_predictions


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Queries are three chords in a row; the speakers are made one voice each, four of them, of two pitches."""
    root = make_corpus(tmp_path_factory.mktemp("qbe"), {"train": 4, "dev": 40, "test": 40})
    for part in ("dev", "test"):
        documents = folder(root, part)
        # Each phone a word, and a speaker an utterance: so others with the same pitch say it too.
        documents.write("utt2spk", {utt: utt for utt in documents.utts})
        documents.write("text", {utt: phones.lower() for utt, phones in documents.read("phones").items()})
        documents.write("phones", {utt: " | ".join(phones.split()) for utt, phones in documents.read("phones").items()})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("speechrep.data.queries.MIN_PHONES", 3)
            cut_queries(folder(root, part), root / f"data/queries_{part}", 20)
        dump(root / f"data/queries_{part}", root / f"dump/logmel/queries_{part}", FEATURES)
    return root


def score(root, out, **named):
    return qbe.score_qbe("logmel", folder(root, "train"), folder(root, "queries_test"), folder(root, "test"),
                         root / "dump", out, "x", 0, **named)


def test_queries_are_found(root, tmp_path):
    out = tmp_path / "out"
    arguments = ["score", "qbe", "--upstream", "logmel", "--train", root / "data/train", "--queries",
                 root / "data/queries_test", "--test", root / "data/test", "--dev", root / "data/dev", "--dev-queries",
                 root / "data/queries_dev", "--dump", root / "dump", "--system", "logmel", "--out", out]
    assert main([str(value) for value in arguments]) in (0, None)
    found = read_score(out / "score.json")
    assert set(found["metrics"]) == {"mtwv", "atwv", "twv_dev_threshold"}
    entry = found["metrics"]["mtwv"]
    # Chords of the query's own pitch are plain to find, those of the other pitch are not.
    assert 0.3 < entry["value"] <= 1 and entry["low"] <= entry["value"] <= entry["high"]
    assert found["metrics"]["atwv"]["value"] <= entry["value"]
    assert "the intervals are over queries, at a fixed threshold" in found["notes"]
    assert "each system's layer is the best on dev" in found["notes"]
    assert (out / "layers.tsv").read_text().startswith("layer\tmtwv\tthreshold\n0\t0.")
    # The tables beside it say the same.
    rows = [line.split("\t") for line in (out / "scores.tsv").read_text().splitlines()[1:]]
    trials = qbe.read_trials(folder(root, "queries_test"), folder(root, "test"))
    assert len(rows) == trials.judged.sum() == found["provenance"]["data"]["test"]["trials"]
    scores, hits = np.full(trials.hits.shape, -99.0), np.zeros(trials.hits.shape, bool)
    for query, document, value, decision, hit in rows:
        at = trials.queries.index(query), trials.documents.index(document)
        scores[at], hits[at] = float(value), hit == "1"
        assert decision == ("YES" if float(value) > 2 else "NO")
    assert mtwv(scores, hits, trials=trials.judged).value == pytest.approx(entry["value"], abs=0.02)
    per_query = read_per_utt(out / "per_utt.tsv")
    assert np.mean([float(row["twv"]) for row in per_query.values()]) == pytest.approx(entry["value"], abs=1e-4)
    for q in range(len(trials.queries)):
        own = scores[q, trials.judged[q]]
        assert abs(own.mean()) < 1e-3 and own.std() == pytest.approx(1, abs=1e-3)


def test_features_that_know_nothing_find_nothing(root, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    real = qbe._layers

    def noise(*arguments):
        return {number: {utt: rng.standard_normal((len(value), 20)) for utt, value in table.items()}
                for number, table in real(*arguments).items()}

    monkeypatch.setattr(qbe, "_layers", noise)
    assert score(root, tmp_path)["metrics"]["mtwv"]["value"] < 0.15


def test_the_best_layer_of_dev_is_reported(root, tmp_path, monkeypatch):
    """With three layers of which the second is the real one."""
    real = qbe._layers

    def three(spec, upstream, data, train, dumped, cache, numbers):
        rng = np.random.default_rng(len(data.utts))
        found = real(spec, upstream, data, train, dumped, cache, [0])[0]
        layers = {n: {utt: rng.standard_normal(value.shape) for utt, value in found.items()} for n in (0, 2)}
        return {n: found if n == 1 else layers[n] for n in numbers}

    alone = score(root, tmp_path / "a")["metrics"]["mtwv"]
    monkeypatch.setattr(qbe, "_layers", three)
    upstream = qbe.open_upstream("logmel", folder(root, "train"), root / "dump")
    monkeypatch.setattr(qbe, "open_upstream", lambda *_: upstream)
    monkeypatch.setattr(upstream, "dims", (20, 20, 20))
    found = score(root, tmp_path / "b", dev=(folder(root, "queries_dev"), folder(root, "dev")))
    assert found["provenance"]["config"]["layer"] == 1
    assert found["metrics"]["mtwv"] == alone


def test_layers_of_which_none_stands_out():
    assert qbe.best_layer({0: 0.0, 1: 0.25, 2: 0.25}) == (1, True) and qbe.best_layer({0: 0.0}) == (0, True)
    assert qbe.best_layer({0: 0.0, 1: 0.0, 2: 0.0}) == (2, False)


def test_where_nothing_is_found_it_is_said(root, tmp_path, monkeypatch):
    """Three layers whose every score is 0: the last is taken, and 0 is shown without an interval."""
    upstream = qbe.open_upstream("logmel", folder(root, "train"), root / "dump")
    monkeypatch.setattr(qbe, "open_upstream", lambda *_: upstream)
    monkeypatch.setattr(upstream, "dims", (20, 20, 20))
    monkeypatch.setattr(qbe, "_layers", lambda *arguments: {number: {utt: None for utt in arguments[2].utts}
                                                            for number in arguments[-1]})
    monkeypatch.setattr(qbe, "scores_of", lambda queries, documents, trials, distance: (np.zeros(trials.hits.shape), 0))
    found = score(root, tmp_path, dev=(folder(root, "queries_dev"), folder(root, "dev")))
    assert found["provenance"]["config"]["layer"] == 2
    assert "no layer stands out on dev, where the MTWV of all 3 is 0; the last is taken" in found["notes"]
    assert "each system's layer is the best on dev" not in found["notes"]
    assert "mtwv, atwv, twv_dev_threshold: nothing is detected, which is worth 0 for every query and has no interval" in (
        found["notes"])
    for entry in found["metrics"].values():
        assert (entry["value"], entry["low"], entry["high"]) == (0, None, None)


def test_normalisation_and_short_queries():
    """Scores do not depend on the scale and offset of a dimension; a query of 4 frames scores 0 everywhere."""
    rng = np.random.default_rng(0)
    queries = {"a": rng.standard_normal((9, 4)), "b": rng.standard_normal((4, 4))}
    documents = {f"d{i}": rng.standard_normal((30, 4)) for i in range(5)}
    documents["d3"][7:16] = queries["a"]
    judged = np.ones((2, 5), dtype=bool)
    judged[0, 4] = False
    trials = qbe.Trials(["a", "b"], list(documents), np.zeros((2, 5), bool), judged)
    scores, short = qbe.scores_of(queries, documents, trials)
    assert short == 1 and not scores[1].any() and scores[0].argmax() == 3
    own = scores[0, :4]
    assert own.mean() == pytest.approx(0, abs=1e-9) and own.std() == pytest.approx(1)
    scale, offset = np.array([1, 10, 0.1, 5]), np.array([0, 3, -8, 100])
    again, _ = qbe.scores_of({u: f * scale + offset for u, f in queries.items()},
                             {u: f * scale + offset for u, f in documents.items()}, trials)
    np.testing.assert_allclose(again, scores, atol=1e-4)


def test_truth_beyond_the_folder_counts_as_not_reported(root, tmp_path):
    queries = folder(root, "queries_test")
    own = write_folder(tmp_path / "queries_test", {name: queries.read(name) for name in queries.streams()
                                                   if name not in ("spk2utt", "relevance")})
    text = (queries.path / "relevance").read_text()
    (own.path / "relevance").write_text(text)
    (own.path / "relevance.all").write_text(text + "".join(f"{utt} elsewhere{i}\n" for utt in own.utts for i in (1, 2)))
    documents = folder(root, "test")
    with pytest.raises(SpeechrepError, match="documents.all: no such file"):
        qbe.read_trials(own, documents)
    (own.path / "documents.all").write_text("elsewhere1\n")
    with pytest.raises(SpeechrepError, match="document 'elsewhere2' is not in documents.all"):
        qbe.read_trials(own, documents)
    # Two hold every query, the third none.
    (own.path / "documents.all").write_text("".join(f"{utt}\n" for utt in (*documents.utts, *(
        f"elsewhere{i}" for i in range(3)))))
    trials = qbe.read_trials(own, documents)
    assert trials.beyond[0].tolist() == [2] * len(own.utts) and trials.beyond[1] == 3
    scores, hits, judged = qbe.with_unreported(trials, np.where(trials.hits, 1.0, 0.0))
    shares = trials.hits.sum(1) / (trials.hits.sum(1) + 2)
    assert mtwv(scores, hits, trials=judged).value == pytest.approx(shares.mean())
    found = qbe.score_qbe("logmel", folder(root, "train"), own, documents, root / "dump", tmp_path / "out", "x", 0)
    assert found["metrics"]["mtwv_all"]["value"] < found["metrics"]["mtwv"]["value"]


@pytest.mark.parametrize("line, message", [
    ("nobody spk0-test000", "the query 'nobody' is not in"), ("QUERY nowhere", "the document 'nowhere' is not in"),
    ("QUERY", "'QUERY"), ("QUERY spk0-test000\nQUERY spk0-test000", "twice in the list")])
def test_bad_relevance_is_refused(root, tmp_path, line, message):
    queries = folder(root, "queries_test")
    own = write_folder(tmp_path / "q", {name: queries.read(name) for name in ("wav.scp", "segments", "utt2spk")})
    (own.path / "relevance").write_text(line.replace("QUERY", own.utts[0]) + "\n")
    with pytest.raises(SpeechrepError, match=message.replace("QUERY", own.utts[0])):
        qbe.read_trials(own, folder(root, "test"))


def test_of_whom_nothing_is_said_is_another(root, tmp_path):
    """A query and a document without a speaker are a trial, and every other pair is what it was."""
    found = {}
    for part in ("queries_test", "test"):
        data = folder(root, part)
        shutil.copytree(data.path, tmp_path / part)
        write_table(tmp_path / part / "utt2spk", dict(list(data.read("utt2spk").items())[1:]))
        found[part] = DataFolder(tmp_path / part)
    judged = qbe.read_trials(found["queries_test"], found["test"]).judged
    assert judged[0].all() and judged[:, 0].all() and not judged.all()
    np.testing.assert_array_equal(judged[1:, 1:], qbe.read_trials(folder(root, "queries_test"), folder(root, "test")).judged[1:, 1:])


def test_missing_truth_is_refused(root, tmp_path):
    queries = folder(root, "queries_test")
    own = write_folder(tmp_path / "q", {name: queries.read(name) for name in ("wav.scp", "segments", "utt2spk")})
    with pytest.raises(SpeechrepError, match="relevance: no such file"):
        qbe.read_trials(own, folder(root, "test"))
    speakers = folder(root, "test").read("utt2spk")
    (own.path / "relevance").write_text(f"{own.utts[0]} {own.read('utt2spk')[own.utts[0]]}\n")
    assert own.read("utt2spk")[own.utts[0]] in speakers
    with pytest.raises(SpeechrepError, match="no query that another speaker says"):
        qbe.read_trials(own, folder(root, "test"))
    with pytest.raises(SpeechrepError, match="one of --dev"):
        verb(Namespace(dev="data/dev", dev_queries=None))


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("part", ["queries_dev", "dev", "queries_test", "test"])
def test_utterances_without_features_are_refused(root, tmp_path, part, cached):
    shutil.copytree(root / "dump", tmp_path / "dump")
    path = tmp_path / "dump/logmel" / part / "feats.scp"
    feats = read_table(path)
    write_table(path, dict(list(feats.items())[2:]))
    with pytest.raises(SpeechrepError, match=f"2 utterances of .*/{part} have no features, such as '{list(feats)[0]}'"):
        qbe.score_qbe("logmel", folder(root, "train"), folder(root, "queries_test"), folder(root, "test"), tmp_path / "dump",
                      tmp_path / "out", "x", 0, dev=(folder(root, "queries_dev"), folder(root, "dev")),
                      cache=tmp_path / "layers" if cached else None)


def test_the_score_is_made_of_the_trials_alone(root, tmp_path):
    """Without features and folders the same numbers come out of the tables, beyond and dev's threshold among them; tables
    that are not whole are refused."""
    queries, out = folder(root, "queries_test"), tmp_path / "out"
    own = write_folder(tmp_path / "queries_test", {name: queries.read(name) for name in queries.streams()
                                                   if name not in ("spk2utt", "relevance")})
    text = (queries.path / "relevance").read_text()
    (own.path / "relevance").write_text(text)
    (own.path / "relevance.all").write_text(text + "".join(f"{utt} elsewhere\n" for utt in own.utts[:3]))
    (own.path / "documents.all").write_text("elsewhere\n")
    first = qbe.score_qbe("logmel", folder(root, "train"), own, folder(root, "test"), root / "dump", out, "x", 0,
                          dev=(folder(root, "queries_dev"), folder(root, "dev")))
    assert set(first["metrics"]) == {"mtwv", "atwv", "twv_dev_threshold", "mtwv_all"}
    shutil.rmtree(own.path)
    per_query = (out / "per_utt.tsv").read_text()
    for name in ("score.json", "per_utt.tsv"):
        (out / name).unlink()
    arguments = ["score", "predictions", out, "--part", "test", "--system", "x", "--out", tmp_path / "again"]
    assert main([str(value) for value in arguments]) in (0, None)
    again = read_score(tmp_path / "again/score.json")
    assert all(again[key] == first[key] for key in ("metrics", "notes", "system", "part", "seed"))
    assert all(again["provenance"][key] == first["provenance"][key] for key in ("config", "data"))
    assert (tmp_path / "again/per_utt.tsv").read_text() == per_query
    path = out / "scores.tsv"
    header, *lines = path.read_text().splitlines()

    def rescored(changed):
        path.write_text("\n".join([header, *changed]) + "\n")
        return score_predictions(out, "test", "x", 0, out)["metrics"]

    # Whoever gives every hit, and nothing else, a high score is perfect.
    rows = [line.split("\t") for line in lines]
    perfect = ["\t".join([query, document, "9" if hit == "1" else "0", "NO", hit]) for query, document, _, _, hit in rows]
    found = rescored(perfect)
    assert found["mtwv"]["value"] == found["atwv"]["value"] == 1 > found["mtwv_all"]["value"]
    number = len(lines)
    for changed, why in ((lines[1:], f"{number - 1} trials\n  wanted: {number}, as made.json says"),
                         ([*lines[:-1], lines[0]], "stands twice"), (["nobody" + lines[0], *lines[1:]], "the query 'nobody"),
                         (["\t".join([*rows[0][:2], "high", *rows[0][3:]]), *lines[1:]], "scores.tsv: 'high'"),
                         (["\t".join([*rows[0][:4], str(1 - int(rows[0][4]))]), *lines[1:]], "hits\n  wanted")):
        with pytest.raises(SpeechrepError, match=why):
            rescored(changed)
    path.write_text("\n".join([header, *lines]) + "\n")
    (out / "layers.tsv").write_text("layer\tmtwv\tthreshold\n7\t0.5\t1.0\n")
    with pytest.raises(SpeechrepError, match="layers.tsv: no layer 0"):
        score_predictions(out, "test", "x", 0, out)
