"""Parallel jobs, on this machine or through Slurm: one function, a list of arguments, the results in that order.

The local back end runs each job in a process of its own rather than through submitit's local executor, for three
reasons: submitit starts every job at once whatever `nj` is, each of its jobs imports torch anew (seconds), and it
polls. Here a fork server imports the function's module once and each job is a fork of that. Slurm goes through
submitit, which knows how to write the batch file and bring results back.

`cmd.sh` of a recipe chooses the back end for all its stages by two environment variables: SPEECHREP_BACKEND (local or
slurm) and SPEECHREP_SLURM (submitit's names for sbatch options: "partition=main time=60 mem=4GB", time in minutes).
"""

import contextlib
import errno
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from speechrep.errors import SpeechrepError

LOG_LINES = 12
"""How many of the last lines of a failed job's log are shown."""

_POLL_SEC = 0.5
_END_STATES = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
_RESULT_GRACE_SEC = 20.0  # how long a shared file system may take to show the result of a job that has ended

_tell: Callable[[float], None] | None = None
_told = 0.0


def run_jobs(function: Callable, jobs: list[tuple], *, log_dir: str | Path, nj: int, title: str,
             backend: str | None = None, slurm: dict[str, Any] | None = None) -> list:
    """Call `function(*job)` for each of `jobs`, at most `nj` at a time; the results, in the order of `jobs`.

    `function` stands at the top level of a module; arguments and results can be pickled. Job i writes what it prints
    to LOG_DIR/TITLE.i.log. Locally a single job, or `nj` 1, runs in this process. In a process of its own a job gets
    one thread. `backend` is "local" or "slurm", by default what SPEECHREP_BACKEND says, else local; `slurm` holds
    submitit's names for sbatch options and is laid over SPEECHREP_SLURM. Progress goes to stderr.

    Raises `SpeechrepError` with the last lines of its log as soon as a job fails, after stopping the others; a full
    disk stays an `OSError`. Ctrl-C stops the jobs too, and a job does not outlive the process that started it.
    """
    backend = backend or os.environ.get("SPEECHREP_BACKEND") or "local"
    if backend not in ("local", "slurm"):
        raise SpeechrepError(f"back end '{backend}'", "local or slurm", "see SPEECHREP_BACKEND in the recipe's cmd.sh")
    if nj < 1:
        raise SpeechrepError(f"--nj {nj}", "the number of jobs at a time, 1 or more")
    if not jobs:
        return []
    log_dir = Path(log_dir)
    log_dir.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-") or "job"
    logs = [log_dir / f"{name}.{index + 1}.log" for index in range(len(jobs))]
    with _Bar(title, len(jobs)) as bar:
        if backend == "slurm":
            options = slurm_options(os.environ.get("SPEECHREP_SLURM", "")) | (slurm or {})
            return _run_slurm(function, jobs, logs, nj, title, options, bar)
        if nj == 1 or len(jobs) == 1:
            return _run_here(function, jobs, logs, title, bar)
        return _run_local(function, jobs, logs, nj, title, bar)


def advance(done: float, total: float) -> None:
    """Inside a job: tell the progress bar of whoever started it that `done` of `total` is done. Cheap to call often."""
    global _told
    if _tell is not None and time.monotonic() - _told >= _POLL_SEC:
        _told = time.monotonic()
        _tell(min(1.0, done / max(total, 1e-9)))


@contextlib.contextmanager
def during(what: str) -> Iterator[None]:
    """Inside a job: whatever goes wrong in this block is reported with `what`, for example "utterance en-0012"."""
    try:
        yield
    except Exception as error:
        error.add_note(f"during {what}")
        raise


def slurm_options(text: str) -> dict[str, Any]:
    """The options in "partition=main time=60 gres=gpu:1": numbers as numbers."""
    options: dict[str, Any] = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise SpeechrepError(f"SPEECHREP_SLURM: '{word}'", "key=value pairs, as in 'partition=main time=60'")
        options[key] = int(value) if value.isdigit() else value
    return options


# In this process


def _run_here(function: Callable, jobs: list[tuple], logs: list[Path], title: str, bar: "_Bar") -> list:
    global _tell
    results = []
    for index, job in enumerate(jobs):
        _tell = lambda share, index=index: bar.set(index, share)  # noqa: E731
        try:
            results.append(function(*job))
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            logs[index].write_text(_trace(error), encoding="utf-8")
            raise _failure(title, index, len(jobs), _outcome(error), logs[index]) from error
        finally:
            _tell = None
        bar.finish(index)
    return results


# In processes of this machine


