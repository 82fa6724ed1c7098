"""Public data sets and logs of shops, as their files really are: each one `fastals run` to lists that pandas confirms.

The files are made here, small and true to the format in every detail; pandas, or plain Python, reads them in a way of
its own. What is compared: the scores, to the bit of float32; the lists, with those of a model that is trained on
pandas' scores and leaves out the pairs that pandas has seen.
"""

import csv
import datetime as dt
import decimal
import gzip
import hashlib
import json
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastals
from fastals.__main__ import main

TRAIN = {"factors": 4, "iterations": 4, "random_state": 0}
N = 4
START = dt.datetime(2023, 3, 1, 10, tzinfo=dt.timezone.utc)


class Log(NamedTuple):
    """Events without a format: users and items 0, 1, …, times in seconds since 1970, values 1 to 5."""

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    values: np.ndarray

    def rows(self):
        return zip(*(column.tolist() for column in self), strict=True)


@pytest.fixture
def log():
    rng = np.random.default_rng(5)
    users, items = np.divmod(rng.permutation(18 * 13)[:110], 13)
    return Log(users, items, int(START.timestamp()) + rng.permutation(10**6)[:110], rng.integers(1, 6, 110))


def run(directory, events, score, expected, known=None, **sections):
    """Run a pipeline; ``expected`` is pandas' frame of user, item, score, ``known`` one of all that was ever there."""
    pipeline = {
        "events": events,
        "score": score | {"out": "scores.parquet"},
        "train": TRAIN,
        "publish": {"to": "lists.jsonl", "n": N},
        **sections,
    }
    path = directory / "pipeline.json"
    path.write_text(json.dumps(pipeline))
    assert main(["run", str(path), "--quiet"]) == 0
    expected = expected.groupby(["user", "item"], as_index=False)["score"].sum()
    scores = pq.read_table(directory / "scores.parquet").to_pandas()
    scores.columns = ["user", "item", "score"]
    kept = scores.dropna().sort_values(["user", "item"]).reset_index(drop=True)
    assert kept["user"].tolist() == expected["user"].tolist()
    assert kept["item"].tolist() == expected["item"].tolist()
    np.testing.assert_array_equal(kept["score"], expected["score"].astype(np.float32))
    known = expected if known is None else known
    model = fastals.ImplicitALS(**TRAIN).fit(tuple(expected[name].to_numpy() for name in ("user", "item", "score")))
    lines = (directory / "lists.jsonl").read_text("utf-8").splitlines()
    lists = {row["user"]: row["items"] for row in map(json.loads, lines)}
    assert set(expected["user"]) <= set(lists) <= set(known["user"])
    for user in set(lists) - set(expected["user"]):  # of whom nothing counts get what is popular, but for what they had
        assert not set(lists[user]) & set(known["item"][known["user"] == user])
    for user in expected["user"].unique().tolist():
        items = lists[user]
        seen = set(known["item"][known["user"] == user]) & set(expected["item"])
        best = model.recommend(user, n=N, exclude_seen=False, exclude=sorted(seen)).items.tolist()
        assert items == [item for item in best if item is not None]
    assert any(lists.values())


def frame(users, items, scores):
    return pd.DataFrame({"user": list(users), "item": list(items), "score": np.asarray(list(scores), np.float64)})


def of(log, user=lambda u: u + 1, item=lambda i: 10 * i + 7):
    """The log with labels: rows of (user, item, time, value)."""
    return [(user(u), item(i), t, v) for u, i, t, v in log.rows()]


# --- ratings ----------------------------------------------------------------------------------------------------------


def test_movielens_100k(tmp_path, log):
    rows = of(log)
    (tmp_path / "u.data").write_text("".join(f"{u}\t{i}\t{v}\t{t}\n" for u, i, t, v in rows))
    events = {"path": "u.data", "format": "csv", "delimiter": "\t", "columns": ["user", "item", "rating", "timestamp"]}
    expected = frame(*zip(*((u, i, v) for u, i, _, v in rows), strict=True))
    run(tmp_path, events, {"signals": {"rating": {}}}, expected)


