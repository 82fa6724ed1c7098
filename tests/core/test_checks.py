from typing import Any

import numpy as np
import pytest

from fastals._core.checks import (
    check_bool,
    check_bool_or_none,
    check_choice,
    check_dtype,
    check_int,
    check_path,
    check_random_state,
    check_real,
    check_values,
    check_vector,
)
from fastals._core.errors import (
    ArgumentTypeError,
    DataError,
    ParameterError,
)

nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_integers(value):
    number = check_int("n", value, low=1, high=3)
    assert type(number) is int
    assert number == 3


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.int64(3), np.array(3.0)])
def test_reals(value):
    number = check_real("x", value, low=3, high=3)
    assert type(number) is float
    assert number == 3


@pytest.mark.parametrize(
    ("check", "arguments", "bounds", "error", "message"),
    [
        (check_int, 0, {"low": 1}, ParameterError, "x must be >= 1, got 0"),
        (check_int, np.int64(9), {"high": 8}, ParameterError, "x must be <= 8, got 9"),
        (check_int, 1.0, {}, ArgumentTypeError, "x must be an integer, got 1.0"),
        (check_int, True, {}, ArgumentTypeError, "x must be an integer, got True"),
        (check_int, np.bool_(True), {}, ArgumentTypeError, "x must be an integer, got np.True_"),
        (check_int, "1", {}, ArgumentTypeError, "x must be an integer, got '1'"),
        (check_int, None, {}, ArgumentTypeError, "x must be an integer, got None"),
        (check_int, np.array([1]), {}, ArgumentTypeError, "x must be an integer, got array([1])"),
        (check_real, -0.1, {"low": 0}, ParameterError, "x must be >= 0, got -0.1"),
        (check_real, 0, {"low": 0, "low_open": True}, ParameterError, "x must be > 0, got 0.0"),
        (check_real, 1, {"high": 1, "high_open": True}, ParameterError, "x must be < 1, got 1.0"),
        (check_real, 1.5, {"high": 1}, ParameterError, "x must be <= 1, got 1.5"),
        (check_real, nan, {"low": 0}, ParameterError, "x must be finite, got nan"),
        (check_real, inf, {"low": 0}, ParameterError, "x must be finite, got inf"),
        (check_real, 10**400, {"low": 0}, ParameterError, "x must be finite, got 1000"),
        (check_real, False, {}, ArgumentTypeError, "x must be a number, got False"),
        (check_real, 1j, {}, ArgumentTypeError, "x must be a number, got 1j"),
        (check_real, "0.1", {}, ArgumentTypeError, "x must be a number, got '0.1'"),
        (check_bool, 1, {}, ArgumentTypeError, "x must be True or False, got 1"),
        (check_bool_or_none, "false", {}, ArgumentTypeError, "x must be True or False, got 'false'"),
        (check_path, 3, {}, ArgumentTypeError, "x must be a string or path-like, got 3"),
        (check_dtype, "float16", {}, ParameterError, "x must be 'float32' or 'float64', got 'float16'"),
        (check_dtype, None, {}, ParameterError, "x must be 'float32' or 'float64', got None"),
        (check_dtype, "many", {}, ArgumentTypeError, "x must be 'float32' or 'float64', got 'many'"),
    ],
)
def test_scalars_out_of_rule(check, arguments, bounds, error, message):
    with pytest.raises(error) as raised:
        check("x", arguments, **bounds)
    assert message in str(raised.value)


def test_other_scalars():
    assert check_bool("x", np.bool_(False)) is False
    assert check_bool_or_none("x", None) is None
    assert check_dtype("x", np.float64) == np.float64
    assert check_choice("x", "a", ("a", "b")) == "a"


def test_choices():
    with pytest.raises(ParameterError, match="solver must be one of 'a', 'b', got 'c'"):
        check_choice("solver", "c", ("a", "b"))
    with pytest.raises(ArgumentTypeError, match="solver must be one of 'a', 'b' or a number, got None"):
        check_choice("solver", None, ("a", "b"), "or a number")


def test_random_state():
    assert check_random_state(np.int32(0)).random() == np.random.default_rng(0).random()
    generator = np.random.default_rng(0)
    assert check_random_state(generator) is generator
    state = np.random.RandomState(0)
    check_random_state(state)
    assert state.randint(1000) == np.random.RandomState(0).randint(1000)
    assert check_random_state(state).random() != check_random_state(None).random()
    with pytest.raises(ParameterError, match="random_state must be >= 0, got -1"):
        check_random_state(-1)
    for bad in (True, 1.0, "0", np.random):
        with pytest.raises(
            ArgumentTypeError, match=r"random_state must be None, an integer, a numpy\.random\.Generator"
        ):
            check_random_state(bad)


# ----------------------------------------------------------------------------------------------------------------------
# arrays


def test_readable_arrays_are_not_copied():
    for array in (np.ones(3), np.ones(3, np.uint8), np.ones(3, np.int64)):
        assert np.shares_memory(check_values("values", array), array)
    assert check_values("values", np.ones(6)[::2]).flags.c_contiguous
    assert check_values("values", np.ones(3, np.float16)).dtype == np.float32
    assert check_values("values", np.ones(3, ">f8")).dtype == np.float64


class Strange:
    """Something that pretends."""

    def __len__(self) -> int:
        return 3

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.array(None)


@pytest.mark.parametrize("values", [7, "abc", {1, 2}, (x for x in "ab"), Strange(), np.ones((1, 1)), None])
def test_what_is_no_vector(values):
    with pytest.raises(DataError, match="x must be one-dimensional, got shape"):
        check_vector("x", values)
