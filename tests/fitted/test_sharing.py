"""A fitted state is asked from other processes and threads, and is what there is until another is whole."""

import pickle
import pickletools
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_info

import fastals
from fastals import EASE, ExplicitALS, ImplicitALS, ItemKNN, UserKNN
from fastals._fitted import fold_in

ONE = (["new"] * 3, ["i1", "i4", "i7"], [5, 1, 3])
OF_ITEM = (["u1", "u3", "u8"], ["new"] * 3, [2, 5, 4])


def events(n_users: int = 30, n_items: int = 20, seed: int = 0) -> tuple[list[str], list[str], Any]:
    rng = np.random.default_rng(seed)
    users, items = np.divmod(np.flatnonzero(rng.random(n_users * n_items) < 0.35), n_items)
    return [f"u{user}" for user in users], [f"i{item}" for item in items], rng.integers(1, 6, len(users))


BASE: dict[str, Any] = {"factors": 6, "iterations": 3, "random_state": 0}
MODELS: dict[str, Callable[[], Any]] = {
    "ratings": lambda: ExplicitALS(**BASE),
    "ratings with fixed biases": lambda: ExplicitALS.from_preset("lenskit", **BASE),
    "events": lambda: ImplicitALS(**BASE, solver="lapack"),
    "nonnegative events": lambda: ImplicitALS(**BASE, nonnegative=True, dtype="float64"),
    "weights below 0": lambda: ImplicitALS.from_preset("implicit", **BASE),
    "items like those": lambda: ItemKNN(neighbors=6),
    "all for all": lambda: EASE(dtype="float64"),
    "users like this": lambda: UserKNN(neighbors=6, feedback="explicit"),
}
FACTORS = list(MODELS)[:5]

# ---------------------------------------------------------------------------------------------------------------------
# processes


def names_in(pickled: bytes) -> set[str]:
    """Modules and names of all classes and functions that a pickle speaks of, and all else in it that is text."""
    return {argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)}


@pytest.mark.parametrize("name", FACTORS)
def test_a_state_knows_no_estimator(name: str) -> None:
    model = MODELS[name]().fit(events())
    model.recommend("u1")
    for part, home in ((model.state_, "fastals._fitted.state"), (model.state_.equation, "fastals._equation.equation")):
        names = names_in(pickle.dumps(part, protocol=4))
        assert home in names
        assert not [each for each in names if each.startswith("fastals._models") or each.endswith("ALS")]


def test_an_equation_is_a_value() -> None:
    for name in FACTORS:
        equation = MODELS[name]().fit(events()).state_.equation
        again = pickle.loads(pickle.dumps(equation))
        assert again == equation
        assert hash(again) == hash(equation)
        assert len(pickle.dumps(equation)) < 2000
        assert equation == MODELS[name]().fit(events()).state_.equation
        with pytest.raises(AttributeError):
            equation.factors = 3


IN_ANOTHER_PROCESS = """
import pickle, sys
import numpy as np
from fastals._equation import RowEquation
from fastals._fitted import fold_in

state, equation, one, of_item = pickle.load(sys.stdin.buffer)
assert isinstance(equation, RowEquation) and equation == state.equation
rows = np.arange(len(state.users), dtype=np.int32)
factors = fold_in(state, "users", one, None, 1, items=state.items)
answers = [
    *state.top_items(rows, 5, True, 1),
    *state.similar("items", np.arange(5, dtype=np.int32), 4, __import__("fastals")._topn.Wanted(), 1),
    state.pair_scores(rows, rows % len(state.items), 1),
    factors,
    fold_in(state, "items", of_item, None, 1, users=state.users),
    state.queries_of_factors(factors),
    *(side.factors for side in state.trained_sides(1)),
]
sys.stdout.buffer.write(pickle.dumps(answers))
"""


