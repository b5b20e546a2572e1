import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedpers.models import Arrays, Rows, digest, extract, finite, insert, whole


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 2)
        self.norm = torch.nn.LayerNorm(2)
        self.last = torch.nn.Linear(2, 1)


def net(seed: int = 0) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net()


def frozen() -> Net:
    module = net()
    module.first.requires_grad_(False)
    return module


def test_extract_names_every_trainable_parameter() -> None:
    assert {name: array.shape for name, array in extract(net()).items()} == {
        "first.weight": (2, 3),
        "first.bias": (2,),
        "norm.weight": (2,),
        "norm.bias": (2,),
        "last.weight": (1, 2),
        "last.bias": (1,),
    }


def test_frozen_parameters_do_not_travel() -> None:
    assert set(extract(frozen())) == {"norm.weight", "norm.bias", "last.weight", "last.bias"}


def test_what_was_extracted_comes_back_bit_for_bit() -> None:
    arrays, other = extract(net(0)), net(1)
    insert(other, arrays)
    assert all((array == arrays[name]).all() for name, array in extract(other).items())


def test_extracted_arrays_do_not_change_with_the_module() -> None:
    module = net()
    arrays = extract(module)
    kept = {name: array.copy() for name, array in arrays.items()}
    torch.nn.init.zeros_(module.first.weight)
    assert all((array == kept[name]).all() for name, array in arrays.items())


def test_inserted_arrays_do_not_change_with_the_module() -> None:
    module, arrays = net(1), extract(net(0))
    insert(module, arrays)
    kept = {name: array.copy() for name, array in arrays.items()}
    torch.nn.init.zeros_(module.first.weight)
    assert all((array == kept[name]).all() for name, array in arrays.items())


def test_inserted_parameters_go_on_being_trained() -> None:
    module = net(1)
    insert(module, extract(net(0)))
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in module.parameters())


def test_frozen_parameters_are_left_alone() -> None:
    module = frozen()
    insert(module, {name: np.ones_like(array) for name, array in extract(frozen()).items()})
    assert torch.equal(module.first.weight, net().first.weight)


def test_float64_arrays_are_rounded_to_float32() -> None:
    arrays: Arrays = {name: array.astype(np.float64) + 1e-12 for name, array in extract(net(0)).items()}
    module = net(1)
    insert(module, arrays)
    for name, array in extract(module).items():
        assert array.dtype == np.float32
        assert (array == arrays[name].astype(np.float32)).all()


def test_read_only_arrays_are_taken_as_they_come_from_a_shared_store() -> None:
    arrays, module = extract(net(0)), net(1)
    for array in arrays.values():
        array.flags.writeable = False
    insert(module, arrays)
    assert digest(extract(module)) == digest(arrays)


def test_the_memory_order_of_an_array_does_not_matter() -> None:
    arrays, module = extract(net(0)), net(1)
    insert(module, {name: np.asfortranarray(array) for name, array in arrays.items()})
    assert digest(extract(module)) == digest(arrays)


def test_a_missing_name_is_refused() -> None:
    arrays = extract(net())
    del arrays["first.bias"]
    with pytest.raises(ValueError, match=re.escape("arrays do not match the parameters: ['first.bias']")):
        insert(net(), arrays)


def test_a_strange_name_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("arrays do not match the parameters: ['3.weight']")):
        insert(net(), {**extract(net()), "3.weight": np.zeros(1, dtype=np.float32)})


def test_a_frozen_parameters_array_is_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        insert(frozen(), extract(net()))


def test_another_shape_is_refused_even_where_it_would_broadcast() -> None:
    with pytest.raises(ValueError, match=re.escape("first.weight has shape (1, 3), not (2, 3)")):
        insert(net(), {**extract(net()), "first.weight": np.zeros((1, 3), dtype=np.float32)})


def test_the_digest_does_not_depend_on_the_order_of_the_names() -> None:
    arrays = extract(net())
    assert digest(dict(reversed(arrays.items()))) == digest(arrays)


def test_the_digest_of_one_array_is_that_of_its_name_and_bytes() -> None:
    # By sha256sum: printf 'a\0\0\x80?' | sha256sum, 1.0 as float32 being 00 00 80 3f.
    expected = "461e7e05d7ee826a2a920b5f4655327034a6e8520b9319d6134cdf27a2910c2f"
    assert digest({"a": np.ones(1, dtype=np.float32)}) == expected


def test_float64_has_the_digest_of_its_float32() -> None:
    arrays = extract(net())
    assert digest({name: array.astype(np.float64) for name, array in arrays.items()}) == digest(arrays)


@given(st.integers(0, 5), st.booleans())
def test_the_digest_changes_with_the_last_bit_of_any_value(place: int, up: bool) -> None:
    arrays = extract(net())
    changed = {**arrays, "first.weight": arrays["first.weight"].copy()}
    flat = changed["first.weight"].reshape(-1)
    flat[place] = np.nextafter(flat[place], np.float32(np.inf if up else -np.inf))
    assert digest(changed) != digest(arrays)


def test_the_digest_changes_with_a_name() -> None:
    arrays = extract(net())
    assert digest({f"{name}x": array for name, array in arrays.items()}) != digest(arrays)


# Tables of which some rows moved


def test_rows_become_a_whole_table_again() -> None:
    start = np.arange(6, dtype=np.float64).reshape(3, 2)
    rows = Rows(np.array([0, 2]), np.array([[1, 2], [3, 4]], dtype=np.float32), 3)
    found = whole({"table": rows, "bias": np.ones(1)}, {"table": start, "bias": np.zeros(1)})
    assert found["table"].tolist() == [[1, 3], [2, 3], [7, 9]]
    assert found["bias"].tolist() == [1]
    assert all(array.dtype == np.float32 for array in found.values())
    assert start.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_found_anywhere(bad: float) -> None:
    rows = Rows(np.array([1]), np.array([[0, bad]], dtype=np.float32), 3)
    assert not finite({"a": np.zeros(2), "table": rows})
    assert not finite({"a": np.array([0, bad])})
    assert finite({"a": np.zeros(2), "table": Rows(np.array([1]), np.zeros((1, 2)), 3)})
