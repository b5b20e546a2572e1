import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from fedpers.models import Arrays
from fedpers.models.families import Beta, Doubles, Family, Gaussian, log_densities

TRAINED = Gaussian(trained_spread=True)
BOTH: list[Family] = [Gaussian(), TRAINED, Beta()]


def stack(family: Family, devices: int, tokens: int = 2, width: int = 3) -> dict[str, torch.Tensor]:
    """Returns everyone's start, moved a little apart (devices, tokens, width)."""
    start = {name: torch.from_numpy(array) for name, array in family.start(tokens, width).items()}
    factors = 1 + torch.arange(devices).view(-1, 1, 1) / 10
    return {name: tensor * factors for name, tensor in start.items()}


def one(values: dict[str, float]) -> dict[str, Doubles]:
    """Returns the parameters of one person with one coordinate."""
    return {name: np.array([[value]]) for name, value in values.items()}


# Draws


def test_gaussian_draws_have_the_mean_and_the_spread() -> None:
    theta = {"mean": torch.tensor([[[0.1, -3.0]]]), "spread": torch.tensor([[[0.2, 2.0]]])}
    drawn = TRAINED.draw(theta, [20_000], [5])[0, :, 0].double().numpy()
    # four standard errors: s / sqrt(n) of the mean, s / sqrt(2n) of the spread
    assert drawn.mean(axis=0) == pytest.approx([0.1, -3.0], abs=4 * 2 / np.sqrt(20_000))
    assert drawn.std(axis=0) == pytest.approx([0.2, 2.0], rel=4 / np.sqrt(40_000))


def test_coordinates_and_draws_of_a_gaussian_are_independent() -> None:
    drawn = Gaussian().draw({"mean": torch.zeros(1, 1, 2)}, [20_000], [5])[0, :, 0].numpy()
    shifted = np.stack([drawn[:-1, 0], drawn[:-1, 1], drawn[1:, 0]])
    assert np.corrcoef(shifted) == pytest.approx(np.eye(3), abs=4 / np.sqrt(20_000))


def test_beta_draws_are_those_of_the_distribution() -> None:
    drawn = Beta().draw(stack(Beta(), 1, 1, 1), [5000], [5]).flatten().numpy()
    assert stats.kstest(drawn, stats.beta(2, 5).cdf).pvalue > 0.001


@pytest.mark.parametrize("family", BOTH)
def test_a_draw_does_not_depend_on_the_other_devices(family: Family) -> None:
    theta = stack(family, 3)
    together = family.draw(theta, [5, 2, 4], [7, 8, 9])
    alone = family.draw({name: tensor[1:2] for name, tensor in theta.items()}, [2], [8])
    assert torch.equal(together[1, :2], alone[0])


@pytest.mark.parametrize("family", BOTH)
def test_places_without_a_draw_are_zeros(family: Family) -> None:
    drawn = family.draw(stack(family, 2), [1, 3], [7, 8])
    assert drawn.shape == (2, 3, 2, 3)
    assert (drawn[0, 1:] == 0).all()


@pytest.mark.parametrize("family", BOTH)
def test_other_keys_give_other_draws(family: Family) -> None:
    theta = stack(family, 1)
    assert not torch.equal(family.draw(theta, [2], [1]), family.draw(theta, [2], [2]))


@pytest.mark.parametrize("family", BOTH)
def test_drawing_leaves_torchs_own_stream_alone(family: Family) -> None:
    before = torch.random.get_rng_state()
    family.draw(stack(family, 1), [2], [1])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_beta_draws_stay_inside_their_borders() -> None:
    theta = {name: torch.full((1, 1, 50), 1e-2) for name in ("alpha", "beta")}
    drawn = Beta().draw(theta, [200], [1])
    assert 0 < float(drawn.min()) < float(drawn.max()) < 1


# Draws that leave the device


def of_one(family: Family) -> Arrays:
    """Returns the parameters that one device starts from."""
    return family.start(2, 3)


def test_released_gaussians_have_the_mean_and_the_spread() -> None:
    theta = {
        "mean": np.array([[0.1, -3.0]], dtype=np.float32),
        "spread": np.array([[0.2, 2.0]], dtype=np.float32),
    }
    drawn = TRAINED.release(theta, 20_000, np.random.default_rng(5))[:, 0].astype(float)
    for column, (mean, spread) in enumerate([(0.1, 0.2), (-3.0, 2.0)]):
        assert stats.kstest(drawn[:, column], stats.norm(mean, spread).cdf).pvalue > 0.001
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 4 / np.sqrt(20_000)


def test_released_betas_are_those_of_the_distribution_and_stay_inside() -> None:
    drawn = Beta().release(of_one(Beta()), 1000, np.random.default_rng(5)).flatten()
    assert stats.kstest(drawn, stats.beta(2, 5).cdf).pvalue > 0.001
    extreme = Beta(1e-2, 1e-2)
    ends = extreme.release(of_one(extreme), 200, np.random.default_rng(5))
    assert 0 < float(ends.min()) < float(ends.max()) < 1


