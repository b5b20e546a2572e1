from typing import Any

import pytest

from fedpers.clients import AnonymousUpload, DistributionFit, UserTokens
from fedpers.errors import InputError
from fedpers.experiments import find, own_sections
from fedpers.experiments.idfree import Own, family_of
from fedpers.method import Method, Phase, Server
from fedpers.models import Beta, Family, Gaussian
from fedpers.report.progress import Reporter
from fedpers.settings import resolve
from fedpers.simulation import lay_out, prepare, simulate
from fedpers.strategies import Cloud, Silence
from fedpers.training import Plan
from tests.conftest import SMALL, small


def method(**own: object) -> Method:
    return find("idfree").build(small(idfree=own))


def fit_of(found: Method) -> DistributionFit:
    client = found.phases[1].client
    assert isinstance(client, DistributionFit)
    return client


def strategy_of(phase: Phase) -> Any:
    _, population, spec = lay_out(small(), find("idfree").build)
    return phase.strategy(Server(len(population.clients), spec, 0))


# Phases


def test_the_phases_are_central_fit_and_cloud() -> None:
    found = method(pooled_epochs=4, cloud_epochs=5)
    assert [(phase.name, phase.rounds) for phase in found.phases] == [
        ("central", 4),
        ("fit", 1),
        ("cloud", 5),
    ]
    assert [type(phase.client) for phase in found.phases] == [
        AnonymousUpload,
        DistributionFit,
        AnonymousUpload,
    ]
    assert not found.has_central


def test_all_devices_take_part_in_every_phase() -> None:
    assert [phase.sampled for phase in method().phases] == [None] * 3


def test_without_a_distribution_nothing_is_fitted_and_texts_go_alone() -> None:
    found = method(distribution="none")
    assert [phase.name for phase in found.phases] == ["central", "cloud"]
    assert all(phase.client == AnonymousUpload(None) for phase in found.phases)


def test_the_cloud_uploads_what_the_fit_fitted_and_central_only_texts() -> None:
    central, fit, cloud = (phase.client for phase in method(user_tokens=2, placement="back").phases)
    assert central == AnonymousUpload(None)
    assert isinstance(fit, DistributionFit)
    assert cloud == AnonymousUpload(fit.tokens)
    assert fit.tokens == UserTokens(Gaussian(1.0), 2, "back")


def test_the_servers_halves_are_clouds_around_a_silent_one() -> None:
    found = [strategy_of(phase) for phase in method(upload="each-epoch").phases]
    assert [type(strategy) for strategy in found] == [Cloud, Silence, Cloud]


@pytest.mark.parametrize(("upload", "each"), [("once", False), ("each-epoch", True)])
def test_how_often_devices_send_reaches_both_clouds(upload: str, each: bool) -> None:
    central, _, cloud = method(upload=upload, placement="back").phases
    for phase in (central, cloud):
        strategy = strategy_of(phase)
        assert (strategy._each_epoch, strategy._placement, strategy._purpose) == (each, "back", phase.name)
        assert strategy._plan.epochs == phase.rounds


# Settings


@pytest.mark.parametrize(
    ("own", "family"),
    [
        ({}, Gaussian(1.0, 0.1)),
        ({"noise": 0.5, "start_mean": 0.0}, Gaussian(0.5, 0.0)),
        ({"noise": 0.25, "noise_unit": "variance"}, Gaussian(0.5)),
        ({"train_noise": True, "divergence_weight": 0.3}, Gaussian(1.0, 0.1, True, 0.3)),
        ({"distribution": "beta"}, Beta(2.0, 5.0)),
        ({"distribution": "beta", "start_alpha": 1.5, "start_beta": 3.0}, Beta(1.5, 3.0)),
    ],
    ids=str,
)
def test_settings_reach_the_family(own: dict[str, object], family: Family) -> None:
    assert fit_of(method(**own)).tokens.family == family


def test_static_is_a_gaussian_with_next_to_no_spread() -> None:
    family = family_of(Own(distribution="static", noise=0.7))
    assert isinstance(family, Gaussian)
    assert 0 < family.spread < 1e-5


@pytest.mark.parametrize("distribution", ["static", "beta"])
@pytest.mark.parametrize("own", [{"train_noise": True}, {"divergence_weight": 0.1}], ids=str)
def test_only_a_gaussian_has_noise_to_train(distribution: str, own: dict[str, object]) -> None:
    [option] = own
    with pytest.raises(
        InputError, match=rf"^idfree\.{option} is of the Gaussian's noise, and {distribution}"
    ):
        method(distribution=distribution, **own)


def test_settings_reach_the_plan_of_the_fit() -> None:
    own = {
        "fit_optimizer": "sgd",
        "fit_lr": 0.3,
        "fit_epochs": 7,
        "fit_batch_size": 4,
        "fit_warmup_share": 0.1,
        "fit_clip": 0.5,
        "radius": 2.0,
    }
    expected = Plan("sgd", 0.3, 7, 4, warmup_share=0.1, clip=0.5, radius=2.0)
    found = method(**own)
    assert fit_of(found).plan == found.phases[1].plan == expected


def test_a_fit_takes_all_samples_in_a_batch_by_default() -> None:
    assert fit_of(method()).plan.batches(100_000) == 1


# Bad settings


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("noise", 0, "--noise 0: input should be greater than 0"),
        ("noise", -0.1, "--noise -0.1: input should be greater than 0"),
        ("start_alpha", 0, "idfree.start_alpha 0: input should be greater than 0"),
        ("start_beta", -2, "idfree.start_beta -2: input should be greater than 0"),
        ("user_tokens", 0, "--user-tokens 0: input should be greater than or equal to 1 (nearest: 1)"),
        ("radius", 0, "--radius 0: input should be greater than 0"),
        ("fit_clip", 0, "--fit-clip 0: input should be greater than 0"),
        (
            "divergence_weight",
            -1,
            "idfree.divergence_weight -1: input should be greater than or equal to 0 (nearest: 0)",
        ),
        (
            "distribution",
            "gausian",
            "--distribution 'gausian': input should be 'gaussian', 'beta', 'static' or 'none' "
            "(did you mean 'gaussian'?)",
        ),
        (
            "upload",
            "twice",
            "--upload 'twice': input should be 'once' or 'each-epoch' (did you mean 'once'?)",
        ),
    ],
    ids=str,
)
def test_a_setting_that_breaks_a_rule_is_one_line_that_names_it(
    field: str, value: object, shown: str
) -> None:
    with pytest.raises(InputError) as caught:
        resolve([SMALL, {"idfree": {field: value}}], own_sections())
    assert str(caught.value) == shown


def test_user_tokens_without_room_for_text_are_refused_before_the_base_is_trained(silent: Reporter) -> None:
    # [CLS], [SEP] and one token of text leave 29 of 32.
    with pytest.raises(InputError) as caught:
        prepare(small(idfree={"user_tokens": 30}), find("idfree").build, silent)
    assert str(caught.value) == (
        "30 user tokens are more than the model's 32 positions allow beside a text: use at most 29"
    )


def test_as_many_user_tokens_as_positions_allow_are_taken(silent: Reporter) -> None:
    settings = small(idfree={"user_tokens": 29}, central={"base_epochs": 0})
    assert simulate(prepare(settings, find("idfree").build, silent), silent).done == 7
