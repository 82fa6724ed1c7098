"""ItemKNN and UserKNN against dense float64 twins, and the surface that they share with the other models."""

import contextlib
import pickle
import re

import numpy as np
import pytest
import real_data
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import fastals
from fastals import evaluation

MODELS = [fastals.ItemKNN, fastals.UserKNN]
OPTIONS = [
    {"neighbors": 3},
    {"neighbors": 100, "shrinkage": 2.0},
    {"neighbors": 4, "weighting": None},
    {"neighbors": 4, "weighting": "logidf", "similarity": "dot"},
    {"neighbors": 4, "weighting": "tfidf"},
    {"neighbors": 4, "weighting": "bm25"},
    {"neighbors": 4, "weighting": "bm25", "similarity": "dot"},
    {"neighbors": 5, "feedback": "explicit"},
    {"neighbors": 5, "feedback": "explicit", "shrinkage": 1.0},
]


def ratings(n_users=25, n_items=18, seed=0):
    """Whole ratings 1..5 with an empty row and an empty column."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(1, 6, (n_users, n_items)) * (rng.random((n_users, n_items)) < 0.35)
    matrix[3] = matrix[:, 5] = 0
    return sparse.csr_array(matrix.astype(np.float32))


# --- the twin: dense, float64, from the definitions in the docstrings -------------------------------------------------


def twin_means(R):
    """Mean of each row's stored values; of all, where there are none."""
    stored = R != 0
    return np.where(stored.any(1), R.sum(1) / np.maximum(stored.sum(1), 1), R[stored].mean())


def twin_weighted(R, weighting):
    """Rows are documents, columns terms."""
    if weighting == "logidf":
        return np.sign(R) * np.log(1 + np.abs(R)) * np.log(1 + len(R) / np.maximum((R != 0).sum(0), 1))
    idf = np.log(len(R)) - np.log1p((R != 0).sum(0))
    if weighting == "tfidf":
        return np.sqrt(R) * idf
    lengths = 1 - 0.75 + 0.75 * R.sum(1) / R.sum(1).mean()
    return R * 2.2 / (1.2 * lengths[:, None] + R) * idf


def twin_similarity(lines, *, neighbors, feedback="implicit", similarity="cosine", shrinkage=0.0, weighting="auto"):
    """The K best others of each row, those above 0."""
    weighting = "logidf" if weighting == "auto" else weighting
    W = lines.astype(np.float64)
    if feedback == "explicit":
        W = np.where(lines != 0, lines - twin_means(lines)[:, None], 0)
    elif weighting:
        W = twin_weighted(W, weighting)
    S = W @ W.T
    if similarity == "cosine":
        norms = np.sqrt((W**2).sum(1))
        with np.errstate(invalid="ignore", divide="ignore"):
            S = np.where(S > 0, S / (np.outer(norms, norms) + shrinkage), 0)
    np.fill_diagonal(S, 0)
    for row in S:
        row[np.argsort(-row, kind="stable")[neighbors:]] = 0
    return np.maximum(S, 0)


