"""What other libraries' tests demand of recommending, new users, files and refits, and what crashes them.

Statements re-expressed from implicit (tests/recommender_base_test.py, als_test.py), RecTools
(tests/models/test_implicit_als.py), LibRecommender (tests/models/test_als.py), lenskit
(tests/models/test_als_implicit.py) and buffalo (tests/algo/test_als.py); Spark's example is in test_recommend.py, the
retraining of LibRecommender and implicit's in test_partial_fit.py. The bugs are those of implicit 0.7.3, cmfrec 3.5.1,
lenskit 2025.8 and LibRecommender.
"""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse, stats

import fastals
from fastals import ExplicitALS, ImplicitALS

N = 50
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def checkerboard() -> sparse.csr_array:
    """User u likes item i if both are even or both odd, except i = u."""
    board = np.add.outer(np.arange(N), np.arange(N)) % 2 == 0
    np.fill_diagonal(board, False)
    return sparse.csr_array(board.astype(np.float32))


@pytest.fixture(params=["float32", "float64"])
def fitted(request: pytest.FixtureRequest) -> ImplicitALS:
    return ImplicitALS(factors=2, regularization=0, dtype=request.param, random_state=23).fit(checkerboard())


# ---------------------------------------------------------------------------------------------------------------------
# implicit


def test_implicit_recommend(fitted: ImplicitALS) -> None:
    for user in range(N):
        items, scores = fitted.recommend(user, n=1)
        assert items.tolist() == [user]
        assert scores.dtype == fitted.user_factors_.dtype
    assert fitted.recommend(0, n=15).items.shape == (15,)


def test_implicit_recommend_batch(fitted: ImplicitALS) -> None:
    users = np.arange(N)[::-1]
    items, scores = fitted.recommend(users, n=5)
    assert (np.diff(scores) <= 0).all()
    for row, user in enumerate(users):
        one = fitted.recommend(int(user), n=5)
        np.testing.assert_array_equal(one.items, items[row])
        np.testing.assert_array_equal(one.scores, scores[row])


def test_implicit_recalculate_user(fitted: ImplicitALS) -> None:
    items, scores = fitted.recommend(histories=checkerboard(), n=1)
    np.testing.assert_array_equal(items[:, 0], np.arange(N))
    np.testing.assert_allclose(scores, fitted.recommend(np.arange(N), n=1).scores, atol=1e-3)


def test_implicit_evaluation(fitted: ImplicitALS) -> None:
    held_out = sparse.csr_array(sparse.eye_array(N, format="csr"))
    assert fastals.evaluation.evaluate(fitted, checkerboard(), held_out, k=1)["precision@1"] == 1


@pytest.mark.parametrize("what", ["items", "users"])
def test_implicit_similar(fitted: ImplicitALS, what: str) -> None:
    def similar(ids: Any, **arguments: Any) -> Any:
        method = fitted.similar_items if what == "items" else fitted.similar_users
        return getattr(method(ids, n=10, **arguments), what)

    lists = similar(np.arange(N))
    assert ((lists - np.arange(N)[:, None]) % 2 == 0).all()
    # ours: the query itself is left out
    assert (lists != np.arange(N)[:, None]).all()
    np.testing.assert_array_equal(similar(7), lists[7])
    without = similar(np.arange(N), exclude=[2, 3, 4])
    assert not np.isin(without, [2, 3, 4]).any()
    among = similar(np.arange(N), candidates=np.arange(20))
    assert (among < 20).all()
    assert ((among - np.arange(N)[:, None])[among >= 0] % 2 == 0).sum() >= 9 * N


def test_implicit_zero_length_row() -> None:
    matrix = checkerboard().tolil()
    matrix[0], matrix[:, 7] = 0, 0
    model = ImplicitALS(factors=3, random_state=0).fit(sparse.csr_array(matrix.tocsr()))
    assert (model.predict(np.arange(N), 7) == 0).all()
    assert model.recommend(0, n=5).items.tolist() == [-1] * 5
    assert 7 not in model.recommend(np.arange(N), n=N, exclude_seen=False).items
    assert model.recommend_users(7, n=3).users.tolist() == [-1] * 3
    assert 0 not in model.recommend_users(np.arange(N), n=N).users
    assert model.similar_items(7, n=3).items.tolist() == [-1] * 3
    assert 7 not in model.similar_items(np.arange(N), n=N).items


def test_implicit_rank_items(fitted: ImplicitALS) -> None:
    """Candidates may not be out of range; of those that the user likes, ours gives none, implicit the last."""
    for wrong in (-1, N, N + 1):
        with pytest.raises(fastals.UnknownLabelError, match=str(wrong)):
            fitted.recommend(0, items=[1, wrong])
    liked = checkerboard()[[0]].indices
    items = fitted.recommend(0, n=len(liked) + 3, items=np.append(liked, [0, 1, 3])).items
    assert sorted(items[:3]) == [0, 1, 3]
    assert items[0] == 0
    assert (items[3:] == -1).all()
    ordered = fitted.recommend(0, n=N, items=np.arange(N), exclude_seen=False)
    np.testing.assert_array_equal(ordered.items, fitted.recommend(0, n=N, exclude_seen=False).items)


