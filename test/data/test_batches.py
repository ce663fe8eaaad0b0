"""Steps in seconds: everything once an epoch, no step above its size, the same for any number of processes, resumable."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from speechrep.data.batches import StepSampler, deal, plan_epoch
from speechrep.errors import SpeechrepError

seconds = st.lists(st.floats(0.5, 12.0), min_size=4, max_size=60).map(np.array)


@settings(max_examples=80, deadline=None)
@given(seconds, st.integers(0, 3), st.integers(0, 5))
def test_an_epoch_has_every_utterance_once_in_steps_of_about_the_size(lengths, seed, epoch):
    steps = plan_epoch(lengths, 25.0, seed, epoch)
    assert sorted(np.concatenate(steps)) == list(range(len(lengths)))
    for step in steps:
        assert lengths[step].sum() <= 25.0 * 1.5 + 12.0


@settings(max_examples=80, deadline=None)
@given(seconds, st.integers(1, 4), st.floats(3.0, 60.0))
def test_dealing_gives_every_process_as_many_micro_batches_and_bounds_their_padded_seconds(lengths, ranks, micro_sec):
    step = np.arange(len(lengths))
    shares = deal(step, lengths, ranks, micro_sec)
    assert len({len(share) for share in shares}) == 1
    dealt = [i for share in shares for micro in share for i in micro]
    assert sorted(dealt) == list(step)
    fewest = len(lengths) // ranks
    if len(shares[0]) < fewest:
        assert all(len(micro) * lengths[micro].max() <= micro_sec for share in shares for micro in share)


def test_processes_share_the_steps_of_one():
    lengths = np.random.default_rng(0).uniform(1, 9, 50)
    alone = iter(StepSampler(lengths, 30, 1000))
    pair = [iter(StepSampler(lengths, 30, 1000, rank=rank, ranks=2)) for rank in range(2)]
    for _ in range(12):
        one = {key[:2] for key in next(alone)}
        two = [{key[:2] for key in next(sampler)} for sampler in pair]
        assert one == two[0] | two[1] and not two[0] & two[1]


def test_it_goes_on_where_its_state_says():
    lengths = np.random.default_rng(1).uniform(1, 9, 40)
    sampler = StepSampler(lengths, 30, 1000, seed=3)
    steps = iter(sampler)
    for _ in range(9):
        next(steps)
    later = StepSampler(lengths, 30, 1000, seed=3)
    later.load_state_dict(sampler.state_dict())
    again = iter(later)
    assert [next(again) for _ in range(7)] == [next(steps) for _ in range(7)]
    assert sampler.state_dict()["epoch"] > 0


def test_fewer_utterances_than_processes_are_refused():
    with pytest.raises(SpeechrepError, match="3 utterances"):
        StepSampler(np.ones(3), 30, 30, ranks=4)
