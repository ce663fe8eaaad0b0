import pytest
import torch

from speechrep.nn.discriminators import (Judges, PeriodJudge, ResolutionJudge, fool_loss, judge_loss, match_loss)


def judges(kind):
    torch.manual_seed(0)
    return Judges([PeriodJudge(2, 2), PeriodJudge(3, 2)] if kind == "period" else
                  [ResolutionJudge(64, 4), ResolutionJudge(128, 4)])


@pytest.mark.parametrize("kind", ["period", "resolution"])
def test_padding_changes_nothing(kind):
    both = judges(kind)
    samples = torch.randn(2, 1000, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([1000, 613])
    samples[1, 613:] = 0
    other = 0.5 * samples
    together = [judge_loss(both(samples, lengths), both(other, lengths)), fool_loss(both(other, lengths)),
                match_loss(both(samples, lengths), both(other, lengths))]
    alone = samples[1:, :613], torch.tensor([613])
    faint = other[1:, :613], torch.tensor([613])
    apart = [judge_loss(both(*alone), both(*faint)), fool_loss(both(*faint)), match_loss(both(*alone), both(*faint))]
    for ours, theirs in zip(together, apart):
        assert ours.shape == (2,)
        torch.testing.assert_close(ours[1], theirs[0], atol=1e-5, rtol=1e-4)


def test_period_judge_sees_every_period_th_sample():
    # Columns are never mixed: a change of one sample moves the judgement of its own column alone.
    judge = PeriodJudge(5, 2)
    samples = torch.randn(1, 500, generator=torch.Generator().manual_seed(2))
    changed = samples.clone()
    changed[0, 253] += 1.0
    before, after = (judge(x, torch.tensor([500]))[-1][0] for x in (samples, changed))
    columns = (before - after).abs().sum((0, 1, 2)) > 0
    assert columns.tolist() == [False, False, False, True, False]


def test_losses_by_hand():
    rows = torch.tensor([2])
    real = [[(torch.tensor([1.5, -0.5]).view(1, 1, 2, 1), rows)]]
    made = [[(torch.tensor([-2.0, 0.5]).view(1, 1, 2, 1), rows)]]
    # max(0, 1 - 1.5), max(0, 1 + 0.5) -> mean 0.75; max(0, 1 - 2), max(0, 1 + 0.5) -> mean 0.75
    assert judge_loss(real, made).item() == pytest.approx(1.5)
    # max(0, 1 + 2), max(0, 1 - 0.5) -> mean 1.75
    assert fool_loss(made).item() == pytest.approx(1.75)
    # |1.5 + 2|, |-0.5 - 0.5| -> mean 2.25
    assert match_loss(real, made).item() == pytest.approx(2.25)


def test_resolution_judge_ignores_level_and_offset():
    judge = ResolutionJudge(64, 4)
    samples = torch.randn(1, 800, generator=torch.Generator().manual_seed(3))
    lengths = torch.tensor([800])
    torch.testing.assert_close(judge(samples, lengths)[-1][0], judge(3 * samples + 2, lengths)[-1][0],
                               atol=1e-4, rtol=1e-3)
