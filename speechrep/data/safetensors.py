"""Files of tensors in the safetensors format: 8 bytes of header length, a JSON header, raw little-endian buffers. Nothing in
them can run code. (https://github.com/huggingface/safetensors describes the format.)"""

import json
import struct
from pathlib import Path

import numpy as np
import torch

from speechrep.errors import SpeechrepError
from speechrep.files import atomic_path

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
          "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
MAX_HEADER = 100_000_000
"""Bytes of header beyond which a file is refused, as by the reference implementation."""


def read_safetensors(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors in a file by name. A missing, cut or malformed file is a `SpeechrepError`."""
    path = Path(path)
    try:
        content = np.memmap(path, np.uint8, "r")
        size = struct.unpack("<Q", content[:8].tobytes())[0]
        if size > MAX_HEADER or 8 + size > len(content):
            raise ValueError(f"a header of {size} bytes in a file of {len(content)}")
        header = json.loads(content[8:8 + size].tobytes())
        body = content[8 + size:]
        return {name: _tensor(body, entry) for name, entry in header.items() if name != "__metadata__"}
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", "a file of tensors") from None
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise SpeechrepError(f"{path}: not readable as safetensors ({error})", "a whole file",
                             "copy it again") from None


def _tensor(body: np.ndarray, entry: dict) -> torch.Tensor:
    first, last = entry["data_offsets"]
    dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
    count = int(np.prod(shape, dtype=np.int64))
    if not 0 <= first <= last <= len(body) or min(shape, default=0) < 0 or last - first != count * dtype.itemsize:
        raise ValueError(f"bytes {first} to {last} of {len(body)} for a tensor of shape {shape}")
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    # A copy of its own, since the file may be replaced while the tensor lives.
    return torch.from_numpy(np.array(body[first:last])).view(dtype).view(shape)


def write_safetensors(path: str | Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors by name, atomically."""
    header: dict = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as tmp, open(tmp, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            # A scalar has no last dimension to reinterpret.
            file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
