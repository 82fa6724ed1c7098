"""A fitted model is one immutable object: nothing changes it but what makes another, and that is complete."""

import copy
import gc
import json
import pickle
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from sklearn.base import clone

import fastals
from fastals import EASE, ExplicitALS, ImplicitALS, ItemKNN, UserKNN

N_USERS, N_ITEMS = 40, 30
ONE = (["new"] * 4, ["i1", "i5", "i12", "i20"], [5, 1, 3, 4])
OF_ITEM = (["u1", "u7", "u9"], ["new"] * 3, [2, 5, 4])
LATER = (["u3", "newer", "newer", "u8"], ["i2", "i2", "i3", "newer still"], [4, 5, 1, 3])


def events(n_users: int = N_USERS, n_items: int = N_ITEMS, seed: int = 0) -> tuple[list[str], list[str], Any]:
    rng = np.random.default_rng(seed)
    cells = np.sort(rng.choice(n_users * n_items, n_users * n_items // 3, replace=False))
    users, items = np.divmod(cells, n_items)
    return [f"u{user}" for user in users], [f"i{item}" for item in items], rng.integers(1, 6, len(cells))


BASE: dict[str, Any] = {"factors": 4, "iterations": 4, "random_state": 0}
FACTORS: dict[str, Callable[[], Any]] = {
    "ratings": lambda: ExplicitALS(**BASE).fit(events()),
    "ratings without biases": lambda: ExplicitALS(**BASE, biases=False).fit(events()),
    "ratings with fixed biases": lambda: ExplicitALS.from_preset("lenskit", **BASE).fit(events()),
    "events": lambda: ImplicitALS(**BASE).fit(events()),
    "weighted events": lambda: ImplicitALS(**BASE, dtype="float64").fit(
        events(), sample_weight=np.random.default_rng(1).choice([0.5, 1, 2], len(events()[0]))
    ),
    "nonnegative events": lambda: ImplicitALS(**BASE, nonnegative=True, regularization=1.0).fit(events()),
    "users last": lambda: ImplicitALS.from_preset("spark", **BASE).fit(events()),
}
NEIGHBOURS: dict[str, Callable[[], Any]] = {
    "items like those": lambda: ItemKNN(neighbors=8).fit(events()),
    "ratings of items like those": lambda: ItemKNN(neighbors=8, feedback="explicit").fit(events()),
    "users like this": lambda: UserKNN(neighbors=8).fit(events()),
    "all for all": lambda: EASE(regularization=5.0, weighting="log").fit(events()),
    "ratings of users like this": lambda: UserKNN(neighbors=8, feedback="explicit", shrinkage=1.0).fit(events()),
}
ALL = FACTORS | NEIGHBOURS


@pytest.fixture(autouse=True)
def _few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toy data want no threads, but where their number is given."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def answers(model: Any) -> dict[str, Any]:
    """All that can be asked of a fitted model, but for what changes it."""
    users, items, factorized = model.users_, model.items_, isinstance(model, ExplicitALS | ImplicitALS)
    found = {
        "users_": users,
        "items_": items,
        "settings_": sorted(model.settings_.items()),
        "lists": model.recommend(users, n=6),
        "lists of all": model.recommend(users, n=6, exclude_seen=False),
        "lists of some": model.recommend(users, n=6, items=items[::2], exclude=items[:5]),
        "batches": [part for batch in model.recommend_all(n=6, batch_size=17) for part in batch],
        "popular": model.recommend("nobody", n=6, unknown="popular"),
        "users of items": model.recommend_users(items, n=6),
        "new users of items": model.recommend_users(items, n=6, exclude_seen=True),
        "scores": model.predict(np.repeat(users, 4), np.resize(items, 4 * len(users))),
        "mean scores": model.predict(["u1", "nobody", "nobody"], ["none", "i3", "none"], unknown="mean"),
        "score": model.score((["u1", "u1", "u2"], ["i1", "i2", "i29"], [4, 2, 3])),
    }
    if not isinstance(model, UserKNN):
        found["similar items"] = model.similar_items(items, n=6)
        found["lists of one"] = model.recommend(histories=ONE, n=6)
    if not isinstance(model, EASE | ItemKNN):
        found["similar users"] = model.similar_users(users, n=6)
    if factorized:
        why = model.explain("u5", "i3"), model.explain(None, "i3", history=ONE)
        found |= {
            "boosted": model.recommend(users, n=6, boost={items[3]: 3.0, items[4]: 0.5}),
            "user_factors_": model.user_factors_,
            "item_factors_": model.item_factors_,
            "losses": (model.loss_history_, model.n_iter_, model.n_repeated_, model.best_iteration_ or 0),
            "folded in": model.fold_in(ONE),
            "folded in items": model.fold_in_items(OF_ITEM),
            "reasons": [part for each in why for part in each],
            "lists of factors": model.recommend(user_factors=model.fold_in(ONE), n=6),
        }
    elif isinstance(model, EASE):
        found["weights_"] = model.weights_
    else:
        found["similarity_"] = model.similarity_.toarray()
    return found


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """The same bits."""
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value, name)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, where)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=where)
        assert np.asarray(found).dtype == np.asarray(expected).dtype, where


