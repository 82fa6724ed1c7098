import bz2
import gzip
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastals._core.errors import (
    ArgumentTypeError,
    DataError,
    FastalsError,
    FileFormatError,
    MissingDependencyError,
    ParameterError,
)
from fastals._data.interactions import Interactions, as_interactions
from fastals._files import batches, blocks

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


# ----------------------------------------------------------------------------------------------------------------------
# files


@pytest.fixture(params=["pyarrow", "base install"])
def reader(request, monkeypatch):
    """Both ways of reading; the fast one must really be taken where the test says it can."""
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow")
    else:
        without_pyarrow(monkeypatch)
    return request.param


def without_pyarrow(monkeypatch):
    monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)


def write(path, text, encoding="utf-8"):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(text.encode(encoding))
    return path


RATINGS = "userId,itemId,rating,timestamp\nb,7,4.5,1\na,7,3,2\nb,-3,2e0,3\n"


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.csv.gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_csv(reader, tmp_path, name, encoding, line_end):
    path = write(tmp_path / name, RATINGS.replace("\n", line_end), encoding)
    interactions = Interactions.from_csv(path)
    np.testing.assert_array_equal(interactions.matrix.toarray(), DENSE)
    assert interactions.users.tolist() == ["a", "b"]
    assert interactions.items.tolist() == [-3, 7]
    assert interactions.items.dtype == np.int64
    assert Interactions.from_csv(str(path), value="timestamp", duplicates="error").values.tolist() == [2, 3, 1]
    assert Interactions.from_csv(path, value="").values.tolist() == [1, 1, 1]


def test_the_fast_reader_is_taken(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(batches, "csv_rows", None)
    assert Interactions.from_csv(write(tmp_path / "x.csv", RATINGS)).nnz == 3
    assert Interactions.from_csv(write(tmp_path / "x.csv.gz", RATINGS)).nnz == 3


@pytest.mark.parametrize("share", [0, 2, 1000])
def test_quoted_line_ends_wherever_a_block_ends(tmp_path, monkeypatch, share):
    pytest.importorskip("pyarrow")
    users = ["x", *(f'"l\n{x % 97}"' if share and x % share == 1 else str(x % 89) for x in range(150_000))]
    path = write(tmp_path / "x.csv", "user,item\n" + "".join(f"{user},{x}\n" for x, user in enumerate(users)))
    monkeypatch.setattr(batches, "csv_rows", None)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100_000)
    interactions = Interactions.from_csv(path)
    assert interactions.nnz == len(users)
    assert set(map(str, interactions.users)) == {user.strip('"') for user in users}


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        (["10", "9", "-1"], [-1, 9, 10]),
        (["007", "10", "9"], ["007", "10", "9"]),
        (["+1", "1"], ["+1", "1"]),
        (["9223372036854775807", "1"], [1, 2**63 - 1]),
        (["9223372036854775808", "1"], ["1", "9223372036854775808"]),
        (["1.0", "1"], ["1", "1.0"]),
        (["-0", "0"], ["-0", "0"]),
        (["1_0", "10"], ["10", "1_0"]),
        (["null", "7", "x"], None),
        (["\uff19", "9"], ["9", "\uff19"]),
        (['"x,y"', '"l\nm"', '"q""q"'], ["l\nm", 'q"q', "x,y"]),
        ([" a", "a"], [" a", "a"]),
        (["NA", "null", "nan"], ["NA", "nan", "null"]),
        (["9" * 5000, "1"], ["1", "9" * 5000]),
        (["x", "9" * 200_000], ["9" * 200_000, "x"]),
    ],
    ids=repr,
)
def test_ids_of_a_csv(reader, tmp_path, ids, labels):
    path = write(tmp_path / "x.csv", "user,item\n" + "".join(f"{x},i\n" for x in ids))
    if labels is not None:
        assert Interactions.from_csv(path).users.tolist() == labels
    else:
        with pytest.raises(DataError, match=r"x.csv: line 2, column 'user': 'null' is no integer"):
            Interactions.from_csv(path)