def _run_local(function: Callable, jobs: list[tuple], logs: list[Path], nj: int, title: str, bar: "_Bar") -> list:
    context = multiprocessing.get_context("forkserver")
    with _one_thread():
        # torch also by its name: the first function of this process may not need it, but a later one may.
        context.set_forkserver_preload([name for name in ("torch", function.__module__) if name in sys.modules])
        multiprocessing.forkserver.ensure_running()
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    waiting = list(range(len(jobs)))[::-1]
    running: dict[Any, tuple[int, Any]] = {}
    results: list[Any] = [None] * len(jobs)
    try:
        while waiting or running:
            while waiting and len(running) < nj:
                index = waiting.pop()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_child,
                                          args=(function, jobs[index], str(logs[index]), sender, environment))
                process.start()
                sender.close()
                running[receiver] = index, process
            for receiver in multiprocessing.connection.wait(list(running), timeout=_POLL_SEC):
                index, process = running[receiver]
                try:
                    kind, *rest = receiver.recv()
                except EOFError:
                    process.join()
                    kind, rest = "died", [process.exitcode]
                if kind == "share":
                    bar.set(index, rest[0])
                    continue
                del running[receiver]
                if kind != "result":
                    raise _failure(title, index, len(jobs), (kind, *rest), logs[index])
                results[index] = rest[0]
                bar.finish(index)
                process.join()
        return results
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join(3)
            if process.exitcode is None:
                process.kill()
                process.join()


