"""What a server sees of one update: rows that differ from what it sent, and no list of them."""

from collections.abc import Mapping

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from fedpers.audit.sights import Sight, norms_of, seen_rows, sending_phase, total
from fedpers.engine import broadcast_of, reply
from fedpers.engine.flower import identity
from fedpers.errors import InputError
from fedpers.experiments import find
from fedpers.method import Update
from fedpers.models import Rows
from tests.conftest import small

TABLE = np.arange(10, dtype=np.float32).reshape(5, 2)
# Word 3 is in the device's list of rows, and did not move.
TRAINED = Rows(np.array([1, 3, 4]), np.array([[3, 4], [0, 0], [0, 2]], dtype=np.float32), 5)


def sight(rest: float, moved: Mapping[str, Rows]) -> Sight:
    return Sight(0, 10, moved, rest, np.array([1, 4]), np.array([], dtype=np.int64))


def test_a_row_that_training_left_as_it_was_is_not_seen() -> None:
    seen = seen_rows(TRAINED, TABLE)
    assert seen.index.tolist() == [1, 4]
    assert seen.change.tolist() == [[3, 4], [0, 2]]
    assert norms_of(seen).tolist() == [0, 5, 0, 0, 2]


def test_a_whole_table_shows_the_same_as_the_rows_of_it() -> None:
    table = TABLE.copy()
    table[[1, 4]] += [[3, 4], [0, 2]]
    seen, by_rows = seen_rows(table, TABLE), seen_rows(TRAINED, TABLE)
    assert seen.index.tolist() == by_rows.index.tolist()
    assert seen.change.tolist() == by_rows.change.tolist()


def test_a_change_that_float32_cannot_hold_is_not_seen() -> None:
    trained = Rows(np.array([4]), np.array([[1e-9, 0]], dtype=np.float32), 5)
    assert len(seen_rows(trained, TABLE).index) == 0


def test_a_reply_holds_whole_tables_and_no_list_of_rows() -> None:
    update = Update({"words": TRAINED}, examples=10, seen=10, metrics={"train-loss": 0.5})
    with identity():
        asked = Message(RecordDict(), dst_node_id=1, message_type="train")
        answer = reply(asked, update, {"words": TABLE})
    assert set(answer.content) == {"arrays", "metrics"}
    arrays = broadcast_of(answer.content)
    assert arrays.keys() == {"words"}
    assert seen_rows(arrays["words"], TABLE).index.tolist() == [1, 4]


def test_a_bound_holds_for_the_whole_update_and_shares_out_among_its_parts() -> None:
    update = sight(12.0, {"words": Rows(np.array([1]), np.array([[3, 4]], dtype=np.float32), 5)})
    assert update.norm == 13  # of 5 and 12
    cut = update.clipped(1.3)
    assert norms_of(cut["words"])[1] == pytest.approx(0.5, rel=1e-5)
    assert norms_of(cut["words"])[1] <= 0.5


def test_an_update_within_the_bound_stays_as_it_is() -> None:
    update = sight(12.0, {"words": seen_rows(TRAINED, TABLE)})
    assert update.clipped(100)["words"].change.tolist() == [[3, 4], [0, 2]]


@pytest.mark.parametrize("bound", [0.01, 0.5, 3.0, 20.0])
def test_one_person_more_moves_a_sum_by_the_bound_at_most(bound: float) -> None:
    draw = np.random.default_rng(0)
    parts = [
        sight(0.0, {"words": Rows(np.arange(5), draw.normal(0, 5, (5, 2)).astype(np.float32), 5)}).clipped(
            bound
        )["words"]
        for _ in range(4)
    ]
    without, together = total(parts[:3]), total(parts)
    assert np.linalg.norm(together.change - without.change) <= bound * (1 + 1e-6)


def test_a_sum_adds_up_the_rows_that_devices_share() -> None:
    first = Rows(np.array([0, 2]), np.array([[1, 0], [1, 1]], dtype=np.float32), 5)
    second = Rows(np.array([2, 4]), np.array([[2, 3], [0, 1]], dtype=np.float32), 5)
    found = total([first, second])
    assert found.index.tolist() == [0, 2, 4]
    assert found.change.tolist() == [[1, 0], [3, 4], [0, 1]]


@pytest.mark.parametrize(
    ("method", "phase"),
    [("conventional", "federated"), ("user-adapter", "federated"), ("perplm-soft", "task")],
)
def test_the_last_phase_that_sends_updates_is_attacked(method: str, phase: str) -> None:
    built = find(method).build(small(run={"method": method}))
    assert built.phases[sending_phase(built)].name == phase


@pytest.mark.parametrize("method", ["idfree", "on-device", "local-only", "oppu"])
def test_a_method_without_updates_has_no_such_phase(method: str) -> None:
    with pytest.raises(InputError, match=f"a run of {method}"):
        sending_phase(find(method).build(small(run={"method": method})))
