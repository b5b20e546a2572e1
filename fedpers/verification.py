"""The same few rounds on every engine, and how far their outcomes lie apart."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedpers.errors import FedpersError
from fedpers.models import Arrays, digest
from fedpers.report.progress import Reporter
from fedpers.settings import Settings
from fedpers.simulation import Build, Setup, prepare, simulate
from fedpers.stock import simulate_stock

# A small run with plain averaging, for adaptive strategies make steps of full length out of rounding.
SMALL = {
    "data": {"clients": 8, "public_people": 8, "held_out_people": 0},
    "federation": {"rounds": 2, "strategy": "fedavg"},
    "central": {"base_epochs": 1},
}

TOLERANCE = 1e-5  # float32 weights after a few rounds


@dataclass(frozen=True)
class Check:
    """How one engine's outcome agrees with another's.

    Attributes:
        engine: What ran.
        reference: What it is compared with.
        identical: Whether all weights are the same bits.
        largest_difference: Of any weight.
        agrees: Whether it is as it must be: the same bits on workers of ours, and otherwise up to rounding.
    """

    engine: str
    reference: str
    identical: bool
    largest_difference: float
    agrees: bool


def verify(settings: Settings, build: Build, report: Reporter) -> Iterator[Check]:
    """Runs the method device by device, in cohorts, on 1 and 2 Ray workers, and under Flower's stock engine.

    Args:
        settings: A small run.
        build: Makes the method.
        report: Where progress goes.

    Yields:
        Each comparison as it is made.

    Raises:
        FedpersError: There is nothing to compare, for training moved nothing.
    """
    setup = prepare(settings, build, report)
    # All clients train in every round, for nodes of the stock engine are sampled anew in each run.
    everyone = {"clients_per_round": len(setup.population.clients)}
    federation = settings.federation.model_copy(update=everyone)
    data = settings.data.model_copy(update={"clients": len(setup.population.clients)})
    settings = settings.model_copy(update={"federation": federation, "data": data})
    # Flower's stock engine ends with the last round, not with the best that somebody looked at.
    method = build(settings)
    phases = tuple(replace(phase, eval_every=None) for phase in method.phases)
    setup = replace(setup, settings=settings, method=replace(method, phases=phases)).promised()
    together = settings.engine.cohort_size or settings.federation.clients_per_round
    serial = _outcome(setup, report, workers=0, cohort=1)
    if digest(serial) == digest(setup.base):
        raise FedpersError("training moved no weight, so there is nothing to compare: raise --local-lr")
    cohorts = _outcome(setup, report, workers=0, cohort=together)
    yield _check(f"cohorts of {together}", cohorts, "one by one", serial, exact=False)
    for workers in (1, 2):
        found = _outcome(setup, report, workers=workers, cohort=together)
        name = f"Ray, {workers} worker{'s' * (workers > 1)}"
        yield _check(name, found, f"cohorts of {together}", cohorts, exact=True)
    report.say("Flower's stock engine")
    with tempfile.TemporaryDirectory() as folder:
        stock = simulate_stock(settings, Path(folder) / "run")
    yield _check("Flower's stock engine", stock, "one by one", serial, exact=False)


def _outcome(setup: Setup, report: Reporter, workers: int, cohort: int) -> Arrays:
    """Returns the parameters after the last round."""
    report.say(f"workers {workers}, cohorts of {cohort}")
    settings = setup.settings
    engine = settings.engine.model_copy(update={"workers": workers})
    changed = settings.model_copy(update={"engine": engine})
    return simulate(
        replace(setup, settings=changed, cohort_sizes=(cohort,) * len(setup.method.phases)), report
    ).arrays


def _check(engine: str, found: Arrays, reference: str, expected: Arrays, *, exact: bool) -> Check:
    apart = max(float(np.abs(found[name] - array).max()) for name, array in expected.items())
    same = digest({name: found[name] for name in expected}) == digest(expected)
    return Check(engine, reference, same, apart, same if exact else apart <= TOLERANCE)
