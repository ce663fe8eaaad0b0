"""The masked methods on the waveform: the contract test runs them on log-mel features."""

from pathlib import Path

import pytest
import torch
from toy_corpus import folder, make_corpus

from speechrep.config import build, read_yaml
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.methods.base import find_method

NAMES = ("wav2vec2", "hubert", "wavlm", "data2vec", "mt4ssl")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("toy"), {"train": 4})


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_company_change_nothing(name, corpus):
    cls = find_method(name)
    small = read_yaml(Path(__file__).parent / f"small/{name}.yaml")["model"]
    inventory = take_inventory(folder(corpus, "train"), corpus / "dump/logmel/train")
    torch.manual_seed(0)
    method = cls(build(cls.Config, small | {"front": "wave", "mask_span": 2}), inventory)
    dataset = SpeechDataset(folder(corpus, "train"), corpus / "dump/logmel/train", inventory, method.needs)
    assert method.needs[0] == "audio"
    items = [dataset[i] for i in range(4)]

    def losses(batch):
        torch.manual_seed(3)
        prepared = method.prepare(batch, torch.Generator().manual_seed(3))
        return method(prepared), method.counts(prepared)

    method.eval()
    whole, counts = losses(collate(items))
    wider = collate(items)
    wider["audio"] = torch.nn.functional.pad(wider["audio"], (0, 900))
    padded, padded_counts = losses(wider)
    parts = [losses(collate([item])) for item in items]
    assert counts == padded_counts
    for loss, total in whole.items():
        torch.testing.assert_close(padded[loss], total, rtol=1e-4, atol=1e-4)
        if loss not in method.across_batch:
            torch.testing.assert_close(sum(part[0][loss] for part in parts), total, rtol=1e-3, atol=1e-3)
            assert sum(part[1][loss] for part in parts) == counts[loss]
    with torch.no_grad():
        layers, lengths = method.layers(collate(items))
    assert torch.equal(lengths, method.frame_lengths(collate(items)["audio_lengths"])) and len(layers) == 3
    method.train()
    sums, counts = losses(collate(items))
    sum(sums[loss] / counts[loss] for loss in sums).backward()
    for parameter_name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = losses(collate(items))
    for loss, total in half.items():
        assert abs(float(total.detach()) / counts[loss] - float(sums[loss].detach()) / counts[loss]) < \
            0.1 * abs(float(sums[loss].detach()) / counts[loss]) + 0.05