def twin_scores(cls, R, S, feedback="implicit", weighting="auto"):
    """Scores, NaN where an item has none."""
    R = R.astype(np.float64)
    if feedback == "implicit":
        if weighting in ("auto", "logidf"):
            R = np.sign(R) * np.log(1 + np.abs(R))
        scores = R @ S if cls is fastals.ItemKNN else S @ R
        return np.where(scores > 0, scores, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        if cls is fastals.ItemKNN:
            means = twin_means(R.T)
            return means + np.where(R != 0, R - means, 0) @ S.T / ((R != 0) @ S.T)
        means = twin_means(R)[:, None]
        return means + S @ np.where(R != 0, R - means, 0) / (S @ (R != 0))


def case(cls, options):
    R = ratings()
    dense = R.toarray()
    S = twin_similarity(dense.T if cls is fastals.ItemKNN else dense, **options)
    return R, S, twin_scores(cls, dense, S, options.get("feedback", "implicit"), options.get("weighting", "auto"))


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_similarity_matches_the_twin(cls, options):
    R, S, _ = case(cls, options)
    model = cls(**options).fit(R)
    # equal similarities may be told apart by the rounding of one of the two
    assert_allclose(np.sort(model.similarity_.toarray()), np.sort(S), atol=2e-6)
    agree = np.isclose(model.similarity_.toarray(), S, atol=2e-6)
    assert agree.mean() > 0.98
    assert model.similarity_.diagonal().max() == 0


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_scores_match_the_twin(cls, options):
    R, _, _ = case(cls, options)
    feedback = options.get("feedback", "implicit")
    model = cls(**options).fit(R)
    similarity = model.similarity_.toarray().astype(np.float64)
    scores = twin_scores(cls, R.toarray(), similarity, feedback, options.get("weighting", "auto"))
    users, items = map(np.ravel, np.indices(R.shape))
    means = twin_means(R.toarray().T)[items] if cls is fastals.ItemKNN else twin_means(R.toarray())[users]
    fallback = means if feedback == "explicit" else 0
    expected = np.where(np.isnan(scores.ravel()), fallback, scores.ravel())
    assert_allclose(model.predict(users, items), expected, rtol=1e-5)

    for exclude_seen in (True, False):
        lists = model.recommend(np.arange(R.shape[0]), n=6, exclude_seen=exclude_seen)
        left = np.where((R.toarray() != 0) & exclude_seen, np.nan, scores)
        for user, row in enumerate(left):
            possible = np.flatnonzero(~np.isnan(row))
            n = min(6, len(possible))
            assert (lists.items[user, n:] == -1).all()
            assert (lists.scores[user, n:] == -np.inf).all()
            assert set(lists.items[user, :n]) <= set(possible)
            assert_allclose(lists.scores[user, :n], np.sort(row[possible])[::-1][:n], rtol=1e-5)
            assert_array_equal(lists.scores[user, :n], model.predict(np.full(n, user), lists.items[user, :n]))

    found = model.recommend_users(np.arange(R.shape[1]), n=4)
    for item, column in enumerate(scores.T):
        possible = np.sort(column[~np.isnan(column)])[::-1][:4]
        assert_allclose(found.scores[item, : len(possible)], possible, rtol=1e-5)
        assert (found.users[item, len(possible) :] == -1).all()


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("feedback", ["implicit", "explicit"])
def test_any_number_of_threads_gives_the_same_bits(cls, feedback):
    R = ratings(400, 150, seed=1)
    one, three = (cls(neighbors=7, feedback=feedback, num_threads=threads).fit(R) for threads in (1, 3))
    assert_array_equal(one.similarity_.data, three.similarity_.data)
    assert_array_equal(one.similarity_.indices, three.similarity_.indices)
    for a, b in zip(one.recommend(np.arange(400)), three.recommend(np.arange(400)), strict=True):
        assert_array_equal(a, b)


# --- the surface ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", MODELS)
def test_lists(cls):
    R = ratings()
    model = cls(neighbors=5).fit(R)
    alone = model.recommend(4, n=30)
    assert alone.items.shape == alone.scores.shape == (30,)
    together = model.recommend(np.arange(25), n=30)
    assert_array_equal(together.items[4], alone.items)
    batches = list(model.recommend_all(n=30, batch_size=7))
    assert_array_equal(np.concatenate([items for _, items, _ in batches]), together.items)
    some = model.recommend(4, n=30, items=[1, 2, 3, 7, 8], exclude=[3])
    wanted = [item for item in alone.items if item in (1, 2, 7, 8)]
    assert some.items[: len(wanted)].tolist() == wanted
    assert (some.items[len(wanted) :] == -1).all()
    assert (model.recommend(3, exclude_seen=False).items == -1).all()  # nothing is known of the user


@pytest.mark.parametrize("feedback", ["implicit", "explicit"])
def test_histories_are_answered_as_rows_are(feedback):
    R = ratings()
    model = fastals.ItemKNN(neighbors=5, feedback=feedback).fit(R)
    for exclude_seen in (True, False):
        known = model.recommend(np.arange(25), n=6, exclude_seen=exclude_seen)
        new = model.recommend(histories=R, n=6, exclude_seen=exclude_seen)
        assert_array_equal(new.items, known.items)
        assert_array_equal(new.scores, known.scores)
    with pytest.raises(fastals.ParameterError, match="UserKNN takes no histories"):
        fastals.UserKNN().fit(R).recommend(histories=R)
    with pytest.raises(fastals.ParameterError, match="ItemKNN has no factors"):
        model.recommend(user_factors=np.ones(3))
    with pytest.raises(fastals.ParameterError, match="ItemKNN takes no boost"):
        model.recommend(0, boost={0: 2.0})


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("feedback", ["implicit", "explicit"])
def test_candidates_and_exclusions_for_each_user(cls, feedback):
    R = ratings()
    model = cls(neighbors=8, feedback=feedback).fit(R)
    whole = model.recommend([4, 7, 9], n=18)
    candidates, exclude = [[1, 2, 3, 10], [], [0, 16, 17]], [[2], [1], [5, 17]]
    for arguments, left in (
        ({"items": candidates}, [set(c) for c in candidates]),
        ({"exclude": exclude}, [set(range(18)) - set(e) for e in exclude]),
        ({"items": candidates, "exclude": [1, 16]}, [set(c) - {1, 16} for c in candidates]),
        (
            {"items": candidates, "exclude": exclude},
            [set(c) - set(e) for c, e in zip(candidates, exclude, strict=True)],
        ),
    ):
        found = model.recommend([4, 7, 9], n=18, **arguments)
        for q in range(3):
            wanted = [item for item in whole.items[q].tolist() if item in left[q]]
            assert found.items[q].tolist() == wanted + [-1] * (18 - len(wanted))


def test_similar():
    R = ratings()
    S = fastals.ItemKNN(neighbors=4).fit(R)
    found = S.similar_items([0, 5], n=6)
    row = S.similarity_.toarray()[0]
    assert_array_equal(found.scores[0, :4], np.sort(row)[::-1][:4])
    assert_array_equal(found.items[0, :4], np.argsort(-row, kind="stable")[:4])
    assert (found.items[0, 4:] == -1).all()
    assert (found.items[1] == -1).all()
    users = fastals.UserKNN(neighbors=4).fit(R).similar_users(0, n=2)
    assert users.users.shape == (2,)
    with pytest.raises(fastals.ParameterError, match="ItemKNN knows neighbours of items only"):
        S.similar_users(0)
    with pytest.raises(fastals.ParameterError, match="UserKNN knows neighbours of users only"):
        fastals.UserKNN().fit(R).similar_items(0)


@pytest.mark.parametrize("cls", MODELS)
def test_labels_in_labels_out(cls, tmp_path):
    plays = (["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"], [3, 1, 2, 2, 5])
    model = cls().fit(plays)
    for known in (model, pickle.loads(pickle.dumps(model))):
        assert known.recommend(["ann", "bob"], n=1).items.tolist() == [["folk"], ["rock"]]
        assert known.recommend("eve", n=3).items.tolist()[:1] == ["jazz"]
        assert np.isnan(known.predict("ann", ["opera"])).all()
        assert known.recommend_users("folk", n=1).users.tolist() == ["ann"]
    with pytest.raises(fastals.UnknownLabelError):
        model.recommend("zoe")
    model.save(tmp_path / "model")
    for mmap in (True, False):
        loaded = fastals.load(tmp_path / "model", mmap=mmap)
        assert type(loaded) is cls
        assert loaded.get_params() == model.get_params()
        assert_array_equal(loaded.similarity_.toarray(), model.similarity_.toarray())
        for users in (["ann", "bob", "eve"],):
            assert_array_equal(loaded.recommend(users).items, model.recommend(users).items)
            assert_array_equal(loaded.recommend(users).scores, model.recommend(users).scores)


@pytest.mark.parametrize("cls", MODELS)
def test_explicit_models_survive_the_file(cls, tmp_path):
    R = ratings()
    model = cls(feedback="explicit", neighbors=5).fit(R)
    model.set_params(feedback="implicit").save(tmp_path / "model")  # takes effect at the next fit
    users, items = map(np.ravel, np.indices(R.shape))
    assert_array_equal(fastals.load(tmp_path / "model").predict(users, items), model.predict(users, items))


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "model"
    fastals.ItemKNN(neighbors=3).fit(ratings()).save(path)
    whole = path.read_bytes()
    for rest in (b"", whole[:100], whole[:-1], whole + b"x"):
        path.write_bytes(rest)
        with pytest.raises(fastals.FileFormatError):
            fastals.load(path)
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 300):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.integers(8)]) + whole[at + 1 :])
        with pytest.raises(fastals.FileFormatError):
            fastals.load(path, mmap=False)
        with contextlib.suppress(fastals.FastalsError):  # without checksums it may be read, but must not crash
            fastals.load(path).recommend(np.arange(25))


