"""What is said of items: a catalogue, a blocklist, titles; and what is like an item."""

import csv
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from scipy import sparse
from served import connection, expected, fit, read_all

import fastals
from fastals.serving import RedisRecommendations, publish

redis = pytest.importorskip("redis")

CATALOGUE = [f"i{j}" for j in range(0, 80, 3)]
BLOCKED = [f"i{j}" for j in range(0, 80, 6)]
ALLOWED = [item for item in CATALOGUE if item not in BLOCKED]
TITLES = {f"i{j}": f"Title, “{j}”" for j in range(0, 80, 2)}


def lists_of(path):
    """Each owner's items, scores and titles, however they were written; None: the owner is null."""
    if path.suffix == ".csv":
        with open(path, newline="") as file:
            found = {}
            for row in csv.DictReader(file):
                owner, _, item, score, *title = row.values()
                items, scores, titles = found.setdefault(owner or None, ([], [], []))
                items.append(item)
                scores.append(float(score))
                titles += [name or None for name in title]
            return found
    if path.suffix == ".jsonl":
        lines = list(map(json.loads, path.read_text().splitlines()))
    else:
        lines = pyarrow.parquet.read_table(path).to_pylist()
    return {next(iter(line.values())): (line["items"], line["scores"], line.get("titles", [])) for line in lines}


SUFFIXES = [".csv", ".jsonl", ".parquet"]


# --- what may be listed ----------------------------------------------------------------------------------------------


def given_as(kind, ids, tmp_path, name):
    """The same ids in every form that they may have."""
    frame = pd.DataFrame({"price": range(len(ids)), "item_id": ids})
    if kind == "first column.csv":
        frame[["item_id", "price"]].rename(columns={"item_id": "sku"}).to_csv(tmp_path / f"{name}.csv", index=False)
        return tmp_path / f"{name}.csv"
    writers = {
        ".csv": lambda path: frame.to_csv(path, index=False),
        ".parquet": lambda path: frame.to_parquet(path),
        ".jsonl": lambda path: frame.to_json(path, orient="records", lines=True),
        ".txt": lambda path: path.write_text("\r\n".join(map(str, ids)) + "\n\n"),
    }
    if kind in writers:
        writers[kind](tmp_path / (name + kind))
        return str(tmp_path / (name + kind))
    others = {"list": list, "set": set, "array": np.array, "tuple": tuple, "series": pd.Series}
    return others[kind](ids) if kind in others else {"pandas": frame, "polars": pl.from_pandas(frame)}[kind]


FORMS = ["list", "set", "array", "tuple", "series", "pandas", "polars", ".csv", ".parquet", ".jsonl", ".txt"]


@pytest.mark.parametrize("form", [*FORMS, "first column.csv"])
@pytest.mark.parametrize("kind", ["strings", "integers"])
def test_a_catalogue_and_a_blocklist(tmp_path, form, kind):
    items = np.arange(80) * 5 if kind == "integers" else None
    model = fit(items=items)
    make = (lambda id_: 5 * int(id_[1:])) if kind == "integers" else str
    unknown = [make("i999"), make("i998"), make("i998")]
    options = {
        "catalogue": given_as(form, [*map(make, CATALOGUE), *unknown], tmp_path, "catalogue"),
        "blocklist": given_as(form, [*map(make, BLOCKED), unknown[0]], tmp_path, "blocklist"),
    }
    published = publish(model, tmp_path / "r.parquet", n=10, popular=True, **options)
    assert published.unknown == {"catalogue": 2, "blocklist": 1}
    assert published.n_items == len(ALLOWED)
    assert f"chosen from {len(ALLOWED)} items, unknown ids: 2 of the catalogue and 1 of the blocklist: " in str(
        published
    )
    found = {owner: items for owner, (items, _, _) in lists_of(tmp_path / "r.parquet").items()}
    counts = pd.Series(model.items_[model.state_.pairs.indices]).value_counts()
    wanted = expected(model, 10, items=list(map(make, ALLOWED)))
    popular = found.pop(None)
    assert found == wanted
    assert set(popular) <= set(map(make, ALLOWED))
    assert counts[popular].tolist() == sorted(counts[list(map(make, ALLOWED))], reverse=True)[:10]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_popular_list_of_a_file(model, tmp_path, suffix):
    publish(model, tmp_path / f"r{suffix}", n=4, popular=True)
    found = lists_of(tmp_path / f"r{suffix}")
    counts = pd.Series(model.items_[model.state_.pairs.indices]).value_counts()
    items, scores, _ = found.pop(None)
    assert counts[items].tolist() == counts.iloc[:4].tolist()
    np.testing.assert_allclose(scores, counts.iloc[:4] / 300, rtol=1e-5)
    assert {user: items for user, (items, _, _) in found.items()} == expected(model, 4)


