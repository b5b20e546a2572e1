import numpy as np
import pytest

from fedpers.audit import AuditSettings, attack, completed, material
from fedpers.data import Population
from fedpers.errors import InputError
from fedpers.experiments import find
from fedpers.models import Gaussian
from fedpers.privacy import Row
from fedpers.records import Crossing, Records, mix
from fedpers.simulation import lay_out
from tests.conftest import small

SPREAD = 0.1
QUICK = AuditSettings(labelled=5, blind=60)


def population() -> Population:
    return lay_out(small(run={"method": "idfree"}), find("idfree").build)[1]


def crossing(found: Population, apart: float) -> Crossing:
    """Returns uploads of everyone's training texts by Gaussians whose means are so far apart."""
    draw = np.random.default_rng(0)
    parts, states = [], {}
    for number, person in enumerate(found.clients.tolist()):
        mean = np.zeros((1, 8), dtype=np.float32)
        mean[0, number] = apart
        states[person] = {"mean": mean}
        samples = found.samples(person, "train")
        noise = draw.standard_normal((len(samples), 1, 8)).astype(np.float32)
        parts.append(Records(tuple(samples.texts), samples.labels, mean + SPREAD * noise))
    records, order = mix(parts)
    return Crossing(records, np.repeat(found.clients, [len(part) for part in parts])[order], states)


def rows(settings: AuditSettings, apart: float = 1.0) -> dict[tuple[str, int], Row]:
    found = population()
    made = attack(settings, Gaussian(SPREAD), crossing(found, apart), found)
    return {(row.attacker, row.uploads): row for row in made}


def test_people_are_numbered_by_partition_in_uploads_and_parameters() -> None:
    found = population()
    uploads, theta = material(crossing(found, 1.0), found.clients)
    assert theta["mean"].argmax(axis=1).tolist() == [*range(6)]
    assert uploads.vectors.argmax(axis=1).tolist() == uploads.senders.tolist()
    assert uploads.vectors.dtype == np.float64


def test_far_apart_every_attacker_who_sees_embeddings_finds_everyone() -> None:
    found = rows(QUICK)
    named = {attacker for attacker, _ in found}
    assert {"distributions", "distributions and sample shares", "distributions and text", "text"} <= named
    for (attacker, _), row in found.items():
        if attacker != "text" and "BIC" not in attacker:
            assert row.misattribution_rate == 0, attacker


def test_equal_distributions_leave_chance() -> None:
    found = rows(AuditSettings(labelled=0, blind=0, reads_text=False), apart=0.0)
    row = found["distributions", 1]
    assert row.chance == pytest.approx(5 / 6)
    assert row.low <= row.chance <= row.high
    assert row.bound == pytest.approx(5 / 6)


def test_linked_uploads_are_as_many_as_asked_for() -> None:
    found = rows(AuditSettings(linked="1, 3", labelled=0, blind=0, reads_text=False), apart=0.2)
    assert [size for attacker, size in found if attacker == "distributions"] == [1, 3]
    assert found["distributions", 3].misattribution_rate < found["distributions", 1].misattribution_rate


def test_by_default_only_as_many_are_linked_as_people_have() -> None:
    found = rows(AuditSettings(labelled=0, blind=0, reads_text=False))
    assert [size for attacker, size in found if attacker == "distributions"] == [1, 2, 5, 10]


def test_by_default_as_many_are_labelled_as_leave_everybody_one() -> None:
    found = population()
    made = crossing(found, 1.0)
    first = made.senders == made.senders[0]
    kept = ~first | (np.cumsum(first) <= 4)  # somebody sent 4 only
    records = made.records
    texts = tuple(text for text, keep in zip(records.texts, kept, strict=True) if keep)
    fewer = Crossing(
        Records(texts, records.labels[kept], records.vectors[kept]), made.senders[kept], made.states
    )
    given = AuditSettings(blind=0, reads_text=False)
    names = [row.attacker for row in attack(given, Gaussian(SPREAD), fewer, found)]
    assert "3 labelled, nearest mean" in names


def test_side_channels_are_one_more_row_with_fewer_candidates() -> None:
    given = AuditSettings(labelled=0, blind=0, reads_text=False, device_classes=3, leak_time=True)
    [row] = [row for (attacker, _), row in rows(given, 0.0).items() if "leaking" in attacker]
    assert row.attacker == "distributions, leaking time and device class"
    assert row.uploads == 10
    assert row.chance == pytest.approx(1 / 2)


def test_a_batch_narrows_the_candidates_to_its_people() -> None:
    given = AuditSettings(labelled=0, blind=0, reads_text=False, batch_people=3)
    [row] = [row for (attacker, _), row in rows(given, 0.0).items() if "leaking" in attacker]
    assert (row.attacker, row.uploads) == ("distributions, leaking batch", 1)
    assert row.chance == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"linked": "0"}, "give whole numbers from 1"),
        ({"linked": "two"}, "give whole numbers from 1"),
        ({"linked": "50"}, "the size must be 1 to 10"),
        ({"labelled": 10}, "allows 1 to 9"),
        ({"device_classes": 7}, "there must be 1 to 6"),
        ({"batch_people": 7}, "they must have 1 to 6"),
    ],
)
def test_an_attacker_cannot_be_given_more_than_there_is(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rows(QUICK.model_copy(update=given))


def test_people_who_dropped_out_of_the_fit_or_the_upload_do_not_end_the_audit() -> None:
    found = population()
    made = crossing(found, 1.0)
    last, first = int(found.clients[-1]), int(found.clients[0])
    sent = made.senders != last
    records = made.records
    texts = tuple(text for text, keep in zip(records.texts, sent, strict=True) if keep)
    fewer = Crossing(
        Records(texts, records.labels[sent], records.vectors[sent]),
        made.senders[sent],
        {person: state for person, state in made.states.items() if person != first},
    )
    whole = completed(fewer, found.clients, Gaussian(SPREAD, mean=0.0))
    assert (whole.states[first]["mean"] == 0).all()
    given = AuditSettings(blind=60, device_classes=2)
    rates = {row.attacker: row for row in attack(given, Gaussian(SPREAD), whole, found)}
    assert "5 labelled, nearest mean" in rates
    assert rates["distributions, leaking device class"].chance == pytest.approx(2 / 3)
    assert rates["distributions"].misattribution_rate < 0.35  # only the one without a fit is hard to find
