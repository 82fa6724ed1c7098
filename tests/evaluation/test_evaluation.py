"""Splits and metrics, against Spark's figures and plain loops."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import real_data
from numpy.testing import assert_array_equal
from scipy import sparse

import fastals
from fastals import evaluation
from fastals.evaluation import leave_last_out, leave_random_out, most_popular, split_users, train_test_split
from fastals.evaluation._metrics import RANKING

METRICS = {f"{name}_at_k": getattr(evaluation, f"{name}_at_k") for name in RANKING}
BEYOND = {f"{name}_at_k": getattr(evaluation, f"{name}_at_k") for name in ("coverage", "novelty", "gini", "entropy")}


def matrix_of(rows, n_items):
    return sparse.csr_array(
        (np.ones(sum(map(len, rows))), np.concatenate(rows), np.cumsum([0, *map(len, rows)])),
        shape=(len(rows), n_items),
    )


def random_case(rng, n_users=30, n_items=12, n=8):
    """Lists without repeats, padded at random, and held-out rows of which some are empty."""
    test = sparse.random_array((n_users, n_items), density=0.15, rng=rng, format="csr")
    lists = np.stack([rng.permutation(n_items)[:n] for _ in range(n_users)])
    lists[np.arange(n) >= rng.integers(0, n + 1, n_users)[:, None]] = -1
    return lists, test


# --- ranking metrics -------------------------------------------------------------------------------------------------


def test_spark_gold_numbers():
    """RankingMetricsSuite of Spark, whose means count the user without labels as 0; here that user is left out."""
    lists = [[1, 6, 2, 7, 8, 3, 9, 10, 4, 5], [4, 1, 5, 6, 2, 7, 3, 8, 9, 10], [1, 2, 3, 4, 5, -1, -1, -1, -1, -1]]
    labels = matrix_of([[1, 2, 3, 4, 5], [1, 2, 3], np.array([], int)], 11)
    gold = {
        "map_at_k": (0.333333, 0.25, 0.211111, 0.355026, 0.355026),
        "precision_at_k": (0.333333, 0.333333, 0.266667, 0.266667, 0.177778),
        "ndcg_at_k": (0.333333, 0.333333, 0.328788, 0.487913, 0.487913),
        "recall_at_k": (0.066667, 0.177778, 0.355556, 0.666667, 0.666667),
    }
    for name, figures in gold.items():
        for k, figure in zip((1, 2, 5, 10, 15), figures, strict=True):
            assert METRICS[name](lists, labels, k=k) * 2 / 3 == pytest.approx(figure, abs=1e-6), (name, k)


def brute_force(name, ranked, relevant, k):
    found = [item in relevant for item in ranked[:k]]
    if name == "precision_at_k":
        return sum(found) / k
    if name == "recall_at_k":
        return sum(found) / len(relevant)
    if name == "hit_rate_at_k":
        return float(any(found))
    if name == "mrr_at_k":
        return next((1 / (p + 1) for p, hit in enumerate(found) if hit), 0.0)
    if name == "map_at_k":
        return sum(sum(found[: p + 1]) / (p + 1) for p, hit in enumerate(found) if hit) / min(len(relevant), k)
    if name == "ndcg_at_k":
        gain = sum(1 / np.log2(p + 2) for p, hit in enumerate(found) if hit)
        return gain / sum(1 / np.log2(p + 2) for p in range(min(len(relevant), k)))
    raise AssertionError(name)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [1, 3, 8, 20])
def test_metrics_match_loops(name, k):
    rng = np.random.default_rng(k)
    for _ in range(5):
        lists, test = random_case(rng)
        rows = [(row, test[[u]].indices.tolist()) for u, row in enumerate(lists)]
        expected = np.mean([brute_force(name, row.tolist(), set(items), k) for row, items in rows if items])
        assert METRICS[name](lists, test, k=k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_never_exceed_one(name):
    """Also with k > n_items, and with lists that repeat an item."""
    test = matrix_of([[0, 1, 2], [2]], 3)
    assert METRICS[name]([[0, 1, 2], [2, 0, 1]], test, k=5) <= 1
    assert METRICS[name]([[0, 0, 0, 0], [2, 2, 2, 2]], test, k=4) <= 1
    assert METRICS[name]([[1, 1, 0, 2], [2, 2, 2, 2]], test, k=4) == METRICS[name](
        [[1, -1, 0, 2], [2, -1, -1, -1]], test, k=4
    )


@pytest.mark.parametrize("labels", [["a", "b", "c"], [-7, 10, 2**40]])
def test_labels(labels):
    test = fastals.Interactions.from_arrays(["u", "u", "v"], [labels[0], labels[2], labels[1]])
    lists = np.array([[labels[2], None], [labels[0], labels[1]]], dtype=object)
    assert evaluation.mrr_at_k(lists, test) == 0.75
    unknown = "z" if isinstance(labels[0], str) else 5
    assert evaluation.mrr_at_k(np.array([[unknown, labels[0]], [labels[0], labels[1]]], dtype=object), test) == 0.5


def test_values_of_zero_and_below_are_not_relevant():
    test = sparse.csr_array(([1.0, 0.0, -1.0, 2.0], [0, 1, 2, 0], [0, 3, 4]), shape=(2, 3))
    assert evaluation.precision_at_k([[0, 1, 2], [1, 2, 0]], test, k=3) == pytest.approx(1 / 3)
    test.data[0] = 0  # now the first user has nothing that could be found
    assert evaluation.precision_at_k([[0, 1, 2], [1, 2, 0]], test, k=3) == pytest.approx(1 / 3)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_int64_indices(dtype):
    test = matrix_of([[0, 1], [2]], 3)
    test.indices, test.indptr = test.indices.astype(dtype), test.indptr.astype(dtype)
    assert evaluation.hit_rate_at_k(np.array([[0], [2]], dtype=dtype), test) == 1


@pytest.mark.parametrize("k", [1, 2, 3])
def test_lists_in_every_form_and_of_different_lengths(k):
    lists, padded = [["x"], ["y", "z"], []], np.array([["x", None], ["y", "z"], [None, None]], object)
    test = (["a", "b", "b", "c"], ["x", "z", "w", "x"])
    arrow, arrays = pa.table(dict(zip("ab", padded.T, strict=True))), [np.array(row, object) for row in lists]
    frames = pd.DataFrame(padded), pd.DataFrame(padded, dtype="str"), pl.DataFrame(padded.tolist(), orient="row"), arrow
    for form in (lists, tuple(map(tuple, lists)), arrays, *frames):
        for name, metric in METRICS.items():
            assert metric(form, test, k=k) == metric(padded, test, k=k), name
        for name, metric in BEYOND.items():
            assert metric(form, (["a"] * 4, list("wxyz")), k=k) == metric(padded, (["a"] * 4, list("wxyz")), k=k), name
    mixed = [[1, "x"]]  # which NumPy would read as text
    with pytest.raises(fastals.ArgumentTypeError, match=r"recommended must be .* got 'x' \(str\) at position 1"):
        evaluation.recall_at_k(mixed, (["a"], ["1"]))


def test_what_cannot_be_judged():
    test = matrix_of([[0, 1], [2]], 3)
    for lists in ([0, 1], [[0], [1], [2]], [[[0]], [[1]]]):
        with pytest.raises(fastals.FastalsError, match=r"one row for each of the 2 users|all of one kind, got \[0\]"):
            evaluation.precision_at_k(lists, test)
    with pytest.raises(fastals.FastalsError, match="k must be >= 1"):
        evaluation.precision_at_k([[0], [1]], test, k=0)
    test.data[:] = 0
    with pytest.raises(fastals.FastalsError, match="no cell with a value above 0"):
        evaluation.precision_at_k([[0], [1]], test)


def test_an_item_out_of_range_is_no_hit_in_the_next_row():
    test = matrix_of([[0], [0]], 3)
    assert evaluation.hit_rate_at_k([[3], [0]], test) == 0.5


# --- beyond accuracy -------------------------------------------------------------------------------------------------


def brute_force_beyond(name, lists, train, k):
    n_users, n_items = train.shape
    shown = [[item for item in row[:k] if item >= 0] for row in lists.tolist()]
    counts = [sum(row.count(item) for row in shown) for item in range(n_items)]
    if name == "coverage_at_k":
        return sum(count > 0 for count in counts) / n_items
    if name == "entropy_at_k":
        return -sum(c / sum(counts) * np.log(c / sum(counts)) for c in counts if c)
    if name == "gini_at_k":  # half the mean difference of all pairs over the mean
        return sum(abs(a - b) for a in counts for b in counts) / (2 * n_items * sum(counts))
    if name == "novelty_at_k":
        popularity = [max(1, train[:, [item]].nnz) for item in range(n_items)]
        bits = [np.mean([np.log2(n_users / popularity[item]) for item in row]) for row in shown if row]
        return np.mean(bits)
    raise AssertionError(name)


@pytest.mark.parametrize("name", BEYOND)
@pytest.mark.parametrize("k", [1, 3, 20])
def test_metrics_beyond_accuracy_match_loops(name, k):
    """As irspack's tests do for gini, entropy and coverage."""
    rng = np.random.default_rng(k)
    for _ in range(5):
        lists, train = random_case(rng)
        assert BEYOND[name](lists, train, k=k) == pytest.approx(brute_force_beyond(name, lists, train, k), abs=1e-12)