def test_redis_obeys_both(url, model):
    publish(model, url, n=10, catalogue=CATALOGUE, blocklist=BLOCKED)
    reader, wanted = RedisRecommendations(url), expected(model, 10, items=ALLOWED)
    assert read_all(reader, list(wanted)) == wanted
    assert set(reader.get("nobody").items) == set(ALLOWED)
    assert publish(model, url, n=10).version != publish(model, url, n=10, blocklist=BLOCKED).version
    assert not set(RedisRecommendations(url).get("nobody").items) & set(BLOCKED)


def test_a_blocklist_of_strangers_is_no_error(model, tmp_path):
    published = publish(model, tmp_path / "r.csv", n=2, blocklist=["x", "y"])
    assert published.unknown == {"blocklist": 2}
    assert {user: items for user, (items, _, _) in lists_of(tmp_path / "r.csv").items()} == expected(model, 2)


def refused(model, tmp_path, error, match, **options):
    with pytest.raises(error, match=match):
        publish(model, tmp_path / "r.csv", **options)
    assert not (tmp_path / "r.csv").exists()


def test_what_is_refused_of_a_catalogue(model, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "gap.csv").write_text('item,x\ni1,1\n"",2\n')
    (tmp_path / "two.csv").write_text("a,item,itemId\n1,i1,i1\n")
    (tmp_path / "latin.txt").write_bytes(b"i1\n\xe9\n")
    unknown, data, no_file = fastals.UnknownLabelError, fastals.DataError, fastals.FileFormatError
    refused(model, tmp_path, unknown, "catalogue must be known to the model, got 'x'", catalogue=["x", "y"])
    kind = fastals.ArgumentTypeError
    refused(model, tmp_path, kind, "catalogue must be strings.* got integers: 1 at position 0", catalogue=[1, 2])
    refused(model, tmp_path, data, "catalogue must name the items", catalogue=[])
    refused(model, tmp_path, data, "catalogue must name the items", catalogue=tmp_path / "empty.txt")
    refused(model, tmp_path, data, "leave no item", catalogue=["i1"], blocklist=["i1"])
    refused(model, tmp_path, data, "column 'item', row 2: missing id", catalogue=tmp_path / "gap.csv")
    refused(model, tmp_path, data, "item column.*not clear.*item_column=", catalogue=tmp_path / "two.csv")
    refused(model, tmp_path, data, "'sku' is not there", catalogue=tmp_path / "two.csv", item_column="sku")
    refused(model, tmp_path, no_file, "latin.txt", catalogue=tmp_path / "latin.txt")
    refused(model, tmp_path, data, "must not be compressed", catalogue=tmp_path / "ids.txt.gz")
    refused(model, tmp_path, fastals.FastalsError, "absent.txt", catalogue=tmp_path / "absent.txt")
    refused(model, tmp_path, fastals.FastalsError, "absent.csv", blocklist=tmp_path / "absent.csv")
    (tmp_path / "bare.csv").write_text("i1\ni2\n")
    for name in ("catalogue", "blocklist"):
        refused(model, tmp_path, data, f"{name}: .*first line.*'i1' is an id", **{name: tmp_path / "bare.csv"})
    assert publish(model, tmp_path / "r.csv", blocklist=tmp_path / "bare.csv", item_column="i1").n_items
    (tmp_path / "r.csv").unlink()
    for wrong in (5, b"i1", len, 3.5):
        refused(model, tmp_path, fastals.ArgumentTypeError, "must be a file, a data frame or an array", blocklist=wrong)
    assert publish(model, tmp_path / "r.csv", catalogue=tmp_path / "two.csv", item_column="itemId").n_items == 1


