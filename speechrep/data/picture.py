"""Pictures in and out: PNG through Pillow, SVG through resvg, imported only where a picture is read (extra `vision`).

Pictures of a corpus are brought to one small square when it is prepared, so that reading one costs a millisecond.
"""

import io
from pathlib import Path

import numpy as np

from speechrep.errors import SpeechrepError
from speechrep.files import atomic_path

SIZE_PX = 128
"""Side of the square that a recipe's pictures are brought to."""

DPI = 96.0
"""For drawings whose size is given in millimetres or points: CSS's."""


def read_picture(path: str | Path) -> np.ndarray:
    """The pixels of a picture file as they are, uint8 [H, W, 3]; what is transparent is white.

    Raises `SpeechrepError` for a missing file and for one that is no picture.
    """
    from PIL import Image, UnidentifiedImageError
    path = Path(path)
    try:
        with Image.open(io.BytesIO(_drawn(path)) if path.suffix.lower() in (".svg", ".svgz") else path) as image:
            rgba = image.convert("RGBA")
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", "a picture", "run the recipe's stage 1 again") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise SpeechrepError(f"{path}: not readable as a picture ({error})", "PNG or SVG",
                             "convert it to PNG, or leave it out") from None
    canvas = Image.new("RGBA", rgba.size, "white")
    return np.array(Image.alpha_composite(canvas, rgba).convert("RGB"))


def fit_square(pixels: np.ndarray, size_px: int = SIZE_PX) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [size_px, size_px, 3]: the whole picture, its proportions kept, white beside it."""
    from PIL import Image
    height, width = pixels.shape[:2]
    scale = size_px / max(height, width)
    new = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(pixels).resize(new, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (size_px, size_px), "white")
    canvas.paste(small, ((size_px - new[0]) // 2, (size_px - new[1]) // 2))
    return np.asarray(canvas)


def write_picture(path: str | Path, pixels: np.ndarray, sync: bool = True) -> None:
    """Write uint8 [H, W, 3] as PNG, atomically; sync: see `atomic_path`."""
    from PIL import Image
    with atomic_path(path, sync) as tmp:
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp, format="PNG")


def _drawn(path: Path) -> bytes:
    """A drawing as a PNG file, twice as wide as what it is scaled down to."""
    try:
        import resvg_py
    except ImportError:
        raise SpeechrepError(f"{path}: drawings need the package resvg-py", "the extra 'vision'",
                             "pip install 'speechrep[vision]'") from None
    if not path.is_file():
        raise FileNotFoundError(path)
    return bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=2 * SIZE_PX, dpi=DPI, skip_system_fonts=True))