@pytest.mark.parametrize("name", BEYOND)
def test_lists_beyond_accuracy_may_have_labels(name):
    train = fastals.Interactions.from_arrays(["u", "u", "v"], ["a", "b", "a"])
    indices = BEYOND[name]([[0, 1], [1, -1]], matrix_of([[0, 1], [0]], 2))
    assert BEYOND[name](np.array([["a", "b"], ["b", None]], dtype=object), train) == indices
    with pytest.raises(fastals.UnknownLabelError, match="'z'"):
        BEYOND[name](np.array([["a", "z"]], dtype=object), train)
    with pytest.raises(fastals.FastalsError, match="one row for each list"):
        BEYOND[name](["a"], train)


@pytest.mark.parametrize("name", set(BEYOND) - {"coverage_at_k"})
def test_empty_lists_say_nothing(name):
    train = matrix_of([[0, 1], [0]], 2)
    with pytest.raises(fastals.FastalsError, match="no item"):
        BEYOND[name]([[-1, -1]], train)


def test_a_user_who_has_an_item_twice_is_one():
    train = fastals.Interactions.from_arrays([0, 0, 1], [0, 0, 1], duplicates="keep")
    assert evaluation.novelty_at_k([[0]], train) == 1
    assert most_popular(train, 1).tolist() == [[1], [0]]


