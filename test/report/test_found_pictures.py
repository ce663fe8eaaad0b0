"""What descriptions found, on the page: which rows, which pictures, which is framed."""

import base64
from pathlib import Path

import pytest
from test_page import Reader
from toy_corpus import folder

from speechrep.errors import SpeechrepError
from speechrep.metrics.score import write_score
from speechrep.report import found_pictures
from speechrep.report.page import make_report


@pytest.fixture
def scored(recipe):
    """Two scores: of an untrained network, and of a trained one in which each description finds its own picture second."""
    test = folder(recipe, "test")
    pictures, utts = test.read("image.scp"), sorted(test.utts)
    others = {utt: next(other for other in utts if pictures[other] != pictures[utt]) for utt in utts}
    for system, source in (("a-random", "random:exp/vq/best.pt"), ("vq", "exp/vq/best.pt")):
        write_score(recipe / "exp" / system / "score.json", task="pictures", part="test", system=system, seed=0,
                    metrics={"speech_to_picture_1": {"value": 0.0, "low": None, "high": None, "n": 8, "unit": "%",
                                                     "better": "higher"}},
                    per_utt={utt: {"speech_to_picture_place": 2.0, "found": f"{others[utt]} {utt}"} for utt in utts},
                    provenance={"config": {"checkpoint": source}})
    return recipe, test, others


def test_the_trained_system_is_shown(scored):
    from speechrep.report.collect import find_scores
    scores = find_scores(scored[0] / "exp")
    assert found_pictures.choose(scores)["system"] == "vq"
    assert found_pictures.choose([score for score in scores if score["system"] != "vq"]) is None


def test_rows_are_spread_evenly_and_say_what_is_right(scored):
    recipe, test, others = scored
    rows = found_pictures.examples(recipe / "exp/vq", test, rows=4)
    utts, pictures = sorted(test.utts), test.read("image.scp")
    assert [row.clip.utt for row in rows] == utts[::2] and all(row.place == 2 for row in rows)
    for row in rows:
        utt = row.clip.utt
        assert row.text == test.read("text")[utt] and row.of == len(set(pictures.values()))
        assert [right for _, right in row.found] == [False, True]
        for uri, path in zip([row.meant, *(uri for uri, _ in row.found)],
                             [pictures[utt], pictures[others[utt]], pictures[utt]]):
            assert base64.b64decode(uri.removeprefix("data:image/png;base64,")) == Path(path).read_bytes()
    assert len(found_pictures.examples(recipe / "exp/vq", test, rows=99)) == len(utts)


def test_on_the_page(scored, tmp_path):
    recipe, test, _ = scored
    page = Reader(make_report(recipe / "exp", recipe / "data", recipe / "dump", tmp_path).read_text())
    assert [attrs["id"] for attrs in page.all("section")][2] == "pictures"
    images = [image for image in page.all("img") if image["src"].startswith("data:image/png") and "picture" in image["alt"]]
    assert len(images) == 3 * len(test.utts) and sum(image.get("class") == "right" for image in images) == len(test.utts)
    assert "vq (vq) orders them" in " ".join(page.text.split())


def test_a_table_of_an_earlier_version_or_none(scored):
    recipe, test, _ = scored
    table = recipe / "exp/vq/per_utt.tsv"
    for lines in (["utt\tspeech_to_picture_place", f"{test.utts[0]}\t1"],
                  ["utt\tspeech_to_picture_rank\tfound", f"{test.utts[0]}\t0\t{test.utts[0]}"], None):
        table.unlink() if lines is None else table.write_text("\n".join([*lines, ""]))
        with pytest.raises(SpeechrepError, match="not what descriptions of .*test find"):
            found_pictures.examples(recipe / "exp/vq", test)


def test_a_picture_that_has_gone(scored):
    recipe, test, _ = scored
    test.write("image.scp", test.read("image.scp") | {min(test.utts): "gone.png"})
    with pytest.raises(SpeechrepError, match="gone.png: No such file"):
        found_pictures.examples(recipe / "exp/vq", folder(recipe, "test"))