@pytest.mark.parametrize("name", FACTORS)
def test_a_state_answers_the_same_in_another_process(name: str) -> None:
    model = MODELS[name]().fit(events())
    state, n_users, n_items = model.state_, len(model.users_), len(model.items_)
    given = pickle.dumps((state, state.equation, ONE, OF_ITEM))
    ran = subprocess.run([sys.executable, "-c", IN_ANOTHER_PROCESS], input=given, capture_output=True, check=True)
    lists, scores, similar, cosines, pairs, folded, folded_items, queries, X, Y = pickle.loads(ran.stdout)
    users, items = model.users_, model.items_
    found = model.recommend(users, n=5)
    np.testing.assert_array_equal(state.items.decode(lists), found.items)
    np.testing.assert_array_equal(scores, found.scores)
    found = model.similar_items(items[:5], n=4)
    np.testing.assert_array_equal(state.items.decode(similar), found.items)
    np.testing.assert_array_equal(cosines, found.scores)
    np.testing.assert_array_equal(pairs, model.predict(users, items[np.arange(n_users) % n_items]))
    np.testing.assert_array_equal(folded, model.fold_in(ONE))
    np.testing.assert_array_equal(folded, fold_in(state, "users", ONE, None, 2, items=state.items))
    np.testing.assert_array_equal(folded_items, model.fold_in_items(OF_ITEM))
    np.testing.assert_array_equal(queries, state.queries_of_factors(folded))
    np.testing.assert_array_equal(X[:, :6], model.user_factors_)
    np.testing.assert_array_equal(Y[:, :6], model.item_factors_)


@pytest.mark.parametrize("name", ["ratings", "nonnegative events", "users like this"])
def test_a_model_goes_on_in_another_process(name: str) -> None:
    """Fitted there, it comes back; sent there again it is asked, and goes on."""
    program = (
        "import pickle, sys\n"
        "model, what, data = pickle.load(sys.stdin.buffer)\n"
        "sys.stdout.buffer.write(pickle.dumps(getattr(model, what)(data)))\n"
    )

    def there(model: Any, what: str, data: Any) -> Any:
        given = pickle.dumps((model, what, data))
        ran = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, check=True)
        return pickle.loads(ran.stdout)

    here, users = MODELS[name]().fit(events()), ["u1", "u5", "u9"]
    model = there(MODELS[name](), "fit", events())
    for found, expected in (
        (there(model, "recommend", users), here.recommend(users)),
        (model.recommend(users), here.recommend(users)),
    ):
        np.testing.assert_array_equal(found.items, expected.items)
        np.testing.assert_array_equal(found.scores, expected.scores)
    if name in FACTORS:
        later = ["u1", "newer"], ["i2", "newer"], [4, 5]
        model = there(model, "partial_fit", later)
        assert model.get_params() == here.get_params()
        for one, other in zip(model.state_.numbers(), here.partial_fit(later).state_.numbers(), strict=True):
            np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------------------------------------------------------
# threads

SHAPES = [(30, 20, 4), (45, 13, 9), (12, 60, 2), (80, 40, 17)]
"""Users, items and factors of one fit after the other; all know u1, u3, u8, i1, i4 and i7."""


def full_events(n_users: int, n_items: int, seed: int) -> tuple[list[str], list[str], list[int]]:
    users, items, values = events(n_users, n_items, seed)
    sure = ["u1", "u3", "u8"], ["i1", "i4", "i7"], [3, 4, 5]
    pairs = dict(zip(zip(users, items, strict=True), values, strict=True))
    pairs |= {(user, item): value for user, item, value in zip(*sure, strict=True)}
    return [user for user, _ in pairs], [item for _, item in pairs], list(pairs.values())


QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "lists": lambda model: model.recommend(["u1", "u3", "u8"], n=7),
    "lists of some": lambda model: model.recommend("u3", n=3, items=["i7", "i4", "i1"], exclude_seen=False),
    "users": lambda model: model.recommend_users(["i4", "i1"], n=5, exclude_seen=True),
    "scores": lambda model: (model.predict(["u1", "nobody", "u8"], ["i4", "i1", "none"], unknown="mean"),),
    "all": lambda model: [np.concatenate(parts) for parts in zip(*model.recommend_all(n=3, batch_size=7), strict=True)],
    "popular": lambda model: model.recommend("nobody", n=4, unknown="popular"),
}
OF_ITEMS: dict[str, Callable[[Any], Any]] = {
    "similar": lambda model: model.similar_items(["i1", "i7"], n=4),
    "lists of one": lambda model: model.recommend(histories=ONE, n=5),
}
OF_FACTORS: dict[str, Callable[[Any], Any]] = {
    **OF_ITEMS,
    "folded in": lambda model: (model.fold_in(ONE),),
    "folded in items": lambda model: (model.fold_in_items(OF_ITEM),),
    "reasons": lambda model: tuple(np.atleast_1d(part) for part in model.explain("u3", "i1")),
    "boosted": lambda model: model.recommend("u1", n=4, boost={"i4": 2.0}),
    "numbers": lambda model: model.state_.numbers(),
}
ASKED: list[tuple[str, Callable[[dict[str, Any]], Any], dict[str, Callable[[Any], Any]]]] = [
    ("ratings", lambda own: ExplicitALS(**own), QUESTIONS | OF_FACTORS),
    ("events", lambda own: ImplicitALS(**own), QUESTIONS | OF_FACTORS),
    ("items like those", lambda own: ItemKNN(neighbors=own["factors"]), QUESTIONS | OF_ITEMS),
    ("all for all", lambda own: EASE(regularization=own["factors"]), QUESTIONS | OF_ITEMS),
]


