"""`standardise_by: speaker`: of what a voice's channel adds to or multiplies a band by, nothing is heard."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from test_contract import SMALL, corpus, make  # noqa: F401 (a fixture)
from toy_corpus import folder

from speechrep.config import build
from speechrep.data.ark import ArkWriter, read_scp
from speechrep.data.dataset import SpeechDataset, collate
from speechrep.errors import SpeechrepError
from speechrep.methods.base import find_method, method_names

HEARS_MEL = {"pase": {"hears": "logmel"}, "apc": {}, "mockingjay": {}, "tera": {}, "decoar2": {}}
"""What makes a method hear log-mel; of all others it is `front: mel`."""

CHOOSE = [name for name in method_names()
          if "standardise_by" in {field.name for field in dataclasses.fields(find_method(name).Config)}]


@pytest.fixture(scope="module")
def distorted(corpus, tmp_path_factory):  # noqa: F811
    """The train dump with each band of a speaker times a number and plus another."""
    source, dump = corpus / "dump/logmel/train", tmp_path_factory.mktemp("distorted")
    shutil.copy(source / "feats.yaml", dump)
    rng, channels = np.random.default_rng(0), {}
    with ArkWriter(dump, "feats") as writer:
        for utt, matrix in read_scp(source / "feats.scp").items():
            gain, shift = channels.setdefault(utt[:4], (rng.uniform(0.7, 1.4, 20), rng.standard_normal(20)))
            writer.write(utt, matrix * gain + shift)
    return dump


def test_what_hears_log_mel_may_choose():
    assert set(CHOOSE) == set(HEARS_MEL) | {"cpc", "data2vec", "hubert", "mt4ssl", "vq_wav2vec", "wav2vec2", "wavlm"}


@pytest.mark.parametrize("name", CHOOSE)
def test_a_channel_is_heard_by_part_and_not_by_speaker(name, corpus, distorted):  # noqa: F811
    for by, wanted in (("part", False), ("speaker", True)):
        method, _ = make(name, corpus, standardise_by=by, **HEARS_MEL.get(name, {"front": "mel"}))
        method.eval()
        layers = []
        for dump in (corpus / "dump/logmel/train", distorted):
            dataset = SpeechDataset(folder(corpus, "train"), dump, method.inventory, method.needs[:1])
            with torch.no_grad():
                found, lengths = method.layers(collate([dataset[i] for i in range(4)]))
            layers.append(found)
        same = [all(torch.allclose(x[:n], y[:n], atol=2e-3, rtol=1e-2) for x, y, n in zip(a, b, lengths))
                for a, b in zip(*layers)]
        assert same == [wanted] * len(same), by


@pytest.mark.parametrize("name", ["cpc", "pase", "vq_wav2vec", "wavlm"])
def test_a_waveform_is_not_standardised(name):
    heard = {"hears": "audio"} if name == "pase" else {"front": "wave"}
    with pytest.raises(SpeechrepError, match="standardise_by speaker is of log-mel, but the waveform is heard"):
        build(find_method(name).Config, SMALL[name]["model"] | heard | {"standardise_by": "speaker"})