def test_other_delimiters_and_blank_lines(reader, tmp_path):
    path = write(tmp_path / "x.tsv", "user\titem\tcount\n\n1\t2\t3\n\n")
    assert Interactions.from_csv(path, delimiter="\t").values.tolist() == [3]
    assert Interactions.from_csv(path).values.tolist() == [3]
    with pytest.raises(DataError, match=r"x.tsv: user column not recognised, .*the columns are 'user\\titem\\tcount'"):
        Interactions.from_csv(path, delimiter=",")
    for delimiter in ("", "\n", '"', "a\r"):
        with pytest.raises(ParameterError, match="delimiter"):
            Interactions.from_csv(path, delimiter=delimiter)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", FileFormatError, "the file is empty"),
        ("\n\n", FileFormatError, "the file is empty"),
        ("user,item,rating\n", DataError, "the data are empty: 0 users, 0 items, 0 interactions"),
        ("196,242,3\n", DataError, ": name it with user=; the columns are '196', '242', '3'"),
        ("user,item,rating\na,b,1\na,c,abc\n", DataError, "line 3, column 'rating': 'abc' is no number"),
        ("user,item,rating\na,b,1\n\"a\na\",c,abc\n", DataError, "line 4, column 'rating': 'abc' is no number"),
        ("user,item,rating\na,b,\n", DataError, "line 2, column 'rating': the number is missing"),
        ("user,item,rating\na,b,NA\n", DataError, "line 2, column 'rating': 'NA' is no number"),
        ("user,item,rating\na,b,nan\n", DataError, "line 2, column 'rating': nan is no finite number"),
        ("user,item,rating\na,b,1e999\n", DataError, "line 2, column 'rating': inf is no finite number"),
        ("user,item,rating\na,b,1_0\n", DataError, "line 2, column 'rating': '1_0' is no number"),
        ("user,item,rating\na,b,\"4,5\"\n", DataError, "line 2, column 'rating': '4,5' is no number"),
        ("user,item,rating\na,,1\n", DataError, "line 2, column 'item': the id is missing"),
        ("user,item,rating\na,b,1\n,b,1\n", DataError, "line 3, column 'user': the id is missing"),
        ("user,item,rating\na,b,1\na,b\n", FileFormatError, "line 3: 2 fields, but the header has 3"),
        ("user,item,rating\na,b,1,2\n", FileFormatError, "line 2: 4 fields, but the header has 3"),
        ("user,item,rating\na,b,1\n\"a,b,1\n", FileFormatError, "a quote is opened and never closed"),
        ("user,item,rating\na,b,1\na,b,\"1\n", FileFormatError, "a quote is opened and never closed"),
        ("user,item\na,b\na,\"b\n", FileFormatError, "a quote is opened and never closed"),
        ("user,item,\"rating\na,b,1\n", FileFormatError, "a quote is opened and never closed"),
        ("user,item,item\na,b,c\n", DataError, "item column not recognised, several columns could be it"),
    ],
)  # fmt: skip
def test_bad_csv(reader, tmp_path, text, error, message):
    path = write(tmp_path / "x.csv", text)
    with pytest.raises(error) as raised:
        Interactions.from_csv(path)
    assert message in str(raised.value)
    assert "x.csv" in str(raised.value) or "the data are empty" in message


def test_csv_columns_that_are_not_there(reader, tmp_path):
    path = write(tmp_path / "x.csv", RATINGS)
    with pytest.raises(
        DataError, match=r"x\.csv: value column 'stars' is not there; the columns are 'userId', 'itemId',"
    ):
        Interactions.from_csv(path, value="stars")
    with pytest.raises(ParameterError, match="user, item and value must be different columns"):
        Interactions.from_csv(path, value="itemId")


