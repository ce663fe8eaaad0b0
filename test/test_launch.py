"""The launcher: order, logs, failures, interruption, and a real Slurm of one node started for the test."""

import errno
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from speechrep import launch
from speechrep.errors import SpeechrepError
from speechrep.launch import advance, during, run_jobs, slurm_options


def square(number, slow_first=False):
    if slow_first and number == 0:
        time.sleep(0.3)
    print(f"squaring {number}")
    return number * number


def fail_on_two(number):
    for utt in ("en-0001", "en-0002"):
        print(f"reading {utt}")
        with during(f"utterance {utt}"):
            if number == 2 and utt == "en-0002":
                raise ValueError("array is empty")
    return number


def refuse(number):
    raise SpeechrepError(f"data/x/wav.scp: utterance en-{number:04d} is empty", "audio", "remove it")


def full_disk(number):
    raise OSError(errno.ENOSPC, "No space left on device", "feats.1.ark")


def killed(number):
    if number == 1:
        print("about to go", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def fail_or_wait(number, folder):
    if number == 0:
        raise ValueError("first one fails")
    Path(folder, f"pid.{number}").write_text(str(os.getpid()))
    time.sleep(600)
    Path(folder, f"done.{number}").touch()


def threads_and_place(number):
    return os.environ.get("OMP_NUM_THREADS"), os.environ.get("LAUNCH_TEST"), os.getpid()


def most_at_once(number, folder):
    mine = Path(folder, f"running.{number}")
    mine.touch()
    time.sleep(0.2)
    # On a busy machine a second job may begin later than that; once two have met there is no need to wait for another.
    met, end = Path(folder, "met"), time.monotonic() + 100
    while (seen := len(list(Path(folder).glob("running.*")))) < 2 and not met.exists() and time.monotonic() < end:
        time.sleep(0.05)
    if seen >= 2:
        met.touch()
    mine.unlink()
    return seen


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split(")")[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone since it was asked
        return False


def gone_within(pids, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(alive(pid) for pid in pids):
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("nj", [1, 2, 8])
def test_results_keep_the_order_of_the_jobs(tmp_path, nj):
    assert run_jobs(square, [(i, True) for i in range(5)], log_dir=tmp_path, nj=nj, title="squares") == [0, 1, 4, 9, 16]


def test_no_jobs_and_no_workers(tmp_path):
    assert run_jobs(square, [], log_dir=tmp_path, nj=4, title="squares") == []
    with pytest.raises(SpeechrepError, match="--nj 0"):
        run_jobs(square, [(1,)], log_dir=tmp_path, nj=0, title="squares")
    with pytest.raises(SpeechrepError, match="local or slurm"):
        run_jobs(square, [(1,)], log_dir=tmp_path, nj=1, title="squares", backend="pbs")


def test_each_job_has_its_log_and_one_thread(tmp_path, monkeypatch):
    run_jobs(square, [(i,) for i in range(3)], log_dir=tmp_path / "log", nj=2, title="some squares")
    assert [(tmp_path / f"log/some-squares.{i + 1}.log").read_text() for i in range(3)] == [
        "squaring 0\n", "squaring 1\n", "squaring 2\n"]
    monkeypatch.setenv("LAUNCH_TEST", "set after the fork server started")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    told = run_jobs(threads_and_place, [(0,), (1,)], log_dir=tmp_path, nj=2, title="place")
    assert [answer[:2] for answer in told] == [("1", "set after the fork server started")] * 2
    assert os.getpid() not in [answer[2] for answer in told]
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert run_jobs(threads_and_place, [(0,)], log_dir=tmp_path, nj=4, title="place")[0][2] == os.getpid()


def test_no_more_than_nj_at_once(tmp_path):
    assert max(run_jobs(most_at_once, [(i, str(tmp_path)) for i in range(6)], log_dir=tmp_path, nj=2, title="x")) == 2


@pytest.mark.parametrize("nj", [1, 2])
def test_failure_shows_the_last_lines_and_the_utterance(tmp_path, nj):
    with pytest.raises(SpeechrepError) as caught:
        run_jobs(fail_on_two, [(i,) for i in range(4)], log_dir=tmp_path, nj=nj, title="dump")
    message = str(caught.value)
    assert message.startswith("dump: job 3 of 4: ValueError: array is empty (during utterance en-0002)")
    assert 'raise ValueError("array is empty")' in message and str(tmp_path / "dump.3.log") in message
    if nj == 2:
        assert "reading en-0002" in (tmp_path / "dump.3.log").read_text()


@pytest.mark.parametrize("nj", [1, 2])
def test_error_of_a_job_keeps_its_words(tmp_path, nj):
    with pytest.raises(SpeechrepError) as caught:
        run_jobs(refuse, [(7,), (7,)], log_dir=tmp_path, nj=nj, title="check")
    assert "utterance en-0007 is empty" in caught.value.found
    assert caught.value.wanted == "audio" and caught.value.cure.startswith("remove it")


@pytest.mark.parametrize("nj", [1, 2])
def test_full_disk_stays_what_it_is(tmp_path, nj):
    with pytest.raises(OSError) as caught:
        run_jobs(full_disk, [(1,), (2,)], log_dir=tmp_path, nj=nj, title="dump")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == "feats.1.ark"


def test_killed_job_is_told_apart(tmp_path):
    start = time.monotonic()
    with pytest.raises(SpeechrepError, match="job 2 of 2: ended without a result .killed by SIGKILL") as caught:
        run_jobs(killed, [(0,), (1,)], log_dir=tmp_path, nj=2, title="align")
    assert "about to go" in str(caught.value) and "--nj" in caught.value.cure
    assert time.monotonic() - start < 300


def test_others_are_stopped_when_one_fails(tmp_path):
    with pytest.raises(SpeechrepError, match="first one fails"):
        run_jobs(fail_or_wait, [(1, str(tmp_path)), (0, str(tmp_path)), (2, str(tmp_path))], log_dir=tmp_path, nj=2,
                 title="x")
    pids = [int(path.read_text()) for path in tmp_path.glob("pid.*")]
    assert gone_within(pids, 100) and not list(tmp_path.glob("done.*")) and not (tmp_path / "pid.2").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_jobs_end_with_their_parent(tmp_path, how):
    script = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
              "from speechrep.launch import run_jobs\nimport test_launch\n"
              "if __name__ == '__main__':\n"
              f"    run_jobs(test_launch.fail_or_wait, [(1, {str(tmp_path)!r}), (2, {str(tmp_path)!r})],"
              f" log_dir={str(tmp_path)!r}, nj=2, title='x')\n")
    (tmp_path / "main.py").write_text(script)
    root = str(Path(launch.__file__).parents[1])
    # A shell's background jobs inherit an ignored SIGINT, and so would this one.
    parent = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], stderr=subprocess.DEVNULL,
                              start_new_session=True, env=dict(os.environ, PYTHONPATH=root),
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    end = time.monotonic() + 200
    while time.monotonic() < end and not all((tmp_path / f"pid.{i}").exists() for i in (1, 2)):
        time.sleep(0.05)
    time.sleep(0.1)
    pids = [int((tmp_path / f"pid.{i}").read_text()) for i in (1, 2)]
    os.kill(parent.pid, how) if how != signal.SIGINT else os.killpg(parent.pid, how)
    assert gone_within(pids, 100), "a job outlived the process that started it"
    assert parent.wait(100) != 0


def test_progress_within_a_job(monkeypatch):
    seen = []
    monkeypatch.setattr(launch, "_tell", seen.append)
    monkeypatch.setattr(launch, "_told", -10.0)
    for done in range(100):
        advance(done + 50, 200)
    assert seen == [0.25]


def test_bar_counts_parts_and_never_goes_back():
    with launch._Bar("x", 4) as bar:
        bar.set(0, 0.5)
        bar.set(1, 0.25)
        bar.set(0, 0.25)
        assert bar.bar.n == 0.75
        bar.finish(0)
        assert bar.bar.n == 1.25


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(SpeechrepError("found", "wanted", "cure")))
    assert (error.found, error.wanted, error.cure) == ("found", "wanted", "cure")


