"""The house rules as tests: which way imports go, what is not written, what every YAML must be.

Each rule is a function from source text to a list of offences; every rule is first shown a source that breaks it.
"""

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES, MAX_WIDTH = 450, 128

BOTTOM = {"errors", "files", "config", "provenance", "launch", "doctor", ""}
LEVELS = [BOTTOM, {"data", "nn", "metrics"}, {"align", "methods", "train", "unit_counts", "vocoder"}, {"released"}, {"bundles"},
          {"upstream"}, {"extract"}, {"units"}, {"tasks"}, {"report"}, {"bin"}, {"__main__"}]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

MACHINE_PATH = re.compile(r"(?<![\w.}$)*~/-])/(?:work|farm|root|home/\w+|tmp|opt)/[A-Za-z._]")
REGISTRY = re.compile(r"https?://[\w.-]*(?:pypi|pythonhosted|debian\.org|npmjs)[\w.-]*", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|raise NotImplementedError)\b")


def sources(*folders, kinds=("py",)):
    return sorted(path for folder in folders for kind in kinds for path in (ROOT / folder).rglob(f"*.{kind}")
                  if not re.search(r"/(\.|__pycache__|data/|dump/|exp/|downloads/)",
                                   "/" + str(path.relative_to(ROOT / folder)) if folder == "egs" else "/x"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module):
    """"speechrep.nn.encoder" -> "nn", "speechrep.config" -> "config", "speechrep" -> ""."""
    return (module.split(".") + [""])[1]


def imports(source, module, is_package=False):
    """The modules of speechrep that a source imports, also within functions, with what it takes from each."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".") + (["__init__"] if is_package else [])
                base = ".".join(here[:len(here) - node.level] + ([base] if base else []))
            found += [(f"{base}.{alias.name}" if (ROOT / base.replace(".", "/")).is_dir() else base, (alias.name,))
                      for alias in node.names]
    return [(name, taken) for name, taken in found if name.split(".")[0] == "speechrep"]


def upward(source, module, is_package=False):
    """Imports from a higher room, or from another room of the same level. The contract of a method, methods/base.py,
    belongs to the whole level."""
    here = room(module)
    found = []
    for name, _ in imports(source, module, is_package):
        there = room(name)
        if there not in LEVEL and there not in ("__version__",):
            found.append(f"{module} imports {name}, a room the house does not know")
        elif there != here and name != "speechrep.methods.base" and there in LEVEL and not (
                LEVEL[there] < LEVEL[here] or LEVEL[there] == LEVEL[here] == 0):
            found.append(f"{module} imports {name}")
        elif name == "speechrep.methods.base" and LEVEL[here] < LEVEL["methods"]:
            found.append(f"{module} imports {name}")
    return found


def between_methods(source, module):
    """A method that imports another one."""
    return [f"{module} imports {name}" for name, _ in imports(source, module)
            if name.startswith("speechrep.methods.") and name not in (module, "speechrep.methods.base")]


def bricks_with_config(source, module):
    """A brick that knows a configuration: it takes named values."""
    found = [f"{module} imports {name} {taken}" for name, taken in imports(source, module)
             if name == "speechrep.config" or any(word.endswith("Config") for word in taken)]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
            found.append(f"{module} defines {node.name}")
        if isinstance(node, ast.arg) and node.arg in ("config", "cfg"):
            found.append(f"{module}:{node.lineno} takes a {node.arg}")
    return found


def unsafe(source, module):
    """eval, exec, star imports, **kwargs in a forward, unpickling, a shell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if called in ("eval", "exec", "os.system", "os.popen"):
                found.append(f"{module}:{node.lineno} {called}")
            if called in ("pickle.load", "pickle.loads", "cloudpickle.load", "joblib.load", "pickle.Unpickler"):
                found.append(f"{module}:{node.lineno} {called}")
            if isinstance(given.get("shell"), ast.Constant) and given["shell"].value is True:
                found.append(f"{module}:{node.lineno} shell=True")
            if called == "torch.load" and not (isinstance(given.get("weights_only"), ast.Constant)
                                               and given["weights_only"].value is True):
                found.append(f"{module}:{node.lineno} torch.load without weights_only=True")
            if called in ("np.load", "numpy.load") and isinstance(given.get("allow_pickle"), ast.Constant) \
                    and given["allow_pickle"].value is True:
                found.append(f"{module}:{node.lineno} allow_pickle=True")
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            found.append(f"{module}:{node.lineno} import *")
        if isinstance(node, ast.FunctionDef) and node.name == "forward" and node.args.kwarg:
            found.append(f"{module}:{node.lineno} **{node.args.kwarg.arg} in a forward")
    return found


def machine_things(text, name):
    """Paths of one machine, registry hosts, and words of unfinished work."""
    return [f"{name}:{number}: {match.group()}" for number, line in enumerate(text.splitlines(), 1)
            for pattern in (MACHINE_PATH, REGISTRY, UNFINISHED) for match in pattern.finditer(line)]


@pytest.mark.parametrize("source, module, offences", [
    ("import speechrep.methods.ctap", "speechrep.nn.encoder", 1),
    ("def f():\n    from speechrep.tasks import asr", "speechrep.upstream", 1),
    ("from speechrep.nn import encoder", "speechrep.data.audio", 1),
    ("from ..methods import base", "speechrep.nn.encoder", 1),
    ("from speechrep import bin", "speechrep.errors", 1),
    ("from speechrep.methods.base import Method", "speechrep.train.loop", 0),
    ("from speechrep.methods.ctap import Method", "speechrep.train.loop", 1),
    ("from speechrep.tasks.frames import labelled_frames", "speechrep.units", 1),
    ("from speechrep.units import UnitsConfig", "speechrep.extract", 1),
    ("from speechrep.extract import extract", "speechrep.tasks.frames", 0),
    ("from speechrep.cellar import x", "speechrep.train.loop", 1),
    ("from speechrep.errors import SpeechrepError\nfrom speechrep import files", "speechrep.launch", 0),
    ("from speechrep.nn.encoder import Encoder\nfrom speechrep.methods.base import Method", "speechrep.methods.x", 0),
])
def test_upward_sees(source, module, offences):
    assert len(upward(source, module)) == offences


@pytest.mark.parametrize("rule, source", [
    (between_methods, "from speechrep.methods.hubert import Method"),
    (between_methods, "from speechrep.methods import hubert"),
    (bricks_with_config, "from speechrep.config import build"),
    (bricks_with_config, "class EncoderConfig: pass"),
    (bricks_with_config, "def make(config): pass"),
    (unsafe, "x = eval('1')"),
    (unsafe, "from math import *"),
    (unsafe, "import pickle\npickle.load(open('x', 'rb'))"),
    (unsafe, "subprocess.run('ls', shell=True)"),
    (unsafe, "torch.load(path)"),
    (unsafe, "torch.load(path, weights_only=False)"),
    (unsafe, "class A:\n    def forward(self, x, **kwargs): pass"),
    (machine_things, "path = '/work/x'"),
    (machine_things, "see https://files.pythonhosted.org/x"),
    (machine_things, "raise NotImplemented" + "Error"),
])
def test_rules_see(rule, source):
    assert rule(source, "speechrep.methods.x" if rule is between_methods else "speechrep.nn.x")


def test_rules_let_pass():
    fine = "model.eval()\ntorch.load(path, weights_only=True)\ndef forward(self, x): pass\nast.literal_eval('1')"
    assert not unsafe(fine, "x")
    assert not machine_things("data/work/x egs/tmp/y $root/opt/z ../root/a exp/home/b //tmp", "x")


def test_arrows_point_down():
    files = sources("speechrep")
    assert len(files) > 20
    assert [offence for path in files
            for offence in upward(path.read_text(), name_of(path), path.name == "__init__.py")] == []


def test_methods_do_not_know_each_other():
    assert [offence for path in sources("speechrep/methods") for offence in
            between_methods(path.read_text(), name_of(path))] == []


def test_training_knows_no_method():
    assert [name for path in sources("speechrep/train") for name, _ in imports(path.read_text(), name_of(path))
            if name.startswith("speechrep.methods.") and name != "speechrep.methods.base"] == []


def test_bricks_take_named_values():
    assert [offence for path in sources("speechrep/nn") for offence in
            bricks_with_config(path.read_text(), name_of(path))] == []


def test_nothing_unsafe():
    assert [offence for path in sources("speechrep", "egs") for offence in unsafe(path.read_text(), str(path))] == []


def test_no_file_is_two_rooms():
    files = sources("speechrep", "egs", "utils", kinds=("py", "sh"))
    assert {str(path.relative_to(ROOT)): count for path in files
            if (count := len(path.read_text().splitlines())) > MAX_LINES} == {}
    assert [str(path) for path in files if path.stem in ("utils", "common", "misc", "helpers")] == []


def test_lines_of_code_can_be_read_side_by_side():
    assert [f"{path.relative_to(ROOT)}:{number}" for path in sources("speechrep", "egs", kinds=("py",))
            for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > MAX_WIDTH] == []


def test_nothing_of_this_machine():
    files = [*sources("speechrep", "egs", "utils", "tools", kinds=("py", "sh", "yaml", "md", "txt")), ROOT / "setup.py",
             *ROOT.glob("*.md"), *ROOT.glob("*.toml")]
    assert [offence for path in files for offence in
            machine_things(path.read_text(), str(path.relative_to(ROOT)))] == []


def dead_links(source, path):
    """Links of a page within the project whose file or heading is not there."""
    found = []
    for target, _, heading in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", source)):
        page = path.parent / target if target else path
        if re.match(r"\w+:", target) or page.exists() and (not heading or heading in headings(page.read_text())):
            continue
        found.append(f"{path}: {target}{'#' * bool(heading)}{heading}")
    return found


def headings(source):
    """The anchors of a page, as GitHub makes them of its headings."""
    return [re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in source.splitlines()
            if re.match(r"#+ ", line)]


def test_dead_links_are_found(tmp_path):
    (tmp_path / "a.md").write_text("# A page, of two words\n")
    good = "[1](a.md) [2](a.md#a-page-of-two-words) ![3](a.md) [4](https://example.org/x#y) [5](#own)\n# Own\n"
    (tmp_path / "b.md").write_text(good + "[6](c.md) [7](a.md#a-page)")
    page = tmp_path / "b.md"
    assert dead_links(page.read_text(), page) == [f"{page}: c.md", f"{page}: a.md#a-page"]


def test_links_of_pages_lead_somewhere():
    pages = [*sources("speechrep", "egs", "test", "utils", "tools", kinds=("md",)), *ROOT.glob("*.md")]
    assert len(pages) > 20 and [offence for page in pages for offence in dead_links(page.read_text(), page)] == []


def yamls():
    return sorted(path for path in (ROOT / "egs").rglob("*.yaml") if path.parent.name == "conf")


def test_methods_that_are_compared_hear_the_same_hours():
    from speechrep.train.pretrain import read_experiment
    lists = re.findall(r"^ +names\+?=,?([a-z0-9_,]+)$", (ROOT / "utils/compare_methods.sh").read_text(), re.M)
    named = ",".join(lists).split(",")
    confs = [ROOT / "egs/mini/conf" / f"{ {'ctap': 'quick', 'hubert2': 'hubert'}.get(name, name)}.yaml" for name in named]
    heard = {path.name: (train := read_experiment(path)[0].train).steps * train.batch_sec
             for path in [*confs, ROOT / "egs/voices/conf/quick.yaml"]}
    assert len(heard) > 15 and len(set(heard.values())) == 1, heard


def test_contrastive_predictions_reach_no_further_than_the_papers():
    """12 frames in CPC and wav2vec; each costs as much as the network itself."""
    from speechrep.train.pretrain import read_experiment
    paths = [path for name in ("cpc*.yaml", "vq_wav2vec*.yaml") for path in (ROOT / "egs").glob(f"*/conf/{name}")]
    steps = {path.name: read_experiment(path)[1].steps for path in paths}
    assert set(steps) >= {"cpc.yaml", "cpc_base.yaml", "vq_wav2vec.yaml"} and max(steps.values()) <= 12, steps


def load_yaml(path):
    """Read a recipe's YAML as the verb that it is for does."""
    from speechrep.config import build, read_yaml
    mapping = read_yaml(path)
    if "method" in mapping:
        from speechrep.methods.base import find_method
        from speechrep.train.pretrain import read_experiment
        experiment, config = read_experiment(path)
        losses = {name for names in find_method(experiment.method).losses_of(config).values() for name in names}
        assert set(experiment.weights) == losses, f"{path}: weights must name exactly {sorted(losses)}"
    elif "task" in mapping:
        from speechrep.tasks.base import find_task
        from speechrep.tasks.train import Experiment
        experiment = build(Experiment, mapping, str(path))
        task = find_task(experiment.task)
        build(task.Config, experiment.model, f"{path}: model")
        losses = {name for names in task.losses.values() for name in names}
        assert set(experiment.weights) == losses, f"{path}: weights must name exactly {sorted(losses)}"
    elif path.stem.startswith("units"):
        from speechrep.units import UnitsConfig
        build(UnitsConfig, mapping, str(path))
    elif path.stem.startswith("align"):
        from speechrep.align.model import AlignConfig
        build(AlignConfig, mapping, str(path))
    elif "kind" in mapping:
        from speechrep.data.features import FeatureConfig
        build(FeatureConfig, mapping, str(path))
    else:
        pytest.fail(f"{path}: no `method:`, `task:` or `kind:`; teach this test which verb reads it")


@pytest.mark.parametrize("path", yamls(), ids=lambda path: str(path.relative_to(ROOT / "egs")))
def test_every_yaml_loads(path):
    load_yaml(path)
    values = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(values) <= 60, f"{len(values)} lines of values; a configuration has at most 60"


def test_yaml_rule_sees(tmp_path):
    from speechrep.errors import SpeechrepError
    (tmp_path / "bad.yaml").write_text("kind: logmel\nhop_sample: 160\n")
    with pytest.raises(SpeechrepError, match="did you mean 'hop_samples'"):
        load_yaml(tmp_path / "bad.yaml")


STAGES = ["download", "prepare", "align", "dump", "units", "pretrain", "downstream", "decode and score", "report"]


def recipes():
    return sorted(path for path in (ROOT / "egs").iterdir() if path.is_dir())


@pytest.mark.parametrize("recipe", recipes(), ids=lambda path: path.name)
def test_recipes_are_alike(recipe):
    """The same files, the same options, and a stage number that means the same in each."""
    template = ROOT / "egs/TEMPLATE"
    for name in ("run.sh", "path.sh", "cmd.sh", "README.md", "conf", "local"):
        assert (recipe / name).exists(), f"no {name}"
    assert (recipe / "path.sh").read_text() == (template / "path.sh").read_text()
    # The values of cmd.sh are the user's; what it says of them is not.
    said = [[line for line in (folder / "cmd.sh").read_text().splitlines() if line.startswith("#")]
            for folder in (recipe, template)]
    assert said[0] == said[1] != []
    text = (recipe / "run.sh").read_text()
    found = re.findall(r'^if stage (\d+) "([^"]*)"', text, re.MULTILINE)
    numbers = [int(number) for number, _ in found]
    # A recipe that only evaluates aligns nothing.
    assert numbers == sorted(set(numbers)) and set(numbers) >= ({0, 1, 2, 3} if 5 in numbers else {0, 1, 3, 6, 7, 8})
    assert [title for number, title in found if not title.startswith(STAGES[int(number)])] == []
    answer = subprocess.run([str(recipe / "run.sh"), "--help"], capture_output=True, text=True, cwd="/", timeout=600)
    assert answer.returncode == 0, answer.stderr
    for option in ("--stage", "--stop-stage", "--nj", "--device", "--conf", "--set", "--skip-bad"):
        assert f"\n{option} " in answer.stdout
    # By what it exports, or for what it runs itself.
    assert re.search(r"^export .*\bdevice\b", text, re.MULTILINE) or '--device "$device"' in text
    checks = re.findall(r"^ *speechrep check (.*)$", text, re.MULTILINE)
    assert checks and all(words.startswith('"${skip_args[@]}" ') for words in checks) and "skip_bad=false" in text
    if 5 in numbers:
        assert re.search(r"\n--upstream SPEC .*\b4 and 5 are left out", answer.stdout)
        # What a run of other values is told to use.
        assert "\n--tag NAME " in answer.stdout and re.search(r"^export .*\btag\b", text, re.MULTILINE)


def test_shell_is_sound():
    scripts = [*sources("egs", "utils", "tools", kinds=("sh",)), ROOT / "test/run.sh", ROOT / ".ci/run"]
    assert len(scripts) > 6
    for path in scripts:
        answer = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        sourced = path.name in ("path.sh", "cmd.sh", "parse_options.sh", "stage.sh", "check_options.sh", "stop.sh", "jobs.sh",
                                "debian_packages.sh", "corpus_folder.sh", "archives.sh")
        assert sourced != os.access(path, os.X_OK), f"{path}: executable, save what is sourced"


def test_help_is_quick_and_light():
    script = ("import sys, speechrep.bin\nstatus = speechrep.bin.main(['--help'])\n"
              "heavy = {'torch', 'numpy', 'torchaudio', 'matplotlib', 'yaml', 'tqdm'} & set(sys.modules)\n"
              "sys.exit(f'imported {heavy}' if heavy else status)")
    took = []
    for _ in range(3):
        start = time.monotonic()
        answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
        took.append(time.monotonic() - start)
        assert answer.returncode == 0, answer.stderr
    assert "doctor" in answer.stdout and "dump" in answer.stdout
    assert min(took) < 2


def verb_files():
    return sorted(path for path in (ROOT / "speechrep/bin").glob("[a-z]*.py"))


@pytest.mark.parametrize("path", verb_files(), ids=lambda path: path.stem)
def test_verb_help(path):
    """Every verb says in one line what it does, and its help comes without the heavy packages."""
    script = ("import sys, speechrep.bin\n"
              f"try: speechrep.bin.main([{path.stem!r}, '--help'])\nexcept SystemExit as end: assert end.code == 0\n"
              "heavy = {'torch', 'torchaudio', 'matplotlib', 'numpy'} & set(sys.modules)\n"
              "sys.exit(f'imported {heavy}' if heavy else 0)")
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    assert first.endswith(".") and 10 < len(first) <= 115, f"first line of the docstring: {first!r}"
