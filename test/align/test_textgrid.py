"""TextGrids with praatio as the judge, and phone times imported from those of the Montreal Forced Aligner."""

import pytest

from speechrep.align.textgrid import Interval, read_textgrid, write_textgrid
from speechrep.errors import SpeechrepError

TIERS = {
    "words": [Interval(0.0, 0.2, ""), Interval(0.2, 0.9, 'say "hi" [1]: <exists>'), Interval(0.9, 1.25, "")],
    "phones": [Interval(0.0, 0.2, ""), Interval(0.2, 0.35, "t͡ʃ"), Interval(0.35, 0.7, "ɑː1"), Interval(0.7, 0.9, "5"),
               Interval(0.9, 1.25, "")],
}


def test_round_trip(tmp_path):
    write_textgrid(tmp_path / "a.TextGrid", TIERS)
    assert read_textgrid(tmp_path / "a.TextGrid") == TIERS


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
def test_praatio_reads_ours_and_we_read_praatio(tmp_path, form):
    praatio = pytest.importorskip("praatio.textgrid")
    write_textgrid(tmp_path / "a.TextGrid", TIERS)
    theirs = praatio.openTextgrid(str(tmp_path / "a.TextGrid"), includeEmptyIntervals=True)
    for name, items in TIERS.items():
        assert [Interval(*entry) for entry in theirs.getTier(name).entries] == items
    theirs.save(str(tmp_path / "b.TextGrid"), form, includeBlankSpaces=True)
    assert read_textgrid(tmp_path / "b.TextGrid") == TIERS


def test_gaps_are_filled(tmp_path):
    write_textgrid(tmp_path / "a.TextGrid", {"words": [Interval(0.5, 1.0, "a")], "phones": [Interval(0.0, 1.5, "b")]})
    assert read_textgrid(tmp_path / "a.TextGrid")["words"] == [(0.0, 0.5, ""), (0.5, 1.0, "a"), (1.0, 1.5, "")]


def test_utf16_and_point_tiers(tmp_path):
    text = ('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 1\n'
            'tiers? <exists>\nsize = 2\nitem []:\n item [1]:\n class = "TextTier"\n name = "tones"\n xmin = 0\n xmax = 1\n points: size = 1\n'
            ' points [1]:\n number = 0.5\n mark = "H*"\n'
            ' item [2]:\n class = "IntervalTier"\n name = "phones"\n xmin = 0\n xmax = 1\n intervals: size = 1\n'
            ' intervals [1]:\n xmin = 0\n xmax = 1\n text = "é"\n')
    (tmp_path / "a.TextGrid").write_bytes(text.encode("utf-16"))
    assert read_textgrid(tmp_path / "a.TextGrid") == {"phones": [(0.0, 1.0, "é")]}


HEAD = 'File type = "ooTextFile"\nObject class = "TextGrid"\n'


@pytest.mark.parametrize("text", ["", "hello", HEAD, HEAD + '0 1 <exists> 1 "IntervalTier" "x" 0 1 1 0 1'])
def test_malformed(tmp_path, text):
    (tmp_path / "a.TextGrid").write_text(text)
    with pytest.raises(SpeechrepError, match="a.TextGrid"):
        read_textgrid(tmp_path / "a.TextGrid")


def test_overlap_is_refused(tmp_path):
    with pytest.raises(SpeechrepError, match="rising"):
        write_textgrid(tmp_path / "a.TextGrid", {"x": [Interval(0.0, 1.0, "a"), Interval(0.5, 2.0, "b")]})
    assert not (tmp_path / "a.TextGrid").exists()
