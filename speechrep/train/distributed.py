"""Processes under torchrun (or Slurm's srun, which sets the same variables through torchrun), several that are started
here, and one process alone."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from speechrep.errors import SpeechrepError
from speechrep.nn.device import find_device


@dataclass(frozen=True)
class World:
    """This process among all: rank 0 speaks and writes."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes, in double precision."""
        values = values.detach().to(self.device, torch.float64)
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all processes must ask."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor(float(flag))))

    def gather(self, value: Any) -> list[Any]:
        """The plain values of all processes in rank order, on every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


def speaks() -> bool:
    """Whether this process is the one that prints, before `start` or after."""
    return os.environ.get("RANK", "0") == "0"


def start(device: str = "auto") -> World:
    """Join the other processes where torchrun's variables say so; pick this process's device."""
    size, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    chosen = torch.device(find_device(device, local))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return World(int(os.environ.get("RANK", 0)), size, chosen)


def run_in(processes: int, function: Callable[..., None], *args: Any) -> int:
    """Call function(*args) in so many processes of this machine, as torchrun would; returns the exit status.

    One process, or a process that torchrun has started, calls it right here; one of several then ends.
    """
    if processes <= 1 or "WORLD_SIZE" in os.environ:
        function(*args)
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            _end()
        return 0
    from torch.multiprocessing.spawn import ProcessExitedException, start_processes
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Read when torch is imported, by threads that torch.set_num_threads does not reach too.
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    children = start_processes(_child, (processes, port, function, args), processes, join=False, start_method="spawn")
    before = signal.signal(signal.SIGTERM, lambda *_: [os.kill(pid, signal.SIGTERM) for pid in children.pids()])
    try:
        while not children.join():
            pass
    except ProcessExitedException as ended:
        return ended.exit_code or 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _child(rank: int, processes: int, port: int, function: Callable[..., None], args: tuple) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port)}
    try:
        function(*args)
    except SpeechrepError as error:
        # What all of them find, the first one says.
        time.sleep(0 if rank == 0 else 30)
        print(f"speechrep: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    _end()


def _end() -> None:
    """What torch leaves to the end of the interpreter can abort it, now and then, when all is done and written; among
    several processes torchrun then takes the run for failed. So nothing is left to it."""
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(0)


def finish(world: World) -> None:
    """Leave the other processes, all at once."""
    if world.size > 1 and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
