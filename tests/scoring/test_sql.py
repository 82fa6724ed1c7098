"""Events by SQL and as streams of Arrow: eight things that logs need, each against pandas, and how they fail."""

import gc
import logging
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

import fastals
from fastals.scoring import SQL, score

duckdb = pytest.importorskip("duckdb")
SPEC = {"signals": {"n": {}}}


def frame_of(data):
    """Scores as {(user, item): score}."""
    users, items = data.users, data.items
    rows = np.repeat(np.arange(data.n_users), np.diff(data.indptr))
    return {(users[u], items[i]): float(v) for u, i, v in zip(rows, data.indices, data.values, strict=True)}


def by_pandas(frame):
    sums = frame.groupby(["user", "item"])["n"].sum()
    return {pair: pytest.approx(value, rel=1e-6) for pair, value in sums.items()}


def log(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "who": [f"u{u}" for u in rng.integers(0, 60, n)],
            "what": rng.integers(0, 40, n),
            "type": rng.choice(["view", "cart", "purchase", "bot"], n),
            "ms": rng.integers(1_700_000_000_000, 1_700_600_000_000, n),
            "amount": rng.integers(1, 5, n),
        }
    )


@pytest.fixture
def directory(tmp_path):
    frame = log()
    frame["day"] = pd.to_datetime(frame["ms"], unit="ms").dt.strftime("%Y-%m-%d")
    for day, part in frame.groupby("day"):
        os.makedirs(tmp_path / f"dt={day}")
        part.drop(columns="day").to_parquet(tmp_path / f"dt={day}" / "part.parquet", index=False)
    pd.DataFrame({"what": range(0, 40, 2), "price": np.arange(20) + 1}).to_csv(tmp_path / "prices.csv", index=False)
    nested = pa.table(
        {
            "user": [{"id": u, "tags": ["a"]} for u in ("ann", "bob", "ann")],
            "items": [["x", "y"], ["x"], []],
            "guest": ["g1", None, "g3"],
        }
    )
    pa.parquet.write_table(nested, tmp_path / "nested.parquet")
    return tmp_path


def ordered(directory):
    """The log as the glob reads it: by day, each in its order."""
    frame = log()
    frame["day"] = pd.to_datetime(frame["ms"], unit="ms").dt.strftime("%Y-%m-%d")
    return frame.sort_values("day", kind="stable")


def scored(query, directory, spec=SPEC, **options):
    return frame_of(score(SQL(query, directory=directory), spec, **options).interactions())


# --- eight cases -----------------------------------------------------------------------------------------------------


def test_globs_and_filters(directory):
    query = """SELECT who AS "user", what AS item, amount AS n FROM read_parquet('dt=*/*.parquet')
               WHERE type <> 'bot' AND dt >= '2023-11-16' AND amount > 1"""
    frame = ordered(directory).query("type != 'bot' and day >= '2023-11-16' and amount > 1")
    assert scored(query, directory) == by_pandas(frame.rename(columns={"who": "user", "what": "item", "amount": "n"}))


def test_nested_fields(directory):
    query = "SELECT user.id AS user, guest AS item, 1 AS n FROM 'nested.parquet' WHERE guest IS NOT NULL"
    assert scored(query, directory) == {("ann", "g1"): 1, ("ann", "g3"): 1}


def test_lists_exploded(directory):
    query = "SELECT user.id AS user, unnest(items) AS item, 2 AS n FROM 'nested.parquet'"
    assert scored(query, directory) == {("ann", "x"): 2, ("ann", "y"): 2, ("bob", "x"): 2}


def test_ids_coalesced(directory):
    query = "SELECT coalesce(guest, user.id) AS user, unnest(items) AS item, 1 AS n FROM 'nested.parquet'"
    assert scored(query, directory) == {("g1", "x"): 1, ("g1", "y"): 1, ("bob", "x"): 1}


def test_joins(directory):
    query = """SELECT e.who AS user, e.what AS item, e.amount * p.price AS n
               FROM read_parquet('dt=*/*.parquet') e JOIN 'prices.csv' p USING (what) ORDER BY ALL"""
    frame = log().merge(pd.read_csv(directory / "prices.csv"), on="what")
    frame["n"] = frame["amount"] * frame["price"]
    assert scored(query, directory) == by_pandas(frame.rename(columns={"who": "user", "what": "item"}))