def test_k_beyond_all_lists_costs_nothing():
    assert evaluation.ndcg_at_k([[0, 1]], matrix_of([[0, 1, 2]], 3), k=10**12) == pytest.approx(0.7653606369886217)


# --- errors of ratings -----------------------------------------------------------------------------------------------


def test_rmse_and_mae():
    rng = np.random.default_rng(0)
    actual, predicted = rng.random(100), rng.random(100).astype(np.float32)
    assert evaluation.rmse(actual, predicted) == pytest.approx(np.sqrt(((actual - predicted) ** 2).mean()))
    assert evaluation.mae(actual, predicted) == pytest.approx(np.abs(actual - predicted).mean())
    assert evaluation.rmse([1, 2], [1, 2]) == 0


def test_gold_numbers_of_ratings():
    """The example of PySpark's RegressionEvaluator, by Spark 4.3.0, and that of scikit-learn's r2_score."""
    predicted = [-28.98343821, 20.21491975, -25.98418959, 30.69731842, 74.69283752]
    actual = [-27.0, 21.5, -22.0, 33.0, 71.0]
    assert evaluation.rmse(actual, predicted) == pytest.approx(2.842485408190637)
    assert evaluation.mae(actual, predicted) == pytest.approx(2.6496454299999996)
    assert evaluation.r2(actual, predicted) == pytest.approx(0.9939111025985887)
    assert evaluation.r2([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]) == pytest.approx(0.948608137)
    assert evaluation.r2([1, 2, 3], [2, 2, 2]) == 0
    with pytest.raises(fastals.FastalsError, match="constant"):
        evaluation.r2([1, 1], [1, 2])


