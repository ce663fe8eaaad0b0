"""`speechrep` at once: a server that has the packages loaded and forks for each call. For tests that run recipes, whose
dozens of calls would each load them anew.

  python test/verb_server.py SOCKET        serves until its standard input ends
"""

import array
import fcntl
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOADED = ["speechrep.train.pretrain", "speechrep.tasks.train", "speechrep.tasks.represent", "speechrep.tasks.generate",
          "speechrep.tasks.synthesis_score", "speechrep.align.corpus", "speechrep.report.page", "speechrep.vocoder.neural",
          "torch.utils.tensorboard", "torchdata.stateful_dataloader", "scipy.stats", "matplotlib.pyplot", "torch._dynamo"]

CLIENT = """#!{python} -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    call = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    server.sendmsg([len(call).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    server.sendall(call)
    answer = server.recv(1)
sys.exit(answer[0] if answer else 1)
"""


@functools.cache
def speechrep_at_once() -> Path:
    """A program that is `speechrep`, for as long as this process lives. Killed in any way, it ends at once."""
    folder = Path(tempfile.mkdtemp(prefix="speechrep-at-once-"))
    command, address, log = folder / "speechrep", folder / "socket", folder / "log"
    command.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    command.chmod(0o755)
    with open(log, "w") as file:
        # With a session of its own, so that what it forked ends with it.
        server = subprocess.Popen([sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=file, stderr=file,
                                  start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not address.exists():
        assert server.poll() is None, log.read_text()
        time.sleep(0.05)
    return command


def serve(address: str) -> None:
    """Answer each call with the exit status of a fork that has done it."""
    import importlib
    import shutil
    for name in LOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address + ".new")
        listener.listen(16)
        os.rename(address + ".new", address)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            client, _ = listener.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _call(client)
            client.close()
    shutil.rmtree(Path(address).parent)
    os.killpg(0, signal.SIGKILL)


def _call(client: socket.socket) -> None:
    status = 1
    try:
        size, rights, _, _ = client.recvmsg(4, socket.CMSG_SPACE(12))
        with client.makefile("rb") as file:
            arguments, folder, environment = json.loads(file.read(int.from_bytes(size, "big")))
        for ours, theirs in enumerate(array.array("i", rights[0][2])):
            os.dup2(theirs, ours)
            os.close(theirs)
        # Who asked is gone, and with the signal that says so this process, when there is something to read: the end.
        fcntl.fcntl(client, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(client, fcntl.F_SETFL, fcntl.fcntl(client, fcntl.F_GETFL) | os.O_ASYNC)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["speechrep", *arguments]
        import torch

        from speechrep.bin import main
        torch.set_num_threads(1)
        status = main(arguments)
    except SystemExit as exit:
        status = exit.code if isinstance(exit.code, int) else 0 if exit.code is None else 1
    except BaseException:
        import traceback
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    client.sendall(bytes([status]))
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