@pytest.mark.parametrize("family", BOTH)
def test_a_release_is_made_of_the_devices_own_stream(family: Family) -> None:
    first, again, other = (family.release(of_one(family), 4, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (4, 2, 3)
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def on_the_lattice(drawn: npt.NDArray[np.float32]) -> float:
    """Returns the share of small pairs (of places 8 apart, as torch makes them) with a radius of 24 bits.

    Box and Muller's radius is sqrt(-2 ln(1 - k / 2^24)) with a whole number k, which rounding hides where k
    is large.
    """
    pairs = drawn.astype(float).reshape(-1, 2, 8)
    squares = (pairs**2).sum(axis=1).flatten()
    counts = -np.expm1(-squares[squares < 0.005] / 2) * 2**24
    return float((np.abs(counts - np.round(counts)) < 0.05).mean())


def test_the_last_bits_of_a_release_do_not_tell_its_mean() -> None:
    # Of a fit's draws, in single precision, they do: with the right mean taken away, 24 random bits are left.
    theta = {"mean": np.zeros((1, 160), dtype=np.float32)}
    stays = Gaussian(1.0).draw({"mean": torch.zeros(1, 1, 160)}, [5000], [3]).numpy()
    leaves = Gaussian(1.0).release(theta, 5000, np.random.default_rng(3))
    assert on_the_lattice(stays) > 0.9
    assert on_the_lattice(leaves) < 0.2


# Gradients


def test_a_gaussians_gradient_by_hand() -> None:
    # u = mean + spread eps: du/dmean = 1, du/dspread = eps = (u - mean) / spread
    theta = {name: tensor.requires_grad_() for name, tensor in stack(TRAINED, 1).items()}
    drawn = TRAINED.draw(theta, [1], [3])
    of_mean, of_spread = torch.autograd.grad(drawn.sum(), [theta["mean"], theta["spread"]])
    noise = (drawn[:, 0] - theta["mean"]) / theta["spread"]
    torch.testing.assert_close(of_mean, torch.ones_like(of_mean))
    torch.testing.assert_close(of_spread, noise.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_a_betas_gradient_is_that_of_its_quantile_at_the_draws_own_level(name: str) -> None:
    # finite differences of scipy's quantile function
    world = torch.Generator().manual_seed(0)
    theta = {
        n: (0.5 + 5 * torch.rand(1, 1, 200, generator=world)).requires_grad_() for n in ("alpha", "beta")
    }
    drawn = Beta().draw(theta, [1], [3])
    (gradient,) = torch.autograd.grad(drawn.sum(), theta[name])
    values = {n: tensor.detach().double().numpy() for n, tensor in theta.items()}
    level = stats.beta.cdf(drawn.detach().double().numpy()[0], values["alpha"], values["beta"])
    up, down = ({**values, name: values[name] + step} for step in (1e-4, -1e-4))
    ends = [stats.beta.ppf(level, each["alpha"], each["beta"]) for each in (up, down)]
    np.testing.assert_allclose(gradient.numpy(), (ends[0] - ends[1]) / 2e-4, rtol=1e-2, atol=1e-4)


# Penalty and valid parameters


def test_the_penalty_is_torchs_divergence_up_to_a_half() -> None:
    family = Gaussian(trained_spread=True, divergence_weight=3.0)
    theta = stack(family, 2)
    normal = torch.distributions.Normal
    each = torch.distributions.kl_divergence(normal(theta["mean"], theta["spread"]), normal(0.0, 1.0))
    torch.testing.assert_close(family.penalty(theta), 3 * (each.mean(dim=(1, 2)) + 0.5))


def test_the_penalty_of_a_fixed_spread_by_hand() -> None:
    # -ln 0.5 + (0.1^2 + 0.5^2) / 2
    family = Gaussian(0.5, divergence_weight=1.0)
    found = family.penalty({"mean": torch.full((1, 1, 4), 0.1)})
    assert float(found) == pytest.approx(np.log(2) + 0.13)


@pytest.mark.parametrize("family", [Gaussian(), Beta()])
def test_without_a_weight_there_is_no_penalty(family: Family) -> None:
    assert family.penalty(stack(family, 1)) == 0


def test_spreads_are_kept_above_0_and_means_left_alone() -> None:
    theta = {"mean": torch.tensor([-1.0]), "spread": torch.tensor([-0.5])}
    TRAINED.restrict(theta)
    assert (float(theta["mean"]), float(theta["spread"])) == pytest.approx((-1.0, 1e-3))


def test_shapes_of_betas_are_kept_above_0() -> None:
    theta = {"alpha": torch.tensor([-1.0, 2.0]), "beta": torch.tensor([0.0, 3.0])}
    Beta().restrict(theta)
    assert torch.stack([theta["alpha"], theta["beta"]]).flatten().tolist() == pytest.approx(
        [0.01, 2, 0.01, 3]
    )


# Densities and distances


def test_log_densities_of_gaussians_are_scipys_up_to_a_constant() -> None:
    world = np.random.default_rng(0)
    theta = {"mean": world.normal(size=(4, 3)), "spread": world.uniform(0.5, 2, (4, 3))}
    vectors = world.normal(size=(5, 3))
    each = stats.norm.logpdf(vectors[:, None], theta["mean"], theta["spread"]).sum(axis=2)
    constant = 3 * np.log(2 * np.pi) / 2
    np.testing.assert_allclose(log_densities(TRAINED, theta, vectors), each + constant)


def test_log_densities_of_a_fixed_spread_are_those_of_equal_ones() -> None:
    means, vectors = np.random.default_rng(0).normal(size=(2, 4, 3))
    theta = {"mean": means, "spread": np.full((4, 3), 0.2)}
    fixed = log_densities(Gaussian(0.2), {"mean": means}, vectors)
    np.testing.assert_allclose(fixed, log_densities(TRAINED, theta, vectors))


def test_log_densities_of_betas_are_scipys() -> None:
    world = np.random.default_rng(0)
    theta = {name: world.uniform(0.5, 6, (4, 3)) for name in ("alpha", "beta")}
    vectors = world.uniform(0.01, 0.99, (5, 3))
    each = stats.beta.logpdf(vectors[:, None], theta["alpha"], theta["beta"]).sum(axis=2)
    np.testing.assert_allclose(log_densities(Beta(), theta, vectors), each)


def integrated(first: stats.rv_continuous, second: stats.rv_continuous, low: float, high: float) -> float:
    return 0.5 * float(quad(lambda x: abs(first.pdf(x) - second.pdf(x)), low, high, limit=500)[0])


@pytest.mark.parametrize("mean", [0.0, 0.3, 2.0])
def test_total_variation_of_gaussians_is_that_by_integration(mean: float) -> None:
    expected = integrated(stats.norm(0, 0.7), stats.norm(mean, 0.7), -8, 10)
    found = Gaussian(0.7).total_variation(one({"mean": 0.0}), one({"mean": mean}))
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (0.0, 1.5), (0.5, 1.0), (2.0, 0.4)])
def test_total_variation_of_unequal_spreads_is_bounded(mean: float, spread: float) -> None:
    exact = integrated(stats.norm(0, 1), stats.norm(mean, spread), -12, 12)
    bound = TRAINED.total_variation(one({"mean": 0.0, "spread": 1.0}), one({"mean": mean, "spread": spread}))
    assert exact - 1e-9 <= bound[0] <= min(1, 1.5 * exact + 1e-9)


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 5.0), (2.2, 5.0), (3.0, 3.0), (8.0, 1.5)])
def test_total_variation_of_betas_is_bounded(alpha: float, beta: float) -> None:
    exact = integrated(stats.beta(2, 5), stats.beta(alpha, beta), 0, 1)
    bound = Beta().total_variation(one({"alpha": 2.0, "beta": 5.0}), one({"alpha": alpha, "beta": beta}))
    assert exact - 1e-9 <= bound[0] <= min(1, 1.5 * exact + 1e-9)


