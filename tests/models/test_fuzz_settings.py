"""Random settings (the generator and the judge: fuzz_settings.py), and whether that judge would notice."""

import dataclasses
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import fuzz_settings
import numpy as np
import pytest
import reference
from fuzz_settings import Case, Equation, Judge, Point
from threadpoolctl import threadpool_limits

from fastals import ExplicitALS, ImplicitALS

CHUNKS, CHUNK = 20, 20


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_setting_gives_numbers_that_are_wrong(chunk: int) -> None:
    """Twenty thousand cases: ``python tests/fuzz_settings.py --cases 20000``."""
    with threadpool_limits(limits=1, user_api="blas"):
        verdicts = {number: fuzz_settings.judge(0, number) for number in range(chunk * CHUNK, (chunk + 1) * CHUNK)}
    assert {number: verdict.failures for number, verdict in verdicts.items() if verdict.failures} == {}
    assert sum(verdict.outcome == "fitted" for verdict in verdicts.values()) > CHUNK // 2


def test_a_case_follows_from_its_numbers() -> None:
    one, two = fuzz_settings.draw(3, 5), fuzz_settings.draw(3, 5)
    for field in dataclasses.fields(Case):
        np.testing.assert_equal(getattr(one, field.name), getattr(two, field.name))


# ---------------------------------------------------------------------------------------------------------------------
# the judge


def tame_case(model: str = "implicit", **parameters: Any) -> Case:
    rng = np.random.default_rng(0)
    users, items = (side.astype(np.int32) for side in np.nonzero(rng.random((30, 20)) < 0.3))
    known = {"factors": 4, "iterations": 4, "regularization": 0.5, "regularization_scaling": "constant"}
    known |= {"solver": "auto", "nonnegative": False, "preset": None, "dtype": "float32", "num_threads": 1}
    known |= {"random_state": 0, "tol": None, **parameters}
    if model == "implicit":
        known |= {"alpha": 2.0, "unobserved_weight": 0.7, "confidence": "linear", "epsilon": 1.0}
    else:
        known |= {"biases": parameters.get("biases", False), "bias_regularization": 2.0}
    known = {name: value for name, value in known.items() if name in fuzz_settings.SIGNATURES[model]}
    values = rng.integers(1, 6, len(users)).astype(np.float64)
    arguments: dict[str, Any] = {"weights": None, "start": None, "isa": "generic", "tame": True, "notes": ()}
    return Case(0, 0, model, known, (30, 20), users, items, values, prefixes=(1, 2), threads=(1, 2, 3), **arguments)


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("explicit", {}),
    ("explicit", {"biases": True}),
    ("explicit", {"biases": True, "nonnegative": True}),
    ("implicit", {}),
    ("implicit", {"solver": "cholesky"}),
    ("implicit", {"solver": "cg"}),
    ("implicit", {"factors": 40, "dtype": "float64"}),
    ("implicit", {"nonnegative": True, "preset": "spark"}),
]


@pytest.mark.parametrize(("model", "parameters"), VARIANTS, ids=str)
def test_what_is_right_is_not_blamed(model: str, parameters: dict[str, Any]) -> None:
    verdict = Judge(tame_case(model, **parameters)).run()
    assert verdict.outcome == "fitted"
    assert verdict.failures == []


class Forger(Judge):
    """Judges what ``forge`` makes of every fitted model."""

    def __init__(self, case: Case, forge: Any) -> None:
        super().__init__(case)
        self.forge = forge

    def fit(self, **changes: Any) -> Any:
        model = super().fit(**changes)
        names = ("user_factors_", "item_factors_", "loss_history_", "n_iter_")
        biases = ("user_biases_", "item_biases_", "global_mean_", "settings_")
        kept = {name: getattr(model, name) for name in (*names, *biases) if hasattr(model, name)}
        copy = SimpleNamespace(**kept)
        copy.user_factors_, copy.item_factors_ = model.user_factors_.copy(), model.item_factors_.copy()
        copy.loss_history_, copy.n_repeated_ = list(model.loss_history_), model.n_repeated_
        if changes.get("iterations") != 0:
            self.forge(copy, changes)
        return copy


def told(factor: float, at: int = -1) -> Any:
    def forge(model: Any, changes: Any) -> None:
        if not changes:
            model.loss_history_[at] *= factor

    return forge


