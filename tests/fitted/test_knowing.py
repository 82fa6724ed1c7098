"""Models of interactions that know more than their cells: the same numbers, and lists without what is known."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastals
from fastals import EASE, ExplicitALS, ImplicitALS, Interactions, ItemKNN, ParameterError, UserKNN
from fastals._data import known_of
from fastals.evaluation import auc, evaluate, most_popular, popularity_baseline
from fastals.serving import publish

N_USERS, N_ITEMS = 40, 30
BASE: dict[str, Any] = {"factors": 4, "iterations": 4, "random_state": 0}
MODELS: dict[str, Callable[[], Any]] = {
    "events": lambda: ImplicitALS(**BASE),
    "ratings": lambda: ExplicitALS(**BASE),
    "items like those": lambda: ItemKNN(neighbors=8),
    "all for all": EASE,
    "users like this, by ratings": lambda: UserKNN(neighbors=8, feedback="explicit"),
}
Pairs = set[tuple[str, str]]


@pytest.fixture(autouse=True)
def _few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toy data want no threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def drawn(seed: int, n: int, users: int = N_USERS, items: int = N_ITEMS) -> tuple[list[str], list[str]]:
    """Pairs, each once."""
    cells = np.random.default_rng(seed).choice(users * items, n, replace=False)
    rows, columns = np.divmod(cells, items)
    return [f"u{row:02}" for row in rows], [f"i{column:02}" for column in columns]


EVENTS, KNOWN = (*drawn(0, 400), np.random.default_rng(5).integers(1, 6, 400)), drawn(1, 300)
CELLS: Pairs = set(zip(*EVENTS[:2], strict=True))
MET: Pairs = CELLS | set(zip(*KNOWN, strict=True))


def data(**options: Any) -> Interactions:
    return Interactions.from_arrays(*EVENTS, known=KNOWN, **options)


def assert_lists_know(model: Any, met: Pairs = MET) -> None:
    """Every list holds exactly what is left, whichever way it is asked for."""
    users, items = model.users_.tolist(), model.items_.tolist()
    every = model.recommend(users, n=len(items), exclude_seen=False).items
    left = {u: {i for i in found if i is not None and (u, i) not in met} for u, found in zip(users, every, strict=True)}
    whole = model.recommend(users, n=len(items))
    for user, found in zip(users, whole.items, strict=True):
        assert {item for item in found if item is not None} == left[user]
        assert {item for item in model.recommend(user, n=len(items)).items if item is not None} == left[user]
    pieces = list(model.recommend_all(n=len(items), batch_size=7))
    np.testing.assert_array_equal(np.concatenate([piece[1] for piece in pieces]), whole.items)
    np.testing.assert_array_equal(np.concatenate([piece[2] for piece in pieces]), whole.scores)
    candidates = [items[j % 9 :: 2] for j in range(len(users))]
    banned = [items[:: 2 + j % 3] for j in range(len(users))]
    for asked, out in ((candidates, None), (None, banned), (candidates, banned)):
        some = model.recommend(users, n=len(items), items=asked, exclude=out)
        for j, (user, found) in enumerate(zip(users, some.items, strict=True)):
            expected = left[user] & set(items if asked is None else asked[j]) - set([] if out is None else out[j])
            assert {item for item in found if item is not None} == expected
    everybody = model.recommend_users(items, n=len(users)).users
    found = model.recommend_users(items, n=len(users), exclude_seen=True).users
    for item, some, most in zip(items, found, everybody, strict=True):
        assert {u for u in some if u is not None} == {u for u in most if u is not None and (u, item) not in met}


@pytest.mark.parametrize("name", MODELS)
def test_training_sees_the_cells_alone_and_lists_leave_out_the_rest(name: str, tmp_path: Path) -> None:
    model, plain = MODELS[name]().fit(data()), MODELS[name]().fit(EVENTS)
    n_arrays = len(plain.state_.numbers())
    for one, other in zip(model.state_.numbers()[:n_arrays], plain.state_.numbers(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(model.state_.numbers()) > n_arrays
    pairs = np.repeat(model.users_, N_ITEMS), np.tile(model.items_, N_USERS)
    np.testing.assert_array_equal(model.predict(*pairs), plain.predict(*pairs))
    model.save(tmp_path / "model")
    again = [fastals.load(tmp_path / "model", mmap=mmap) for mmap in (True, False)]
    for each in (model, *again, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert_lists_know(each)
    assert_lists_know(plain, CELLS)


@pytest.mark.parametrize("kind", [ImplicitALS, ExplicitALS])
def test_on_disk_too(kind: type[Any], tmp_path: Path) -> None:
    model = kind(**BASE).fit(data(on_disk=tmp_path / "there"))
    model.save(tmp_path / "model")
    here = kind(**BASE).fit(data())
    for each in (model, fastals.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert_lists_know(each)
        np.testing.assert_array_equal(each.user_factors_, here.user_factors_)


def test_files_without_known_pairs_are_as_they_were(tmp_path: Path) -> None:
    """Earlier releases open them; those with some they refuse, by their version."""
    for name, make in MODELS.items():
        make().fit(EVENTS).save(tmp_path / name)
        assert b'"version":"1"' in (tmp_path / name).read_bytes()
        assert b"known_" not in (tmp_path / name).read_bytes()
        make().fit(data()).save(tmp_path / name)
        assert b'"version":"2"' in (tmp_path / name).read_bytes()
    model = ImplicitALS(**BASE).fit(data())
    model.save(tmp_path / "slim", history=False)
    assert_lists_know(fastals.load(tmp_path / "slim"))


def test_a_known_pair_takes_four_bytes() -> None:
    pairs = ImplicitALS(**BASE).fit(data()).state_.pairs
    assert pairs.known is not None
    assert len(pickle.dumps(pairs.known.lines("users"))) < 4 * pairs.known.nnz + 8 * (N_USERS + 1) + 1500
    need = [ImplicitALS(**BASE).estimate_memory(1000, 500, 20_000, known=known).cells for known in (0, 10_000)]
    assert need[1] - need[0] == 4 * 10_000 + 8 * 1000
    with pytest.raises(ParameterError, match="known must be"):
        ImplicitALS().estimate_memory(10, 10, 10, known=-1)


# ---------------------------------------------------------------------------------------------------------------------
# later events


@pytest.mark.parametrize("through_file", [False, True])
@pytest.mark.parametrize("kind", [ImplicitALS, ExplicitALS])
def test_later_events_make_cells_of_known_pairs(kind: type[Any], through_file: bool, tmp_path: Path) -> None:
    merely = sorted(MET - CELLS)[:3]
    model = kind(**BASE).fit(data())
    if through_file:
        model.save(tmp_path / "model")
        model = fastals.load(tmp_path / "model")
    plain = kind(**BASE).fit(EVENTS)
    later = ([user for user, _ in merely] + ["new"], [item for _, item in merely] + ["i00"], [4, 5, 3, 2])
    model.partial_fit(later)
    plain.partial_fit(later)
    np.testing.assert_array_equal(model.user_factors_, plain.user_factors_)
    np.testing.assert_array_equal(model.item_factors_, plain.item_factors_)
    known = model.state_.pairs.known
    assert known.nnz == len(MET - CELLS) - 3
    assert not {(*pair,) for pair in merely} & set(zip(*_labels(known), strict=True))
    assert_lists_know(model, MET | {("new", "i00")})
    # what is newly known of the model's users and items, though they have no event among the new ones
    fresh = sorted({(u, i) for u in model.users_ for i in model.items_} - MET - {("new", "i00")})[:5]
    more = Interactions.from_arrays(["new"], ["i01"], known=tuple(zip(*fresh, strict=True)))
    model.partial_fit(more)
    assert_lists_know(model, MET | {("new", "i00"), ("new", "i01")} | set(fresh))


def _labels(data: Any) -> tuple[list[Any], list[Any]]:
    users, items = data.matrix.nonzero()
    return data.users[users].tolist(), data.items[items].tolist()


@pytest.mark.parametrize("through_file", [False, True])
def test_what_is_known_of_others_waits_for_them(through_file: bool, tmp_path: Path) -> None:
    """A user without a cell, an item without one, both: known as soon as the model meets them."""
    known = ["zoe", "zoe", "zoe", "u01"], ["i03", "i07", "later", "later"]
    model = ImplicitALS(**BASE).fit(Interactions.from_arrays(*EVENTS, known=known))
    if through_file:
        model.save(tmp_path / "model")
        model = fastals.load(tmp_path / "model")
    assert "zoe" not in model.users_
    popular = model.recommend(["zoe", "amy", "u01"], n=N_ITEMS + 1, unknown="popular").items
    assert set(popular[1]) - set(popular[0]) == {"i03", "i07"}
    assert {"i03", "i07"} <= set(model.recommend("zoe", n=N_ITEMS, unknown="popular", exclude_seen=False).items)
    model.partial_fit((["zoe", "u02", "u03"], ["i00", "later", "later"]))
    cells = CELLS | {("zoe", "i00"), ("u02", "later"), ("u03", "later")}
    assert_lists_know(model, cells | set(zip(*known, strict=True)))
    assert known_of(model.state_.pairs).elsewhere is None


def test_what_is_popular_is_without_known_pairs_too() -> None:
    """A user whose cells are all elsewhere: here one of a matrix, whose rows need none."""
    from scipy import sparse

    plays = sparse.csr_array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 1]])
    model = ImplicitALS(**BASE).fit(Interactions.from_matrix(plays, known=([2, 1], [0, 1])))
    assert model.recommend([2, 9, 1], n=3, unknown="popular").items[:2].tolist() == [[1, 2, -1], [0, 1, 2]]
    assert model.recommend([2], n=3, unknown="empty").items.tolist() == [[-1, -1, -1]]
    assert model.recommend([1], n=3, unknown="popular").items.tolist() == [[2, -1, -1]]


def test_histories_know_too() -> None:
    model = ImplicitALS(**BASE).fit(data())
    history = Interactions.from_arrays(["zoe", "zoe"], ["i00", "i01"], known=(["zoe", "zoe"], ["i02", "unheard"]))
    found = model.recommend(histories=history, n=N_ITEMS).items[0]
    assert set(found) - {None} == set(model.items_) - {"i00", "i01", "i02"}
    np.testing.assert_array_equal(model.fold_in(history), model.fold_in((["zoe", "zoe"], ["i00", "i01"])))


# ---------------------------------------------------------------------------------------------------------------------
# measured and published


def held_out() -> tuple[list[str], list[str]]:
    return drawn(7, 300)


@pytest.mark.parametrize("name", MODELS)
def test_nobody_is_judged_by_what_no_list_can_hold(name: str) -> None:
    """As if the known pairs had not been held out; whether they are given anew or the model alone knows of them."""
    model, test = MODELS[name]().fit(data()), held_out()
    new = [(user, item) for user, item in zip(*test, strict=True) if (user, item) not in MET]
    without = tuple(zip(*new, strict=True))
    for measure in (evaluate, popularity_baseline):
        expected = measure(model, data(), without, 5)
        for train in (data(), EVENTS, None):
            found = measure(model, train, test, 5)
            for metric in ("recall@5", "ndcg@5", "n_users", "coverage@5"):
                assert found[metric] == pytest.approx(expected[metric]), metric
    lists = most_popular(data(), n=N_ITEMS)
    for user, items in zip(data().users.tolist(), lists, strict=True):  # type: ignore[union-attr]
        assert {item for item in items if item is not None} == {i for i in data().items if (user, i) not in MET}  # type: ignore[union-attr]


def test_nobody_is_judged_by_what_they_knew_of_items_that_the_model_does_not_know() -> None:
    users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
    known = ["ann", "bob", "zoe"], ["ska", "pop", "ska"]
    model = ImplicitALS(factors=2, random_state=0).fit(Interactions.from_arrays(users, items, known=known))
    test = ["ann", "ann", "bob", "bob"], ["folk", "pop", "rock", "ska"]
    expected = evaluate(model, None, test, k=1)
    more = [*test[0], "ann", "zoe", "bob"], [*test[1], "ska", "ska", "pop"]
    for train in (None, (users, items), Interactions.from_arrays(users, items, known=known)):
        assert evaluate(model, train, more, k=1) == expected
    plain = ImplicitALS(factors=2, random_state=0).fit((users, items))
    assert evaluate(plain, Interactions.from_arrays(users, items, known=known), more, k=1) == expected
    assert evaluate(plain, None, more, k=1)["recall@1"] < expected["recall@1"]


def test_auc_takes_known_pairs_as_met() -> None:
    model = ImplicitALS(**BASE).fit(data())
    test = [pair for pair in zip(*held_out(), strict=True) if pair not in MET]
    areas = []
    for user in sorted({user for user, _ in test}):
        scores = {item: float(model.predict(user, item)) for item in model.items_}
        own = {item for other, item in test if other == user}
        others = [scores[item] for item in model.items_ if item not in own and (user, item) not in MET]
        below = [(np.sum(np.less(others, scores[i])) + np.sum(np.equal(others, scores[i])) / 2) for i in own]
        if others:
            areas.append(np.mean(below) / len(others))
    assert auc(model, data(), tuple(zip(*test, strict=True))) == pytest.approx(np.mean(areas), abs=1e-6)


def test_validation_passes_over_known_pairs() -> None:
    test = held_out()
    new = [pair for pair in zip(*test, strict=True) if pair not in MET]
    fits = [
        ImplicitALS(**BASE).fit(data(), validation=held, validation_metric="recall@5")
        for held in (test, tuple(zip(*new, strict=True)))
    ]
    assert fits[0].metrics_history_ == fits[1].metrics_history_
    assert evaluate(fits[0], None, test, 5)["recall@5"] == max(each["recall@5"] for each in fits[0].metrics_history_)


def test_tuning_does() -> None:
    found = fastals.tune(ImplicitALS(**BASE), data(), {"regularization": [0.1, 1.0]}, random_state=0)
    assert_lists_know(found.best_model)


def test_a_checkpoint_belongs_to_what_is_known(tmp_path: Path) -> None:
    ImplicitALS(**BASE).fit(data(), checkpoint=tmp_path / "checkpoint")
    ImplicitALS(**BASE).fit(data(), checkpoint=tmp_path / "checkpoint")
    with pytest.raises(ParameterError, match="belongs to another fit, with other data"):
        ImplicitALS(**BASE).fit(EVENTS, checkpoint=tmp_path / "checkpoint")


def test_a_diagnosis_knows_them() -> None:
    model, plain = ImplicitALS(**BASE).fit(data()), ImplicitALS(**BASE).fit(EVENTS)
    assert "NDCG@10" in model.diagnose()
    assert model.diagnose() != plain.diagnose()


def test_published_lists_leave_them_out(tmp_path: Path) -> None:
    from pyarrow import parquet

    model, plain = ImplicitALS(**BASE).fit(data()), ImplicitALS(**BASE).fit(EVENTS)
    for name, each, met in (("known", model, MET), ("plain", plain, CELLS)):
        publish(each, tmp_path / f"{name}.parquet", n=N_ITEMS)
        rows = parquet.read_table(tmp_path / f"{name}.parquet").to_pylist()
        pairs = {(row["user"], item) for row in rows for item in row["items"]}
        assert not pairs & met
        assert pairs == {(u, i) for u in each.users_ for i in each.items_} - met


def test_lists_of_other_known_pairs_have_another_fingerprint() -> None:
    from fastals.serving._lists import Lists

    some = data(), EVENTS, Interactions.from_arrays(*EVENTS, known=([], []))
    models = [ImplicitALS(**BASE).fit(each) for each in some]
    prints = [Lists(model, 10, True, 100).fingerprint() for model in models]
    assert prints[0] != prints[1] == prints[2]


def test_a_diagnosis_of_some_users_knows_what_is_known_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other fit is one of a share of the users: its lists leave out what is known of these."""
    from fastals._inspect import comparison

    monkeypatch.setattr(comparison, "MAX_CELLS", 300)
    met: list[bool] = []
    own = comparison.evaluate

    def looked_at(model: Any, *arguments: Any) -> Any:
        known = model.state_.pairs.known
        lists = model.recommend(np.arange(known.n_users), n=known.n_items).items
        rows, columns = known.matrix.nonzero()
        met.append(any(column in lists[row] for row, column in zip(rows, columns, strict=True)))
        assert 0 < known.nnz < len(MET - CELLS)
        return own(model, *arguments)

    monkeypatch.setattr(comparison, "evaluate", looked_at)
    assert "of 40 users" in comparison.check(ImplicitALS(**BASE).fit(data())).text
    assert met == [False]