def test_slurm_options():
    assert slurm_options(" partition=main  time=60 gres=gpu:1 ") == {"partition": "main", "time": 60, "gres": "gpu:1"}
    with pytest.raises(SpeechrepError, match="key=value"):
        slurm_options("partition")


def test_slurm_absent_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SPEECHREP_BACKEND", "slurm")
    with pytest.raises(SpeechrepError, match="sbatch|submitit"):
        run_jobs(square, [(1,)], log_dir=tmp_path, nj=1, title="x")


# A real Slurm


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster():
    """A Slurm of one node in a folder of its own; yields nothing, but sets SLURM_CONF."""
    absent = [tool for tool in ("slurmctld", "slurmd", "sbatch", "munged") if not shutil.which(tool, path=tool_path())]
    if absent:
        pytest.skip(f"no {', '.join(absent)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of one's own needs root")
    pytest.importorskip("submitit", reason="pip install submitit")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # a socket's path may have 107 characters, too few for tmp_path
    folder.chmod(0o755)
    for name in ("state", "spool", "log"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4 >> 20
    (folder / "slurm.conf").write_text(f"""\
ClusterName=speechrep
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
KillWait=2
ReturnToService=2
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
""")
    before = {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
    os.environ.update(SLURM_CONF=str(folder / "slurm.conf"), PATH=tool_path())
    try:
        commands = [["munged", "-S", f"{folder}/munge.sock", f"--key-file={folder}/munge.key",
                     f"--pid-file={folder}/munged.pid", f"--log-file={folder}/log/munged.log",
                     f"--seed-file={folder}/munge.seed"],
                    ["slurmctld", "-f", f"{folder}/slurm.conf"], ["slurmd", "-f", f"{folder}/slurm.conf"]]
        for command in commands:
            answer = subprocess.run(command, capture_output=True, text=True)
            if answer.returncode:
                pytest.skip(f"{command[0]} does not start here: {answer.stderr.strip()[-300:]}")
        end = time.monotonic() + 200
        while time.monotonic() < end and "idle" not in subprocess.run(
                ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True).stdout:
            time.sleep(0.2)
        yield
    finally:
        # Jobs whose results are there may not have ended yet; without a controller their srun would wait for ever.
        end = time.monotonic() + 200
        while time.monotonic() < end and subprocess.run(["squeue", "--noheader"], capture_output=True).stdout.strip():
            time.sleep(0.2)
        for name in ("slurmd", "slurmctld", "munged"):
            pid_file = folder / f"{name}.pid"
            if pid_file.exists():
                pid = int(pid_file.read_text())
                os.kill(pid, signal.SIGTERM)
                gone_within([pid], 60)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        shutil.rmtree(folder, ignore_errors=True)


def tool_path():
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@pytest.fixture
def through_slurm(cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("SPEECHREP_BACKEND", "slurm")
    monkeypatch.setenv("SPEECHREP_SLURM", "partition=main time=5")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return tmp_path


def test_slurm_runs_jobs(through_slurm):
    results = run_jobs(square, [(i,) for i in range(4)], log_dir=through_slurm, nj=2, title="squares")
    assert results == [0, 1, 4, 9]
    assert "squaring 3" in (through_slurm / "squares.4.log").read_text()
    assert not (through_slurm / "squares.slurm").exists()
    node = run_jobs(threads_and_place, [(0,)], log_dir=through_slurm, nj=1, title="place")[0]
    assert node[0] == "1" and node[2] != os.getpid()


def test_slurm_failure_shows_the_utterance_and_cancels(through_slurm):
    start = time.monotonic()
    with pytest.raises(SpeechrepError) as caught:
        run_jobs(fail_on_two, [(2,)], log_dir=through_slurm, nj=1, title="dump")
    assert "job 1 of 1: ValueError: array is empty (during utterance en-0002)" in str(caught.value)
    assert 'raise ValueError("array is empty")' in str(caught.value)
    with pytest.raises(SpeechrepError, match="first one fails"):
        run_jobs(fail_or_wait, [(i, str(through_slurm)) for i in (0, 1, 2)], log_dir=through_slurm, nj=3, title="x")
    assert time.monotonic() - start < 300
    end = time.monotonic() + 200
    while time.monotonic() < end and subprocess.run(["squeue", "--noheader"], capture_output=True).stdout.strip():
        time.sleep(0.2)
    assert not list(through_slurm.glob("done.*"))
    assert not subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout.strip()


def test_slurm_job_that_dies_is_noticed(through_slurm, monkeypatch):
    monkeypatch.setattr(launch, "_RESULT_GRACE_SEC", 1.0)
    with pytest.raises(SpeechrepError, match="job 1 of 1: ended without a result .Slurm says") as caught:
        run_jobs(killed, [(1,)], log_dir=through_slurm, nj=1, title="align")
    assert "about to go" in str(caught.value)


def test_slurm_refusal_is_said(through_slurm):
    with pytest.raises(SpeechrepError, match="(?s)sbatch refused.*partition"):
        run_jobs(square, [(1,)], log_dir=through_slurm, nj=1, title="x", slurm={"partition": "nowhere"})
    with pytest.raises(SpeechrepError, match="number of minutes"):
        run_jobs(square, [(1,)], log_dir=through_slurm, nj=1, title="x", slurm={"time": "1:00:00"})


def test_slurm_dumps_and_aligns_a_corpus(through_slurm, monkeypatch):
    """The verbs of the parallel stages, as a recipe's cmd.sh sends them to a cluster: the same files as without one."""
    from toy_corpus import make_corpus

    from speechrep.bin import main
    root = str(Path(launch.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{root}")
    with monkeypatch.context() as local:
        local.setenv("SPEECHREP_BACKEND", "local")
        corpus = make_corpus(through_slurm, {"train": 12})
        monkeypatch.chdir(corpus)
        settings = ["--set", "rate_hz=8000", "--set", "hop_samples=80", "--set", "win_samples=200", "--set", "n_fft=256",
                    "--set", "high_hz=4000"]
        assert main(["dump", "data/train", "dump/local", "--nj", "2", "--cmvn", *settings]) == 0
        shutil.copytree("data", "data_local")
        align = ["--nj", "2", "--set", "scales=[0.1, 0.3]", "--set", "splits=0"]
        assert main(["align", "data_local/train", "--exp", "exp/local", *align]) == 0
    assert main(["dump", "data/train", "dump/slurm", "--nj", "2", "--cmvn", *settings]) == 0
    assert main(["align", "data/train", "--exp", "exp/slurm", *align]) == 0
    for one, two in (("dump/local", "dump/slurm"), ("data_local/train", "data/train")):
        names = [path.name for path in Path(one).iterdir() if path.is_file() and path.name != "feats.scp"]
        assert len(names) > 4
        assert [name for name in names if Path(one, name).read_bytes() != Path(two, name).read_bytes()] == []
    assert Path("dump/slurm/feats.scp").read_text() == Path("dump/local/feats.scp").read_text().replace("local", "slurm")
    # It did go through the cluster: submitit's words stand in the logs of the jobs, and not in those of local ones.
    assert "submitit" in Path("exp/slurm/log/align-train.1.log").read_text()
    assert "submitit" not in Path("exp/local/log/align-train.1.log").read_text()