def _child(function: Callable, job: tuple, log: str, sender: Any, environment: dict[str, str]) -> None:
    global _tell
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which stops us in good order
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(environment)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with open(log, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)
    _tell = lambda share: sender.send(("share", share))  # noqa: E731
    try:
        answer = ("result", function(*job))
    except BaseException as error:
        print(_trace(error), file=sys.stderr, flush=True)
        answer = _outcome(error)
    sender.send(answer)
    sender.close()


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """OpenMP reads its setting when it is loaded, which is when the fork server imports torch."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


# Through Slurm


def _run_slurm(function: Callable, jobs: list[tuple], logs: list[Path], nj: int, title: str, options: dict[str, Any],
               bar: "_Bar") -> list:
    try:
        import submitit
    except ImportError:
        raise SpeechrepError("the Slurm back end needs the package submitit", cure="pip install submitit") from None
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise SpeechrepError("no sbatch and srun on this machine", "a login node of a Slurm cluster",
                             "say SPEECHREP_BACKEND=local, or install slurm-wlm")
    folder = logs[0].parent.resolve() / f"{logs[0].name.partition('.')[0]}.slurm"
    shutil.rmtree(folder, ignore_errors=True)  # a new cluster counts its jobs from 1 again: no result may be older than the job
    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=0)
    known = executor._valid_parameters()
    settings = {key: value for key, value in options.items() if key in known}
    others = {key: value for key, value in options.items() if key not in known}
    if not isinstance(settings.get("time", 0), int):
        raise SpeechrepError(f"Slurm option time={settings['time']}", "a number of minutes", "time=90, say")
    try:
        executor.update_parameters(**{"job_name": folder.stem, "time": 24 * 60, "cpus_per_task": 1,
                                      "array_parallelism": nj, **settings, "additional_parameters": others})
        with executor.batch():
            handles = [executor.submit(_slurm_job, function, job, str(folder / f"share.{index}"))
                       for index, job in enumerate(jobs)]
    except subprocess.CalledProcessError as error:
        raise SpeechrepError(f"sbatch refused the job: {str(error.stderr or error).strip()}", cure="mend SPEECHREP_SLURM") \
            from None
    except Exception as error:  # submitit's own FailedJobError, which holds what sbatch said
        if type(error).__name__ != "FailedJobError":
            raise
        raise SpeechrepError(f"sbatch refused the job: {error}", cure="mend SPEECHREP_SLURM") from None
    try:
        return _wait_slurm(handles, logs, title, folder, bar)
    except BaseException:
        for handle in handles:
            if not handle.paths.result_pickle.exists():
                handle.cancel(check=False)
        raise


def _wait_slurm(handles: list, logs: list[Path], title: str, folder: Path, bar: "_Bar") -> list:
    results: list[Any] = [None] * len(handles)
    waiting, ended = set(range(len(handles))), {}
    while waiting:
        time.sleep(_POLL_SEC)
        states = _slurm_states(handles[0].job_id.partition("_")[0])
        for index in sorted(waiting):
            handle = handles[index]
            if handle.paths.result_pickle.exists():
                kind, *rest = handle.result()
            else:
                share = folder / f"share.{index}"
                if share.exists():
                    bar.set(index, float(share.read_text(encoding="utf-8") or 0))
                state = states.get(handle.job_id, "gone") if states is not None else "unknown"
                if state not in _END_STATES and state != "gone":
                    ended.pop(index, None)
                    continue
                if time.monotonic() - ended.setdefault(index, time.monotonic()) < _RESULT_GRACE_SEC:
                    continue
                kind, rest = "died", [state]
            _gather_log(handle, logs[index])
            if kind != "result":
                raise _failure(title, index, len(handles), (kind, *rest), logs[index])
            results[index] = rest[0]
            bar.finish(index)
            waiting.discard(index)
    shutil.rmtree(folder, ignore_errors=True)
    return results


def _slurm_states(job_id: str) -> dict[str, str] | None:
    """State by id of the array `job_id`, from squeue, since sacct needs an accounting data base that small clusters
    lack. None when the controller does not answer; an empty dict when it has forgotten the job."""
    answer = subprocess.run(["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T", f"--jobs={job_id}"],
                            capture_output=True, text=True)
    if answer.returncode:
        return {} if "Invalid job id" in answer.stderr else None
    return dict(line.strip().split("|", 1) for line in answer.stdout.splitlines() if "|" in line)


def _slurm_job(function: Callable, job: tuple, share: str) -> tuple:
    """What runs on the node. A failure comes back as a value, so that both back ends report it alike."""
    global _tell
    os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("SLURM_CPUS_PER_TASK", "1"))
    _tell = lambda part: Path(share).write_text(f"{part:.4f}", encoding="utf-8")  # noqa: E731
    try:
        return "result", function(*job)
    except Exception as error:
        print(_trace(error), file=sys.stderr, flush=True)
        return _outcome(error)


def _gather_log(handle: Any, log: Path) -> None:
    log.write_text("".join(text for text in (handle.stdout(), handle.stderr()) if text), encoding="utf-8")


# Failures


def _outcome(error: BaseException) -> tuple:
    """An exception as plain values that any process can read."""
    notes = ", ".join(getattr(error, "__notes__", ()))
    if isinstance(error, SpeechrepError):
        return "error", error.found + (f" ({notes})" if notes else ""), error.wanted, error.cure
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk", str(error.filename or "")
    return "bug", f"{type(error).__name__}: {error}" + (f" ({notes})" if notes else "")


def _trace(error: BaseException) -> str:
    """For the log: a `SpeechrepError` speaks for itself, anything else keeps its traceback."""
    if isinstance(error, SpeechrepError):
        return "\n".join([f"error: {error}", *getattr(error, "__notes__", ())])
    return "".join(traceback.format_exception(error)).rstrip()


def _failure(title: str, index: int, count: int, outcome: tuple, log: Path) -> Exception:
    kind, *rest = outcome
    where = f"{title}: job {index + 1} of {count}"
    if kind == "disk":
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), rest[0] or str(log))
    if kind == "error":
        found, wanted, cure = rest
        return SpeechrepError(f"{where}: {found}", wanted, f"{cure} (log: {log})" if cure else f"see {log}")
    again = "mend that and run the same command again"
    if kind == "died":
        what, cure = f"ended without a result ({_ending(rest[0])})", again
        if rest[0] in (-signal.SIGKILL, "OUT_OF_MEMORY"):
            cure = "the machine may have run out of memory: fewer jobs at once (--nj), or on Slurm more (mem=8GB)"
        elif rest[0] == "TIMEOUT":
            cure = "more minutes (time=...) in SPEECHREP_SLURM"
    else:
        what, cure = rest[0], again
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
    shown = "".join(f"\n  | {line}" for line in lines) or "\n  | (empty)"
    return SpeechrepError(f"{where}: {what}\n  the last lines of {log}:{shown}", cure=cure)


def _ending(code: int | str | None) -> str:
    if isinstance(code, int) and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}" if isinstance(code, int) else f"Slurm says {code}"


class _Bar:
    """A tqdm bar over all jobs that also counts the part of each running job that `advance` tells."""

    def __init__(self, title: str, count: int):
        from tqdm import tqdm
        quick = sys.stderr.isatty()
        self.bar = tqdm(total=count, desc=title, mininterval=0.2 if quick else 15.0, file=sys.stderr,
                        bar_format="{desc}: {percentage:3.0f}% |{bar:30}| {elapsed}<{remaining}")
        self.shares = [0.0] * count

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def set(self, index: int, share: float) -> None:
        """Job `index` is at `share` of its work, 0 to 1."""
        gain = max(0.0, share - self.shares[index])
        self.shares[index] += gain
        self.bar.update(gain)

    def finish(self, index: int) -> None:
        self.set(index, 1.0)
