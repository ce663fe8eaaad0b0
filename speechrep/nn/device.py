"""What `--device` means, in every verb that has it."""

import torch

from speechrep.errors import SpeechrepError

WANTED = "cpu, cuda, cuda:1 ..., or auto, which takes a GPU where there is one"


def find_device(name: str, local: int = 0) -> str:
    """The device that `name` means, as torch writes it: auto is cuda where a GPU is seen and cpu elsewhere; cuda without a
    number is the GPU of number `local`, of each process on a machine another one.

    Raises `SpeechrepError` for a name that torch does not know and for a GPU that is not there.
    """
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        asked = torch.device(name if name != "auto" else "cuda" if seen else "cpu")
    except RuntimeError:
        raise SpeechrepError(f"--device {name}", WANTED) from None
    if asked.type != "cuda":
        return str(asked)
    number = local if asked.index is None else asked.index
    if number >= seen:
        raise SpeechrepError(f"--device {name}: GPU {number} is asked for, {seen} are seen", WANTED,
                             "`speechrep doctor` tells what it sees; fewer --processes where there is one for each")
    return f"cuda:{number}"
