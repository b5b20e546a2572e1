import os
from typing import Any

import pytest
import ray
from ray.exceptions import WorkerCrashedError

from fedpers.engine import spread
from fedpers.errors import FedpersError
from fedpers.settings import EngineSettings


def halved(number: int) -> float:
    if number < 0:
        raise ValueError(f"{number} is below 0")
    return number / 2


def process(number: int) -> int:
    return os.getpid()


def test_one_job_works_in_this_process_in_order() -> None:
    assert list(spread(halved, [4, 2, 6], 1, EngineSettings())) == [(0, 2.0), (1, 1.0), (2, 3.0)]
    assert list(spread(process, [1, 2], 0, EngineSettings())) == [(0, os.getpid()), (1, os.getpid())]


@pytest.mark.usefixtures("ray_session")
def test_several_jobs_give_every_item_its_own_result() -> None:
    found = dict(spread(halved, list(range(7)), 2, EngineSettings()))
    assert found == {number: number / 2 for number in range(7)}


@pytest.mark.usefixtures("ray_session")
def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="-1 is below 0"):
        list(spread(halved, [2, -1], 2, EngineSettings()))


@pytest.mark.usefixtures("ray_session")
def test_the_others_go_on_when_a_process_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    # A process that really died would have Ray write to whatever test runs when it notices.
    died, get = [True], ray.get

    def lost_once(reference: Any) -> Any:
        if died.pop() if died else False:
            raise WorkerCrashedError
        return get(reference)

    monkeypatch.setattr("fedpers.engine.tasks.ray.get", lost_once)
    found = [made for _, made in spread(halved, [2, 2, 2], 2, EngineSettings())]
    [lost] = [made for made in found if isinstance(made, FedpersError)]
    assert str(lost).startswith("its process died")
    assert [made for made in found if made is not lost] == [1.0, 1.0]