def test_repeated_cells_are_summed():
    cells = ([0, 0, 0, 1, 1], [0, 0, 1, 0, 1], [1.0, 2.0, 1.0, 3.0, 1.0])
    kept = fastals.Interactions.from_arrays(*cells, duplicates="keep")
    for cls in MODELS:
        assert_array_equal(cls().fit(kept).similarity_.toarray(), cls().fit(cells).similarity_.toarray())


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"neighbors": 0}, "neighbors must be >= 1, got 0"),
        ({"feedback": "ratings"}, "feedback must be one of 'implicit', 'explicit', got 'ratings'"),
        ({"similarity": "pearson"}, "similarity must be one of"),
        ({"shrinkage": -1}, "shrinkage must be >= 0"),
        ({"shrinkage": 1, "similarity": "dot"}, "shrinkage must be 0 with similarity='dot'"),
        ({"weighting": "idf"}, "weighting must be one of 'auto', 'logidf', 'tfidf', 'bm25' or None, got 'idf'"),
        ({"weighting": "bm25", "feedback": "explicit"}, "weighting must be 'auto' or None with feedback='explicit'"),
    ],
)
def test_parameters_are_checked(cls, parameters, message):
    with pytest.raises(fastals.ParameterError, match=re.escape(message)):
        cls(**parameters)