def written(model: Any, path: Path) -> tuple[Any, bytes]:
    """What a model's file holds: the header, the order of which is no matter, and the bytes of the tensors."""
    model.save(path)
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def differ(one: Any, other: Any) -> bool:
    """Whether two states are of different numbers."""
    pairs = zip(one.state_.numbers(), other.state_.numbers(), strict=False)
    same = len(one.state_.numbers()) == len(other.state_.numbers())
    return not (same and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs))


# ---------------------------------------------------------------------------------------------------------------------
# arrays


def arrays_of(thing: Any, path: str, met: set[int]) -> Iterator[tuple[str, Any]]:
    """Each array that can be reached from a state or a part of it, and how; but for tables that are derived."""
    if id(thing) in met:
        return
    met.add(id(thing))
    if isinstance(thing, np.ndarray):
        yield path, thing
    elif isinstance(thing, Mapping):
        for name, value in thing.items():
            yield from arrays_of(value, f"{path}[{name!r}]", met)
    elif isinstance(thing, list | tuple):
        for place, value in enumerate(thing):
            yield from arrays_of(value, f"{path}[{place}]", met)
    elif hasattr(thing, "__dict__"):
        for name, value in vars(thing).items():
            if name != "_derived":
                yield from arrays_of(value, f"{path}.{name}", met)


COPIES: dict[str, Callable[[Any, Path], Any]] = {
    "fitted": lambda model, path: model,
    "unpickled": lambda model, path: pickle.loads(pickle.dumps(model)),
    "copied": lambda model, path: copy.copy(model),
    "deeply copied": lambda model, path: copy.deepcopy(model),
    "mapped": lambda model, path: fastals.load(path),
    "read": lambda model, path: fastals.load(path, mmap=False),
    "gone on": lambda model, path: model.partial_fit(LATER) if hasattr(model, "partial_fit") else model,
}


def all_arrays(model: Any) -> dict[str, Any]:
    answers(model)
    found = dict(arrays_of(model.state_, "state_", set()))
    names = ["user_factors_", "item_factors_", "user_biases_", "item_biases_", "users_", "items_"]
    found |= {name: array for name in names if (array := getattr(model, name, None)) is not None}
    if isinstance(model, ExplicitALS | ImplicitALS):
        sides = [model.state_.trained(axis) for axis in ("users", "items")]
        return found | dict(arrays_of([model.state_.scoring_factors, sides], "derived", set()))
    if isinstance(model, EASE):
        history = model.state_.scoring_towards("items").history[2]
        return found | {"weights of items": model.weights_, "its weights": model.state_.weights, "history": history}
    return found | dict(arrays_of(model.similarity_, "similarity_", set()))


def is_of_data(name: str) -> bool:
    """Labels, and the cells of the training."""
    return name.startswith(("state_.users", "state_.items", "state_.pairs", "state_.weights", "users_", "items_"))