def moved(name: str, by: float) -> Any:
    def forge(model: Any, changes: Any) -> None:
        factors = getattr(model, name)
        factors[3] += by * np.abs(factors).max()

    return forge


def swapped(model: Any, changes: Any) -> None:
    model.loss_history_[:] = model.loss_history_[::-1]


def negated(model: Any, changes: Any) -> None:
    model.user_factors_ *= -1
    model.item_factors_ *= -1


def for_two_threads(model: Any, changes: Any) -> None:
    if changes.get("num_threads") == 2:
        model.item_factors_[0, 0] = np.nextafter(model.item_factors_[0, 0], 9)


FORGERIES: list[tuple[str, Any]] = [
    ("wrong loss", told(1.0001)),
    ("wrong loss", told(0.9999)),
    ("told above the start", told(10, at=0)),
    ("rises", swapped),
    ("above the start", moved("user_factors_", 100)),
    ("factors not finite", moved("user_factors_", np.nan)),
    ("threads change bits", for_two_threads),
    ("history of another length", lambda model, changes: model.loss_history_.pop()),
    ("raises ZeroDivisionError", lambda model, changes: 1 / 0),
]


def forgeries(model: str, parameters: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What can be wrong with this model."""
    yield from FORGERIES
    last, first = "item_factors_", "user_factors_"
    if parameters.get("preset") == "spark":
        last, first = first, last
    if parameters.get("solver") != "cg":
        yield "last side not solved", moved(last, 0.1)
    if Judge(tame_case(model, **parameters)).may_be_cg():
        yield "a row is worse than before", moved(first, 100)
    else:
        yield "first side not solved", moved(first, 0.1)
    if parameters.get("solver") == "cholesky":
        yield "a shorter fit has other losses", told(1.001, at=1)
    if parameters.get("nonnegative"):
        yield "negative entries", negated


@pytest.mark.parametrize(
    ("model", "parameters", "kind", "forge"),
    [(*variant, *forgery) for variant in VARIANTS for forgery in forgeries(*variant)],
    ids=lambda value: str(value) if isinstance(value, str | dict) else "",
)
def test_what_is_wrong_is_noticed(model: str, parameters: dict[str, Any], kind: str, forge: Any) -> None:
    verdict = Forger(tame_case(model, **parameters), forge).run()
    assert kind in {kind for kind, _ in verdict.failures}


def test_errors_must_have_a_cause() -> None:
    tame = tame_case()
    refused = dataclasses.replace(tame, parameters={**tame.parameters, "factors": 0})
    assert [kind for kind, _ in Judge(refused).run().failures] == ["refused without cause"]


def test_what_has_no_answer_must_be_refused() -> None:
    tame = tame_case()
    negative = Equation(dataclasses.replace(tame, values=-tame.values), tame.parameters)
    assert not negative.any_positive
    parameters = {**tame.parameters, "preset": "implicit", "alpha": 0.1}
    assert Equation(dataclasses.replace(tame, parameters=parameters), parameters).no_minimum
    assert not Equation(tame, tame.parameters).no_minimum
    assert Equation(tame, tame.parameters).any_positive


@pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])
def test_the_objective_is_the_references(model: Any) -> None:
    case = tame_case("explicit" if model is ExplicitALS else "implicit")
    equation = Equation(case, case.parameters)
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((30, 4)), rng.standard_normal((20, 4))
    r = case.values
    w0, a, b = (0.0, np.ones_like(r), r) if model is ExplicitALS else (0.7, 2 * r, 1 + 2 * r)
    indptr = np.searchsorted(case.users, np.arange(31))
    cells = reference.Cells(indptr, case.items, a, b)
    expected = reference.objective(cells, X, Y, w0, np.full(30, 0.5), np.full(20, 0.5))
    for real in (np.float64, np.longdouble):
        L, error = equation.objective(Point(X, Y, 0.0, None, None), real)
        assert float(L) == pytest.approx(expected, rel=1e-13)
        assert error < 1e-12 * expected
    columns = cells.transpose(20)
    solved = reference.half_sweep(columns, X, w0, np.full(20, 0.5))
    side = equation.side(Point(X, solved, 0.0, None, None), 1)
    side.dtype = "float64"
    assert side.unsolved() == []
    assert len(dataclasses.replace(side, F=solved + 1e-3).unsolved()) == 20
