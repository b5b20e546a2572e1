import pytest

from fedpers.errors import InputError
from fedpers.experiments import experiments, find, own_sections
from fedpers.settings import resolve
from tests.conftest import small


def test_every_file_of_the_folder_is_a_method_under_its_own_name() -> None:
    assert {"conventional", "user-identifier"} <= set(experiments())
    for name, experiment in experiments().items():
        assert experiment.build(small()).name == name


def test_a_methods_own_settings_reach_its_client() -> None:
    settings = resolve(
        [{"user_identifier": {"identifier": "digits", "identifier_length": 7}}], own_sections()
    )
    client = find("user-identifier").build(settings).client
    assert (client.kind, client.length) == ("digits", 7)  # type: ignore[attr-defined]  # this method's client


def test_an_unknown_method_names_the_nearest_one() -> None:
    with pytest.raises(InputError, match="did you mean 'conventional'"):
        find("convential")