def check_read_only(arrays: Mapping[str, Any]) -> None:
    assert len(arrays) >= 3
    assert not [name for name, array in arrays.items() if array.flags.writeable]
    for array in arrays.values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = array


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("fit", ALL)
def test_arrays_are_read_only(fit: str, way: str, tmp_path: Path) -> None:
    model = ALL[fit]()
    model.save(tmp_path / "model")
    found = all_arrays(COPIES[way](model, tmp_path / "model"))
    check_read_only({name: array for name, array in found.items() if not is_of_data(name)})


@pytest.mark.parametrize("way", COPIES)
def test_and_so_are_those_of_the_data(way: str, tmp_path: Path) -> None:
    for fit in ("weighted events", "ratings of users like this"):
        model = ALL[fit]()
        model.save(tmp_path / "model")
        found = all_arrays(COPIES[way](model, tmp_path / "model"))
        check_read_only({name: array for name, array in found.items() if is_of_data(name)})


@pytest.mark.parametrize("way", [way for way in COPIES if way != "gone on"])
@pytest.mark.parametrize("fit", ALL)
def test_copies_answer_as_the_model_does(fit: str, way: str, tmp_path: Path) -> None:
    model = ALL[fit]()
    model.save(tmp_path / "model")
    before = COPIES[way](model, tmp_path / "model")
    expected = answers(model)
    assert_same(answers(before), expected)
    # and once more, with what has been derived by then
    assert_same(answers(COPIES[way](model, tmp_path / "model")), expected)
    assert written(before, tmp_path / "again") == written(model, tmp_path / "model")


def test_what_a_model_hands_out_is_its_own() -> None:
    model, neighbours = FACTORS["ratings"](), NEIGHBOURS["items like those"]()
    data = fastals.Interactions.from_arrays(*events())
    data.scoring = {"signals": {"play": 1.0}}
    model.fit(data, validation=events(seed=1))
    expected, scoring = answers(model), copy.deepcopy(data.scoring)
    data.scoring["signals"]["play"] = 2.0
    for name in ("settings_", "metrics_history_", "loss_history_", "scoring_"):
        getattr(model, name).clear()
    model.metrics_history_[0].clear()
    model.scoring_["signals"].clear()
    model.get_params().clear()
    assert model.scoring_ == scoring
    assert model.metrics_history_[0].keys() == {"rmse"}
    assert_same(answers(model), expected)
    for parts in (model.state_.parameters, model.state_.settings):
        with pytest.raises(TypeError):
            parts["factors"] = 9
    with pytest.raises(AttributeError):
        model.state_.mean = 0.0
    size, edges = f"{N_USERS} users x {N_ITEMS} items", neighbours.similarity_.nnz
    assert repr(model.state_) == f"<FittedState: {size}, 4 factors>"
    assert repr(neighbours.state_) == f"<NeighbourState: {size}, {edges} neighbours of items>"
    expected = answers(neighbours)
    neighbours.similarity_.data = np.zeros_like(neighbours.similarity_.data)
    neighbours.settings_.clear()
    assert_same(answers(neighbours), expected)


# ---------------------------------------------------------------------------------------------------------------------
# other factors


def other_factors(held: Any, seed: int = 5) -> Any:
    return np.abs(np.random.default_rng(seed).standard_normal(held.shape)).astype(held.dtype)


def float64(*factors: Any) -> Any:
    return [np.asarray(each, np.float64) for each in factors]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("side", ["user_factors_", "item_factors_"])
