"""Verbs as processes that begin at once: forks of a server that has the packages loaded. For tests that kill them, or that
need several of them to train together."""

import json
import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path

LOADED = ["torch", "torch.utils.tensorboard", "torchdata.stateful_dataloader", "speechrep.train.pretrain",
          "speechrep.align.corpus", "speechrep.tasks.represent", "speechrep.tasks.generate", "speechrep.tasks.synthesis_score",
          "speechrep.report.page"]

FINAL = {"score.json", "done.json"}


def start(arguments: list, cwd: Path, log: Path, env: dict[str, str] | None = None):
    """`speechrep ARGUMENTS` in the folder `cwd`, which prints to `log`; returns the process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    process = context.Process(target=_verb, args=([str(word) for word in arguments], str(cwd), str(log), env or {}))
    process.start()
    return process


def _verb(arguments: list[str], cwd: str, log: str, env: dict[str, str]) -> None:
    os.environ.update(env, OMP_NUM_THREADS="1")
    os.chdir(cwd)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1), os.dup2(file, 2)
    import torch

    from speechrep.bin import main
    torch.set_num_threads(1)
    sys.argv = ["speechrep", *arguments]
    sys.exit(main(arguments))


def finish(processes: list, logs: list[Path]) -> None:
    """Wait until all have ended well."""
    for process, log in zip(processes, logs):
        process.join(900)
        assert process.exitcode == 0, (process.exitcode, log.read_text()[-3000:])


def kill(process) -> bool:
    """kill -9; whether it was still running."""
    os.kill(process.pid, signal.SIGKILL) if process.is_alive() else None
    process.join()
    return process.exitcode == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    """What every file says, less the time and place at which a score or a run was made, and how long it took; logs of
    jobs and events aside."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or "tensorboard" in name.parts or "log" in name.parts or path.suffix == ".log" \
                or path.name == "time.json":
            continue
        found[str(name)] = path.read_bytes()
        if path.name in FINAL:
            values = json.loads(found[str(name)])
            values.pop("provenance", None), values.pop("train_sec", None)
            found[str(name)] = json.dumps(values).encode()
    return found


def start_ranks(count: int, arguments: list, cwd: Path, logs: list[Path]) -> list:
    """`count` processes that train together, with the variables that torchrun sets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return [start(arguments, cwd, logs[rank], {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
                                               "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port})
            for rank in range(count)]