@pytest.mark.parametrize("metric", [evaluation.rmse, evaluation.mae, evaluation.r2])
def test_ratings_that_cannot_be_compared(metric):
    with pytest.raises(fastals.FastalsError, match="predicted must be finite, got nan at position 1"):
        metric([1, 2], [1, np.nan])
    with pytest.raises(fastals.FastalsError, match="lengths"):
        metric([1, 2], [1])
    with pytest.raises(fastals.FastalsError, match="empty"):
        metric([], [])


# --- splits ----------------------------------------------------------------------------------------------------------


def test_train_test_split():
    data = fastals.Interactions.from_arrays(list("aabbbcc"), list("xyxyzxz"), [1, 2, 3, 4, 5, 6, 7])
    train, test = train_test_split(data, 0.3, random_state=0)
    assert (train.nnz, test.nnz) == (5, 2)
    assert_array_equal((train.matrix + test.matrix).toarray(), data.matrix.toarray())
    for part in (train, test):
        assert part.users.tolist() == ["a", "b", "c"]
        assert part.items.tolist() == ["x", "y", "z"]


def test_the_same_seed_gives_the_same_split():
    data = sparse.random_array((50, 40), density=0.2, rng=np.random.default_rng(0), format="csr")
    for seed in (0, 1):
        first, second = (train_test_split(data, random_state=seed)[1] for _ in range(2))
        assert_array_equal(first.matrix.toarray(), second.matrix.toarray())
    other = train_test_split(data, random_state=0)[1]
    assert (first.matrix.toarray() != other.matrix.toarray()).any()


def test_splits_that_leave_nothing():
    data = matrix_of([[0, 1], [2]], 3)
    for fraction in (0.0, 1.0, -1, np.nan, True):
        with pytest.raises(fastals.FastalsError, match="test_fraction"):
            train_test_split(data, fraction)
    with pytest.raises(fastals.FastalsError, match="leaves one part empty"):
        train_test_split(data, 0.01)
    with pytest.raises(fastals.FastalsError, match="test part would be empty"):
        leave_last_out(([0, 1], [0, 1]), [1, 2])


def test_leave_last_out_matches_loops():
    rng = np.random.default_rng(0)
    users, items, values = rng.integers(0, 20, 300), rng.integers(0, 15, 300), rng.integers(1, 6, 300)
    times = rng.permutation(300)
    for n in (1, 3):
        train, test = leave_last_out((users, items, values), times, n=n)
        for u in range(20):
            mine = np.flatnonzero(users == u)
            met = list(dict.fromkeys(items[mine[np.argsort(times[mine])]].tolist()))
            last = set(met[-n:]) if len(met) > n else set()
            rows = [
                np.bincount(items[mine], values[mine] * np.isin(items[mine], sorted(last), invert=i), 15)
                for i in (1, 0)
            ]
            rows[1] *= np.isin(np.arange(15), sorted(last))
            assert_array_equal(train.matrix[[u]].toarray()[0], rows[0])
            assert_array_equal(test.matrix[[u]].toarray()[0], rows[1])


