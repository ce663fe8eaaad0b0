"""local/download.sh of recipes whose corpus is not fetched: it links the folder that is named, and says where else to look."""

import subprocess

import pytest
from recipe_tree import EGS, write

MARKERS = {"fluent_speech_commands": "fluent_speech_commands_dataset/data/train_data.csv",
           "iemocap": "IEMOCAP_full_release/Session1/dialog/x.txt", "libri2mix": "Libri2Mix/wav16k/max/metadata/x.csv",
           "snips": "SNIPS/all.iob.snips.txt", "zerospeech2021": "phonetic/dev-clean.item"}


def download(recipe, *options):
    return subprocess.run([str(EGS / recipe / "local/download.sh"), *map(str, options)], capture_output=True, text=True,
                          timeout=600)


@pytest.mark.parametrize("recipe", MARKERS)
def test_named_folder(tmp_path, recipe):
    write(tmp_path / "corpus" / MARKERS[recipe], "x")
    done = download(recipe, "--corpus", tmp_path / "corpus", tmp_path / "downloads")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "downloads/corpus").resolve() == tmp_path / "corpus"
    assert download(recipe, tmp_path / "downloads").returncode == 0


@pytest.mark.parametrize("recipe", MARKERS)
def test_another_folder_or_none(tmp_path, recipe):
    (tmp_path / "other").mkdir()
    done = download(recipe, "--corpus", tmp_path / "other", tmp_path / "downloads")
    assert done.returncode == 1 and f"{tmp_path}/other: no " in done.stderr and "cure:" in done.stderr
    done = download(recipe, tmp_path / "downloads")
    assert done.returncode == 1 and "--corpus DIR" in done.stderr and ("https://" in done.stderr or "README.md" in done.stderr)
    assert not (tmp_path / "downloads/corpus").exists()
    done = download(recipe, "--help")
    assert done.returncode == 0 and done.stdout.startswith("Usage: local/download.sh ")