@pytest.mark.parametrize("name", ["catalogue", "blocklist"])
def test_ids_in_text_are_of_the_models_kind(tmp_path, name):
    model = fit(items=np.arange(80))
    (tmp_path / "bare.csv").write_text("4711\n7\n")  # of a model that has no 4711, either
    refused(model, tmp_path, fastals.DataError, "'4711' is an id", **{name: tmp_path / "bare.csv"})
    (tmp_path / "ids.csv").write_text("item\n7\nguest-7\n")
    refused(
        model,
        tmp_path,
        fastals.UnknownLabelError,
        "row 2 must be a whole number.*'guest-7'",
        **{name: tmp_path / "ids.csv"},
    )
    (tmp_path / "ids.txt").write_text("7\n007\n")
    refused(
        model,
        tmp_path,
        fastals.UnknownLabelError,
        "line 2 must be a whole number.*'007'",
        **{name: tmp_path / "ids.txt"},
    )


# --- titles ----------------------------------------------------------------------------------------------------------


def titles_as(form, tmp_path):
    frame = pd.DataFrame({"item": [*TITLES, "i1", "new"], "title": [*TITLES.values(), None, "New"]})
    writers = {
        ".csv": lambda path: frame.to_csv(path, index=False),
        ".parquet": lambda path: frame.to_parquet(path),
        ".jsonl": lambda path: frame.to_json(path, orient="records", lines=True),
    }
    if form in writers:
        writers[form](tmp_path / ("titles" + form))
        return str(tmp_path / ("titles" + form))
    forms = {
        "mapping": lambda: dict(zip(frame["item"], frame["title"], strict=True)) | {"i1": None},
        "pandas": lambda: frame,
        "polars": lambda: pl.from_pandas(frame),
        "arrow": lambda: pa.Table.from_pandas(frame),
        "columns": lambda: {"item": frame["item"].tolist(), "name": [*TITLES.values(), None, "New"]},
        "first two": lambda: frame.rename(columns={"item": "sku", "title": "what it is"}),
    }
    return forms[form]()


@pytest.mark.parametrize("form", ["mapping", "pandas", "polars", "arrow", "columns", "first two", *SUFFIXES])
def test_titles_of_any_form(model, tmp_path, form):
    published = publish(model, tmp_path / "r.jsonl", n=5, titles=titles_as(form, tmp_path))
    assert published.untitled == 80 - len(TITLES)
    assert "items without a title: 40" in str(published)
    for items, _, titles in lists_of(tmp_path / "r.jsonl").values():
        assert titles == [TITLES.get(item) for item in items]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("what", ["recommendations", "similar_items"])
def test_titles_stand_in_every_file(model, tmp_path, suffix, what):
    options = {"popular": True} if what == "recommendations" else {}
    publish(model, tmp_path / f"r{suffix}", n=5, titles=TITLES, what=what, **options)
    found = lists_of(tmp_path / f"r{suffix}")
    assert len(found) == (301 if options else 80)
    assert all(titles == [TITLES.get(item) for item in items] for items, _, titles in found.values())


@pytest.mark.parametrize("items", [None, np.arange(80) * 3 - 2, np.arange(80)], ids=["text", "integers", "small"])
def test_titles_in_redis(url, items):
    model = fit(items=items)
    titles = dict(zip(model.items_.tolist()[::2], TITLES.values(), strict=True))
    version = publish(model, url, n=10, titles=titles).version
    assert version == publish(model, url, n=10, titles=titles).version
    wanted, reader = expected(model, 10), RedisRecommendations(url)
    assert read_all(reader, list(wanted)) == wanted
    for user in (*list(wanted)[:50], "nobody"):
        served = reader.get(user, 7)
        assert served.titles == [titles.get(item) for item in served.items]
    assert publish(model, url, n=10).version != version
    assert RedisRecommendations(url).get("nobody").titles is None
    assert publish(model, url, n=10, titles={**titles, model.items_[1]: "x"}).version != version