def test_leave_last_out_takes_dates_and_breaks_ties_alike():
    days = np.array(["2024-01-01", "2024-01-03", "2024-01-02"], dtype="datetime64[D]")
    _, test = leave_last_out((["a"] * 3, ["x", "y", "z"]), days)
    assert test.matrix.toarray().tolist() == [[0, 1, 0]]
    orders = ([0, 1, 2], [2, 0, 1])
    tied = [
        leave_last_out((["a"] * 3, np.array(["x", "y", "z"])[o]), [5, 5, 5])[1].matrix.toarray().tolist()
        for o in orders
    ]
    assert tied[0] == tied[1] == [[0, 0, 1]]


def test_leave_last_out_refuses():
    with pytest.raises(fastals.FastalsError, match="tuple"):
        leave_last_out(matrix_of([[0, 1], [2]], 3), [1, 2, 3])
    with pytest.raises(fastals.FastalsError, match="timestamps, position 1: the time is missing"):
        leave_last_out(([0, 0], [1, 2]), np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"))
    with pytest.raises(fastals.FastalsError, match="lengths"):
        leave_last_out(([0, 0], [1, 2]), [1])
    with pytest.raises(fastals.FastalsError, match="duplicates"):
        leave_last_out(([0, 0], [1, 2]), [1, 2], duplicates="keep")


@pytest.mark.parametrize("n", [1, 3])
def test_leave_random_out(n):
    """As implicit's leave_k_out_split, whose seed has no effect: same seed, same split; every cell in one part."""
    data = sparse.random_array((40, 15), density=0.2, rng=np.random.default_rng(0), format="csr", dtype=np.float32)
    train, test = leave_random_out(data, n, random_state=7)
    assert_array_equal((train.matrix + test.matrix).toarray(), data.toarray())
    lengths = np.diff(data.indptr)
    assert_array_equal(np.diff(test.indptr), np.where(lengths > n, n, 0))
    again, other = (leave_random_out(data, n, random_state=seed)[1] for seed in (7, 8))
    assert_array_equal(test.indices, again.indices)
    assert (test.matrix != other.matrix).nnz
    with pytest.raises(fastals.FastalsError, match="more than n=15"):
        leave_random_out(data, 15)
    for wrong in (0, -1, 1.5, "1"):
        with pytest.raises(fastals.FastalsError, match="n must be"):
            leave_random_out(data, wrong)


def test_split_users():
    data = sparse.random_array((40, 15), density=0.3, rng=np.random.default_rng(0), format="csr", dtype=np.float32)
    train, test = split_users(data, 0.25, random_state=3)
    assert (train.n_users, test.n_users, train.n_items, test.n_items) == (30, 10, 15, 15)
    assert sorted([*train.users, *test.users]) == list(range(40))
    for part in (train, test):
        assert_array_equal(part.matrix.toarray(), data.toarray()[part.users])
    assert_array_equal(split_users(data, 0.25, random_state=3)[1].users, test.users)
    assert split_users(data, 0.25, random_state=4)[1].users.tolist() != test.users.tolist()
    for fraction in (0.001, 0.999):
        with pytest.raises(fastals.FastalsError, match="one part empty"):
            split_users(data, fraction)
    with pytest.raises(fastals.FastalsError, match="test_fraction"):
        split_users(data, 1.0)


def test_users_put_aside_are_folded_in():
    """Strong generalization: a model that never met the users finds what was held out of their histories."""
    rng = np.random.default_rng(0)
    likes = rng.random((80, 40)) < 0.6 * (np.arange(80)[:, None] % 2 == np.arange(40) % 2)
    train, others = split_users(sparse.csr_array(likes.astype(np.float32)), 0.25, random_state=0)
    histories, held_out = leave_random_out(others, 3, random_state=0)
    model = fastals.ImplicitALS(factors=4, random_state=0).fit(train)
    scores = model.fold_in(histories) @ model.item_factors_.T
    scores[histories.matrix.toarray() > 0] = -np.inf
    assert evaluation.precision_at_k(np.argsort(-scores)[:, :3], held_out.matrix, k=3) > 0.2  # chance: 0.1


# --- the baseline ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 40])
def test_most_popular_matches_loops(n):
    rng = np.random.default_rng(n)
    train = sparse.random_array((40, 25), density=0.4, rng=rng, format="csr")
    order = np.argsort(-np.bincount(train.indices, minlength=25), kind="stable")
    lists = most_popular(train, n)
    for u in range(40):
        left = [item for item in order if item not in train[[u]].indices][:n]
        assert lists[u].tolist() == left + [-1] * (n - len(left))


def test_most_popular_speaks_in_labels():
    train = fastals.Interactions.from_arrays(["a", "b", "b"], ["x", "x", "y"])
    assert most_popular(train, 1).tolist() == [["y"], [None]]


def test_ml_100k():
    """The thresholds of implicit's test (precision@10 > 0.2) and of buffalo's (NDCG > 0.06, MAP > 0.04)."""
    train, test = train_test_split(real_data.matrix(real_data.table("ml-100k"), None), 0.2, random_state=0)
    metrics = evaluation.evaluate(fastals.ImplicitALS(factors=16, random_state=0).fit(train), train, test)
    assert metrics["precision@10"] > 0.2
    assert metrics["ndcg@10"] > 0.06
    assert metrics["map@10"] > 0.04
    baseline = evaluation.popularity_baseline(fastals.ImplicitALS(factors=1).fit(train), train, test)
    assert metrics["ndcg@10"] > 1.4 * baseline["ndcg@10"]
    assert metrics["novelty@10"] > baseline["novelty@10"]


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted():
    """Two tastes: users like items of their own parity."""
    rng = np.random.default_rng(0)
    likes = rng.random((60, 40)) < 0.6 * (np.arange(60)[:, None] % 2 == np.arange(40) % 2)
    data = sparse.csr_array(likes.astype(np.float32))
    train, test = train_test_split(data, 0.3, random_state=0)
    return fastals.ImplicitALS(factors=4, random_state=0).fit(train), train, test


def test_auc_matches_loops(planted):
    model, train, test = planted
    scores = model.user_factors_ @ model.item_factors_.T
    areas = []
    for u in range(train.n_users):
        relevant = test.matrix[[u]].indices
        rest = np.setdiff1d(np.arange(40), np.concatenate([relevant, train.matrix[[u]].indices]))
        if len(relevant):
            wins = (scores[u, relevant][:, None] > scores[u, rest]) + 0.5 * (
                scores[u, relevant][:, None] == scores[u, rest]
            )
            areas.append(wins.mean())
    assert evaluation.auc(model, train, test) == pytest.approx(np.mean(areas))
    assert evaluation.auc(model, train, test) > 0.8
    with pytest.raises(fastals.FastalsError, match="no user has"):
        evaluation.auc(model, train, sparse.csr_array(([0.0], [0], [0, 1, *[1] * 59]), shape=(60, 40)))


def test_evaluate_is_the_metrics_of_the_lists(planted):
    model, train, test = planted
    lists = model.recommend(np.arange(60), n=7)
    metrics = evaluation.evaluate(model, train, test, k=7)
    assert set(metrics) == {f"{name[:-5]}@7" for name in METRICS} | {"coverage@7", "novelty@7", "n_users"}
    with_relevant = lists.items[np.diff(test.indptr) > 0]
    for name in ("coverage", "novelty"):
        assert metrics[f"{name}@7"] == BEYOND[f"{name}_at_k"](with_relevant, train, k=7)
    for name, metric in METRICS.items():
        assert metrics[f"{name[:-5]}@7"] == pytest.approx(metric(lists, test, k=7))
    assert metrics["n_users"] == (np.diff(test.indptr) > 0).sum()
    assert metrics == evaluation.evaluate(model, None, test, k=7)


def test_evaluate_leaves_out_what_is_known(planted):
    model, train, test = planted
    both = (train.matrix + test.matrix).tocsr()
    assert evaluation.evaluate(model, train, both) == evaluation.evaluate(model, train, test)
    with pytest.raises(fastals.FastalsError, match="not in train as well"):
        evaluation.evaluate(model, train, train)


def test_evaluate_matches_labels(planted):
    """The test part may know other users and items, in another order."""
    model, train, test = planted

    def named(part, users, items):
        matrix = part.matrix.tocoo()
        return (
            np.array([users.format(u) for u in matrix.row]),
            np.array([items.format(i) for i in matrix.col]),
            matrix.data,
        )

    named_model = fastals.ImplicitALS(factors=4, random_state=0).fit(named(train, "u{:02d}", "i{:02d}"))
    expected = evaluation.evaluate(model, train, test)
    users, items, values = named(test, "u{:02d}", "i{:02d}")
    assert evaluation.evaluate(named_model, None, (users, items, values)) == pytest.approx(expected)
    stranger = (np.append(users, "a stranger"), np.append(items, "i00"), np.append(values, 1))
    assert evaluation.evaluate(named_model, None, stranger) == pytest.approx(expected)
    news = (np.append(users, users[0]), np.append(items, "a new item"), np.append(values, 1))
    assert evaluation.evaluate(named_model, None, news)["recall@10"] < expected["recall@10"]


@pytest.mark.parametrize("first", [-1, 0, 2**63])
def test_evaluate_takes_all_integers_for_what_they_are(planted, first):
    """-1 may be an item; uint64 knows no -1."""
    model, train, test = planted

    def numbered(part):
        matrix = part.matrix.tocoo()
        dtype = np.uint64 if first > 0 else np.int64
        return matrix.row, matrix.col.astype(dtype) + dtype(first), matrix.data

    other = fastals.ImplicitALS(factors=4, random_state=0).fit(numbered(train))
    for k in (1, 10):
        expected = evaluation.evaluate(model, train, test, k)
        assert evaluation.evaluate(other, None, numbered(test), k) == pytest.approx(expected)
        expected = evaluation.popularity_baseline(model, train, test, k)
        assert evaluation.popularity_baseline(other, None, numbered(test), k) == pytest.approx(expected)
    assert evaluation.compare(other, other, numbered(test)).metrics["ndcg@10"].difference == 0
    users, items, held_out = np.arange(3), [first], [1.0]
    one = fastals.ImplicitALS(factors=2, random_state=0).fit((np.append(users, 9), [first] * 3 + [first + 5]))
    found = evaluation.evaluate(one, None, ([9], items, held_out), k=1)
    assert (found["hit_rate@1"], found["coverage@1"]) == (1, 0.5)


def test_evaluate_measures_ratings_too():
    rng = np.random.default_rng(0)
    ratings = np.outer(rng.uniform(1, 2, 30), rng.uniform(1, 2, 20))
    users, items = map(np.ravel, np.indices(ratings.shape))
    in_test = rng.random(600) < 0.2
    part = [(users[m], items[m], ratings.ravel()[m]) for m in (~in_test, in_test)]
    model = fastals.ExplicitALS(factors=1, regularization=1e-4, random_state=0).fit(part[0])
    metrics = evaluation.evaluate(model, *part)
    assert metrics["rmse"] < 0.01
    assert metrics["mae"] <= metrics["rmse"]
    assert 1 - metrics["r2"] == pytest.approx(metrics["rmse"] ** 2 / np.var(part[1][2]))
    assert metrics["n_ratings"] == in_test.sum()
    beyond = tuple(np.append(a, b) for a, b in zip(part[1], (30, 0, 5.0), strict=True))
    assert evaluation.evaluate(model, part[0], beyond) == metrics


def test_each_metric_is_measured_on_what_it_needs():
    """Ratings of which none is above 0 have an error, if no lists; unknown ones of known users lists, if no error."""
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(20), 5), rng.permuted(np.tile(np.arange(10), (20, 1)), axis=1)[:, :5].ravel()
    values = -1 - rng.random(100)
    model = fastals.ExplicitALS(factors=2, random_state=0).fit((users, items, values))
    metrics = evaluation.evaluate(model, None, (users, items, values))
    predicted = model.predict(users, items)
    assert metrics["rmse"] == pytest.approx(evaluation.rmse(values, predicted))
    assert metrics["mae"] == pytest.approx(evaluation.mae(values, predicted))
    assert metrics["n_ratings"] == 100
    assert metrics["n_users"] == 0
    lists = [name for name in metrics if name.endswith("@10")]
    assert len(lists) == 8
    assert np.isnan([metrics[name] for name in lists]).all()
    baseline = evaluation.popularity_baseline(model, None, (users, items, values))
    np.testing.assert_equal(baseline, {name: metrics[name] for name in [*lists, "n_users"]})

    new_items = evaluation.evaluate(model, None, ([0, 1], [10, 11], [5.0, 5.0]))
    assert (new_items["recall@10"], new_items["n_users"], new_items["n_ratings"]) == (0, 2, 0)
    assert np.isnan([new_items[name] for name in ("rmse", "mae", "r2")]).all()
    nobody = evaluation.evaluate(model, None, ([20], [10], [5.0]))
    assert (nobody["n_users"], nobody["n_ratings"]) == (0, 0)
    assert np.isnan([value for name, value in nobody.items() if not name.startswith("n_")]).all()

    found = fastals.tune(model, (users, items, values), {"factors": [1, 2]}, metric="rmse", random_state=0)
    assert found.best_score > 0
    with pytest.raises(fastals.DataError, match=r"ndcg@5 cannot be measured: validation holds nothing for it"):
        fastals.tune(model, (users, items, values), {"factors": [1, 2]}, metric="ndcg@5", random_state=0)
    with pytest.raises(fastals.DataError, match="no cell above 0"):
        evaluation.evaluate(fastals.ImplicitALS(factors=1).fit((users, items)), None, (users, items, values))