def test_sessions(directory):
    """Items of one session count once in it: a session ends where half an hour passes without an event."""
    query = """WITH timed AS (
                 SELECT *, ms - lag(ms) OVER (PARTITION BY who ORDER BY ms, what) > 1_800_000 AS fresh
                 FROM read_parquet('dt=*/*.parquet')),
               sessions AS (
                 SELECT *, count(*) FILTER (fresh) OVER (PARTITION BY who ORDER BY ms, what) AS session FROM timed)
               SELECT DISTINCT who AS user, what AS item, session, 1 AS n FROM sessions ORDER BY ALL"""
    frame = log().sort_values(["who", "ms", "what"])
    frame["session"] = frame.groupby("who")["ms"].diff().gt(1_800_000).groupby(frame["who"]).cumsum()
    frame = frame.drop_duplicates(["who", "what", "session"]).assign(n=1)
    assert scored(query, directory) == by_pandas(frame.rename(columns={"who": "user", "what": "item"}))


def test_duplicates_removed(directory):
    """The last event of each user with each item."""
    query = """SELECT who AS user, what AS item, amount AS n FROM read_parquet('dt=*/*.parquet')
               QUALIFY row_number() OVER (PARTITION BY who, what ORDER BY ms DESC) = 1 ORDER BY ALL"""
    frame = log().sort_values("ms").drop_duplicates(["who", "what"], keep="last")
    assert scored(query, directory) == by_pandas(frame.rename(columns={"who": "user", "what": "item", "amount": "n"}))


def test_types_as_columns(directory):
    query = """SELECT who AS user, what AS item, (type = 'view')::int AS view, (type = 'purchase') AS bought,
               make_timestamp(ms * 1000) AS time FROM read_parquet('dt=*/*.parquet')"""
    spec = {"signals": {"view": {}, "bought": {"weight": 5}}, "timestamp": "time", "half_life": "1 day"}
    frame = log().rename(columns={"who": "user", "what": "item"})
    age = (frame["ms"].max() - frame["ms"]) / 86_400_000
    frame["n"] = ((frame["type"] == "view") + 5 * (frame["type"] == "purchase")) * 0.5**age
    assert scored(query, directory, spec) == by_pandas(frame)


# --- the same bits, bounded memory -----------------------------------------------------------------------------------


def test_order_and_bits_do_not_depend_on_the_threads(tmp_path):
    rng = np.random.default_rng(0)
    table = pa.table(
        {"user": rng.integers(0, 50, 700_000), "item": rng.integers(0, 30, 700_000), "n": rng.random(700_000)}
    )
    pa.parquet.write_table(table, tmp_path / "log.parquet", row_group_size=30_000)
    query = "SELECT user, item, n FROM 'log.parquet' WHERE n > 0.25"
    wanted = score(table.filter(pa.compute.greater(table["n"], 0.25)), SPEC).interactions()
    for threads in (1, 2):
        found = score(SQL(query, directory=tmp_path), SPEC, num_threads=threads).interactions()
        np.testing.assert_array_equal(found.values, wanted.values)
        rows = SQL(query, directory=tmp_path).reader(threads).read_all()
        assert rows.equals(table.filter(pa.compute.greater(table["n"], 0.25)))


