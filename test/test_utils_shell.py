"""The shell that recipes share: options, stages, disk."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from speechrep.bin import main as speechrep

ROOT = Path(__file__).resolve().parents[1]

SCRIPT = """#!/usr/bin/env bash
# A recipe for the test.
#
# --stage N        first stage
# --stop-stage N   last stage
# --nj N           jobs
# --seed N         a seed; several by commas are run in turn
# --conf FILE      configuration
# --quick BOOL     true or false
# --label TEXT     a label
set -euo pipefail
stage=0 stop_stage=100 nj=2 seed=0 conf=conf/x.yaml quick=false label=
. ROOT/utils/parse_options.sh
. ROOT/utils/stage.sh
if stage 0 "first" "1 s"; then echo "nj=$nj conf=$conf quick=$quick label=<$label> rest=<$*>"; fi
if stage 1 "second" "10 min"; then
  echo "seed=$seed"
  printf '<%s>' "${set_args[@]}"; echo
fi
if stage 2 "third, no estimate"; then [ "$label" != fail ]; fi
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "run.sh"
    path.write_text(SCRIPT.replace("ROOT", str(ROOT)))

    def run(*options, **more):
        return subprocess.run(["bash", str(path), *options], capture_output=True, text=True, cwd=tmp_path, **more)
    return run


def test_defaults_and_values(recipe):
    assert "nj=2 conf=conf/x.yaml quick=false label=<> rest=<>" in recipe().stdout
    answer = recipe("--nj", "8", "--conf=my conf.yaml", "--quick", "true", "--label", "a=b c", "one", "two")
    assert "nj=8 conf=my conf.yaml quick=true label=<a=b c> rest=<one two>" in answer.stdout
    assert "seed=0\n" in recipe("--stage", "1").stdout
    assert "seed=3,10\n" in recipe("--stage", "1", "--seed", "3,10").stdout
    assert "rest=<--nj 3>" in recipe("--", "--nj", "3").stdout


def test_set_is_collected(recipe):
    assert "\n<>\n" in recipe("--stage", "1").stdout
    answer = recipe("--set", "train.steps=10", "--set=model.name=two words", "--stage", "1")
    assert "<--set><train.steps=10><--set><model.name=two words>\n" in answer.stdout
    assert recipe("--set", "steps").returncode == 2


@pytest.mark.parametrize("options, words", [
    (["--stop-stag", "3"], ["no option --stop-stag", "did you mean --stop-stage"]),
    (["--stpo-stage", "3"], ["did you mean --stop-stage"]),
    (["--Stage", "3"], ["did you mean --stage"]),
    (["--config", "x"], ["did you mean --conf"]),
    (["--nj", "two"], ["--nj two", "whole number"]),
    (["--nj", "1,2"], ["--nj 1,2", "whole number"]),
    (["--seed", "1,"], ["--seed 1,", "whole number"]),
    (["--quick", "yes"], ["--quick yes", "true or false"]),
    (["--nj"], ["--nj needs a value"]),
    (["--PATH", "x"], ["no option --PATH"]),
])
def test_wrong_options_are_refused(recipe, options, words):
    answer = recipe(*options)
    assert answer.returncode == 2 and answer.stdout == ""
    assert all(word in answer.stderr for word in words), answer.stderr


def test_option_works_where_the_environment_has_the_name(recipe):
    answer = recipe("--nj", "3", env={"PATH": "/usr/bin:/bin", "nj": "1"})
    assert "nj=3" in answer.stdout


def test_help_is_the_comment_at_the_top(recipe):
    answer = recipe("--help")
    assert answer.returncode == 0
    assert answer.stdout.startswith("A recipe for the test.\n\n--stage N        first stage\n")
    assert answer.stdout.endswith("--label TEXT     a label\n")


