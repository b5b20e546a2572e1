"""Accuracy against misattribution, along a sweep over one of IDfree-PL's settings.

All points share people, base and central model; each fits, uploads and fine-tunes anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fedpers import lists
from fedpers.audit.attackers import completed, density_of, material
from fedpers.errors import InputError, unknown
from fedpers.evaluation import change
from fedpers.experiments import find
from fedpers.experiments.idfree import Own, family_of
from fedpers.privacy import Row, known_rows
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import Settings, resolve
from fedpers.simulation import Outcome, Setup, Stage, prepare, simulate

_CENTRAL = "central"  # the phase that all points share
# Numbers that act on a device's fit or later, so that all points can share a central model.
_SWEPT = (
    *("noise", "radius", "fit_lr", "fit_epochs", "fit_clip", "fit_batch_size"),
    *("user_tokens", "cloud_epochs", "start_alpha", "start_beta"),
)


@dataclass(frozen=True)
class Sweep:
    """A setting and the values it takes.

    Attributes:
        field: Its name among IDfree-PL's own settings.
        values: The values, as written.
    """

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One value of the sweep.

    Attributes:
        value: The setting's value.
        accuracy: Pooled test accuracy with user embeddings, in [0, 1].
        central_accuracy: That of the central model, without.
        gain: Their difference.
        low: Lower end of its 95 % bootstrap interval over people.
        high: Upper end.
        attribution: The attack on single uploads by one who knows every distribution, equal priors.
    """

    value: float
    accuracy: float
    central_accuracy: float
    gain: float
    low: float
    high: float
    attribution: Row


def parse_sweep(text: str) -> Sweep:
    """Reads a sweep such as noise=0.02,0.08.

    Raises:
        InputError: It is not of this form, or names no setting that can be swept.
    """
    field, _, values = text.partition("=")
    parts = tuple(lists.names(values))
    if not parts:
        raise InputError(f"--sweep {text!r}: give a setting and its values, as in noise=0.02,0.08,0.32")
    if field.strip() not in _SWEPT:
        raise unknown("setting to sweep", field.strip(), _SWEPT)
    return Sweep(field.strip(), parts)


def frontier(settings: Settings, sweep: Sweep, report: Reporter) -> Iterator[Point]:
    """Runs the method once for every value, each point as it is done.

    Raises:
        InputError: A value breaks the setting's rule.
        KeyboardInterrupt: Somebody stopped it before the last point.
    """
    variants = {value: _with(settings, sweep.field, value) for value in sweep.values}
    first = next(iter(variants.values()))
    setup = prepare(first, find("idfree").build, report)
    behind: dict[str, Stage] = {}
    for value, changed in variants.items():
        report.say(f"{sweep.field} {value}")
        method = find("idfree").build(changed)
        own = replace(setup, settings=changed, method=method).promised()
        outcome = simulate(own, report, behind=behind)
        if outcome.interrupted:
            raise KeyboardInterrupt
        behind = {_CENTRAL: outcome.stages[_CENTRAL]}
        yield _point(setup, changed, float(value), outcome)


def _with(settings: Settings, field: str, value: str) -> Settings:
    """Returns the settings with one of the method's own changed, checked as if it had been given so."""
    own = settings.of(Own, "idfree")
    given = {"idfree": {**own.model_dump(), field: value}}
    changed = resolve([given], {"idfree": Own}).of(Own, "idfree")
    if changed.distribution in ("none", "static"):
        raise InputError(f"a sweep needs distributions with noise: --distribution is {changed.distribution}")
    if field in ("noise", "start_alpha", "start_beta") and family_of(changed) == family_of(
        changed.model_copy(update={field: 2 * getattr(changed, field)})
    ):
        raise InputError(f"--distribution {changed.distribution} has no {field}: sweep another setting")
    return settings.model_copy(update={"own": {**settings.own, "idfree": changed}})


def _point(setup: Setup, settings: Settings, value: float, outcome: Outcome) -> Point:
    crossing = outcome.crossing
    assert crossing is not None
    family, seed = family_of(settings.of(Own, "idfree")), settings.run.seed
    clients = setup.population.clients
    uploads, theta = material(completed(crossing, clients, family), clients)
    central = outcome.stages[_CENTRAL].test
    gain = change([outcome.test], [central], stream(seed, "bootstrap"))
    single, _ = known_rows(
        density_of(settings, outcome.privacy), theta, uploads, [1], stream(seed, "attribution")
    )
    return Point(value, outcome.test.accuracy, central.accuracy, gain.difference, gain.low, gain.high, single)