def test_coverage_is_of_the_lists_that_are_judged():
    users, items, ratings = ["ann", "ann", "bob", "cid"], ["x", "y", "x", "z"], [5.0, 3, 4, 2]
    model = fastals.ExplicitALS(factors=2, random_state=0).fit((users, items, ratings))
    expected = evaluation.evaluate(model, None, (["ann"], ["z"], [4.0]), k=2)
    found = evaluation.evaluate(model, None, (["ann", "bob", "cid"], ["z", "y", "x"], [4.0, 0.0, -1.0]), k=2)
    for name in ("coverage@2", "novelty@2", "recall@2", "n_users"):
        assert found[name] == expected[name]
    assert found["coverage@2"] == pytest.approx(1 / 3)


def test_equal_ratings_have_no_r2():
    model = fastals.ExplicitALS(factors=1, random_state=0).fit(([0, 0, 1], [0, 1, 0], [1.0, 2.0, 3.0]))
    metrics = evaluation.evaluate(model, None, ([1], [1], [2.0]))
    assert np.isnan(metrics["r2"])
    assert metrics["n_ratings"] == 1


def test_evaluate_needs_a_fitted_model():
    with pytest.raises(fastals.NotFittedError):
        evaluation.evaluate(fastals.ImplicitALS(), None, matrix_of([[0]], 1))


def test_the_baseline_is_measured_as_the_model_is(planted):
    model, train, test = planted
    baseline = evaluation.popularity_baseline(model, None, test, k=7)
    lists = most_popular(train, 7)
    for name, metric in METRICS.items():
        assert baseline[f"{name[:-5]}@7"] == pytest.approx(metric(lists, test, k=7))
    assert baseline["n_users"] == evaluation.evaluate(model, train, test, k=7)["n_users"]
    assert baseline["ndcg@7"] < evaluation.evaluate(model, train, test, k=7)["ndcg@7"]