def test_titles_of_a_model_without_labels(url, tmp_path):
    model = fastals.ImplicitALS(factors=2, iterations=2, random_state=0).fit(
        sparse.random_array((30, 20), density=0.2, rng=0)
    )
    publish(model, url, n=5, titles={j: f"no. {j}" for j in range(20)})
    served = RedisRecommendations(url).get(3)
    assert served.titles == [f"no. {item}" for item in served.items]


def test_what_is_refused_of_titles(model, tmp_path):
    twice = pd.DataFrame({"item": ["i1", "i2", "i1"], "title": ["a", "b", "a"]})
    publish(model, tmp_path / "ok.csv", titles=twice)
    data, wrong_type = fastals.DataError, fastals.ArgumentTypeError
    refused(model, tmp_path, data, "'a' and 'c' for 'i1'", titles=twice.assign(title=["a", "b", "c"]))
    refused(model, tmp_path, wrong_type, "titles must be strings, got 5 for item 'i1'", titles={"i1": 5})
    refused(model, tmp_path, data, "title column.*not clear", titles=twice[["item"]])
    refused(model, tmp_path, data, "different columns", titles=twice, item_column="item", title_column="item")
    refused(model, tmp_path, wrong_type, "titles must be a file", titles=["a"])


# --- what is like an item --------------------------------------------------------------------------------------------


def similar(model, n, **options):
    found = model.similar_items(model.items_, n, **options)
    pairs = zip(model.items_.tolist(), found.items, found.scores, strict=True)
    return {item: row[np.isfinite(scores)].tolist() for item, row, scores in pairs}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_similar_items_in_files(model, tmp_path, suffix):
    published = publish(model, tmp_path / f"s{suffix}", what="similar_items", n=5, batch_size=30)
    assert (published.n_users, published.n_items, published.what) == (0, 80, "similar_items")
    found = lists_of(tmp_path / f"s{suffix}")
    assert {item: items for item, (items, _, _) in found.items()} == similar(model, 5)


@pytest.mark.parametrize("items", [None, np.arange(80) * 3 - 2], ids=["text", "integers"])
def test_similar_items_in_redis(url, items):
    model = fit(items=items)
    users = publish(model, url, n=5).version
    published = publish(model, url, what="similar_items", n=5, batch_size=30)
    wanted, reader = similar(model, 5), RedisRecommendations(url)
    found = dict(zip(wanted, reader.similar_many(wanted), strict=True))
    assert {item: served.items for item, served in found.items()} == wanted
    np.testing.assert_allclose(found[model.items_[3]].scores, model.similar_items(model.items_[3], 5).scores, rtol=1e-3)
    assert reader.similar(model.items_[3], 2).items == wanted[model.items_[3]][:2]
    stranger = reader.similar("nothing")
    assert (stranger.items, stranger.popular) == ([], False)
    assert reader.version == users != published.version
    assert publish(fit(seed=8), url, n=5).version == RedisRecommendations(url).version
    assert reader.similar(model.items_[3]).items == wanted[model.items_[3]]
    kept = [published.version]
    for seed in (2, 3):
        kept.append(publish(fit(seed=seed, items=items), url, what="similar_items", n=5).version)
    client = connection(url)
    assert {key.split(b":")[2].decode() for key in client.keys("fastals:similar:*:*")} - {"meta", "items"} == set(
        kept[1:]
    )


def test_similar_items_of_a_catalogue(model, tmp_path):
    publish(model, tmp_path / "s.csv", what="similar_items", n=5, catalogue=CATALOGUE, blocklist=BLOCKED)
    found = {item: items for item, (items, _, _) in lists_of(tmp_path / "s.csv").items()}
    assert found == similar(model, 5, candidates=ALLOWED)