def test_files_that_cannot_be_read(reader, tmp_path):
    with pytest.raises(FileFormatError, match=r"nowhere\.csv: cannot be read: No such file or directory"):
        Interactions.from_csv(tmp_path / "nowhere.csv")
    if reader == "pyarrow":
        with pytest.raises(FileFormatError, match="the directory holds no data files"):
            Interactions.from_csv(tmp_path)
    with pytest.raises(DataError, match=r"x\.csv: line 3, column 'userId': .* is no UTF-8: say encoding='latin-1'"):
        Interactions.from_csv(write(tmp_path / "x.csv", RATINGS.replace("a,", "é,"), "latin-1"))
    whole = gzip.compress(("user,item\n" + "".join(f"{x},{x * x}\n" for x in range(1000))).encode())
    for content in (
        whole[: len(whole) // 2],
        b"user,item\na,b\n",
        whole[:-8] + b"xxxxxxxx",
    ):
        (tmp_path / "x.csv.gz").write_bytes(content)
        with pytest.raises(FileFormatError, match=r"x\.csv\.gz: cannot be read"):
            Interactions.from_csv(tmp_path / "x.csv.gz")
    with pytest.raises(ArgumentTypeError, match="path must be a string or path-like, got 7"):
        Interactions.from_csv(7)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            *[st.text('ab07-" ,\n\ré', max_size=3)] * 2, st.sampled_from(["1", "2.5", " 3", "+4", "x", "", "1_0"])
        ),
        max_size=5,
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_both_readers_agree(tmp_path, rows, line_end):
    pytest.importorskip("pyarrow")
    text = line_end.join(["user,item,rating", *map(",".join, rows)])
    path = write(tmp_path / "x.csv", text)
    outcomes = []
    for fast in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not fast:
                without_pyarrow(patch)
            try:
                found = Interactions.from_csv(path)
                outcomes.append((found.users.tolist(), found.items.tolist(), found.matrix.toarray().tolist()))
            except FastalsError as error:
                outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]


def test_parquet(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    parquet.write_table(arrow(), path)
    np.testing.assert_array_equal(Interactions.from_parquet(path).matrix.toarray(), DENSE)
    assert Interactions.from_parquet(path, value="").values.tolist() == [1, 1, 1]
    with pytest.raises(DataError, match="value column 'stars' is not there"):
        Interactions.from_parquet(path, value="stars")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError, match=r"x\.parquet: cannot be read as Parquet"):
        Interactions.from_parquet(path)
    with pytest.raises(FileFormatError, match="cannot be read"):
        Interactions.from_parquet(tmp_path / "nowhere.parquet")
    monkeypatch.setattr("fastals._files.storage.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fastals\[io\]'"):
        Interactions.from_parquet(path)


def test_frames_of_libraries_need_no_arrow(monkeypatch):
    without_pyarrow(monkeypatch)
    for frame in (pandas, polars):
        np.testing.assert_array_equal(as_interactions(frame()).matrix.toarray(), DENSE)


# ----------------------------------------------------------------------------------------------------------------------
# Arrow's memory


def test_arrow_layouts():
    pa = pytest.importorskip("pyarrow")
    words = ["b", "", "abc", "b", "ü" * 40, "a"]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view()):
        column = pa.chunked_array([pa.array(words[:4]).cast(kind)[1:], pa.array(words).cast(kind)[2:5]])
        interactions = as_interactions(pa.table({"user": column, "item": list(range(6))}))
        present = column.to_pylist()
        assert interactions.users.tolist() == sorted(set(present))
        rows = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))
        assert interactions.users[rows[interactions.indices.argsort()]].tolist() == present


def test_categories_that_do_not_occur_are_no_labels():
    pd = pytest.importorskip("pandas")
    frame = pandas(userId=pd.Categorical(["b", "a", "b"], categories=["z", "b", "a"]))
    assert as_interactions(frame).users.tolist() == ["a", "b"]


def test_broken_arrow_arrays():
    pa = pytest.importorskip("pyarrow")

    def table(column):
        return pa.table({"user": column, "item": list(range(len(column)))})

    def strings(offsets, data=b"abcdef"):
        return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(np.array(offsets, "i4")), pa.py_buffer(data))

    for offsets in ([0, 2, 1], [0, 99, 3], [1, -1, 3], [0, 2**31 - 1, 4]):
        with pytest.raises(DataError, match="column 'user' is a broken Arrow array"):
            as_interactions(table(strings(offsets)))
    with pytest.raises(DataError, match="column 'user' must be UTF-8"):
        as_interactions(table(strings([0, 1, 2], b"\xff\xfe")))
    with pytest.raises(DataError, match="column 'user' is a broken Arrow array"):
        as_interactions(table(pa.DictionaryArray.from_arrays(pa.array([0, 5]), ["a"], safe=False)))
    with pytest.raises(DataError, match="column 'user' must not be missing, got None at position 2"):
        as_interactions(table(pa.array(["a", "b", None]).dictionary_encode()))
    with pytest.raises(DataError, match="column 'user' must not be missing, got None at position 1"):
        as_interactions(table(pa.DictionaryArray.from_arrays([0, 1], pa.array(["a", None]))))


