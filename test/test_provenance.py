import ast
import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from speechrep import provenance as module
from speechrep.provenance import PACKAGES, provenance

ROOT = Path(module.__file__).parent
SHOWN = {"tqdm", "tensorboard", "submitit"}
"""What shows, logs and starts, and changes no number."""


def imported(path):
    """The top-level modules that a source imports, and those that it has `judges.load` import."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "load" and isinstance(node.args[0], ast.Constant):
            found.add(node.args[0].value.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"speechrep", "__future__"}


def test_what_stands_beside_a_score():
    found = provenance(["speechrep", "score", "a b"], {"lr": 0.1}, 3, {"utterances": 7})
    assert found["command"] == "speechrep score 'a b'"
    assert (found["config"], found["seed"], found["data"]) == ({"lr": 0.1}, 3, {"utterances": 7})
    import torch
    assert found["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["commit"] is None or len(found["commit"]) == 40
    json.dumps(found)


def test_versions_of_what_is_installed_and_of_nothing_else(monkeypatch):
    for name in ("optuna", "scipy", "flashlight-text"):
        pytest.importorskip(name.partition("-")[0], reason=f"{name} is not installed")
        assert provenance(None, None, 0, {})["versions"][name] == importlib.metadata.version(name)
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package"))
    assert provenance(None, None, 0, {})["versions"] == {"numpy": importlib.metadata.version("numpy")}


def test_all_that_makes_numbers_is_listed():
    """The packages behind every import outside of the report, which only shows."""
    sources = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] != "report"]
    modules = set().union(*map(imported, sources))
    assert {"torch", "flashlight", "optuna", "scipy", "pyworld", "resemblyzer"} <= modules
    owners = importlib.metadata.packages_distributions()
    names = {owner.lower().replace("_", "-") for name in modules for owner in owners.get(name, ())}
    assert names - SHOWN <= set(PACKAGES)
