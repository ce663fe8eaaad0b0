"""The page: it holds what there is, says what is missing, is well-formed and asks nothing of the network."""

import html.parser
import re
import shutil

import pytest

from speechrep.errors import SpeechrepError

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Reader(html.parser.HTMLParser):
    """Checks that tags are closed in order, and keeps elements and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def test_reader_sees():
    with pytest.raises(AssertionError):
        Reader("<p><b></p></b>")
    with pytest.raises(AssertionError):
        Reader("<div>")


def test_it_holds_everything(page):
    page = Reader(page)
    assert "Toys & <b>tests</b>" in page.text, "the title is text, not markup"
    for number in ("5.43", "[5.12, 5.68]", "31.25", "12.50", "[10.00, 15.00]", "0.910", "[0.880, 0.940]"):
        assert number in page.text
    assert "note on tts <b>" in page.text and "Text-to-speech test" in page.text
    for origin in ("0123456789ab + changes", "speechrep score ctap/quick/tts/test", "fedcba987654",
                   "speechrep pretrain --conf conf/quick.yaml", "dim: 24", "12345"):
        assert origin in page.text
    assert [row for row in page.all("tr") if "ceiling" in row.get("class", "")]
    # 4 utterances x (natural, vocoded, TTS); 2 pairs x (source, target's voice, VC)
    assert len(page.all("audio")) == 4 * 3 + 2 * 3
    assert all(audio["src"].startswith("data:audio/flac;base64,") for audio in page.all("audio"))
    images = [image["src"][:22] for image in page.all("img")]
    # alignment, similarity, two maps; the losses of two runs
    assert sorted(images) == ["data:image/png;base64,"] * 4 + ["data:image/svg+xml;bas"] * 2
    assert all(image["alt"] for image in page.all("img"))
    assert "0.0 ms from the true ones" in page.text
    assert not [attrs for attrs in page.all("p") if attrs.get("class") in ("missing", "problem")]


def test_it_needs_no_network(page):
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?://|@import|src=\"(?!data:)|url\(", text)


def test_contents_lead_to_sections(page):
    page = Reader(page)
    anchors = [attrs["id"] for attrs in page.all("section")]
    assert anchors == ["results", "listen", "alignment", "similarity", "map", "curves", "runs", "data"]
    assert [attrs["href"] for attrs in page.all("a")] == [f"#{anchor}" for anchor in anchors]


def test_the_same_page_each_time(page, made):
    from speechrep.report.page import make_report
    again = make_report(made / "exp", made / "data", made / "dump", made / "again", title="Toys & <b>tests</b>",
                        frames=120)
    assert again.read_text(encoding="utf-8") == page


def test_an_empty_experiment_says_what_to_run(undrawn, recipe, report):
    for name in ("exp", "data", "dump"):
        shutil.rmtree(recipe / name)
    (recipe / "exp").mkdir()
    page = Reader(report())
    assert len([attrs for attrs in page.all("p") if attrs.get("class") == "missing"]) == 8
    for verb in ("speechrep score", "speechrep decode", "speechrep align", "speechrep pretrain"):
        assert verb in page.text
    assert not page.all("audio") and not page.all("img")


@pytest.mark.parametrize("gone, missing", [("data", 0), ("dump", 0), ("exp/ctap", 0), ("data/test/ali", 3),
                                           ("data/test/ali.true", 0), ("exp/griffin-lim", 0),
                                           ("exp/ctap/quick/best.pt", 2),
                                           ("exp/ctap/quick/config.yaml", 2), ("exp/natural", 0)])
def test_without_any_one_piece(undrawn, recipe, report, gone, missing):
    path = recipe / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = Reader(report())
    found = len([attrs for attrs in page.all("p") if attrs.get("class") == "missing"])
    assert found >= missing if gone in ("data", "exp/ctap") else found == missing


def test_a_problem_is_shown_where_it_belongs(undrawn, recipe, report, capsys):
    shutil.rmtree(recipe / "dump")
    page = Reader(report())
    assert len([attrs for attrs in page.all("p") if attrs.get("class") == "problem"]) == 2
    assert "Frame similarity: " in capsys.readouterr().err


def test_a_clip_that_cannot_be_read(undrawn, recipe, report):
    wav_scp = recipe / "exp/ctap/quick/tts/test/data/wav.scp"
    wav_scp.write_text(wav_scp.read_text().replace(".wav", ".gone"))
    page = Reader(report())
    assert len(page.all("audio")) == 4 * 2 + 2 * 3
    assert page.text.count("not readable") == 4 and "4 clips could not be read" in page.text


def test_credits_go_with_the_audio(undrawn, recipe, report):
    (recipe / "CREDITS").write_text("spoken by Ä, <CC BY-SA>")
    assert "spoken by Ä, <CC BY-SA>" in Reader(report(credits=[recipe / "CREDITS"])).text
    with pytest.raises(SpeechrepError, match="NOBODY"):
        report(credits=[recipe / "NOBODY"])


def test_a_named_checkpoint_must_be_one(undrawn, recipe, report):
    with pytest.raises(SpeechrepError, match="nowhere.pt"):
        report(ctap=recipe / "nowhere.pt")
    (recipe / "bad.pt").write_text("no checkpoint")
    with pytest.raises(SpeechrepError, match="bad.pt"):
        report(ctap=recipe / "bad.pt")


def test_a_foreign_checkpoint_that_was_not_named(undrawn, recipe, report):
    (recipe / "exp/ctap/quick/best.pt").write_text("cut off")
    page = Reader(report())
    assert "not readable as a checkpoint" in page.text and len(page.all("audio")) == 18


def test_no_experiment(recipe, report):
    shutil.rmtree(recipe / "exp")
    with pytest.raises(SpeechrepError, match="no such folder"):
        report()


def test_the_verb(undrawn, recipe, capsys):
    from speechrep.bin import main
    arguments = ["report", "--exp", str(recipe / "exp"), "--data", str(recipe / "data"), "--dump", str(recipe / "dump"),
                 "--out", str(recipe / "out"), "--frames", "80", "--title", "Toys"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == str(recipe / "out/index.html")
    assert "<h1>Toys</h1>" in (recipe / "out/index.html").read_text(encoding="utf-8")
    assert main(["report", "--exp", str(recipe / "nothing")]) == 1
    assert "no such folder" in capsys.readouterr().err