# ---------------------------------------------------------------------------------------------------------------------
# files of any kind, in any number


def test_one_table_in_many_forms(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    table = pa.table({"u": ["007", "8", "007"], "i": [3, -1, 4], "r": [1.5, 2.0, 3.0]})
    whole = "u,i,r\n007,3,1.5\n8,-1,2.0\n007,4,3.0\n"
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "a.csv").write_text("u,i,r\n007,3,1.5\n")
    (tmp_path / "csv" / "b.csv").write_text("u,r,i\n8,2.0,-1\n007,3.0,4\n")
    (tmp_path / "bare.csv").write_text(whole.split("\n", 1)[1])
    (tmp_path / "gz").mkdir()
    (tmp_path / "gz" / "a.csv.gz").write_bytes(gzip.compress(whole.encode()))
    (tmp_path / "a.csv.bz2").write_bytes(bz2.compress(whole.encode()))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "hive" / "day=1").mkdir(parents=True)
    (tmp_path / "hive" / "day=2").mkdir()
    pa.parquet.write_table(table.slice(0, 2), tmp_path / "hive" / "day=1" / "0.parquet")
    pa.parquet.write_table(table.slice(2), tmp_path / "hive" / "day=2" / "0.parquet")
    columns = {"user": "u", "item": "i", "value": "r"}
    expected = Interactions.from_arrays(["007", "8", "007"], [3, -1, 4], [1.5, 2.0, 3.0])
    csvs = [tmp_path / "csv", f"file://{tmp_path}/csv", f"file:{tmp_path}/csv", tmp_path / "gz", tmp_path / "a.csv.bz2"]
    for found in (
        *(Interactions.from_csv(path, **columns) for path in csvs),
        Interactions.from_csv([tmp_path / "csv" / "a.csv", tmp_path / "csv" / "b.csv"], **columns),
        Interactions.from_csv(tmp_path / "bare.csv", columns=["u", "i", "r"], **columns),
        Interactions.from_json(tmp_path / "a.jsonl", **columns),
        Interactions.from_parquet(tmp_path / "a.parquet", **columns),
        Interactions.from_parquet(tmp_path / "hive", **columns),
        Interactions.from_parquet(f"file://{tmp_path}/hive", **columns),
    ):
        assert found.users.tolist() == ["007", "8"]
        assert found.items.tolist() == [-1, 3, 4]
        assert (found.matrix != expected.matrix).nnz == 0
    by_day = Interactions.from_parquet(tmp_path / "hive", user="u", item="day", value="r")
    assert by_day.items.tolist() == [1, 2]


def test_what_many_files_may_lack(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\na,x\n")
    (tmp_path / "b.csv").write_text("user,thing\na,x\n")
    with pytest.raises(DataError, match=r"b\.csv: column 'item' is missing; the columns are 'user', 'thing'"):
        Interactions.from_csv(tmp_path)
    (tmp_path / "b.csv").write_text("user,item,value\na,x,1\n")
    (tmp_path / "a.csv").write_text("user,item,value\na,x,1\na,x,much\n")
    with pytest.raises(DataError, match=r"a\.csv: line 3, column 'value': 'much' is no number"):
        Interactions.from_csv(tmp_path)
    with pytest.raises(FileFormatError, match=r"nonsense://host/a\.csv: cannot be reached.*nonsense"):
        Interactions.from_csv("nonsense://host/a.csv")


def test_addresses_need_their_packages(monkeypatch):
    for module, extra in (("hdfs_native", "hdfs"), ("fsspec", "hdfs"), ("pyarrow", "io")):
        monkeypatch.setattr(
            "fastals._files.storage.find_spec", lambda name, missing=module: None if name == missing else 1
        )
        with pytest.raises(MissingDependencyError, match=rf"pip install 'fastals\[{extra}\]'"):
            Interactions.from_parquet("hdfs://127.0.0.1:1/x.parquet")
