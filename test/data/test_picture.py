"""Pictures in and out."""

import numpy as np
import pytest

from speechrep.data.picture import fit_square, read_picture, write_picture
from speechrep.errors import SpeechrepError


def test_a_picture_comes_back_as_it_was(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    write_picture(tmp_path / "a.png", pixels)
    assert np.array_equal(read_picture(tmp_path / "a.png"), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_is_transparent_is_white(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (200, 0, 0, 255)
    rgba[0, 1] = (0, 0, 0, 51)
    image.fromarray(rgba).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").tolist() == [[[200, 0, 0], [204, 204, 204]], [[255, 255, 255]] * 2]


def test_grey_and_palette_become_colours(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((2, 3), 7, np.uint8)).save(tmp_path / "grey.png")
    image.fromarray(np.full((2, 3, 3), 9, np.uint8)).convert("P").save(tmp_path / "palette.png")
    assert read_picture(tmp_path / "grey.png").tolist() == [[[7, 7, 7]] * 3] * 2
    assert read_picture(tmp_path / "palette.png").shape == (2, 3, 3)


def test_the_whole_picture_fits_into_the_square():
    square = fit_square(np.zeros((10, 40, 3), np.uint8), 20)
    rows = (square == 0).all(-1).all(1)
    assert square.shape == (20, 20, 3) and rows.sum() == 5 and rows[8:12].all() and (square[:7] == 255).all()
    assert fit_square(np.zeros((1, 500, 3), np.uint8), 20).shape == (20, 20, 3)
    small = np.random.default_rng(1).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    assert np.array_equal(fit_square(small, 20), small)


@pytest.mark.parametrize("size", ['width="40mm" height="20mm"', 'width="30pt" height="15pt"', ""])
def test_drawings_of_any_unit(tmp_path, size):
    pytest.importorskip("resvg_py")
    (tmp_path / "a.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 4 2">'
                                    '<rect width="2" height="2" fill="#00f"/></svg>')
    pixels = read_picture(tmp_path / "a.svg")
    height, width = pixels.shape[:2]
    assert abs(width - 2 * height) <= 2
    assert pixels[height // 2, width // 4].tolist() == [0, 0, 255]
    assert pixels[height // 2, -5].tolist() == [255, 255, 255]


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not a picture")
    (tmp_path / "a.svg").write_text("<html></html>")
    for name, found in (("a.png", "not readable as a picture"), ("b.png", "no such file"), ("b.svg", "no such file")):
        with pytest.raises(SpeechrepError, match=found):
            read_picture(tmp_path / name)
    pytest.importorskip("resvg_py")
    with pytest.raises(SpeechrepError, match="not readable as a picture"):
        read_picture(tmp_path / "a.svg")
