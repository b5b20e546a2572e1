import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedpers.seeds import stream, torch_stream, word

ROOT = Path(__file__).resolve().parents[1]
SEEDS = st.integers(0, 2**31)
NUMBERS = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))


def draws(seed: int, purpose: str, *numbers: int) -> list[int]:
    values: list[int] = stream(seed, purpose, *numbers).integers(2**32, size=4).tolist()
    return values


def test_equal_arguments_give_equal_draws_in_another_process() -> None:
    code = (
        "import json; from fedpers.seeds import stream, word; "
        "print(json.dumps([stream(7, 'split', 3, 5).integers(2**32, size=4).tolist(), word(7, 'x', 1)]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1234"}
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert json.loads(there.stdout) == [draws(7, "split", 3, 5), word(7, "x", 1)]


def test_a_stream_is_numpys_for_the_seed_the_crc_of_the_purpose_and_the_numbers() -> None:
    # The CRC-32 of "split", by `printf split | gzip -c | tail -c8 | xxd`.
    place = np.random.SeedSequence(7, spawn_key=(0xB1F59A11, 3))
    expected = np.random.default_rng(place).integers(2**32, size=4)
    assert draws(7, "split", 3) == expected.tolist()


def test_a_number_more_is_another_place_even_if_it_is_zero() -> None:
    assert len({tuple(draws(0, "split", *[0] * count)) for count in range(4)}) == 4


@given(SEEDS, NUMBERS)
def test_streams_of_different_purposes_differ(seed: int, numbers: tuple[int, int]) -> None:
    assert draws(seed, "split", *numbers) != draws(seed, "people", *numbers)


@given(SEEDS, NUMBERS, NUMBERS)
def test_streams_of_different_numbers_differ(
    seed: int, numbers: tuple[int, int], others: tuple[int, int]
) -> None:
    assert (draws(seed, "split", *numbers) == draws(seed, "split", *others)) == (numbers == others)


@given(SEEDS, SEEDS)
def test_streams_of_different_seeds_differ(seed: int, other: int) -> None:
    assert (draws(seed, "split", 1) == draws(other, "split", 1)) == (seed == other)


def test_the_order_of_the_numbers_counts() -> None:
    assert draws(0, "device", 1, 2) != draws(0, "device", 2, 1)


def test_two_streams_of_one_place_do_not_share_their_position() -> None:
    first = stream(0, "split", 1)
    first.random(100)
    assert stream(0, "split", 1).random() != first.random()


@given(SEEDS, st.integers(0, 10**6))
def test_a_word_fits_into_32_bits(seed: int, number: int) -> None:
    assert 0 <= word(seed, "sampling", number) < 2**32


def test_words_of_different_rounds_differ() -> None:
    # Of 1,000 words of 32 bits two agree by chance with probability 1000^2 / 2^33 = 0.0001.
    assert len({word(0, "sampling", number) for number in range(1000)}) == 1000


def test_torch_stream_restores_torchs_global_state() -> None:
    before = torch.random.get_rng_state()
    with torch_stream(5):
        torch.rand(3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_torch_stream_restores_torchs_global_state_after_an_error() -> None:
    before = torch.random.get_rng_state()
    try:
        with torch_stream(5):
            torch.rand(3)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.random.get_rng_state(), before)


def test_torch_stream_gives_what_torch_gives_for_that_seed() -> None:
    with torch_stream(5):
        drawn = torch.rand(3)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))


def test_torch_streams_may_be_nested() -> None:
    with torch_stream(5):
        torch.rand(1)
        with torch_stream(6):
            torch.rand(7)
        second = torch.rand(1)
    assert second == torch.rand(2, generator=torch.Generator().manual_seed(5))[1]