def test_implicit_pickle(fitted: ImplicitALS) -> None:
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(again.user_factors_, fitted.user_factors_)
        np.testing.assert_array_equal(again.recommend(3).items, fitted.recommend(3).items)
        np.testing.assert_array_equal(again.fold_in(checkerboard()), fitted.fold_in(checkerboard()))
        again.partial_fit(([0], [1]))
    bare = pickle.loads(pickle.dumps(ImplicitALS(factors=7)))
    assert bare.get_params() == ImplicitALS(factors=7).get_params()
    with pytest.raises(fastals.NotFittedError):
        bare.recommend(0)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr"])
def test_implicit_invalid_user_items(fitted: ImplicitALS, form: str) -> None:
    """Other formats than CSR are errors in implicit's recommend; ours takes any, as matrix and as array."""
    row = checkerboard()[[4]]
    expected = fitted.recommend(histories=row, n=3)
    for history in (row.asformat(form), getattr(sparse, f"{form}_matrix")(row)):
        got = fitted.recommend(histories=history, n=3)
        np.testing.assert_array_equal(got.items, expected.items)
        np.testing.assert_array_equal(got.scores, expected.scores)


def test_implicit_save_and_load(fitted: ImplicitALS, tmp_path: Path) -> None:
    for path in (tmp_path / "model", str(tmp_path / "no suffix is added")):
        fitted.save(path)
        again = fastals.load(path)
        np.testing.assert_array_equal(again.recommend(np.arange(N)).items, fitted.recommend(np.arange(N)).items)
        np.testing.assert_array_equal(again.similar_items(3).items, fitted.similar_items(3).items)


def test_implicit_fit_callback() -> None:
    calls: list[int] = []
    ImplicitALS(factors=2, iterations=6, tol=None).fit(checkerboard(), callback=lambda i, *_: calls.append(i))
    assert calls == [1, 2, 3, 4, 5, 6]


@DTYPES
def test_implicits_bugs_of_recommend(dtype: Any) -> None:
    matrix = sparse.csr_array(np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 0]], np.float32))
    model = ImplicitALS(factors=2, dtype=dtype, random_state=0).fit(matrix)
    # n > what is unseen: seen items at -3.4e38; everything seen: all of them; n > n_items: item 0 at 0.0
    assert (model.recommend(0, n=4).items[2:] == -1).all()
    assert (model.recommend(1, n=3).items == -1).all()
    assert np.isneginf(model.recommend(1, n=3).scores).all()
    long = model.recommend(2, n=9, exclude_seen=False)
    assert sorted(long.items[:4]) == [0, 1, 2, 3]
    assert (long.items[4:] == -1).all()
    assert np.isneginf(long.scores[4:]).all()
    # user -1 is the last one; a 0-d array is a TypeError; exclusions and candidates are "ambiguous"
    with pytest.raises(fastals.UnknownLabelError):
        model.recommend(-1)
    np.testing.assert_array_equal(model.recommend(np.array(2)).items, model.recommend(2).items)
    assert model.recommend(2, n=2, items=np.array([0, 1]), exclude=np.array([1])).items.tolist() == [0, -1]
    with pytest.raises(fastals.NotFittedError):
        ImplicitALS().recommend(0)
    # a column out of range reads foreign memory; int64 indices and indptr are "buffer dtype mismatch"
    broken = sparse.csr_array(np.eye(4, dtype=np.float32))
    broken.indices[2] = 9
    with pytest.raises(fastals.DataError, match="9"):
        model.recommend(histories=broken)
    large = sparse.csr_array(matrix)
    large.indptr, large.indices = large.indptr.astype(np.int64), large.indices.astype(np.int64)
    np.testing.assert_array_equal(model.fold_in(large), model.fold_in(matrix))
    with pytest.raises(fastals.DataError, match="items x users"):
        ImplicitALS(factors=2).fit(sparse.csr_array(np.ones((5, 3), np.float32))).fold_in(
            sparse.csr_array(np.ones((3, 5), np.float32))
        )


def test_implicits_bugs_of_fitting_again(tmp_path: Path) -> None:
    """A second fit crashes on fewer users or more items, and continues on the same data."""
    rng = np.random.default_rng(0)

    def data(n_users: int, n_items: int) -> sparse.csr_array:
        cells = rng.integers(0, n_users, 300), rng.integers(0, n_items, 300)
        return sparse.csr_array((np.ones(300, np.float32), cells), shape=(n_users, n_items))

    model, first = ImplicitALS(factors=2, iterations=3, random_state=0), data(200, 40)
    once = model.fit(first).user_factors_.copy()
    for shape in ((150, 40), (200, 4_000_000), (400, 40), (200, 80)):
        model.fit(data(*shape))
        assert model.user_factors_.shape[0] == shape[0]
        assert model.item_factors_.shape[0] == shape[1]
        assert model.recommend(0, n=2).items.shape == (2,)
    np.testing.assert_array_equal(model.fit(first).user_factors_, once)
    np.testing.assert_array_equal(model.fit(first).user_factors_, once)
    # a saved model whose random_state was a generator cannot be loaded
    generator = ImplicitALS(factors=2, random_state=np.random.default_rng(0)).fit(first)
    generator.save(tmp_path / "model")
    assert fastals.load(tmp_path / "model").random_state is None