@pytest.mark.parametrize("fit", FACTORS)
def test_assigned_factors_are_what_is_answered_from(fit: str, side: str, asked: bool) -> None:
    model = FACTORS[fit]()
    held, before, losses = getattr(model, side), model.state_, model.loss_history_
    if asked:
        # nothing of these may be left
        old = answers(model)
    given = other_factors(held)
    setattr(model, side, given)
    np.testing.assert_array_equal(getattr(model, side), given)
    found = answers(model)
    given[:] = 0  # the model has taken a copy
    assert_same(answers(model), found)
    assert model.loss_history_ == losses

    X, Y = float64(model.user_factors_, model.item_factors_)
    mean, b_users, b_items = 0.0, np.zeros(N_USERS), np.zeros(N_ITEMS)
    if getattr(model, "user_biases_", None) is not None:
        mean, (b_users, b_items) = model.global_mean_, float64(model.user_biases_, model.item_biases_)
    scores = mean + b_users[:, None] + b_items + X @ Y.T
    tolerance: dict[str, float] = {"rtol": 1e-4, "atol": 1e-4}
    users, items = np.repeat(model.users_, N_ITEMS), np.tile(model.items_, N_USERS)
    np.testing.assert_allclose(model.predict(users, items), scores.ravel(), **tolerance)
    np.testing.assert_allclose(found["lists of all"].scores, -np.sort(-scores, axis=1)[:, :6], **tolerance)
    np.testing.assert_allclose(found["users of items"].scores, -np.sort(-scores.T, axis=1)[:, :6], **tolerance)
    for name, factors in (("similar items", Y), ("similar users", X)):
        units = factors / np.linalg.norm(factors, axis=1, keepdims=True)
        cosines = units @ units.T
        np.fill_diagonal(cosines, -np.inf)
        np.testing.assert_allclose(found[name][1], -np.sort(-cosines, axis=1)[:, :6], **tolerance)
    # a score taken apart is that of the user folded in, who is solved given these items
    folded = model.fold_in(ONE)[0].astype(np.float64)
    of_one = mean + folded[:4] @ Y.T + b_items + folded[4:].sum()
    why = model.explain(None, "i3", history=ONE)
    at = model.items_.tolist().index("i3")
    assert why.score == pytest.approx(of_one[at], rel=1e-3, abs=1e-3)
    np.testing.assert_allclose(model.predict("nobody", "i3", unknown="mean"), scores[:, at].mean(), **tolerance)

    if asked:
        # the state of before is what it was
        model._state = before
        assert_same(answers(model), old)


@pytest.mark.parametrize("fit", ["ratings without biases", "events", "weighted events", "nonnegative events"])
def test_assigned_factors_make_the_model_that_begins_with_them(fit: str) -> None:
    """To the bit, folding in and going on among it: a fit of no iterations from the same factors is the twin."""
    model = FACTORS[fit]()
    answers(model)
    weights = model.state_.weights
    model.item_factors_ = other_factors(model.item_factors_)
    model.user_factors_ = other_factors(model.user_factors_, 6)
    twin = clone(model).set_params(iterations=0)
    initial = model.user_factors_, model.item_factors_
    twin.fit(model.state_.pairs, sample_weight=None if weights is None else weights.values, initial_factors=initial)
    assert_same({**answers(model), "losses": None}, {**answers(twin), "losses": None})
    model.partial_fit(LATER), twin.partial_fit(LATER)
    assert_same({**answers(model), "losses": None}, {**answers(twin), "losses": None})
    assert not differ(model, twin)


@pytest.mark.parametrize("side", ["users", "items"])
def test_folding_in_follows_the_items_and_their_biases(side: str) -> None:
    """The row equation with a column of biases, solved in NumPy."""
    model = FACTORS["ratings"]()
    answers(model)
    model.item_factors_ = other_factors(model.item_factors_)
    model.user_factors_ = other_factors(model.user_factors_)
    if side == "users":
        found, ids, values = model.fold_in(ONE), *ONE[1:]
        labels, others, biases = model.items_, model.item_factors_, model.item_biases_
    else:
        found, ids, values = model.fold_in_items(OF_ITEM), OF_ITEM[0], OF_ITEM[2]
        labels, others, biases = model.users_, model.user_factors_, model.user_biases_
    rows = [labels.tolist().index(label) for label in ids]
    Z, equation = np.column_stack((*float64(others[rows]), np.ones(len(rows)))), model.state_.equation
    lam = equation.row_regularization(side, np.array([len(rows)]), len(labels))[0]
    own = equation.bias_regularization[side == "items"]
    b = np.array(values) - model.global_mean_ - biases[rows]
    expected = np.linalg.solve(Z.T @ Z + np.diag([lam] * 4 + [own]), Z.T @ b)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["float32", "float64", "float16", "int32", "bool", "complex64", "U1"]),
    array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    | st.sampled_from([(N_ITEMS, 4), (4, N_ITEMS), (0, 4)]),
)
def test_factors_of_another_shape_or_dtype_are_refused(dtype: str, shape: tuple[int, ...]) -> None:
    model = MODEL
    before, factors = model.state_, np.ones(shape).astype(dtype)
    if (dtype, shape) == ("float32", (N_ITEMS, 4)):
        model.item_factors_ = factors
        model._state = before
        return
    with pytest.raises(
        fastals.DataError, match=r"^item_factors_ must have shape \(30, 4\) and dtype float32, got shape"
    ):
        model.item_factors_ = factors
    assert model.state_ is before


