import numpy as np
import pytest

from fastals._exceptions import ArgumentTypeError, DataError, FastalsError, ParameterError
from fastals._interactions import Interactions, as_interactions

COLUMNS = {"userId": ["b", "a", "b"], "itemId": [7, 7, -3], "rating": [4.5, 3.0, 2.0], "timestamp": [1, 2, 3]}
DENSE = [[0, 3], [2, 4.5]]


def arrow():
    return pytest.importorskip("pyarrow").table(COLUMNS)


def pandas(**columns):
    return pytest.importorskip("pandas").DataFrame(COLUMNS | columns)


def polars(**columns):
    return pytest.importorskip("polars").DataFrame(COLUMNS | columns)


def mapping():
    return {name: np.array(column) for name, column in COLUMNS.items()}


@pytest.mark.parametrize("frame", [arrow, pandas, polars, mapping])
def test_frames(frame):
    for interactions in (as_interactions(frame()), Interactions.from_frame(frame(), user="userId", value="rating")):
        np.testing.assert_array_equal(interactions.matrix.toarray(), DENSE)
        assert interactions.users.tolist() == ["a", "b"]
        assert interactions.items.tolist() == [-3, 7]
    assert Interactions.from_frame(frame(), value="timestamp").values.tolist() == [2, 3, 1]
    assert Interactions.from_frame(frame(), value="").values.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "names", [("user", "item", "value"), ("USER_ID", "Item_Id", "Score"), ("UserID", "item", "count")]
)
def test_recognised_columns(names):
    frame = dict(zip(names, ([1, 2], [3, 3], [5.0, 6.0]), strict=True))
    assert as_interactions(frame).values.tolist() == [5, 6]
    del frame[names[2]]
    assert as_interactions(frame).values.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        ({"a": [1], "item": [1]}, {}, "user column not recognised, no column is called 'user' or 'userId' or 'user"),
        ({"a": [1], "item": [1]}, {}, ": name it with user=; the columns are 'a', 'item'"),
        ({"user": [1], "userId": [1], "item": [1]}, {}, "user column not recognised, several columns could be it"),
        ({"user": [1], "item": [1]}, {"value": "x"}, "value column 'x' is not there; the columns are 'user', 'item'"),
        ({"user": [1], "item": [1]}, {"item": "user"}, "user, item and value must be different columns, got 'user', "),
        ({"user": [1], "item": [1], "rating": [np.nan]}, {}, "column 'rating' must be finite, got nan at position 0"),
        ({"user": [1], "item": [1, 2]}, {}, "lengths must be equal, got 1 column 'user', 2 column 'item'"),
        ({}, {}, "the columns are none"),
        (7, {}, "frame must be a data frame or a mapping of arrays, got int"),
    ],
)  # fmt: skip
def test_bad_frames(frame, arguments, message):
    with pytest.raises(FastalsError) as error:
        Interactions.from_frame(frame, **arguments)
    assert message in str(error.value)


def test_column_that_is_there_twice():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"])
    with pytest.raises(DataError, match="item column not recognised, several columns could be it"):
        as_interactions(frame)
    with pytest.raises(DataError, match="item column 'item' is more than once there"):
        Interactions.from_frame(frame, item="item")


@pytest.mark.parametrize("make", [pandas, polars])
def test_missing_ids_and_values_in_frames(make):
    with pytest.raises(FastalsError, match=r"column 'userId' must not be missing, got (None|nan) at position 1"):
        as_interactions(make(userId=["a", None, "b"]))
    with pytest.raises(FastalsError, match=r"column 'itemId' must not be missing, got (nan|None) at position 2"):
        as_interactions(make(itemId=[1, 2, None]))
    with pytest.raises(FastalsError, match="column 'rating' must be finite, got nan at position 0"):
        as_interactions(make(rating=[None, 1.0, 2.0]))


def test_extension_dtypes_of_pandas():
    pd = pytest.importorskip("pandas")
    frame = pandas(
        userId=pd.Categorical(["b", "a", "b"]),
        itemId=pd.array([7, 7, -3], dtype="Int64"),
        rating=pd.array([4.5, 3, 2], dtype="Float64"),
    )
    np.testing.assert_array_equal(as_interactions(frame).matrix.toarray(), DENSE)
    with pytest.raises(DataError, match="column 'itemId' must not be missing"):
        as_interactions(pandas(itemId=pd.array([7, None, 3], dtype="Int64")))


def test_no_frame():
    with pytest.raises(ArgumentTypeError, match="data must be"):
        as_interactions("ratings.csv")
    with pytest.raises(ParameterError, match="duplicates must be one of"):
        Interactions.from_frame(mapping(), duplicates="none")