# ---------------------------------------------------------------------------------------------------------------------
# cmfrec, lenskit, LibRecommender, RecTools, buffalo


def test_cmfrecs_bug_one_list_for_several_users() -> None:
    model = ExplicitALS(factors=2, random_state=0).fit(checkerboard())
    lists = model.recommend([0, 1, 2], n=3).items
    assert lists.shape == (3, 3)
    for row in range(3):
        np.testing.assert_array_equal(lists[row], model.recommend(row, n=3).items)


@pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])
def test_lenskit_fold_in(model: Any) -> None:
    """A folded-in history ranks much as the trained user; unknown items are no KeyError, unknown pairs are NaN."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 60, 1500), [f"i{n}" for n in rng.integers(0, 40, 1500)]
    fitted = model(factors=5, random_state=0).fit((users, items, rng.integers(1, 6, 1500)))
    data = fitted.state_.history()[0]
    known = data.matrix[[10]]
    labels = [*fitted.items_[known.indices], "never seen"]
    folded = fitted.recommend(histories=(["new"] * len(labels), labels, [*known.data, 3]), n=40)
    both = [label for label in folded.items[0] if label is not None]
    trained = fitted.predict([10] * len(both), both)
    assert stats.kendalltau(folded.scores[0][: len(both)], trained).statistic >= 0.5
    assert np.isnan(fitted.predict([10, 99], ["never seen", "i1"])).all()


def test_librecommender_leaves_the_callers_data_alone() -> None:
    matrix = checkerboard()
    before = matrix.copy()
    model = ImplicitALS(factors=2, alpha=10, random_state=0)
    once = model.fit(matrix).user_factors_.copy()
    np.testing.assert_array_equal(model.fit(matrix).user_factors_, once)
    np.testing.assert_array_equal(matrix.data, before.data)


def test_rectools_whitelist_and_item_to_item() -> None:
    rng = np.random.default_rng(0)
    users = np.array([10, 10, 10, 20, 20, 30, 30, 30, 40, 40])
    items = np.array([11, 12, 14, 11, 12, 11, 12, 17, 14, 17])
    model = ImplicitALS(factors=4, random_state=int(rng.integers(100))).fit((users, items))
    assert set(model.recommend([10, 20], n=2, items=[11, 14, 17]).items.ravel()) <= {14, 17, None, -1}
    lists = model.recommend([10, 20], n=3, exclude_seen=False)
    assert (np.diff(lists.scores) <= 0).all()
    similar = model.similar_items([11, 12], n=2, candidates=[12, 14, 17])
    assert similar.items[0, 0] == 12
    assert 12 not in similar.items[1].tolist()
    with pytest.raises(fastals.UnknownLabelError, match="50"):
        model.recommend([10, 50])
    assert model.recommend([10, 50], n=2, unknown="popular").items[1].tolist() == [11, 12]


@pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])
def test_rectools_epoch_by_epoch_is_the_whole_fit(model: Any) -> None:
    matrix = checkerboard()
    make = lambda iterations: model(factors=4, iterations=iterations, solver="cholesky", random_state=0)  # noqa: E731
    whole = make(4).fit(matrix)
    parts = make(1).fit(matrix)
    for _ in range(3):
        parts.fit(matrix, initial_factors=(parts.user_factors_, parts.item_factors_))
    np.testing.assert_array_equal(parts.user_factors_, whole.user_factors_)
    np.testing.assert_array_equal(parts.item_factors_, whole.item_factors_)
    # a model can be fitted again on other data, and forgets the former
    other = sparse.csr_array(checkerboard()[:20, :30])
    np.testing.assert_array_equal(whole.fit(other).user_factors_, make(4).fit(other).user_factors_)


def test_buffalo_most_similar_and_files(tmp_path: Path) -> None:
    names = [f"item {n:02}" for n in range(N)]
    model = ImplicitALS(factors=3, regularization=0.1, random_state=0).fit(
        fastals.Interactions.from_matrix(checkerboard(), items=names)
    )
    model.save(tmp_path / "model")
    for each in (model, fastals.load(tmp_path / "model")):
        similar = each.similar_items("item 04", n=10)
        assert all(int(label[-2:]) % 2 == 0 for label in similar.items)
        assert (np.diff(similar.scores) <= 0).all()
        assert similar.scores[0] == pytest.approx(1, abs=0.05)
