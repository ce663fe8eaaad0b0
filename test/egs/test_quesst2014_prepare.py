"""egs/quesst2014: language keys, queries and what is relevant to them, on a tree laid out as published."""

import shutil

import pytest
from recipe_tree import folders, load, run_recipe, tasks_of, tone, write

from speechrep.errors import SpeechrepError

recipe = load("quesst2014")
KEYS = {"utterances": {"quesst14_00001": "nnenglish", "quesst14_00002": "nnenglish", "quesst14_00003": "basque"},
        "dev": {"quesst14_dev_0001": "nnenglish", "quesst14_dev_0002": "basque"},
        "eval": {"quesst14_eval_0001": "nnenglish", "quesst14_eval_0002": "nnenglish", "quesst14_eval_0003": "czech"}}
RTTM = "scoring/groundtruth_quesst14_dev/quesst14_dev.rttm"
FOLDERS = {"utterances": "Audio", "dev": "dev_queries", "eval": "eval_queries"}


def truth(*pairs):
    lines = [f"LEXEME {doc} 1 0.000 4.120 {query} lex 0.5 <NA>" for doc, query in pairs]
    return [*lines, "LEXEME quesst14_00002 1 0.000 4.120 NO_KEYWORD lex 0.5 <NA>"]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("quesst") / "quesst14Database"
    for key, rows in KEYS.items():
        write(root / f"scoring/language_key_{key}.lst", *(f"quesst2014/{FOLDERS[key]}/{utt}.wav {language}"
                                                          for utt, language in rows.items()))
        for utt in rows:
            tone(root / FOLDERS[key] / f"{utt}.wav", rate_hz=8000)
    write(root / "scoring/groundtruth_quesst14_dev/quesst14_dev.rttm",
          *truth(("quesst14_00001", "quesst14_dev_0001"), ("quesst14_00001", "quesst14_dev_0001"),
                 ("quesst14_00003", "quesst14_dev_0002")))
    write(root / "scoring/groundtruth_quesst14_eval/quesst14_eval.rttm",
          *truth(("quesst14_00002", "quesst14_eval_0001"), ("quesst14_00001", "quesst14_eval_0001")))
    for key in ("dev", "eval"):
        write(root / f"scoring/groundtruth_quesst14_{key}/quesst14_{key}.tlist.xml", '<?xml version="1.0" encoding="UTF-8"?>',
              '<termlist ecf_filename="quesst14.ecf.xml" version="1" language="multi">',
              *(f'<term termid="{utt}"><termtext>{utt}</termtext></term>' for utt in KEYS[key]), "</termlist>")
        write(root / f"scoring/groundtruth_quesst14_{key}/quesst14.ecf.xml",
              '<ecf source_signal_duration="4.0" language="multi" version="1">',
              *(f'<excerpt audio_filename="Audio/{utt}.wav" channel="1" tbeg="0.000" dur="4.120" source_type="splitcts"/>'
                for utt in KEYS["utterances"]), "</ecf>")
    return root.parent


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(recipe, "UTTERANCES", {"nnenglish": {"docs": {"utterances": 2}, "queries_dev": {"utterances": 1},
                                                             "queries_test": {"utterances": 2}}})


def test_english_as_superb_takes_it(published, counted, tmp_path):
    recipe.prepare(published, tmp_path)
    found = folders(tmp_path)
    assert not list(tmp_path.rglob("relevance.all"))
    assert {name: folder.utts for name, folder in found.items()} == {
        "docs": ["quesst14_00001", "quesst14_00002"], "queries_dev": ["quesst14_dev_0001"],
        "queries_test": ["quesst14_eval_0001", "quesst14_eval_0002"]}
    assert (tmp_path / "queries_dev/relevance").read_text() == "quesst14_dev_0001 quesst14_00001\n"
    assert (tmp_path / "queries_test/relevance").read_text() == ("quesst14_eval_0001 quesst14_00001\n"
                                                                 "quesst14_eval_0001 quesst14_00002\n")
    assert set(found["docs"].read("utt2lang").values()) == {"en"}
    assert found["queries_test"].read("wav.scp")["quesst14_eval_0001"].endswith(
        "quesst14Database/eval_queries/quesst14_eval_0001.wav")


def test_lists_in_xml_are_compared(published, counted, tmp_path, capsys):
    recipe.prepare(published, tmp_path / "right")
    assert "warning" not in capsys.readouterr().err
    shutil.copytree(published, tmp_path / "corpus")
    terms = tmp_path / "corpus/quesst14Database/scoring/groundtruth_quesst14_eval/quesst14_eval.tlist.xml"
    terms.write_text(terms.read_text().replace('"quesst14_eval_0003"', '"quesst14_eval_0007"'))
    recipe.prepare(tmp_path / "corpus", tmp_path / "data")
    (line,) = capsys.readouterr().err.splitlines()
    assert "quesst14_eval.tlist.xml names 3 utterances, the language keys 3; one of the two lacks quesst14_eval_0003" in line
    terms.write_text("<termlist>")
    with pytest.raises(SpeechrepError, match="quesst14_eval.tlist.xml: no element found"):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data")