MODEL = FACTORS["events"]()


def test_what_cannot_be_assigned() -> None:
    model = FACTORS["ratings"]()
    before, expected = model.state_, answers(model)
    for bad, message in ((np.nan, "got nan at row 3, column 1"), (-np.inf, "got -inf at row 3, column 1")):
        factors = model.user_factors_.copy()
        factors[3, 1] = bad
        with pytest.raises(fastals.DataError, match=f"^user_factors_ must be finite, {message}"):
            model.user_factors_ = factors
    for name in ("user_biases_", "global_mean_", "loss_history_", "settings_", "users_", "state_"):
        with pytest.raises(AttributeError):
            setattr(model, name, getattr(model, name))
    with pytest.raises(fastals.NotFittedError):
        ImplicitALS().item_factors_ = np.ones((2, 2), np.float32)
    assert model.state_ is before
    assert_same(answers(model), expected)


def test_any_order_of_the_same_numbers_can_be_assigned() -> None:
    model = FACTORS["events"]()
    factors = other_factors(model.item_factors_)
    model.item_factors_ = factors
    expected = answers(model)
    for same in (np.asfortranarray(factors), factors[::-1].copy()[::-1], np.repeat(factors, 2, axis=1)[:, ::2]):
        model.item_factors_ = same
        assert_same(answers(model), expected)


def test_what_is_derived_dies_with_its_state() -> None:
    model = FACTORS["events"]()
    answers(model)
    gone = [weakref.ref(each) for each in (model.state_, model.state_.derive("items", list))]
    for change in (lambda: setattr(model, "item_factors_", model.item_factors_), lambda: model.fit(events())):
        change()
        gc.collect()
        assert [ref() for ref in gone] == [None, None]
        answers(model)
        gone = [weakref.ref(each) for each in (model.state_, model.state_.derive("items", list))]


# ---------------------------------------------------------------------------------------------------------------------
# other parameters

BOTH: dict[str, Any] = {
    "factors": 7,
    "regularization": 3.0,
    "regularization_scaling": "count",
    "iterations": 1,
    "tol": 0.9,
    "solver": "lapack",
    "nonnegative": True,
    "preset": "spark",
    "dtype": "float64",
    "num_threads": 2,
    "random_state": 9,
}
NEIGHBOURHOOD: dict[str, Any] = {
    "neighbors": 2,
    "feedback": "explicit",
    "similarity": "dot",
    "shrinkage": 5.0,
    "weighting": None,
    "num_threads": 2,
}
CHANGES: dict[str, dict[str, Any]] = {
    "ratings": {**BOTH, "biases": False, "bias_regularization": 50.0},
    "events": {
        **BOTH,
        "alpha": 7.0,
        "confidence": "linear",
        "epsilon": 0.1,
        "unobserved_weight": 0.2,
        "unobserved_exponent": 0.5,
    },
    "items like those": NEIGHBOURHOOD,
    "users like this": NEIGHBOURHOOD,
}


@pytest.mark.parametrize("fit", CHANGES)
def test_no_parameter_is_forgotten_here(fit: str) -> None:
    given_ = ALL[fit]().get_params()
    assert CHANGES[fit].keys() == given_.keys()
    assert all(value != given_[name] for name, value in CHANGES[fit].items())