@pytest.mark.skipif(sys.platform != "linux", reason="how memory is measured")
@pytest.mark.parametrize("kind", ["query", "reader", "lazy"])
def test_memory_is_bounded(kind, tmp_path):
    """20 M rows are 320 MB; scored in far less."""
    code = (
        "import resource, sys, pyarrow as pa, numpy as np\n"
        "from fastals.scoring import SQL, score\n"
        "kind, n = sys.argv[1], 20_000_000\n"
        "one = pa.record_batch({'user': np.arange(1 << 17) % 7, 'item': np.arange(1 << 17) % 5})\n"
        "if kind == 'query':\n"
        "    events = SQL(f'SELECT range % 7 AS user, range % 5 AS item FROM range({n})', memory_limit='200MB')\n"
        "elif kind == 'reader':\n"
        "    events = pa.RecordBatchReader.from_batches(one.schema, (one for _ in range(n >> 17)))\n"
        "else:\n"
        "    import polars as pl, pyarrow.parquet as pq\n"
        "    with pq.ParquetWriter(sys.argv[2], one.schema) as writer:\n"
        "        for _ in range(n >> 17): writer.write_batch(one)\n"
        "    events = pl.scan_parquet(sys.argv[2]).filter(pl.col('user') > -1)\n"
        "score(pa.table(one.slice(0, 9)), {'signals': {'*': {}}})\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = score(events, {'signals': {'*': {}}}, memory=1 << 24)\n"
        "print(found.n_events, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)\n"
    )
    command = [sys.executable, "-c", code, kind, str(tmp_path / "log.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    events, grown = map(int, done.stdout.split())
    assert events == 20_000_000 if kind == "query" else events == (20_000_000 >> 17) << 17
    assert grown < 290, grown


def test_what_exceeds_the_limit_goes_to_files(tmp_path):
    """A sort of 160 MB within 100 MB."""
    query = "SELECT range % 1000 AS user, hash(range) % 500 AS item, 1 AS n FROM range(10_000_000) ORDER BY hash(range)"
    with score(SQL(query, memory_limit="100MB"), SPEC, num_threads=1) as scores:
        assert (scores.n_events, scores.n_users, scores.n_items) == (10_000_000, 1000, 500)


# --- where, and what is refused --------------------------------------------------------------------------------------


def test_paths_are_those_of_the_directory_alone(directory, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    query = "SELECT what AS user, what AS item, price AS n FROM 'prices.csv'"
    assert len(scored(query, directory)) == 20
    (elsewhere / "prices.csv").write_text("what,price\n1,1\n")
    with pytest.raises(fastals.ParameterError, match=r"'prices\.csv' is a file of the working directory too"):
        SQL(query, directory=directory)
    os.makedirs(elsewhere / "dt=2023-11-16")
    pd.DataFrame({"who": ["x"], "what": [1]}).to_parquet(elsewhere / "dt=2023-11-16" / "part.parquet")
    assert len(scored("SELECT who AS user, what AS item, 1 AS n FROM read_parquet('dt=*/*.parquet')", directory)) > 1000
    assert len(scored(query, elsewhere)) == 1
    assert len(scored(query, None)) == 1
    (elsewhere / "a,b").mkdir()
    with pytest.raises(fastals.ParameterError, match="no comma"):
        SQL("SELECT 1", directory=elsewhere / "a,b")


def test_variables_of_the_program_are_no_tables():
    events = pd.DataFrame({"user": [1], "item": [1]})
    with pytest.raises(fastals.DataError, match="query: Catalog Error: Table with name events does not exist"):
        score(SQL("SELECT * FROM events"), {"signals": {"*": {}}})
    assert score(events, {"signals": {"*": {}}}).n_events == 1


@pytest.mark.parametrize(
    ("query", "error", "told"),
    [
        ("SELECT 1; SELECT 2", fastals.ParameterError, "query must be one SELECT statement, got SELECT, SELECT"),
        ("", fastals.ParameterError, "query must be one SELECT statement, got none"),
        ("COPY (SELECT 1) TO 'x.csv'", fastals.ParameterError, "query must be one SELECT statement, got COPY"),
        ("SET threads = 1", fastals.ParameterError, "got SET"),
        ("SELEC 1", fastals.ParameterError, 'query: Parser Error: syntax error at or near "SELEC"'),
        (3, fastals.ArgumentTypeError, "query must be text, got int"),
    ],
)
def test_what_is_no_query(query, error, told):
    with pytest.raises(error) as caught:
        SQL(query)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT nope FROM range(3)", 'query: Binder Error: Referenced column "nope" not found'),
        ("SELECT * FROM 'gone.parquet'", 'No files found that match the pattern "gone.parquet"'),
        ("SELECT range AS user, ('x' || range)::INT AS item FROM range(9)", "Could not convert string 'x0' to INT32"),
        (
            "SELECT range AS user, CASE WHEN range = 2_999_999 THEN error('boom') ELSE 1 END AS item, 1 AS n "
            "FROM range(3_000_000)",
            "query: Invalid Input Error: boom",
        ),
        ("SELECT 1 AS user, list(range) AS item FROM range(100_000_000)", "give it more: memory_limit"),
        ("SELECT 1 AS user, 2 AS item, unnest(['1', 'two']) AS n", "query: row 2, column 'n': 'two' is no"),
        ("SELECT 1 AS user, 2 AS thing, 1 AS n", "item column not recognised"),
    ],
)
def test_a_query_that_fails(query, told):
    with pytest.raises(fastals.DataError) as caught:
        score(SQL(query, memory_limit="150MB"), SPEC)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()
    assert not [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("fastals-sql-")]


def test_without_duckdb(monkeypatch):
    monkeypatch.setattr("fastals._files.storage.find_spec", lambda name: None if name == "duckdb" else True)
    with pytest.raises(fastals.MissingDependencyError, match=r"SQL needs duckdb: pip install 'fastals\[sql\]'"):
        SQL("SELECT 1")


def test_a_query_is_logged(caplog):
    with caplog.at_level(logging.INFO, "fastals"):
        SQL("SELECT   1 AS one").reader(1).read_all()
    assert "1 threads: SQL('SELECT 1 AS one')" in caplog.text


# --- other streams ---------------------------------------------------------------------------------------------------


def test_every_stream_gives_the_same():
    pl = pytest.importorskip("polars")
    frame = pd.DataFrame({"user": ["ann", "bob", "ann"], "item": [3, 1, 3], "n": [0.5, 2.0, 1.0]})
    table = pa.Table.from_pandas(frame)
    wanted = {("ann", 3): 1.5, ("bob", 1): 2.0}
    chunked = pa.concat_tables([table.slice(i, 1) for i in range(3)])
    for events in (
        frame,
        table,
        chunked,
        table.to_reader(max_chunksize=1),
        table.to_batches()[0],
        pl.from_pandas(frame),
        pl.from_pandas(frame).lazy(),
        pl.from_pandas(frame).lazy().with_columns(pl.col("user").cast(pl.Categorical)),
        duckdb.sql("SELECT * FROM frame"),
        {name: frame[name].to_numpy() for name in frame},
        SQL("FROM (VALUES ('ann', 3, 0.5), ('bob', 1, 2), ('ann', 3, 1)) AS _(user, item, n)"),
    ):
        assert frame_of(score(events, SPEC).interactions()) == wanted, type(events)
    assert pl.from_arrow(SQL("SELECT 1 AS one").reader().read_all())["one"].to_list() == [1]


def test_a_stream_that_breaks():
    schema = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("n", pa.string())])

    def batches(error):
        yield pa.record_batch([[1], [1], ["2"]], schema=schema)
        if error:
            raise OSError("the wire is cut")
        yield pa.record_batch([[1], [1], ["much"]], schema=schema)

    for error, told in (
        (True, "events: cannot be read as a table: .*the wire is cut"),
        (False, "row 2, column 'n': 'much'"),
    ):
        with pytest.raises(fastals.DataError, match=told):
            score(pa.RecordBatchReader.from_batches(schema, batches(error)), SPEC)
    pl = pytest.importorskip("polars")
    lazy = pl.LazyFrame({"user": ["a"], "item": ["b"], "n": ["c"]}).with_columns(pl.col("n").cast(pl.Int8))
    with pytest.raises(fastals.DataError, match="events: cannot be read as a table: conversion"):
        score(lazy, SPEC)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupted(tmp_path):
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fastals.scoring import SQL, score\n"
        "query = 'SELECT range AS user, range AS item FROM range(10_000_000_000) WHERE hash(range) % 1_000_000 = 1'\n"
        "print('begun', flush=True)\n"
        "try:\n"
        "    score(SQL(query), {'signals': {'*': {}}})\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(1)
        process.send_signal(2)
        assert process.communicate(timeout=60)[0] == "interrupted\n"