@pytest.mark.parametrize("family", BOTH)
def test_moments_are_those_of_the_draws(family: Family) -> None:
    theta = {name: array * 1.5 for name, array in stack(family, 1).items()}
    [drawn] = family.draw(theta, [20_000], [3])
    mean, variance = family.moments({name: np.asarray(a.flatten(1), float) for name, a in theta.items()})
    np.testing.assert_allclose(drawn.flatten(1).mean(dim=0), mean[0], atol=0.02)
    np.testing.assert_allclose(drawn.flatten(1).var(dim=0), variance[0], rtol=0.08)


@pytest.mark.parametrize("family", BOTH)
def test_several_uploads_are_as_one_of_as_many_times_the_coordinates(family: Family) -> None:
    theta = {name: t.flatten(1).double().numpy() for name, t in stack(family, 2, 1, 3).items()}
    first, second = ({name: array[[place]] for name, array in theta.items()} for place in (0, 1))
    wide = [{name: np.tile(array, 4) for name, array in each.items()} for each in (first, second)]
    found = family.total_variation(first, second, uploads=4)
    assert found == pytest.approx(family.total_variation(wide[0], wide[1]))


@pytest.mark.parametrize("family", BOTH)
def test_one_person_can_be_compared_with_everyone(family: Family) -> None:
    theta = {name: t.flatten(1).double().numpy() for name, t in stack(family, 3).items()}
    found = family.total_variation(theta, {name: array[[0]] for name, array in theta.items()})
    assert (found[0] < 1e-6, 0 < found[1] < found[2] < 1) == (True, True)