@pytest.mark.parametrize("options, ran", [
    ([], [0, 1, 2]), (["--stage", "1"], [1, 2]), (["--stop-stage", "1"], [0, 1]),
    (["--stage", "1", "--stop-stage", "1"], [1]), (["--stage", "3"], []),
])
def test_stages_that_run(recipe, options, ran):
    lines = [line for line in recipe(*options).stdout.splitlines() if line.startswith("== stage")]
    assert [int(line.split()[2].rstrip(":")) for line in lines] == ran
    if 1 in ran:
        assert any(re.fullmatch(r"== stage 1: second \(about 10 min\), \d+ s since the start", line) for line in lines)
    if 2 in ran:
        assert lines[-1].startswith("== stage 2: third, no estimate, ")


@pytest.mark.parametrize("tag, taken", [("lr_2e-3.a", True), ("", True), ("a b", False), ("a/b", False), ("a=b", False)])
def test_a_tag_is_part_of_a_name(tag, taken):
    script = f"stage=0 stop_stage=1 tag=$1; . {ROOT}/utils/stage.sh; plan; echo went on"
    answer = subprocess.run(["bash", "-c", script, "x", tag], capture_output=True, text=True)
    assert ("went on" in answer.stdout) == taken == (answer.returncode == 0) and ("wanted: letters" in answer.stderr) != taken


def test_end_is_told(recipe):
    answer = recipe()
    assert answer.stdout.splitlines()[-1].startswith("Done in ") and "-- stage 2 took" in answer.stdout
    answer = recipe("--label", "fail")
    assert answer.returncode == 1 and "Done in" not in answer.stdout
    assert "stage 2 (third, no estimate) failed" in answer.stderr and "--stage 2" in answer.stderr


