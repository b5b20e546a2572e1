import pytest

from fedpers.errors import InputError
from fedpers.lists import names, numbers, parts, whole_numbers


def test_entries_are_parted_by_commas_and_blanks_around_them_are_nothing() -> None:
    assert parts(" 1,two words , ") == ["1", "two words", ""]
    assert names(" 1,two words , ") == ["1", "two words"]


def test_an_empty_text_has_one_entry_and_no_name() -> None:
    assert parts("") == [""]
    assert names("") == []


def test_what_is_no_number_is_no_number_and_never_an_error() -> None:
    found = dict(numbers("8, 1e-3,-inf,,ten"))
    assert [found[part] for part in ("8", "1e-3", "-inf")] == [8.0, 0.001, float("-inf")]
    assert all(found[part] != found[part] for part in ("", "ten"))


def test_whole_numbers_are_given_in_their_order() -> None:
    assert whole_numbers("--seeds", "3, 0,12", "0,1,2") == [3, 0, 12]


@pytest.mark.parametrize("text", ["", "one", "1,", "-1", "1,1", "1,01", "0.5", "²"])
def test_other_lists_are_one_line_that_names_the_option(text: str) -> None:
    with pytest.raises(InputError) as caught:
        whole_numbers("--seeds", text, "0,1,2")
    assert str(caught.value) == (
        f"--seeds {text!r}: give different whole numbers from 0, parted by commas, as in 0,1,2"
    )