def test_documents_of_other_languages(published, counted, tmp_path):
    shutil.copytree(published, tmp_path / "corpus")
    write(tmp_path / "corpus/quesst14Database" / RTTM, *truth(("quesst14_00001", "quesst14_dev_0001"),
                                                              ("quesst14_00003", "quesst14_dev_0001"),
                                                              ("quesst14_00001", "quesst14_dev_0002")))
    recipe.prepare(tmp_path / "corpus", tmp_path / "data")
    folders(tmp_path / "data")
    assert (tmp_path / "data/queries_dev/relevance").read_text() == "quesst14_dev_0001 quesst14_00001\n"
    assert (tmp_path / "data/queries_dev/relevance.all").read_text() == ("quesst14_dev_0001 quesst14_00001\n"
                                                                         "quesst14_dev_0001 quesst14_00003\n")
    documents = (tmp_path / "data/queries_dev/documents.all").read_text().split()
    assert "quesst14_00003" in documents and len(documents) > len(folders(tmp_path / "data")["docs"].utts)
    assert not (tmp_path / "data/queries_test/relevance.all").exists()


def test_all_languages_and_one_other(published, tmp_path):
    recipe.prepare(published, tmp_path / "all", language="all", partial=True)
    found = folders(tmp_path / "all")
    assert found["docs"].read("utt2lang") == {"quesst14_00001": "en", "quesst14_00002": "en", "quesst14_00003": "eu"}
    assert "quesst14_dev_0002 quesst14_00003\n" in (tmp_path / "all/queries_dev/relevance").read_text()
    with pytest.raises(SpeechrepError, match="docs has 3 utterances instead of 12492"):
        recipe.prepare(published, tmp_path / "whole", language="all")
    with pytest.raises(SpeechrepError, match="QUESST 2014: no utterances for queries_test"):
        recipe.prepare(published, tmp_path / "basque", language="basque")


def test_published_counts_are_wanted(published, tmp_path):
    with pytest.raises(SpeechrepError, match="docs has 2 utterances instead of 2438; queries_dev has 1 utterances instead"):
        recipe.prepare(published, tmp_path)


def test_a_missing_document(published, counted, tmp_path, capsys):
    shutil.copytree(published, tmp_path / "corpus")
    (tmp_path / "corpus/quesst14Database/Audio/quesst14_00002.wav").unlink()
    with pytest.raises(SpeechrepError, match="quesst14_00002.wav: no such file"):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data")
    recipe.prepare(tmp_path / "corpus", tmp_path / "data", partial=True)
    assert "1 of 2 lines of relevance name utterances that are not there, such as quesst14_00002" in capsys.readouterr().err
    folders(tmp_path / "data")
    assert (tmp_path / "data/queries_test/relevance").read_text() == "quesst14_eval_0001 quesst14_00001\n"


@pytest.mark.parametrize("spoil, message", [
    (lambda root: (root / "scoring/language_key_dev.lst").unlink(), "language_key_dev.lst: no such file"),
    (lambda root: (root / RTTM).unlink(), "quesst14_dev.rttm: no such file"),
    (lambda root: write(root / RTTM, *truth(("quesst14_00009", "quesst14_dev_0001"))), "_00009 is in no language key"),
    (lambda root: write(root / RTTM, *truth(("quesst14_00001", "quesst14_dev_0009"))), "dev_0009 is in no language key"),
    (lambda root: write(root / RTTM, "LEXEME quesst14_00001 1"), "LEXEME DOCUMENT 1 START DURATION QUERY"),
    (lambda root: write(root / "scoring/language_key_dev.lst", "quesst2014/dev_queries/quesst14_dev_0001.wav klingon"),
     "is in 'klingon'"),
    (lambda root: write(root / "scoring/language_key_dev.lst", "quesst2014/dev_queries/quesst14_dev_0001.wav"), "1 fields in"),
    (lambda root: shutil.rmtree(root / "scoring"), "no scoring in it")])
def test_what_cannot_be_right_is_refused(published, counted, tmp_path, spoil, message):
    shutil.copytree(published, tmp_path / "corpus")
    spoil(tmp_path / "corpus/quesst14Database")
    with pytest.raises(SpeechrepError, match=message):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data", partial=True)


def test_the_recipe_runs(published, tmp_path):
    made = run_recipe("quesst2014", tmp_path, "--corpus", str(published), "--partial", "true", "--nj", "1",
                      "--stop-stage", "1")
    assert (made / "data/queries_dev/relevance").read_text() == "quesst14_dev_0001 quesst14_00001\n"
    assert tasks_of("quesst2014", made / "data") == ["qbe"]