@pytest.mark.parametrize("model", [fastals.ItemKNN(neighbors=7), fastals.EASE()], ids=str)
def test_similar_items_of_neighbourhood_models(model, tmp_path):
    plays = sparse.random_array((60, 30), density=0.2, rng=0)
    model.fit(plays)
    all_of = model.similar_items(np.arange(30), 30).items
    publish(model, tmp_path / "s.parquet", what="similar_items", n=4)
    found = {item: items for item, (items, _, _) in lists_of(tmp_path / "s.parquet").items()}
    assert found == {item: [j for j in all_of[item, :4].tolist() if j >= 0] for item in range(30)}
    some = list(range(0, 30, 2))
    publish(model, tmp_path / "s.parquet", what="similar_items", n=4, catalogue=some, blocklist=[4])
    found = {item: items for item, (items, _, _) in lists_of(tmp_path / "s.parquet").items()}
    left = {item: [j for j in all_of[item].tolist() if j in some and j != 4][:4] for item in range(30)}
    assert found == {item: items for item, items in left.items() if items}
    np.testing.assert_array_equal(
        model.similar_items(0, 3, candidates=some, exclude=[4]).items[: len(left[0][:3])], left[0][:3]
    )
    with pytest.raises(fastals.ParameterError, match="knows neighbours of users only"):
        publish(fastals.UserKNN(neighbors=5).fit(plays), tmp_path / "no.csv", what="similar_items")
    assert not (tmp_path / "no.csv").exists()


MEANINGLESS = [
    ("recommendations", {"metric": "l2"}),
    ("similar_items", {"exclude_seen": False}),
    ("similar_items", {"popular": True}),
    ("item_vectors", {"n": 5}),
    ("item_vectors", {"titles": {}}),
    ("item_vectors", {"ttl": 5}),
]


@pytest.mark.parametrize(("what", "options"), MEANINGLESS)
def test_options_without_a_meaning_are_refused(model, tmp_path, what, options):
    with pytest.raises(fastals.ParameterError, match=f"{next(iter(options))} has no meaning for {what}"):
        publish(model, tmp_path / "r.parquet", what=what, **options)
    with pytest.raises(fastals.ParameterError, match="what must be"):
        publish(model, tmp_path / "r.parquet", what="users")


def test_users_of_whom_nothing_is_known_have_no_list(url, tmp_path):
    ids = fastals.Ids(["ann", "bob", "gone"])
    data = fastals.Interactions.from_arrays(["ann", "ann", "bob"], ["pizza", "kale", "pizza"])
    model = fastals.ImplicitALS(factors=2, random_state=0).fit(fastals.with_ids(data, users=ids))
    for suffix in SUFFIXES:
        publish(model, tmp_path / f"r{suffix}", n=2)
        assert set(lists_of(tmp_path / f"r{suffix}")) <= {"ann", "bob"}
    publish(model, url, n=2)
    reader = RedisRecommendations(url)
    assert reader.get("gone").popular
    assert reader.get("ann").items == []  # who has all of it gets nothing, and nothing popular
    assert not reader.get("ann").popular


def test_known_pairs_are_left_out_of_popular_lists_too(url, tmp_path):
    """Whoever has disliked all that was met has no cell, and is not shown it again."""
    rng = np.random.default_rng(0)
    u, i = rng.integers(0, 30, 300), (20 * rng.random(300) ** 2).astype(int)
    known_users = ["u3", "out", "out", "gone", "else"]
    known = (np.array(known_users, object), np.array(["i0", "i1", "i0", "i0", "never"], object))
    data = fastals.Interactions.from_arrays([f"u{j}" for j in u], [f"i{j}" for j in i], known=known)
    ids = fastals.Ids(data.users).extend(["gone"])
    model = fastals.ImplicitALS(factors=3, random_state=0).fit(fastals.with_ids(data, users=ids))
    wanted = {user: items for user, items in expected(model, 5).items() if user.startswith("u")}
    for user in ("out", "gone"):
        wanted[user] = model.recommend(user, 5, unknown="popular").items.tolist()
        assert "i0" not in wanted[user]
    publish(model, url, n=5, batch_size=7)
    reader = RedisRecommendations(url)
    assert read_all(reader, list(wanted)) == wanted
    counts = np.bincount(model.state_.pairs.indices) / len(model.users_)
    np.testing.assert_allclose(reader.get("out").scores, np.sort(counts)[::-1][2:7], rtol=2e-3)
    assert reader.get("else").popular
    assert reader.get("nobody").popular
    publish(model, tmp_path / "r.parquet", n=5, batch_size=7)
    assert {user: items for user, (items, _, _) in lists_of(tmp_path / "r.parquet").items()} == wanted
    publish(model, tmp_path / "r.csv", n=5, exclude_seen=False)
    assert not {"out", "gone"} & set(lists_of(tmp_path / "r.csv"))
