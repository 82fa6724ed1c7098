"""Interactions remember that they have added ratings up, whatever becomes of them; no model of ratings takes them."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from scipy import sparse

import fastals
from fastals import ExplicitALS, Interactions, ItemKNN, UserKNN, evaluation
from fastals._data import external
from fastals.cli import main

USERS, ITEMS = list("aabbccdd"), list("xxxyyzzy")
RATINGS: list[float] = [5, 4, 3, 2, 1, 4, 2, 5]
ONES: list[float] = [1] * 8
FORMATS = ["coo", "csr", "csc"]


def arrays(values: Any, path: Path, **options: Any) -> Interactions:
    return Interactions.from_arrays(USERS, ITEMS, values, **options)


def frame(values: Any, path: Path, **options: Any) -> Interactions:
    return Interactions.from_frame({"user": USERS, "item": ITEMS, "rating": values}, **options)


def csv(values: Any, path: Path, **options: Any) -> Interactions:
    pandas.DataFrame({"user": USERS, "item": ITEMS, "rating": values}).to_csv(path / "r.csv", index=False)
    return Interactions.from_csv(path / "r.csv", **options)


def directory(values: Any, path: Path, **options: Any) -> Interactions:
    (path / "parts").mkdir(exist_ok=True)
    rows = pandas.DataFrame({"user": USERS, "item": ITEMS, "rating": values})
    rows[:1].to_csv(path / "parts" / "part-0.csv", index=False)
    rows[1:].to_csv(path / "parts" / "part-1.csv", index=False)
    return Interactions.from_csv(path / "parts", **options)


def parquet(values: Any, path: Path, **options: Any) -> Interactions:
    pandas.DataFrame({"user": USERS, "item": ITEMS, "rating": values}).to_parquet(path / "r.parquet")
    return Interactions.from_parquet(path / "r.parquet", **options)


def lines(values: Any, path: Path, **options: Any) -> Interactions:
    rows = zip(USERS, ITEMS, values, strict=True)
    text = "\n".join(json.dumps(dict(zip(("user", "item", "rating"), row, strict=True))) for row in rows)
    (path / "r.jsonl").write_text(text + "\n")
    return Interactions.from_json(path / "r.jsonl", **options)


def stored(format: str) -> Callable[..., Interactions]:
    """A matrix with repeated cells as they are stored: as events, by user, or by item."""

    def make(values: Any, path: Path, **options: Any) -> Interactions:
        return Interactions.from_matrix(matrix(format, values), **options)

    return make


def matrix(format: str, values: Any) -> Any:
    rows, columns = np.searchsorted(list("abcd"), USERS), np.searchsorted(list("xyz"), ITEMS)
    if format == "coo":
        return sparse.coo_array((values, (rows, columns)), shape=(4, 3))
    lines, others, shape = (rows, columns, (4, 3)) if format == "csr" else (columns, rows, (3, 4))
    order = np.argsort(lines, kind="stable")
    indptr = np.searchsorted(lines[order], np.arange(shape[0] + 1))
    made = sparse.csr_array((np.array(values)[order], others[order], indptr), shape=shape)
    return made if format == "csr" else sparse.csc_array((made.data, made.indices, made.indptr), shape=(4, 3))


WAYS = {make.__name__: make for make in (arrays, frame, csv, directory, parquet, lines)} | {
    format: stored(format) for format in FORMATS
}
CHANGES: dict[str, Callable[[Interactions], Interactions]] = {
    "as it is": lambda data: data,
    "pickled": lambda data: pickle.loads(pickle.dumps(data)),
    "in memory": Interactions.in_memory,
    "numbered": lambda data: fastals.with_ids(data, users=fastals.Ids(["d", "c", "b", "a"])),
    "split": lambda data: evaluation.train_test_split(data.in_memory(), 0.3, random_state=0)[0],
    "without some users": lambda data: evaluation.split_users(data.in_memory(), 0.25, random_state=0)[0],
    "without some of each": lambda data: evaluation.leave_random_out(data.in_memory(), random_state=0)[0],
}


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_making_remembers(way: str, on_disk: bool, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(external, "BUCKET_CELLS", 2)

    def made(values: Any, duplicates: str) -> Interactions:
        name = tmp_path / f"{duplicates} {values[0]}"
        return WAYS[way](values, tmp_path, duplicates=duplicates, **({"on_disk": name} if on_disk else {}))

    assert made(RATINGS, "sum").summed
    assert not made(ONES, "sum").summed  # counts
    for policy in ("last", "max", "mean", "keep"):
        assert not made(RATINGS, policy).summed
    last = made([4, 5, *RATINGS[2:]], "last").in_memory()
    assert last.matrix[0, 0] == 5  # in the order of the data, of files by their names


def test_nothing_is_summed_where_nothing_is_repeated() -> None:
    assert not Interactions.from_arrays(["a", "b"], ["x", "x"], [3, 4]).summed
    assert not Interactions.from_arrays(["a", "a"], ["x", "x"]).summed
    assert Interactions.from_arrays(["a", "a"], ["x", "x"], [1, 2]).summed
    assert Interactions.from_arrays(["a", "a", "b"], ["x", "x", "x"], [1, 1, 2]).summed


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_it_is_remembered_and_refused(change: str, on_disk: bool, tmp_path: Path) -> None:
    if on_disk and change == "numbered":
        return  # which says that it wants them in memory
    options = {"on_disk": tmp_path / "data"} if on_disk else {}
    data = CHANGES[change](Interactions.from_arrays(USERS, ITEMS, RATINGS, **options))
    assert data.summed
    explicit: Any = {"factors": 2, "random_state": 0, "iterations": 2}
    for model in (
        ExplicitALS(**explicit),
        ExplicitALS.from_preset("spark", **explicit),
        ExplicitALS.from_preset("cmfrec", **explicit),
        ItemKNN(feedback="explicit"),
        UserKNN(feedback="explicit"),
    ):
        with pytest.raises(fastals.DataError, match=r"duplicates='sum', so that ratings .* have been added: 5 and 4"):
            model.fit(data)
    fastals.ImplicitALS(**explicit).fit(data)  # counts add up
    ItemKNN().fit(data.in_memory())


def test_whatever_takes_ratings_refuses_sums() -> None:
    data = Interactions.from_arrays(USERS, ITEMS, RATINGS)
    model = ExplicitALS(factors=2, random_state=0, iterations=2).fit((USERS, ITEMS, RATINGS))
    for call in (
        lambda: model.fit((USERS, ITEMS, RATINGS), validation=data),
        lambda: model.partial_fit(data),
        lambda: model.fold_in(data),
        lambda: model.recommend(histories=data),
        lambda: model.score(data),
        lambda: model.explain(None, "x", history=data),
        lambda: evaluation.evaluate(model, None, data),
        lambda: fastals.tune(model, data, {"factors": [1]}),
        lambda: fastals.tune(model, (USERS, ITEMS, RATINGS), {"factors": [1]}, validation=data),
    ):
        with pytest.raises(fastals.DataError, match="Make them with duplicates='last'"):
            call()


def test_scores_of_several_events_are_no_ratings() -> None:
    events = {"user": USERS, "item": ITEMS, "rating": RATINGS}
    data = fastals.scoring.score(events, {"signals": {"rating": {}}}).interactions()
    with pytest.raises(fastals.DataError, match="Make them with aggregate='last'"):
        ExplicitALS().fit(data)
    for aggregate in ("max", "mean"):
        spec = {"signals": {"rating": {}}, "aggregate": aggregate}
        ExplicitALS(factors=2, iterations=1).fit(fastals.scoring.score(events, spec).interactions())


@pytest.mark.parametrize("on_disk", [False, True])
def test_files_of_scores_remember_too(on_disk: bool, tmp_path: Path) -> None:
    """Each file for itself, and a directory of them where one does."""
    events = {"user": USERS, "item": ITEMS, "rating": RATINGS}
    once = {"user": ["zoe"], "item": ["x"], "rating": [4.0]}
    for name, some, memory, aggregate, summed in (
        ("sums", events, 1, "sum", True),
        ("last", events, 1 << 29, "max", False),
        ("once", once, 1 << 29, "sum", False),
        ("both", once, 1 << 29, "sum", True),
    ):
        (tmp_path / name).mkdir()
        for part, rows in enumerate([some, events] if name == "both" else [some]):
            with fastals.scoring.score(
                rows, {"signals": {"rating": {}}, "aggregate": aggregate}, memory=memory
            ) as scores:
                scores.write(tmp_path / name / f"{part}.parquet")
        there = tmp_path / f"{name} on disk" if on_disk else None
        read = Interactions.from_parquet(tmp_path / name, on_disk=there)
        assert read.summed == summed, name
        if summed:
            with pytest.raises(fastals.DataError, match="made with aggregate='sum'"):
                ExplicitALS(factors=1).fit(read)
        else:
            ExplicitALS(factors=1).fit(read)


def test_the_command_line_takes_the_last_rating(tmp_path: Path) -> None:
    csv(RATINGS, tmp_path)
    path, model = str(tmp_path / "r.csv"), str(tmp_path / "model")
    options = ["--factors", "2", "--seed", "0", "--out", model, "--quiet"]
    assert main(["train", path, "--explicit", "--rating", "rating", *options]) == 0
    assert fastals.load(model).state_.pairs.matrix[0, 0] == 4
    assert main(["evaluate", model, path, "--rating", "rating"]) == 0  # by the errors alone: all is known
    assert main(["train", path, "--implicit", "--rating", "rating", *options]) == 0
    assert fastals.load(model).state_.pairs.matrix[0, 0] == 9
    assert main(["train", path, "--explicit", "--rating", "rating", *options, "--duplicates", "sum"]) == 1
