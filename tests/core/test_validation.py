from typing import Any

import numpy as np
import pytest

from fastals._core.checks import (
    check_bool,
    check_bool_or_none,
    check_choice,
    check_dtype,
    check_fitted,
    check_ids,
    check_initial_factors,
    check_int,
    check_known_shape,
    check_path,
    check_random_state,
    check_real,
    check_values,
    check_vector,
)
from fastals._core.errors import (
    ArgumentTypeError,
    DataError,
    FastalsError,
    NotFittedError,
    ParameterError,
)
from fastals._data.labels import Labels

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
    ids = np.arange(3)
    assert np.shares_memory(check_ids("users", ids), ids)
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


# ----------------------------------------------------------------------------------------------------------------------
# models


def test_fitted():
    class Model:
        pass

    with pytest.raises(NotFittedError, match="this Model is not fitted yet: call fit first"):
        check_fitted(Model())


def test_initial_factors():
    given = np.ones((2, 3)), np.ones((4, 3), order="F")
    X, Y = check_initial_factors(given, (2, 4), 3, np.dtype("float32"))
    assert X.dtype == Y.dtype == np.float32
    assert Y.flags.c_contiguous
    X[:] = 0
    assert given[0].all()


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (np.ones((2, 3)), "initial_factors must be a pair (user_factors, item_factors)"),
        ((np.ones((2, 3)),), "initial_factors must be a pair (user_factors, item_factors)"),
        ((np.ones((2, 3)), np.ones((3, 4))), "initial item factors must have shape (4, 3), got (3, 4)"),
        (
            (np.ones((2, 3)), np.full((4, 3), nan)),
            "initial item factors must be finite in float32, got nan at row 0, co",
        ),
        (
            (np.full((2, 3), 1e300), np.ones((4, 3))),
            "initial user factors must be finite in float32, got 1e+300 at row",
        ),
        ((np.ones((2, 3), complex), np.ones((4, 3))), "initial user factors must be real numbers, got complex128"),
        (("ab", None), "initial user factors must be real numbers, got <U2"),
    ],
)
def test_bad_initial_factors(factors, message):
    with pytest.raises(FastalsError) as raised:
        check_initial_factors(factors, (2, 4), 3, np.dtype("float32"))
    assert message in str(raised.value)


def test_known_shape():
    users, items = Labels(None, 3706), Labels(None, 6040)
    check_known_shape((3706, 6040), users, items)
    check_known_shape((1, 6040), None, items)
    with pytest.raises(
        DataError, match=r"the matrix has 6040 rows but the model knows 3706 users: was it passed items x"
    ):
        check_known_shape((6040, 3706), users, items)
    with pytest.raises(DataError, match=r"the matrix has 7 columns but the model knows 6040 items$"):
        check_known_shape((9, 7), None, items)
