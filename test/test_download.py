"""What the recipes' local/download.sh share: archives fetched where they are published, and folders that are there already."""

import hashlib
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """#!/usr/bin/env bash
set -euo pipefail
. ROOT/utils/archives.sh
usage() { echo "Usage: a script"; }
check_corpus() { [ -d "$1/Corpus" ] || die "$1: no folder Corpus" "the corpus" "$2"; }
version=1 more_options="version mirror" mirror=
read_options "$@"
link_corpus
echo "version $version"
fetch_archive "$mirror/NAME" SHA256 . Corpus/one Corpus/list.txt
fetch_archive "$mirror/NAME" - "all of v$version" .
"""
CLOSED, OPEN = ("timit", "voxceleb1"), ("librispeech", "speech_commands", "quesst2014")


def archive(folder, name="corpus.tar.gz"):
    """An archive of Corpus/one/a.txt and Corpus/list.txt, and its SHA-256."""
    (folder / "Corpus/one").mkdir(parents=True)
    for path in ("one/a.txt", "list.txt"):
        (folder / "Corpus" / path).write_text(path)
    if name.endswith("zip"):
        with zipfile.ZipFile(folder / name, "w") as file:
            for path in ("Corpus/one/a.txt", "Corpus/list.txt"):
                file.write(folder / path, path)
    else:
        with tarfile.open(folder / name, "w:gz") as file:
            file.add(folder / "Corpus", "Corpus")
    return hashlib.sha256((folder / name).read_bytes()).hexdigest()


@pytest.fixture
def download(tmp_path):
    def run(*options, name="corpus.tar.gz", sha256="-"):
        script = tmp_path / "download.sh"
        script.write_text(SCRIPT.replace("ROOT", str(ROOT)).replace("NAME", name).replace("SHA256", sha256))
        return subprocess.run(["bash", str(script), "--mirror", f"file://{tmp_path}/there", *map(str, options)],
                              capture_output=True, text=True, timeout=600)
    return run


@pytest.mark.parametrize("name", ["corpus.tar.gz", "corpus.zip"])
def test_archives_are_fetched_once(download, tmp_path, name):
    sha256 = archive(tmp_path / "there", name)
    done = download("--version", "2", tmp_path / "here", name=name, sha256=sha256)
    assert done.returncode == 0 and "version 2" in done.stdout, done.stderr
    here = tmp_path / "here/corpus"
    assert {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()} == {
        "Corpus/one/a.txt", "Corpus/list.txt", "all of v2/Corpus/one/a.txt", "all of v2/Corpus/list.txt"}
    (tmp_path / "there" / name).unlink()
    again = download("--version", "2", tmp_path / "here", name=name, sha256=sha256)
    assert again.returncode == 0 and again.stderr.count("is there already") == 2
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["archives", "corpus"]


def test_another_content_is_refused(download, tmp_path):
    archive(tmp_path / "there")
    done = download(tmp_path / "here", sha256="0" * 64)
    assert done.returncode == 1 and "its SHA-256 differs" in done.stderr
    assert not list((tmp_path / "here/archives").iterdir()) and not (tmp_path / "here/corpus").exists()


def test_what_cannot_be_fetched_or_unpacked(download, tmp_path):
    done = download(tmp_path / "here")
    assert done.returncode == 1 and "could not be fetched" in done.stderr and "cure: run this stage again" in done.stderr
    (tmp_path / "there").mkdir()
    (tmp_path / "there/corpus.tar.gz").write_text("no archive")
    done = download(tmp_path / "here")
    assert done.returncode == 1 and "does not unpack" in done.stderr
    (tmp_path / "here/archives/corpus.tar.gz").unlink()
    with tarfile.open(tmp_path / "there/corpus.tar.gz", "w:gz") as file:
        file.add(ROOT / "pyproject.toml", "Corpus/list.txt")
    done = download(tmp_path / "here")
    assert done.returncode == 1 and "no Corpus/one in it" in done.stderr and not list((tmp_path / "here").glob("corpus/*/one"))


def test_a_folder_that_is_there(download, tmp_path):
    archive(tmp_path / "there")
    done = download("--corpus", tmp_path / "there", tmp_path / "here")
    assert done.returncode == 0 and (tmp_path / "here/corpus").resolve() == tmp_path / "there", done.stderr
    assert download("--corpus", tmp_path, tmp_path / "other").returncode == 1
    assert download("--what", "x", tmp_path / "here").returncode == 2 and download().returncode == 2


def script(recipe, *options):
    return subprocess.run([ROOT / f"egs/{recipe}/local/download.sh", *map(str, options)], capture_output=True, text=True,
                          timeout=600)


@pytest.mark.parametrize("recipe", [*OPEN, *CLOSED])
def test_every_recipe_says_what_it_wants(recipe, tmp_path):
    usage = script(recipe, "--help")
    assert usage.returncode == 0 and "--corpus DIR" in usage.stdout
    (tmp_path / "empty").mkdir()
    done = script(recipe, "--corpus", tmp_path / "empty", tmp_path / "downloads")
    assert done.returncode == 1 and "empty: no " in done.stderr and "wanted:" in done.stderr
    assert not (tmp_path / "downloads/corpus").exists()


@pytest.mark.parametrize("recipe", CLOSED)
def test_a_corpus_with_terms_to_agree_to(recipe, tmp_path):
    done = script(recipe, tmp_path / "downloads")
    assert done.returncode == 1 and "https://" in done.stderr and "--corpus DIR" in done.stderr
    for name in ("TRAIN", "dev/wav", "test/wav"):
        (tmp_path / "there" / name).mkdir(parents=True)
    assert script(recipe, "--corpus", tmp_path / "there", tmp_path / "downloads").returncode == 0
    again = script(recipe, tmp_path / "downloads")
    assert again.returncode == 0 and "is there already" in again.stderr


@pytest.mark.parametrize("recipe", OPEN)
def test_an_open_corpus_from_a_mirror(recipe, tmp_path):
    done = script(recipe, "--mirror", f"file://{tmp_path}/none", tmp_path / "downloads")
    assert done.returncode == 1 and "could not be fetched" in done.stderr
