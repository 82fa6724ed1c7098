"""Users and items that are forgotten: nothing of them is left, and nothing else is another."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import fastals
from fastals import EASE, ExplicitALS, ImplicitALS, Interactions, ItemKNN, UserKNN
from fastals.scoring import score

N_USERS, N_ITEMS = 30, 20

MODELS: dict[str, Any] = {
    "implicit": lambda: ImplicitALS(factors=4, random_state=0),
    "explicit": lambda: ExplicitALS(factors=4, random_state=0),
    "means": lambda: ExplicitALS.from_preset("lenskit", factors=4, random_state=0),
    "spark": lambda: ImplicitALS.from_preset("spark", factors=4, random_state=0),
    "item neighbours": lambda: ItemKNN(neighbors=5),
    "all for all": EASE,
    "rated items": lambda: ItemKNN(neighbors=5, feedback="explicit"),
}

KINDS: dict[str, Any] = {
    "strings": lambda n, side: [f"{side}-{i:03d}" for i in range(n)],
    "integers": lambda n, side: [7 * i - 20 for i in range(n)],
    "bytes": lambda n, side: [f"{side}{i:03d}".encode() for i in range(n)],
    "uuids": lambda n, side: [uuid.UUID(int=i + 1) for i in range(n)],
}


def dense(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    matrix = (rng.random((N_USERS, N_ITEMS)) < 0.3) * rng.integers(1, 6, (N_USERS, N_ITEMS))
    matrix[np.arange(N_USERS), rng.integers(0, N_ITEMS, N_USERS)] = 2  # nobody is without cells
    matrix[0] = 1  # and no item
    return matrix.astype(np.float64)


def interactions(kind: str | None, matrix: Any, **options: Any) -> Interactions:
    labels = {} if kind is None else {side: KINDS[kind](n, side) for side, n in (("users", 30), ("items", 20))}
    return Interactions.from_matrix(sparse.csr_array(matrix), **labels, **options)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", [*KINDS, None])
def test_all_others_stay_what_they_are(name: str, kind: str | None, tmp_path: Path) -> None:
    matrix = dense()
    model = MODELS[name]().fit(interactions(kind, matrix))
    before = model.recommend_all(n=N_ITEMS, exclude_seen=False)
    users, items, scores = next(iter(before))
    similar = model.similar_items(items[0][:1], n=3) if kind else None
    gone, left = [3, 4, 17, 29], np.setdiff1d(np.arange(N_USERS), [3, 4, 17, 29])
    told = model.forget(users=users[gone])
    assert told == (4, 0, np.count_nonzero(matrix[gone]), 0)
    expected = matrix[left] if kind else np.where(np.isin(np.arange(N_USERS), gone)[:, None], 0, matrix)
    np.testing.assert_array_equal(model.state_.pairs.matrix.toarray(), expected)
    model.save(tmp_path / "model")
    for each in (model, fastals.load(tmp_path / "model"), fastals.load(tmp_path / "model", mmap=False)):
        assert len(each.state_.users) == (len(left) if kind else N_USERS)
        found = next(iter(each.recommend_all(n=N_ITEMS, exclude_seen=False)))
        if kind:
            assert found[0].tolist() == users[left].tolist()
            np.testing.assert_array_equal(found[1], items[left])
            np.testing.assert_array_equal(found[2], scores[left])
            for user in users[gone]:
                with pytest.raises(fastals.UnknownLabelError):
                    each.recommend(user)
            assert similar is not None
            np.testing.assert_array_equal(each.similar_items(items[0][:1], n=3).scores, similar.scores)
        else:
            np.testing.assert_array_equal(found[1][left], items[left])
            np.testing.assert_array_equal(found[2][left], scores[left])
        seen = each.recommend(users[left[0]], n=N_ITEMS).items
        had = np.flatnonzero(matrix[left[0]])
        names = set(range(N_ITEMS)) if each.items_ is None else set(each.items_)
        assert set(seen) - {None, -1} <= names - {each.state_.items.decode(had)[i] for i in range(len(had))}
        counts = (expected != 0).sum(axis=0)
        np.testing.assert_array_equal(each.state_.cells_of_items(), counts)


@pytest.mark.parametrize("name", ["implicit", "explicit", "means", "spark"])
@pytest.mark.parametrize("kind", ["strings", None])
def test_items_are_forgotten_likewise(name: str, kind: str | None, tmp_path: Path) -> None:
    matrix = dense()
    model = MODELS[name]().fit(interactions(kind, matrix))
    users, items = model.state_.users.decode(np.arange(N_USERS)), model.state_.items.decode(np.arange(N_ITEMS))
    gone, left = [0, 7, 8], np.setdiff1d(np.arange(N_ITEMS), [0, 7, 8])
    factors, scores = model.item_factors_, model.predict(*pairs(users, items[left]))
    assert model.forget(items=[*items[gone], items[7]]) == (0, 3, np.count_nonzero(matrix[:, gone]), 0)
    model.save(tmp_path / "model")
    for each in (model, fastals.load(tmp_path / "model")):
        np.testing.assert_array_equal(each.predict(*pairs(users, items[left])), scores)
        if kind:
            np.testing.assert_array_equal(each.item_factors_, factors[left])
            assert each.items_.tolist() == items[left].tolist()
            assert not set(each.recommend(users, n=5).items.ravel().tolist()) & set(items[gone].tolist())
        else:
            assert not each.item_factors_[gone].any()
            assert len(each.item_factors_) == N_ITEMS
            np.testing.assert_array_equal(each.item_factors_[left], factors[left])
        # what the history says to those who come later
        folded = each.fold_in(each.state_.pairs)
        assert len(folded) == N_USERS


def pairs(users: Any, items: Any) -> tuple[Any, Any]:
    return np.repeat(users, len(items)), np.tile(items, len(users))


def test_users_who_were_neighbours_leave_all_neighbourhoods() -> None:
    matrix = dense()
    model = UserKNN(neighbors=6, weighting=None).fit(interactions("strings", matrix))
    similarity = model.similarity_.toarray()
    left = np.setdiff1d(np.arange(N_USERS), [2, 9])
    model.forget(users=["users-002", "users-009"])
    S = similarity[np.ix_(left, left)]
    np.testing.assert_array_equal(model.similarity_.toarray(), S)
    expected = S.astype(np.float64) @ matrix[left]
    found = model.predict(*pairs(model.users_, model.items_)).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    plain = UserKNN(neighbors=6, weighting=None).fit(interactions(None, matrix))
    plain.forget(users=[2, 9])
    S = similarity.copy()
    S[[2, 9]], S[:, [2, 9]] = 0, 0
    np.testing.assert_array_equal(plain.similarity_.toarray(), S)


def test_items_leave_the_similarities() -> None:
    model = ItemKNN(neighbors=6).fit(interactions("strings", dense()))
    similarity, left = model.similarity_.toarray(), np.setdiff1d(np.arange(N_ITEMS), [2, 9])
    model.forget(items=["items-009", "items-002"])
    np.testing.assert_array_equal(model.similarity_.toarray(), similarity[np.ix_(left, left)])


def test_means_of_neighbours_are_those_of_the_fit(tmp_path: Path) -> None:
    """A file has them only where its cells no longer say them."""
    model = ItemKNN(feedback="explicit").fit(interactions("strings", dense()))
    means = model.state_.means.copy()
    model.save(tmp_path / "before")
    assert b'"means"' not in (tmp_path / "before").read_bytes()
    model.forget(users="users-003")
    model.save(tmp_path / "after")
    np.testing.assert_array_equal(fastals.load(tmp_path / "after").state_.means, means)


def test_weights_leave_with_their_cells() -> None:
    matrix = sparse.csr_array(dense())
    weights = np.random.default_rng(0).random(matrix.nnz)
    model = ImplicitALS(factors=2, dtype="float64", random_state=0).fit(matrix, sample_weight=weights)
    model.forget(users=[1, 5], items=[4])
    expected = sparse.csr_array((weights, matrix.indices, matrix.indptr), shape=matrix.shape).toarray()
    expected[[1, 5]], expected[:, 4] = 0, 0
    assert model.state_.weights is not None
    np.testing.assert_array_equal(model.state_.weights.matrix.toarray(), expected)


def test_repeated_cells_all_leave() -> None:
    data = Interactions.from_arrays(list("aabba"), list("xxyxx"), [1, 2, 3, 4, 5], duplicates="keep")
    model = ImplicitALS(factors=2, random_state=0).fit(data)
    assert model.forget(users="a").cells == 3
    assert model.state_.pairs.values.tolist() == [4, 3]


def test_events_come_to_what_is_left(tmp_path: Path) -> None:
    """The history is that of the others: one who comes back is somebody new."""
    matrix = dense()
    model = ImplicitALS(factors=3, random_state=0).fit(interactions("strings", matrix))
    model.forget(users=["users-000", "users-010"])
    model.partial_fit((["users-000", "users-001"], ["items-001", "items-new"], [3, 2]))
    assert model.users_[-1] == "users-000"
    assert model.state_.pairs.matrix.toarray()[-1].tolist() == [0, 3, *[0] * 19]
    left = np.setdiff1d(np.arange(N_USERS), [0, 10])
    np.testing.assert_array_equal(model.state_.pairs.matrix.toarray()[:-1, :-1], matrix[left])
    unknown = model.recommend("users-010", n=1, unknown="popular").items[0]
    assert unknown == model.items_[model.state_.cells_of_items().argmax()]


# ---------------------------------------------------------------------------------------------------------------------
# files


@pytest.mark.parametrize("history", [True, False])
def test_no_byte_of_them_is_in_the_file(history: bool, tmp_path: Path) -> None:
    model = ImplicitALS(factors=4, random_state=0).fit(interactions("strings", dense()))
    path = tmp_path / "model"
    model.save(path, history=history)
    loaded = fastals.load(path)
    row, known = loaded.user_factors_[11].tobytes(), loaded.user_factors_[12].tobytes()
    assert b"users-011" in path.read_bytes()
    assert row in path.read_bytes()
    loaded.forget(users="users-011", items="items-005")
    loaded.save(path, history=history)  # in the place of the file that the factors were mapped from
    text = path.read_bytes()
    assert b"users-010users-012" in text
    assert b"users-011" not in text
    assert b"items-005" not in text
    assert row not in text
    assert known in text
    assert [each.name for each in tmp_path.iterdir()] == ["model"]
    again = fastals.load(path)
    assert again.state_.has_history is history
    np.testing.assert_array_equal(again.recommend("users-012").scores, loaded.recommend("users-012").scores)


@pytest.mark.parametrize("duplicates", ["sum", "keep"])
@pytest.mark.parametrize("kind", ["strings", None])
def test_on_disk_as_in_memory(kind: str | None, duplicates: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("fastals._fitted.forget.RUN_CELLS", 16)
    matrix = dense()
    stored = interactions(kind, matrix, duplicates=duplicates, on_disk=tmp_path / "old")
    stored.in_memory()
    on_disk = ImplicitALS(factors=4, random_state=0).fit(stored)
    in_memory = ImplicitALS(factors=4, random_state=0).fit(interactions(kind, matrix))
    users, items = stored.user_labels.decode(np.array([0, 5, 29])), stored.item_labels.decode(np.array([3]))
    with pytest.raises(fastals.ParameterError, match="on_disk= must name a new directory"):
        on_disk.forget(users=users)
    with pytest.raises(fastals.ParameterError, match="in memory"):
        in_memory.forget(users=users, on_disk=tmp_path / "new")
    assert in_memory.forget(users=users, items=items) == on_disk.forget(users, items, on_disk=tmp_path / "new")
    pairs = on_disk.state_.pairs
    assert pairs.on_disk == str(tmp_path / "new")
    for axis in ("users", "items"):
        for mine, others in zip(
            pairs.lines(axis).read(0, pairs.shape[axis == "items"]),
            in_memory.state_.pairs.lines(axis).read(0, pairs.shape[axis == "items"]),
            strict=True,
        ):
            np.testing.assert_array_equal(mine, others)
    on_disk.save(tmp_path / "model")
    again = fastals.load(tmp_path / "model")
    for user in stored.user_labels.decode(np.array([1, 28])):
        np.testing.assert_array_equal(again.recommend(user).items, in_memory.recommend(user).items)
    assert Interactions.open(tmp_path / "old").nnz == np.count_nonzero(matrix)
    if kind:
        for file in (tmp_path / "new").iterdir():
            assert b"users-005" not in file.read_bytes()


@pytest.mark.parametrize("kind", ["strings", None])
@pytest.mark.parametrize(("model", "on_disk"), [("implicit", False), ("implicit", True), ("item neighbours", False)])
def test_known_pairs_leave_too(model: str, on_disk: bool, kind: str | None, tmp_path: Path, monkeypatch: Any) -> None:
    make = MODELS[model]
    monkeypatch.setattr("fastals._fitted.forget.RUN_CELLS", 16)
    matrix, known = dense(), np.random.default_rng(1).random((N_USERS, N_ITEMS)) < 0.2
    known &= matrix == 0
    where = {"on_disk": tmp_path / "old"} if on_disk else {}
    plain = interactions(kind, matrix)
    rows, columns = np.nonzero(known)
    pairs = sparse.csr_array(known * 1.0) if kind is None else (plain.users[rows], plain.items[columns])  # type: ignore[index]
    model = make().fit(interactions(kind, matrix, known=pairs, **where))
    users, items = plain.user_labels.decode(np.array([0, 5, 29])), plain.item_labels.decode(np.array([3]))
    told = model.forget(users, items, on_disk=tmp_path / "new" if on_disk else None)
    assert told.cells == np.count_nonzero(matrix[[0, 5, 29]]) + np.count_nonzero(np.delete(matrix, [0, 5, 29], 0)[:, 3])
    expected = known.copy()
    expected[[0, 5, 29]], expected[:, 3] = False, False
    if kind:
        expected = np.delete(np.delete(expected, [0, 5, 29], 0), 3, 1)
    model.save(tmp_path / "model")
    for each in (model, fastals.load(tmp_path / "model")):
        found = each.state_.pairs.known
        np.testing.assert_array_equal(found.in_memory().matrix.toarray() > 0, expected)
        np.testing.assert_array_equal(found.lines("items").read(0, expected.shape[1])[0], np.nonzero(expected.T)[1])


def test_who_is_known_by_pairs_alone_is_forgotten(tmp_path: Path) -> None:
    """Users and items that have no cells: the model has no rows of them, but knows what they met."""
    spec = {"signals": {"liked": {}}, "minimum": 1}
    users, items = ["ann", "ann", "bob", "bob", "eve-who-liked-nothing"], ["x", "y", "y", "nobody-liked-it", "x"]
    events = {"user": users, "item": items, "liked": [1, 1, 1, 0, 0]}
    model = ImplicitALS(factors=2, random_state=0).fit(score(events, spec).interactions())
    model.save(tmp_path / "model")
    text = (tmp_path / "model").read_bytes()
    assert b"eve-who-liked-nothing" in text
    assert b"nobody-liked-it" in text
    model = fastals.load(tmp_path / "model")
    with pytest.raises(fastals.UnknownLabelError, match="'zoe' at position 1"):
        model.forget(users=["eve-who-liked-nothing", "zoe"])
    assert model.forget(users=["eve-who-liked-nothing", "zoe"], items="nobody-liked-it", unknown="ignore").unknown == 1
    model.save(tmp_path / "model")
    text = (tmp_path / "model").read_bytes()
    assert b"eve-who" not in text
    assert b"nobody" not in text
    assert b"annbob" in text


# ---------------------------------------------------------------------------------------------------------------------
# what is refused


def test_who_is_not_known() -> None:
    model = ImplicitALS(factors=2, random_state=0).fit((["ann", "ann", "bob"], ["x", "y", "y"]))
    state = model.state_
    with pytest.raises(fastals.UnknownLabelError, match="'zoe' at position 1"):
        model.forget(users=["ann", "zoe"])
    with pytest.raises(fastals.UnknownLabelError, match="'z'"):
        model.forget(users="ann", items=["z"])
    assert model.state_ is state
    assert model.forget(users=["zoe", "zoe", "eve"], unknown="ignore") == (0, 0, 0, 2)
    assert model.forget(users=[]) == (0, 0, 0, 0)
    assert model.forget(users={"ann": "on request"}.keys(), items={"x"}) == (1, 1, 2, 0)


def test_all_of_them_are_refused() -> None:
    model = ImplicitALS(factors=2, random_state=0).fit((["ann", "ann", "bob"], ["x", "y", "y"]))
    for arguments, rule in (
        ({"users": ["ann", "bob", "ann"]}, "all 2"),
        ({"items": ["x", "y"]}, "all 2"),
        ({"users": ["ann"], "items": ["y"]}, "no training cell"),
        ({}, "users or items must be given"),
        ({"users": "ann", "unknown": "skip"}, "unknown must be one of"),
        ({"users": [["ann"]]}, "all of one kind"),
    ):
        with pytest.raises(fastals.FastalsError, match=rule):
            model.forget(**arguments)
    assert model.users_.tolist() == ["ann", "bob"]
    plain = ImplicitALS(factors=2, random_state=0).fit(sparse.csr_array([[1, 0], [0, 0]]))
    with pytest.raises(fastals.DataError, match="no training cell"):
        plain.forget(users=[0])
    with pytest.raises(fastals.UnknownLabelError, match="from 0 to 1"):
        plain.forget(users=[2])
    with pytest.raises(fastals.NotFittedError):
        ImplicitALS().forget(users=[0])


def test_ids_are_forgotten_too() -> None:
    ids = fastals.Ids(["c", "a", "b"])
    assert ids.forget(["a"]).labels.tolist() == ["c", "b"]
    assert ids.forget(["c", "a", "c"]).labels.tolist() == ["b"]
    assert ids.labels.tolist() == ["c", "a", "b"]
    with pytest.raises(fastals.UnknownLabelError):
        ids.forget(["z"])
    assert fastals.Ids([3, 1], unseen="skip").forget([1, 9]).labels.tolist() == [3]
    with pytest.raises(fastals.DataError, match="at least one of 3"):
        ids.forget(ids.labels)