@pytest.mark.parametrize(("fit", "name"), [(fit, name) for fit in CHANGES for name in CHANGES[fit]])
def test_parameters_are_those_of_the_next_fit(fit: str, name: str, tmp_path: Path) -> None:
    model, twin = ALL[fit](), ALL[fit]()
    file, state = written(twin, tmp_path / "twin"), model.state_
    expected = answers(twin)
    for asked in (False, True):
        model.set_params(**{name: CHANGES[fit][name]})
        assert model.state_ is state
        if not asked:
            assert_same(answers(model), expected)
        assert written(model, tmp_path / "model") == file
        assert_same(answers(fastals.load(tmp_path / "model")), expected)
        assert model.get_params()[name] == CHANGES[fit][name]
    if fit in FACTORS:
        report, other = (each.diagnose().replace(", num_threads=2", "") for each in (model, twin))
        assert report == other
        for each in (model, twin):
            each.partial_fit(LATER)
        assert_same(answers(model), answers(twin))
        assert written(model, tmp_path / "model") == written(twin, tmp_path / "twin")
    assert differ(model.fit(events()), twin.fit(events())) == (name != "num_threads")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(CHANGES)), st.data())
def test_nor_do_many_of_them_at_once(tmp_path: Path, fit: str, data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(sorted(CHANGES[fit]))))
    for one, other in (("nonnegative", "solver"), ("feedback", "weighting"), ("similarity", "shrinkage")):
        if {one, other} <= names:  # these do not go together
            names.remove(other)
    model, twin = ALL[fit](), ALL[fit]()
    model.set_params(**{name: CHANGES[fit][name] for name in names})
    assert_same(answers(model), answers(twin))
    assert written(model, tmp_path / "model") == written(twin, tmp_path / "twin")


def test_an_attribute_is_a_parameter_too() -> None:
    model, twin = FACTORS["ratings"](), FACTORS["ratings"]()
    model.factors, model.biases, model.solver, model.dtype = 1, False, "cg", "float64"
    assert_same(answers(model), answers(twin))
    assert_same(answers(model.partial_fit(LATER)), answers(twin.partial_fit(LATER)))


# ---------------------------------------------------------------------------------------------------------------------
# the number of threads


@pytest.mark.parametrize("fit", ALL)
def test_the_number_of_threads_is_the_process_own(fit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ALL[fit]().set_params(num_threads=3).fit(events())
    path = tmp_path / "model"
    model.save(path)
    assert b"num_threads" not in path.read_bytes()
    for mmap in (True, False):
        loaded = fastals.load(path, mmap=mmap)
        assert (loaded.num_threads, loaded.get_params()["num_threads"]) == (None, None)
        assert loaded.state_.parameters["num_threads"] is None

    asked: list[int] = []
    state = type(model.state_)

    def told(method: Any) -> Any:
        def spied(self: Any, *args: Any) -> Any:
            asked.append(args[-1])
            return method(self, *args)

        return spied

    for name in ("search", "pair_scores"):
        monkeypatch.setattr(state, name, told(getattr(state, name)))
    for threads in (2, 5, None):
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        model.set_params(num_threads=threads)
        model.recommend("u1")
        model.recommend_users("i1")
        model.predict("u1", "i1")
        assert asked == [threads or 4] * 3
        asked.clear()


@pytest.mark.parametrize("kind", [ExplicitALS, ImplicitALS])
def test_not_even_numpy_unlocks_what_is_fitted(kind: Any) -> None:
    model = kind(factors=3, random_state=0).fit((["a", "b", "a"], ["x", "y", "y"], [1.0, 2.0, 3.0]))
    model.item_factors_ = model.item_factors_ * 2
    for each in (model, model.partial_fit((["c"], ["x"], [1.0]))):
        for factors in (each.user_factors_, each.item_factors_):
            with pytest.raises(ValueError, match="WRITEABLE"):
                factors.flags.writeable = True
