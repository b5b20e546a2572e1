import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from fedpers.models import KeyedDropout


def kept(
    key: int, shape: tuple[int, ...], rate: float = 0.25, calls: int = 1, first: int = 0
) -> torch.Tensor:
    """Returns where the last of some calls keeps ones."""
    with KeyedDropout(torch.tensor(key, dtype=torch.int32), first):
        for _ in range(calls):
            found = functional.dropout(torch.ones(shape), rate, training=True)
    return found > 0


def test_what_is_kept_is_scaled_to_keep_the_mean() -> None:
    with KeyedDropout(torch.tensor(3, dtype=torch.int32)):
        found = functional.dropout(torch.full((50, 50), 2.0), 0.2)
    assert sorted(set(found.flatten().tolist())) == [0.0, 2.5]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_the_rate(rate: float) -> None:
    # Binomial test; every key is fixed, so this does not fail by chance.
    mask = kept(11, (100, 40, 50), rate)
    assert stats.binomtest(int((~mask).sum()), mask.numel(), rate).pvalue > 0.01


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_along_any_axis_are_independent(axis: int) -> None:
    mask = kept(11, (64, 64, 64), 0.5).numpy()
    pairs = np.take(mask, range(63), axis) == np.take(mask, range(1, 64), axis)
    assert stats.binomtest(int(pairs.sum()), pairs.size, 0.5).pvalue > 0.01


@pytest.mark.parametrize(("key", "calls"), [(12, 1), (11, 2), (11 + 2**16, 1)])
def test_other_keys_and_other_calls_give_independent_masks(key: int, calls: int) -> None:
    same = kept(11, (100, 100), 0.5) == kept(key, (100, 100), 0.5, calls)
    assert stats.binomtest(int(same.sum()), same.numel(), 0.5).pvalue > 0.01


def test_how_often_a_place_is_kept_over_many_keys_is_binomial() -> None:
    # Variance of 200 independent draws at 1/2; the variance of 1,000 sample values has an error of 4.5 %.
    counts = torch.stack([kept(key, (10, 100), 0.5) for key in range(200)]).sum(0).double()
    assert counts.mean().item() == pytest.approx(100, abs=0.7)
    assert counts.var().item() == pytest.approx(50, rel=0.1)


def test_padding_does_not_change_the_masks_of_what_is_there() -> None:
    assert torch.equal(kept(5, (3, 4, 6)), kept(5, (5, 9, 6))[:3, :4])


def test_a_piece_of_a_batch_has_the_masks_of_its_place() -> None:
    assert torch.equal(kept(5, (2, 4, 6), first=3), kept(5, (5, 4, 6))[3:])


def test_devices_under_vmap_have_the_masks_of_their_keys() -> None:
    def drop(key: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        with KeyedDropout(key):
            return functional.dropout(values, 0.25)

    keys = torch.tensor([7, 8], dtype=torch.int32)
    found = torch.vmap(drop)(keys, torch.ones(2, 4, 6)) > 0
    assert torch.equal(found, torch.stack([kept(7, (4, 6)), kept(8, (4, 6))]))


def test_nothing_is_dropped_in_prediction_or_at_rate_0() -> None:
    values = torch.randn(4, 5)
    with KeyedDropout(torch.tensor(3, dtype=torch.int32)):
        assert torch.equal(functional.dropout(values, 0.5, training=False), values)
        assert torch.equal(functional.dropout(values, 0.0), values)


def test_torchs_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    kept(3, (4, 4))
    assert torch.equal(torch.get_rng_state(), before)