def test_movielens_1m(tmp_path, log):
    rows = of(log)
    (tmp_path / "ratings.dat").write_text("".join(f"{u}::{i}::{v}::{t}\n" for u, i, t, v in rows))
    events = {"path": "ratings.dat", "format": "csv", "delimiter": "::"}
    events["columns"] = ["UserID", "MovieID", "Rating", "Timestamp"]
    score = {
        "item": "MovieID",
        "timestamp": "Timestamp",
        "half_life": "30 days",
        "signals": {"Rating": {"weight": 0.5}},
    }
    read = pd.read_csv(tmp_path / "ratings.dat", sep="::", engine="python", names=["u", "i", "r", "t"])
    aged = 0.5 * read["r"] * 2.0 ** -((read["t"].max() - read["t"]) / (30 * 86400))
    run(tmp_path, events, score, frame(read["u"], read["i"], aged))


def test_movielens_latest(tmp_path, log):
    rows = of(log)
    text = "".join(f"{u},{i},{v - 0.5},{t}\r\n" for u, i, t, v in rows)
    (tmp_path / "ratings.csv").write_bytes(("userId,movieId,rating,timestamp\r\n" + text).encode())
    score = {"item": "movieId", "minimum": 1, "signals": {"rating": {"transform": "above", "at": 3}}}
    read = pd.read_csv(tmp_path / "ratings.csv").rename(columns={"userId": "user", "movieId": "item"})
    liked = read[read["rating"] >= 3].assign(score=1.0)
    run(tmp_path, {"path": "ratings.csv"}, score, liked, known=read)


def test_netflix(tmp_path, log):
    by_item = sorted(of(log), key=lambda row: row[1])
    lines, truth, last = [], [], None
    for u, i, t, v in by_item:
        if i != last:
            lines.append(f"{i}:\n")
        last = i
        lines.append(f"{u},{v},{dt.datetime.fromtimestamp(t, dt.timezone.utc):%Y-%m-%d}\n")
        truth.append((u, i, v))
    (tmp_path / "combined_data_1.txt").write_text("".join(lines))
    query = """
        WITH lines AS (
            SELECT row_number() OVER () AS line, a, rating
            FROM read_csv('combined_data_*.txt', header = false, delim = ',', auto_detect = false, parallel = false,
                          null_padding = true,
                          columns = {'a': 'VARCHAR', 'rating': 'DOUBLE', 'day': 'DATE'})
        ), films AS (
            SELECT a, rating, last_value(CASE WHEN a LIKE '%:' THEN CAST(rtrim(a, ':') AS BIGINT) END IGNORE NULLS)
                OVER (ORDER BY line) AS item
            FROM lines
        )
        SELECT CAST(a AS BIGINT) AS user, item, rating FROM films WHERE a NOT LIKE '%:'
    """
    pytest.importorskip("duckdb")
    run(tmp_path, {"query": query}, {"signals": {"rating": {}}}, frame(*zip(*truth, strict=True)))


def test_book_crossing(tmp_path, log):
    """latin-1, semicolons, quotes escaped by a backslash within them, rows of padding."""
    rows = of(log, item=lambda i: f'0{i:08d}"X' if i % 4 == 0 else f"ISBN é {i}")
    quoted = ['"User-ID";"ISBN";"Book-Rating"\r\n']
    for at, (u, i, _, v) in enumerate(rows):
        escaped = i.replace('"', '\\"')
        quoted.append(f'"{u}";"{escaped}";"{2 * v - 2}"\r\n')
        if at % 40 == 0:
            quoted.append(";;\r\n")
    (tmp_path / "BX-Book-Ratings.csv").write_bytes("".join(quoted).encode("latin-1"))
    events = {"path": "BX-Book-Ratings.csv", "delimiter": ";", "escape": "\\", "encoding": "latin-1"}
    events |= {"on_bad_rows": "skip", "max_bad_rows": 10}
    score = {"user": "User-ID", "item": "ISBN", "signals": {"any": {"column": "*"}, "Book-Rating": {"weight": 0.1}}}
    read = pd.read_csv(
        tmp_path / "BX-Book-Ratings.csv", sep=";", escapechar="\\", encoding="latin-1", dtype={"ISBN": str}
    )
    read = read.dropna()
    assert (read["ISBN"] == [i for _, i, _, _ in rows]).all()
    run(tmp_path, events, score, frame(read["User-ID"].astype(int), read["ISBN"], 1 + 0.1 * read["Book-Rating"]))