@pytest.mark.parametrize(("make", "questions"), [pytest.param(*each[1:], id=each[0]) for each in ASKED])
def test_asked_by_eight_while_it_is_fitted(
    make: Any, questions: dict[str, Callable[[Any], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer is of two states, whatever the shapes of these."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pools = sorted((pool["filepath"], pool["num_threads"]) for pool in threadpool_info())
    data = [full_events(n_users, n_items, seed) for seed, (n_users, n_items, _) in enumerate(SHAPES)]
    settings = [{"factors": factors, "iterations": 2, "random_state": 0} for _, _, factors in SHAPES]
    expected: dict[str, list[Any]] = {name: [] for name in questions}
    for own, part in zip(settings, data, strict=True):
        fitted = make(own).fit(part)
        for name, ask in questions.items():
            expected[name].append(ask(fitted))

    model, over, fits = make(settings[0]), threading.Event(), 0
    start, met = threading.Barrier(9), [set[int]() for _ in range(8)]

    def asking(seed: int) -> None:
        names = np.random.default_rng(seed).permutation(list(questions)).tolist()
        count = 0
        start.wait()
        while not over.is_set():
            name, before = names[count % len(names)], fits
            try:
                found = questions[name](model)
            except fastals.NotFittedError:
                assert not before
                continue
            same = [
                place
                for place, parts in enumerate(expected[name])
                if len(parts) == len(found) and all(map(np.array_equal, parts, found))
            ]
            assert same, f"{name} is of none of the states"
            met[seed] |= set(same)
            count += 1

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(asking, seed) for seed in range(8)]
        start.wait()
        try:
            # everybody is to have met something, and everything to have been met
            while fits < 60 or not (all(met) and len(set().union(*met)) == len(SHAPES)):
                if any(future.done() for future in asked):
                    break  # by an exception, which comes below
                place = fits % len(SHAPES)
                model.set_params(**make(settings[place]).get_params()).fit(data[place])
                fits += 1
        finally:
            over.set()
        for future in asked:
            future.result()
    assert all(met)
    assert set().union(*met) == set(range(len(SHAPES)))
    # BLAS is what it was, whoever was first in and last out
    assert sorted((pool["filepath"], pool["num_threads"]) for pool in threadpool_info()) == pools


def test_what_is_derived_is_made_once_for_all() -> None:
    model = ImplicitALS(**BASE).fit(events())
    made, start = [], threading.Barrier(8)

    def make() -> object:
        made.append(1)
        return object()

    def ask(_: int) -> object:
        start.wait()
        return model.state_.derive("something", make)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(made) == 1
    assert len(set(map(id, found))) == 1


# ---------------------------------------------------------------------------------------------------------------------
# a fit that fails


class StoppedError(Exception):
    pass


def stop(iteration: int, *_: Any) -> bool:
    if iteration == 2:
        raise StoppedError
    return False


FAILURES: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "no data": (sparse.csr_array((5, 5)), {}, fastals.DataError),
    "no numbers": ((["u1"], ["i1"], [np.nan]), {}, fastals.DataError),
    "no form": ("data", {}, fastals.FastalsError),
    "no factors": (events(), {"initial_factors": (np.ones((1, 1)), np.ones((1, 1)))}, fastals.DataError),
    "no weights": (events(), {"sample_weight": [-1.0]}, fastals.DataError),
    "no validation": (events(), {"validation": (["zoe"], ["zoe"], [1])}, fastals.DataError),
    "patience without": (events(), {"patience": 3}, fastals.ParameterError),
    "no bar": (events(), {"progress": "yes"}, fastals.ArgumentTypeError),
    "stopped on the way": (events(40, 25), {"callback": stop}, StoppedError),
}


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("failure", FAILURES)
def test_a_fit_that_fails_leaves_the_state(failure: str, name: str) -> None:
    model = MODELS[name]().fit(events())
    data, options, error = FAILURES[failure]
    state, users, fresh = model.state_, ["u1", "u9"], MODELS[name]()
    expected, parameters = model.recommend(users), model.get_params()
    with pytest.raises(error):
        model.fit(data, **options)
    assert model.state_ is state
    assert model.get_params() == parameters
    np.testing.assert_array_equal(model.recommend(users).scores, expected.scores)
    # and where there was none there is none
    fresh.set_params(**parameters)
    with pytest.raises(error):
        fresh.fit(data, **options)
    with pytest.raises(fastals.NotFittedError):
        fresh.recommend(users)


def test_a_fit_that_overflows_leaves_the_state() -> None:
    model = ImplicitALS(**BASE, confidence="linear").fit(events())
    state = model.state_
    with pytest.raises(fastals.NumericalError):
        model.set_params(alpha=1e30).fit((["a", "b"], ["x", "y"], [1e38, 3e38]))
    assert model.state_ is state


@pytest.mark.parametrize("name", ["items like those", "users like this", "all for all"])
def test_neighbours_that_are_not_found_leave_the_state(name: str) -> None:
    model = MODELS[name]().fit(events())
    state = model.state_
    for data in (sparse.csr_array((5, 5)), (["u1"], ["i1"], [np.nan]), "data"):
        with pytest.raises(fastals.FastalsError):
            model.fit(data)
        assert model.state_ is state
    setattr(model, "regularization" if name == "all for all" else "neighbors", -1)
    with pytest.raises(fastals.ParameterError):
        model.fit(events())
    assert model.state_ is state
    assert model.recommend("u1", n=2).items.shape == (2,)


# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn


@pytest.mark.parametrize("name", MODELS)
def test_scikit_learn_knows_who_is_fitted(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    with pytest.raises(SklearnNotFittedError):
        check_is_fitted(model)
    check_is_fitted(model.fit(events()))
    model.save(tmp_path / "model")
    for each in (fastals.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        check_is_fitted(each)
    again = clone(model)
    assert again.get_params() == model.get_params()
    with pytest.raises(SklearnNotFittedError):
        check_is_fitted(again)
    with pytest.raises(fastals.NotFittedError, match="is not fitted yet: call fit first"):
        _ = again.state_
    assert not hasattr(again, "user_factors_")
    assert not hasattr(again, "similarity_")
    assert vars(again).keys() - {"_cloned"} == model.get_params().keys()
    check_is_fitted(model)
