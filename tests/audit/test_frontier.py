import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from fedpers.audit import Point, frontier, parse_sweep
from fedpers.errors import InputError
from fedpers.experiments import find
from fedpers.report.attribution_plots import draw_frontier, draw_uploads
from fedpers.report.progress import Reporter
from fedpers.simulation import prepare, simulate
from tests.conftest import small

QUICK = {"idfree": {"fit_epochs": 3, "pooled_epochs": 1, "cloud_epochs": 1}}


@pytest.fixture(scope="module")
def points() -> list[Point]:
    settings = small(run={"method": "idfree"}, **QUICK)
    return [*frontier(settings, parse_sweep("noise=0.01,3"), Reporter(silent=True))]


def test_more_noise_means_more_misattribution(points: list[Point]) -> None:
    assert [point.value for point in points] == [0.01, 3]
    assert points[0].attribution.misattribution_rate < 0.1
    assert points[1].attribution.misattribution_rate > 0.5


def test_a_point_keeps_its_own_promise_of_privacy(silent: Reporter) -> None:
    private = {
        "privacy": {"dp": "local", "epsilon": 8.0},
        "idfree": {**QUICK["idfree"], "upload": "each-epoch"},
    }
    settings = small(run={"method": "idfree"}, **private)
    points = [*frontier(settings, parse_sweep("cloud_epochs=1,3"), silent)]
    alone = small(run={"method": "idfree"}, **{**private, "idfree": {**private["idfree"], "cloud_epochs": 3}})
    outcome = simulate(prepare(alone, find("idfree").build, silent), silent)
    assert outcome.test.accuracy == points[1].accuracy
    assert points[0].attribution.misattribution_rate != points[1].attribution.misattribution_rate


def test_all_points_share_the_central_model(points: list[Point]) -> None:
    assert points[0].central_accuracy == points[1].central_accuracy
    assert all(point.gain == pytest.approx(point.accuracy - point.central_accuracy) for point in points)


def test_a_point_is_what_a_run_of_its_own_gives(points: list[Point], silent: Reporter) -> None:
    settings = small(run={"method": "idfree"}, idfree={**QUICK["idfree"], "noise": 3})
    outcome = simulate(prepare(settings, find("idfree").build, silent), silent)
    assert outcome.test.accuracy == points[1].accuracy
    assert outcome.stages["central"].test.accuracy == points[1].central_accuracy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noise", "give a setting and its values, as in noise=0.02,0.08,0.32"),
        ("noise=", "give a setting and its values"),
        ("nois=1", "did you mean 'noise'"),
        ("distribution=beta", "unknown setting to sweep 'distribution'"),
    ],
)
def test_a_sweep_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_sweep(text)


@pytest.mark.parametrize(
    ("text", "message"), [("noise=0.1,-1", "--noise '-1'"), ("radius=x", "--radius 'x'")]
)
def test_a_value_that_breaks_a_rule_is_refused_before_any_run(
    text: str, message: str, silent: Reporter
) -> None:
    with pytest.raises(InputError, match=message):
        next(frontier(small(run={"method": "idfree"}), parse_sweep(text), silent))


def test_a_sweep_needs_noise(silent: Reporter) -> None:
    settings = small(run={"method": "idfree"}, idfree={"distribution": "static"})
    points = frontier(settings, parse_sweep("radius=1"), silent)
    with pytest.raises(InputError, match="a sweep needs distributions with noise"):
        next(points)


@pytest.mark.parametrize(("distribution", "field"), [("beta", "noise"), ("gaussian", "start_alpha")])
def test_a_setting_that_the_family_does_not_have_is_not_swept(
    distribution: str, field: str, silent: Reporter
) -> None:
    settings = small(run={"method": "idfree"}, idfree={"distribution": distribution})
    points = frontier(settings, parse_sweep(f"{field}=1,2"), silent)
    with pytest.raises(InputError, match=f"--distribution {distribution} has no {field}"):
        next(points)


def test_the_picture_is_drawn_as_png_and_svg(points: list[Point], tmp_path: Path) -> None:
    result = {"field": "noise", "sweep": [asdict(point) for point in points]}
    files = draw_frontier(json.loads(json.dumps(result)), tmp_path)
    assert [file.name for file in files] == ["frontier.png", "frontier.svg"]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    assert files[1].read_text(encoding="utf-8").startswith("<?xml")
    assert all(file.stat().st_size > 5_000 for file in files)


def test_uploads_are_drawn_too(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 4))
    files = draw_uploads(vectors, np.arange(60) % 12, 0, tmp_path)
    assert all(file.stat().st_size > 5_000 for file in files)