def test_anime(tmp_path, log):
    """-1: seen and not rated."""
    rows = [(u, i, v if (u + i) % 3 else -1) for u, i, _, v in of(log)]
    (tmp_path / "rating.csv").write_text("user_id,anime_id,rating\n" + "".join(f"{u},{i},{v}\n" for u, i, v in rows))
    signals = {"seen": {"column": "*", "weight": 0.5}, "rating": {"clip": [0, 10], "weight": 0.1}}
    expected = frame(*zip(*((u, i, 0.5 + 0.1 * max(v, 0)) for u, i, v in rows), strict=True))
    run(tmp_path, {"path": "rating.csv"}, {"item": "anime_id", "signals": signals}, expected)


# --- plays ------------------------------------------------------------------------------------------------------------


def test_lastfm_360k(tmp_path, log):
    """Tabs, no quoting, no header; an id of the artist that is often empty; names that begin with a quote."""
    artists = [
        '"Weird Al" Yankovic',
        '"heroes',
        "Sigur Rós",
        "a, b & c",
        "12",
        "NA",
        "null",
        "#1",
        "'n sync",
        "-5",
        "x\\y",
    ]
    rows = of(
        log, user=lambda u: hashlib.sha1(bytes([u])).hexdigest(), item=lambda i: artists[i % 11] + "!" * (i // 11)
    )
    text = "".join(f"{u}\t{'' if len(i) % 2 else 'mbid'}\t{i}\t{v * 7}\n" for u, i, _, v in rows)
    (tmp_path / "usersha1-artmbid-artname-plays.tsv").write_text(text, encoding="utf-8")
    events = {"path": "usersha1-artmbid-artname-plays.tsv", "columns": ["user", "mbid", "artist", "plays"]}
    score = {"item": "artist", "signals": {"plays": {"transform": "log1p"}}}
    read = pd.read_csv(
        tmp_path / "usersha1-artmbid-artname-plays.tsv",
        sep="\t",
        header=None,
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
        names=["user", "mbid", "item", "plays"],
    )
    run(tmp_path, events, score, frame(read["user"], read["item"], np.log1p(read["plays"])))


def test_million_songs(tmp_path, log):
    rows = of(log, user=lambda u: hashlib.md5(bytes([u])).hexdigest(), item=lambda i: f"SO{i:04X}12A8AE45{i:02d}")
    with gzip.open(tmp_path / "train_triplets.txt.gz", "wt") as file:
        file.writelines(f"{u}\t{i}\t{v}\n" for u, i, _, v in rows)
    events = {"path": "train_triplets.txt.gz", "delimiter": "\\t", "columns": ["user", "item", "plays"]}
    score = {"ids": "text", "signals": {"plays": {"transform": "log1p"}}}
    run(tmp_path, events, score, frame(*zip(*((u, i, np.log1p(v)) for u, i, _, v in rows), strict=True)))


# --- reviews as JSON lines --------------------------------------------------------------------------------------------


def test_amazon(tmp_path, log):
    rows = of(log, user=lambda u: f"A{u:X}2SUAM", item=lambda i: f"{i:010d}")
    with gzip.open(tmp_path / "reviews_Books_5.json.gz", "wt", encoding="utf-8") as file:
        for u, i, t, v in rows:
            review = {
                "reviewerID": u,
                "asin": i,
                "reviewerName": 'J. "x" é',
                "helpful": [0, int(v)],
                "reviewText": "…\n",
            }
            review |= {"overall": float(v), "summary": "", "unixReviewTime": t, "reviewTime": "03 1, 2023"}
            file.write(json.dumps(review) + "\n")
    score = {"user": "reviewerID", "item": "asin", "timestamp": "unixReviewTime", "half_life": "1 year"}
    age = (log.times.max() - log.times) / 31_557_600
    aged = frame([u for u, *_ in rows], [i for _, i, *_ in rows], log.values * 2.0**-age)
    run(tmp_path, {"path": "reviews_Books_5.json.gz"}, score | {"signals": {"overall": {}}}, aged)


def test_yelp(tmp_path, log):
    rows = of(log, user=lambda u: f"-{u:02d}_xQ", item=lambda i: f"_{i}-b")
    with (tmp_path / "yelp_academic_dataset_review.json").open("w") as file:
        for u, i, t, v in rows:
            day = f"{dt.datetime.fromtimestamp(t, dt.timezone.utc):%Y-%m-%d %H:%M:%S}"
            file.write(
                json.dumps({"review_id": f"{u}{i}", "user_id": u, "business_id": i, "stars": v, "date": day}) + "\n"
            )
    score = {"item": "business_id", "timestamp": "date", "half_life": "10 days", "signals": {"stars": {}}}
    times = np.array([t for _, _, t, _ in rows])
    aged = [v * 2.0 ** -((times.max() - t) / 864_000) for _, _, t, v in rows]
    expected = frame([u for u, *_ in rows], [i for _, i, *_ in rows], aged)
    run(tmp_path, {"path": "yelp_academic_dataset_review.json"}, score, expected)


# --- shops: types of events as values of a column ---------------------------------------------------------------------

KINDS = {"view": 1, "addtocart": 3, "transaction": 5}


def kinds(log):
    return np.array(["view", "view", "view", "addtocart", "transaction"])[log.values - 1]


def weights(kind):
    return [KINDS[name] for name in kind]


def test_retailrocket(tmp_path, log):
    """Milliseconds; a transaction id that nearly all lines lack."""
    rows, kind = of(log), kinds(log)
    lines = ["timestamp,visitorid,event,itemid,transactionid\n"]
    for (u, i, t, _), name in zip(rows, kind, strict=True):
        lines.append(f"{t}123,{u},{name},{i},{u * 100 if name == 'transaction' else ''}\n")
    (tmp_path / "events.csv").write_text("".join(lines))
    signals = {name: {"column": "event", "equals": name, "weight": weight} for name, weight in KINDS.items()}
    score = {"user": "visitorid", "item": "itemid", "timestamp": "timestamp", "unit": "ms", "half_life": "30 days"}
    age = (log.times.max() - log.times) / (30 * 86400)
    expected = frame([u for u, *_ in rows], [i for _, i, *_ in rows], np.array(weights(kind)) * 2.0**-age)
    run(tmp_path, {"path": "events.csv"}, score | {"signals": signals}, expected)


def test_rees46(tmp_path, log):
    """Times as 2019-10-01 00:00:00 UTC."""
    rows, kind = of(log), kinds(log)
    lines = ["event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"]
    for (u, i, t, _), name in zip(rows, kind, strict=True):
        stamp = f"{dt.datetime.fromtimestamp(t, dt.timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
        lines.append(f"{stamp},{name},{i},2103807459595387724,,acme,35.79,{u},7f076d84-8c9e-41ad\n")
    (tmp_path / "2019-Oct.csv").write_text("".join(lines))
    signals = {
        "interest": {"column": "event_type", "equals": ["view", "addtocart"]},
        "bought": {"column": "event_type", "equals": "transaction", "weight": 5},
    }
    score = {"item": "product_id", "timestamp": "event_time", "half_life": "1 week", "signals": signals}
    read = pd.read_csv(tmp_path / "2019-Oct.csv", parse_dates=["event_time"])
    age = (read["event_time"].max() - read["event_time"]).dt.total_seconds() / (7 * 86400)
    value = np.where(read["event_type"] == "transaction", 5.0, 1.0) * 2.0**-age
    run(tmp_path, {"path": "2019-Oct.csv"}, score, frame(read["user_id"], read["product_id"], value))


def test_yoochoose(tmp_path, log):
    """No header; 2014-04-07T10:51:09.277Z; sessions are the users."""
    rows = of(log)
    lines = []
    for u, i, t, v in rows:
        lines.append(f"{u},{dt.datetime.fromtimestamp(t, dt.timezone.utc):%Y-%m-%dT%H:%M:%S}.{v}77Z,{i},S\n")
    (tmp_path / "yoochoose-clicks.dat").write_text("".join(lines))
    events = {"path": "yoochoose-clicks.dat", "format": "csv", "columns": ["session", "time", "item", "category"]}
    score = {"user": "session", "timestamp": "time", "half_life": "1 day", "signals": {"click": {"column": "*"}}}
    times = np.array([t + v / 10 + 0.077 for _, _, t, v in rows])
    expected = frame([u for u, *_ in rows], [i for _, i, *_ in rows], 2.0 ** -((times.max() - times) / 86400))
    run(tmp_path, events, score, expected)


def test_online_retail(tmp_path, log):
    """Days before months, returns, customers that are missing, a pound sign in latin-1, commas within quotes."""
    customers = {u: 12345 + u for u in range(18)}
    lines = ["InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\r\n"]
    truth = []
    for at, (u, i, t, v) in enumerate(log.rows()):
        back, day = at % 9 == 0, dt.datetime.fromtimestamp(t, dt.timezone.utc)
        quantity, code = (-v if back else 2 * v), f"85{i:03d}A"
        stamp = f"{day.day}/{day.month}/{day.year} {day:%H:%M}"
        customer = "" if at % 10 == 3 else str(customers[u])
        lines.append(
            f'{"C" if back else ""}536{at},{code},"LANTERN, \xa3{v}",{quantity},{stamp},2.55,{customer},Ireland\r\n'
        )
        if customer:
            truth.append((customers[u], code, quantity, t - t % 60))
    (tmp_path / "Online Retail.csv").write_bytes("".join(lines).encode("latin-1"))
    events = {"path": "Online Retail.csv", "encoding": "latin-1", "on_bad_rows": "skip"}
    score = {"user": "CustomerID", "item": "StockCode", "timestamp": "InvoiceDate", "format": "%d/%m/%Y %H:%M"}
    score |= {"half_life": "90 days", "minimum": 0.01, "signals": {"Quantity": {}}}
    all_of = pd.DataFrame(truth, columns=["user", "item", "quantity", "t"])
    aged = all_of.assign(score=all_of["quantity"] * 2.0 ** -((all_of["t"].max() - all_of["t"]) / (90 * 86400)))
    summed = aged.groupby(["user", "item"], as_index=False)["score"].sum()
    run(tmp_path, events, score, summed[summed["score"] >= 0.01], known=all_of)


# --- places -----------------------------------------------------------------------------------------------------------


def test_gowalla(tmp_path, log):
    rows = of(log)
    lines = []
    for u, i, t, _ in rows:
        lines.append(f"{u}\t{dt.datetime.fromtimestamp(t, dt.timezone.utc):%Y-%m-%dT%H:%M:%SZ}\t30.23\t-97.79\t{i}\n")
    with gzip.open(tmp_path / "loc-gowalla_totalCheckins.txt.gz", "wt") as file:
        file.writelines(lines)
    events = {"path": "loc-gowalla_totalCheckins.txt.gz", "delimiter": "\t"}
    events["columns"] = ["user", "time", "lat", "lon", "place"]
    cut = int(np.median(log.times))
    since = f"{dt.datetime.fromtimestamp(cut, dt.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    score = {"item": "place", "timestamp": "time", "since": since, "signals": {"visit": {"column": "*"}}}
    late = [(u, i, 1) for u, i, t, _ in rows if t >= cut]
    everything = frame(*zip(*((u, i, 1) for u, i, *_ in rows), strict=True))
    run(tmp_path, events, score, frame(*zip(*late, strict=True)), known=everything)


def test_foursquare(tmp_path, log):
    rows = of(log, item=lambda i: f"49bbd6c0f964a520f45{i:03x}fe3")
    lines = []
    for u, i, t, _ in rows:
        stamp = f"{dt.datetime.fromtimestamp(t, dt.timezone.utc):%a %b %d %H:%M:%S +0000 %Y}"
        lines.append(f"{u}\t{i}\t4bf58dd8d48988d127951735\tCaf\xe9\t40.7\t-74.0\t-240\t{stamp}\n")
    (tmp_path / "dataset_TSMC2014_NYC.txt").write_bytes("".join(lines).encode("latin-1"))
    names = ["user", "venue", "category", "name", "lat", "lon", "offset", "time"]
    events = {"path": "dataset_TSMC2014_NYC.txt", "delimiter": "\t", "encoding": "latin-1", "columns": names}
    score = {"item": "venue", "timestamp": "time", "format": "%a %b %d %H:%M:%S %z %Y", "half_life": "1 day"}
    aged = 2.0 ** -((log.times.max() - log.times) / 86400)
    expected = frame([u for u, *_ in rows], [i for _, i, *_ in rows], aged)
    run(tmp_path, events, score | {"ids": "auto", "signals": {"visit": {"column": "*"}}}, expected)


# --- nested, typed, distributed ---------------------------------------------------------------------------------------


def test_nested_json_and_lists(tmp_path, log):
    """Carts: an object for the user, a list of lines; SQL takes them apart."""
    pytest.importorskip("duckdb")
    carts: dict[int, list] = {}
    for u, i, _, v in log.rows():
        carts.setdefault(u, []).append({"sku": f"sku-{i}", "quantity": v})
    (tmp_path / "day=1").mkdir()
    with (tmp_path / "day=1" / "carts.jsonl").open("w") as file:
        for u, lines in carts.items():
            who = {"id": None, "device": f"d{u}"} if u % 3 else {"id": f"u{u}", "device": "x"}
            file.write(json.dumps({"who": who, "lines": lines}) + "\n")
    query = """
        SELECT coalesce(who.id, who.device) AS user, line.sku AS item, line.quantity
        FROM (SELECT who, unnest(lines) AS line FROM read_json('day=*/*.jsonl'))
    """
    truth = [(f"d{u}" if u % 3 else f"u{u}", f"sku-{i}", v) for u, i, _, v in log.rows()]
    run(tmp_path, {"query": query}, {"signals": {"quantity": {}}}, frame(*zip(*truth, strict=True)))


def test_parquet_of_every_type(tmp_path, log):
    """Dictionaries, decimals, zones, large strings, lists beside, nulls where nothing is."""
    rows = of(log, item=lambda i: f"item {i}")
    zone = dt.timezone(dt.timedelta(hours=-7))
    user, item, time, value = zip(*rows, strict=True)
    liked = [None if v == 3 else v > 3 for v in value]
    table = pa.table(
        {
            "account": pa.array([decimal.Decimal(u) for u in user], pa.decimal128(20, 0)),
            "item": pa.array(item, pa.large_string()).dictionary_encode(),
            "at": pa.array([dt.datetime.fromtimestamp(t, zone) for t in time], pa.timestamp("ms", "America/Phoenix")),
            "seconds": pa.array([decimal.Decimal(v) / 4 for v in value], pa.decimal128(9, 2)),
            "liked": pa.array(liked, pa.bool_()),
            "tags": pa.array([["a"] * int(v) for v in value], pa.list_(pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=17)
    score = {"user": "account", "timestamp": "at", "half_life": "3 days"}
    score["signals"] = {"seconds": {"weight": 2}, "liked": {"weight": 3}}
    plain = np.array([v / 2 + 3 * bool(like) for v, like in zip(value, liked, strict=True)])
    aged = plain * 2.0 ** -((log.times.max() - log.times) / (3 * 86400))
    run(tmp_path, {"path": "log.parquet"}, score, frame(user, item, aged))


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "json", "parquet"])
def test_directories_of_spark(tmp_path, log, kind):
    """_SUCCESS, checksums beside every part, parts without a row and without a byte."""
    parts = tmp_path / "events"
    parts.mkdir()
    (parts / "_SUCCESS").touch()
    (parts / "._SUCCESS.crc").write_bytes(b"crc\0\0\0\2\0")
    read = pd.DataFrame(of(log), columns=["user", "item", "time", "plays"])
    for number, rows in enumerate((read[:40], read[:0], read[40:41], read[41:])):
        name = f"part-{number:05d}-1f6d-c000"
        path = parts / f"{name}.snappy.parquet" if kind == "parquet" else parts / f"{name}.{kind}"
        if kind == "parquet":
            rows.to_parquet(path, index=False)
        elif kind == "json":
            path.write_text(rows.to_json(orient="records", lines=True) if len(rows) else "")
        elif len(rows):
            rows.to_csv(path, index=False)
        else:  # Spark writes no header where there is no row
            path.write_bytes(gzip.compress(b"") if kind.endswith("gz") else b"")
        (parts / f".{path.name}.crc").write_bytes(b"crc\0\0\0\2\0")
    expected = read.rename(columns={"plays": "score"})
    run(tmp_path, {"path": "events"}, {"signals": {"plays": {}}}, expected)
