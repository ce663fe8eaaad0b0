"""Files that appear whole, and folders that one process at a time works in."""

import os
import subprocess
import sys
import time

import pytest

from speechrep.errors import SpeechrepError
from speechrep.files import alone_in

HOLDER = """
import sys, time
from speechrep.files import alone_in
with alone_in(sys.argv[1]):
    print("there", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(folder, seconds):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True,
                              env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert holder.stdout.readline() == "there\n"
    return holder


def test_one_process_at_a_time(tmp_path):
    holder = hold(tmp_path / "exp", 60)
    with pytest.raises(SpeechrepError, match="another process is at work"), alone_in(tmp_path / "exp", patience_sec=0.2):
        pass
    with alone_in(tmp_path / "other"):
        pass
    holder.kill()
    holder.wait()
    with alone_in(tmp_path / "exp", patience_sec=0):
        pass
    assert not list((tmp_path / "exp").iterdir()), "nothing is left behind"


def test_the_second_waits(tmp_path):
    holder, began = hold(tmp_path, 0.5), time.monotonic()
    with alone_in(tmp_path, patience_sec=60):
        assert time.monotonic() - began < 55
    assert holder.wait() == 0


def test_an_error_lets_go(tmp_path):
    with pytest.raises(ValueError), alone_in(tmp_path):
        raise ValueError
    with alone_in(tmp_path, patience_sec=0):
        pass