@pytest.mark.parametrize("cls", MODELS)
def test_auto_is_one_of_the_others(cls, tmp_path):
    R = ratings()
    R.data[::6] *= -1
    for feedback, weighting in (("implicit", "logidf"), ("explicit", None)):
        auto, told = cls(feedback=feedback), cls(feedback=feedback, weighting=weighting)
        assert_array_equal(auto.fit(R).similarity_.toarray(), told.fit(R).similarity_.toarray())
        assert auto.weighting == "auto"
        assert auto.settings_ == told.settings_ == {"weighting": weighting}
        auto.save(tmp_path / "model")
        auto.set_params(weighting=None)  # takes effect at the next fit
        loaded = fastals.load(tmp_path / "model")
        assert loaded.weighting == "auto"
        assert loaded.settings_ == {"weighting": weighting}
        users, items = map(np.ravel, np.indices(R.shape))
        for model in (auto, loaded):
            assert_array_equal(model.predict(users, items), told.predict(users, items))


@pytest.mark.parametrize("cls", MODELS)
def test_a_few_large_counts_do_not_outweigh_the_others(cls):
    """Plays as they are put ItemKNN below popularity here."""
    train, test = evaluation.train_test_split(
        real_data.matrix(real_data.table("lastfm-hetrec2k"), "count"), 0.2, random_state=0
    )
    model = cls().fit(train)
    metrics, popular = (f(model, train, test) for f in (evaluation.evaluate, evaluation.popularity_baseline))
    assert metrics["ndcg@10"] > 2 * popular["ndcg@10"]


@pytest.mark.parametrize("cls", MODELS)
def test_errors(cls):
    with pytest.raises(fastals.NotFittedError):
        cls().recommend(0)
    with pytest.raises(fastals.NotFittedError):
        cls().save("model")
    with pytest.raises(fastals.DataError, match="values must be >= 0 with weighting='tfidf', got -1"):
        cls(weighting="tfidf").fit(([0, 1], [0, 0], [1, -1]))
    for weighting in ("auto", "logidf", None):
        cls(weighting=weighting).fit(([0, 1], [0, 0], [1, -1]))
    model = cls().fit(ratings())
    assert cls().set_params(neighbors=3).neighbors == 3
    assert repr(cls(neighbors=7)) == f"{cls.__name__}(neighbors=7)"
    with pytest.raises(fastals.DataError):
        model.fit(([], []))
    assert len(model.recommend(0).items) == 10  # as it was


@pytest.mark.parametrize("cls", MODELS)
def test_they_are_evaluated_as_other_models_are(cls):
    R = ratings(200, 60, seed=2)
    train, test = evaluation.train_test_split(R, 0.2, random_state=0)
    implicit = evaluation.evaluate(cls().fit(train), train, test)
    assert "rmse" not in implicit
    explicit = cls(feedback="explicit").fit(train)
    metrics = evaluation.evaluate(explicit, None, test)
    matrix = test.matrix.tocoo()
    assert metrics["rmse"] == pytest.approx(evaluation.rmse(matrix.data, explicit.predict(*matrix.coords)))
    area = evaluation.auc(cls().fit(train), train, test)
    scores = cls().fit(train).predict(*map(np.ravel, np.indices(R.shape))).reshape(R.shape)
    wins = []
    for user in range(200):
        relevant = test.matrix[[user]].indices
        rest = np.setdiff1d(np.arange(60), np.concatenate([relevant, train.matrix[[user]].indices]))
        if len(relevant):
            a, b = scores[user, relevant][:, None], scores[user, rest]
            wins.append(((a > b) + 0.5 * (a == b)).mean())
    assert area == pytest.approx(np.mean(wins))


@pytest.mark.parametrize("cls", MODELS)
def test_ml_100k(cls):
    """They beat popularity by far."""
    train, test = evaluation.train_test_split(real_data.matrix(real_data.table("ml-100k"), None), 0.2, random_state=0)
    model = cls(neighbors=100).fit(train)
    metrics, popular = (f(model, train, test) for f in (evaluation.evaluate, evaluation.popularity_baseline))
    assert metrics["ndcg@10"] > 1.4 * popular["ndcg@10"]
    assert metrics["precision@10"] > 0.25


@pytest.mark.parametrize("cls", MODELS)
def test_ratings_of_ml_100k(cls):
    """They predict better than the mean of each user and each item does."""
    columns = real_data.table("ml-100k")
    in_test = columns["fold"] == 1
    parts = [tuple(columns[c][mask] for c in ("user", "item", "rating")) for mask in (~in_test, in_test)]
    model = cls(feedback="explicit", neighbors=50, shrinkage=5).fit(parts[0])
    assert evaluation.evaluate(model, *parts)["rmse"] < 1.0