def test_a_recipe_that_is_stopped_takes_its_commands_with_it(tmp_path):
    """One of them runs another behind a wait, as jobs.sh does: neither goes on, and nothing is said to be done."""
    (tmp_path / "inner.sh").write_text("sleep 2 & wait $!; touch inner\n")
    script = tmp_path / "run.sh"
    script.write_text(f"""set -euo pipefail
stage=0 stop_stage=9
. {ROOT}/utils/stage.sh
if stage 3 "the long one"; then bash -c 'bash inner.sh; touch outer'; fi
""")
    running = subprocess.Popen(["bash", str(script)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "stage 3" in running.stdout.readline()
    time.sleep(0.5)
    running.terminate()
    out, err = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGTERM and "Done" not in out
    assert "stopped in stage 3 (the long one)" in err and f"{script} --stage 3" in err
    time.sleep(2.5)
    assert not (tmp_path / "inner").exists() and not (tmp_path / "outer").exists()


def test_plan_lists_the_stages_of_the_script(tmp_path):
    script = tmp_path / "run.sh"
    script.write_text(SCRIPT.replace("ROOT", str(ROOT)).replace('if stage 0', 'plan\nif stage 0', 1).replace("conf/x.yaml", ""))
    lines = subprocess.run(["bash", str(script), "--stage", "1"], capture_output=True, text=True).stdout.splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["0", "first", "(not", "now)"], ["1", "second", "10", "min"], ["2", "third,", "no", "estimate"]]


@pytest.mark.parametrize("options, ran", [
    ([], "0123456"), (["--upstream", "mfcc"], "01236"), (["--upstream", "mfcc", "--stage", "4"], "6"),
    (["--upstream", "mfcc", "--stop-stage", "5"], "0123"), (["--stage", "4", "--stop-stage", "5"], "45"),
])
def test_nothing_is_pretrained_for_another_upstream(tmp_path, options, ran):
    stages = [f'if stage {number} "stage {number}" "1 s"; then :; fi' for number in range(7)]
    script = tmp_path / "run.sh"
    script.write_text("\n".join([
        "# --upstream SPEC   what is compared", "stage=0 stop_stage=100 upstream=", f". {ROOT}/utils/parse_options.sh",
        f". {ROOT}/utils/stage.sh", "plan", *stages, ""]))
    answer = subprocess.run(["bash", str(script), *options], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "".join(re.findall(r"^== stage (\d)", answer.stdout, re.MULTILINE)) == ran
    assert "".join(re.findall(r"^   (\d) .* 1 s$", answer.stdout, re.MULTILINE)) == ran


def test_disk(tmp_path):
    script = f"stage=0 stop_stage=1; . {ROOT}/utils/stage.sh; check_disk $1 {tmp_path}; echo went on"
    fine = subprocess.run(["bash", "-c", script, "x", "1"], capture_output=True, text=True)
    assert fine.returncode == 0 and "about 1 MB" in fine.stdout and "went on" in fine.stdout
    short = subprocess.run(["bash", "-c", script, "x", "999999999"], capture_output=True, text=True)
    assert short.returncode == 1 and "wanted: 999999999 MB" in short.stderr and "went on" not in short.stdout


def jobs(tmp_path, body):
    script = tmp_path / "run.sh"
    script.write_text(f"set -euo pipefail\nnj=2\n. {ROOT}/utils/jobs.sh\n{body}\necho end\n")
    return subprocess.run(["bash", str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=600)


def test_jobs_run_side_by_side(tmp_path):
    """The first two wait for each other; a third begins when one of them has ended."""
    answer = jobs(tmp_path, """
        meet() { touch "$1"; while [ ! -e "$2" ]; do sleep 0.01; done; }
        background one meet a b
        background two meet b a
        background three bash -c 'echo "$OMP_NUM_THREADS" >threads'
        all_done""")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("done in") == 3 and answer.stdout.endswith("end\n")
    assert int((tmp_path / "threads").read_text()) == max(1, os.cpu_count() // 2)


def test_a_failing_job_stops_the_script(tmp_path):
    answer = jobs(tmp_path, """
        fails() { echo before; false; echo after; }
        background good true
        background bad fails
        sleep 0.2
        background long sleep 0.1
        background next touch begun
        all_done""")
    assert answer.returncode == 1 and "end" not in answer.stdout
    assert answer.stderr == "bad failed; the end of exp/log/bad.log:\nbefore\n"
    assert not (tmp_path / "begun").exists()


def test_a_job_that_could_not_say_how_it_ended(tmp_path):
    answer = jobs(tmp_path, """
        tell_sec=1
        background shot bash -c 'echo last words; kill -9 $PPID'
        all_done""")
    assert answer.returncode == 1 and "end" not in answer.stdout.splitlines()
    assert "shot failed; the end of exp/log/shot.log:\nlast words\n" in answer.stderr


def test_a_job_that_ends_while_it_is_told_how_far_all_are(tmp_path):
    """Well, or with an error of its own, beside one that was killed."""
    answer = jobs(tmp_path, """
        tell_sec=0.2 keep_going=true nj=3
        _last_line() { while kill -0 "$!" 2>/dev/null; do sleep 0.05; done; }
        background shot bash -c 'kill -9 $PPID'
        background bad bash -c 'sleep 0.4; exit 3'
        background good sleep 0.6
        all_done""")
    assert answer.returncode == 1 and "good: done in" in answer.stdout and "bad failed;" in answer.stderr
    assert "good failed" not in answer.stderr and "shot failed;" in answer.stderr


def test_many_short_jobs_are_all_seen_to_end(tmp_path):
    answer = jobs(tmp_path, """
        for i in {1..100}; do
          background "$i" true
          bash -c :
          [ "$((i % 10))" -gt 0 ] || all_done
        done""")
    assert answer.returncode == 0 and answer.stdout.count("done in") == 100


def test_how_far_jobs_are_is_told(tmp_path):
    answer = jobs(tmp_path, r"""
        tell_sec=1
        training() { printf 'begins\n'; printf 'train: 10%%\rtrain: 40%%\r' >&2; sleep 2.5; }
        background long training
        background short true
        all_done""")
    assert answer.returncode == 0, answer.stderr
    assert "  long: train: 40%\n" in answer.stdout and "short: done in" in answer.stdout
    assert "  short:" not in answer.stdout and " of " not in answer.stdout


@pytest.mark.parametrize("seconds, to_go", [(600, "11 min"), (36000, "10 h 1 min")])
def test_how_far_all_jobs_are_is_told(tmp_path, seconds, to_go):
    """Two took so long, one had been done before; of three more two are half done: one job's time each of the two at once."""
    answer = jobs(tmp_path, f"""
        tell_sec=1 planned=6
        long() {{ SECONDS=$((SECONDS + {seconds})); }}
        background before true
        background first long
        background second long
        background third sleep 1.5
        background fourth sleep 1.5
        all_done""")
    assert answer.returncode == 0, answer.stderr
    assert f"  3 of 6 done, about {to_go} to go\n" in answer.stdout


@pytest.mark.parametrize("nj, processes, gpu, device, wanted", [
    (64, 1, "", "auto", 6), (2, 1, "", "auto", 2), (64, 2, "", "auto", 3), (64, 64, "", "auto", 1),
    (64, 1, "GPU 0: NVIDIA", "auto", 1), (64, 1, "GPU 0: NVIDIA", "cuda:0", 1), (64, 1, "GPU 0: NVIDIA", "cpu", 6)])
def test_as_many_trainings_as_there_is_room_for(tmp_path, nj, processes, gpu, device, wanted):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/bash\necho '{gpu}'\n")
    smi.chmod(0o755)
    answer = jobs(tmp_path, f"PATH={tmp_path}:$PATH nj={nj} processes={processes} device={device}; nproc() {{ echo 6; }}; side_by_side")
    assert answer.stdout == f"{wanted}\nend\n"


def test_a_script_that_stops_takes_its_jobs_with_it(tmp_path):
    answer = jobs(tmp_path, """
        late() { bash -c 'sleep 1; touch late'; }
        background late late
        sleep 0.2
        false""")
    assert answer.returncode == 1
    time.sleep(1.5)
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize("options, refused", [
    (["--nj", "0"], "--nj 0; wanted: 1 or more"), (["--device", "gpu"], "--device gpu; wanted: auto, cpu, cuda"),
    (["--vocoder", "hifigan"], "--vocoder hifigan; wanted: griffin-lim or neural"),
    (["--conf", "conf/none.yaml"], "--conf conf/none.yaml; wanted: a file"),
    (["--vocoder-conf", "conf/none.yaml"], "--vocoder-conf conf/none.yaml; wanted: a file"),
    (["--conf", "conf/asr.yaml"], "--conf conf/asr.yaml; wanted: the configuration of ctap"),
    (["--method", "hubert,hubret"], "--method hubret; wanted: ctap, all, or a method"),
    (["--method", "hubert2,apc", "--set", "model.dims=3"], "unknown key 'dims'"),
    (["--task", "asr,asrr"], "task asrr"), (["--upstream", "mfcc", "--task", "asrr", "--stage", "1"], "task asrr"),
    (["--upstream", "mfcc,random:exp/none-{seed}.pt", "--seed", "3,4"], "exp/none-3.pt: no such file or folder"),
    (["--set", "train.steps=many"], "train.steps"), (["--stage", "3", "--set", "trian.steps=3"], "did you mean 'train'")])
def test_what_a_later_stage_would_refuse_is_refused_before_any(options, refused):
    answer = subprocess.run([ROOT / "egs/mini/run.sh", *options], capture_output=True, text=True, timeout=300)
    assert answer.returncode in (1, 2) and refused in answer.stderr and "== stage" not in answer.stdout


def test_a_configuration_is_shown_whole(capsys):
    assert speechrep(["config", "--conf", str(ROOT / "egs/mini/conf/hubert.yaml"), str(ROOT / "egs/mini/conf/asv.yaml"), "--set",
                      "train.steps=7"]) == 0
    method, task = yaml.safe_load_all(capsys.readouterr().out)
    assert (method["method"], method["train"]["steps"], method["model"]["mask_span"]) == ("hubert", 7, 10)
    assert (task["task"], task["train"]["steps"], task["model"]["scale"]) == ("asv", 7, 30.0)
    assert speechrep(["config", "--conf", str(ROOT / "egs/mini/conf/mfcc.yaml")]) == 1
    assert "neither method nor task" in capsys.readouterr().err
