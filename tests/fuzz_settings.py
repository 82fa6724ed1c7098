"""Random data at random settings, and a judge of what comes out, who shares no formula with fastals.

    python tests/fuzz_settings.py --cases 20000 --seed 0            # counts by kind of failure, and where each is
    python tests/fuzz_settings.py --seed 0 --case 17                # one case: its settings, its failures

A case follows from its seed and number alone. The judge works on dense matrices in float64, in long double where
float64 would not tell a failure from its own rounding. For each pair of user and item the stored cells and the weight
of all pairs (w0) amount to one weight and one target, so the objective is a sum of squares, whose terms do not cancel:

    L = sum_ui W (s - T)^2 + K + sum_u lambda_u |x_u|^2 + sum_i lambda_i |y_i|^2
    W = w0 + sum a,  T = sum b / W,  K = sum b^2 / (w0 + a) - sum T^2 W        s the score, sums over the pair's cells

What is judged, eps being the dtype's rounding unit, L0 the objective where all factors, biases and the mean are zero:

* a fit gives finite factors or an error of fastals, no warning; data without a minimum (some W < 0) or, implicit,
  without a positive value give an error, tame cases do not, and no others say that it is the data's fault;
* the loss told last is L, to within 1e-5 L + 1e-7 L0 (float64: 1e-12 L + 1e-14 L0): `Judge.tolerance`;
* neither L nor the loss told is above L at the start, or above the loss told before, by more than that;
* rows that were solved exactly are solved: see `Judge.rows_solved`; rows that were not are no worse than at the start;
* the number of threads changes no bit; nonnegative factors are.
"""

import argparse
import collections
import faulthandler
import inspect
import itertools
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin would be most of the time

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals._core import kernels

Floats = NDArray[Any]
MODELS = {"explicit": ExplicitALS, "implicit": ImplicitALS}
SIGNATURES = {name: inspect.signature(model).parameters for name, model in MODELS.items()}
EPS = {"float32": float(np.finfo(np.float32).eps) / 2, "float64": float(np.finfo(np.float64).eps) / 2}
TINY = float(np.finfo(np.float32).tiny)

# ---------------------------------------------------------------------------------------------------------------------
# the generator


@dataclass(frozen=True)
class Case:
    """Data, settings, and what is asked of them."""

    seed: int
    number: int
    model: str
    parameters: Mapping[str, Any]
    shape: tuple[int, int]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    values: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    start: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    isa: str
    tame: bool
    """Nothing about it is extreme: no error is taken."""
    prefixes: tuple[int, ...]
    """Numbers of iterations to fit anew."""
    threads: tuple[int, ...]
    """Numbers of threads to fit anew."""
    notes: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        return str(self.parameters["dtype"])

    def interactions(self) -> Any:
        matrix = sparse.coo_array((self.values, (self.users, self.items)), shape=self.shape)
        return fastals.Interactions.from_matrix(matrix, duplicates="keep")


def log_uniform(rng: np.random.Generator, low: float, high: float, size: Any = None) -> Any:
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def pick(rng: np.random.Generator, shares: Mapping[Any, float]) -> Any:
    """A key, by its share."""
    at = rng.random() * sum(shares.values())
    for key, share in shares.items():
        at -= share
        if at < 0:
            return key
    return key


def draw(seed: int, number: int) -> Case:
    rng = np.random.default_rng([seed, number])
    model = "explicit" if rng.random() < 0.5 else "implicit"
    shape, users, items, long_row = draw_cells(rng)
    values, values_kind = draw_values(rng, model, shape, users, items)
    weights, weights_kind = draw_weights(rng, len(values))
    order = np.lexsort((items, users))
    users, items, values = users[order], items[order], values[order]

    parameters, gentle = draw_parameters(rng, model, shape, long_row)
    size = np.abs(values[values != 0]) if values.any() else np.ones(1)
    wide = parameters["dtype"] == "float64"
    tame = gentle and weights_kind != "wild" and size.max() <= (1e6 if wide else 1e3)
    tame &= bool(size.min() >= (1e-6 if wide else 1e-3))
    start, start_kind = draw_start(rng, shape, parameters)
    tame &= start_kind != "wild"
    if long_row:
        parameters["iterations"] = 1 + parameters["iterations"] % 3
        parameters["solver"] = "auto" if parameters["solver"] == "lapack" else parameters["solver"]
    n, isas = parameters["iterations"], kernels.available_isas()
    prefixes = {1} if rng.random() < 0.5 else set()
    if rng.random() < 0.15:
        prefixes.add(int(rng.integers(1, 9)))
    return Case(
        seed,
        number,
        model,
        parameters,
        shape,
        users,
        items,
        values,
        weights,
        start,
        isas[int(rng.random() * len(isas))],
        tame,
        tuple(j for j in sorted(prefixes) if j < n),
        (1, 2, 3) if long_row or rng.random() < 0.12 else (),
        (values_kind, weights_kind, start_kind),
    )


def draw_cells(rng: np.random.Generator) -> tuple[tuple[int, int], Any, Any, bool]:
    """Users and items of the stored cells; some rows and columns have none, some pairs several."""
    shape = [int(log_uniform(rng, 1, 61)) if rng.random() < 0.5 else int(rng.integers(1, 61)) for _ in range(2)]
    kind = pick(rng, {"plain": 86, "wide": 12, "long": 2})
    if kind == "wide":
        shape[rng.integers(2)] = int(rng.integers(100, 400))
    if kind == "long":
        shape = [int(rng.integers(1, 6)), int(rng.integers(1100, 2400))]
    density = log_uniform(rng, 0.02, 1.0)
    stored = rng.random(shape) < density
    if kind == "long":
        # longer than what conjugate gradients take at once, one or all of them
        stored = rng.random(shape) < 0.02
        few = slice(0, 1) if rng.random() < 0.5 else slice(0, 5)
        stored[few] = rng.random(stored[few].shape) < 0.95
    if rng.random() < 0.25:
        stored[rng.random(shape[0]) < 0.3] = False
        stored[:, rng.random(shape[1]) < 0.3] = False
    if not stored.any():
        stored[rng.integers(shape[0]), rng.integers(shape[1])] = True
    if kind == "long" and rng.random() < 0.5:
        stored, shape = stored.T, shape[::-1]
    users, items = (side.astype(np.int32) for side in np.nonzero(stored))
    if rng.random() < 0.15:
        again = rng.integers(len(users), size=int(rng.integers(1, 3 + len(users) // 2)))
        users, items = np.concatenate((users, users[again])), np.concatenate((items, items[again]))
    return (shape[0], shape[1]), users, items, kind == "long"


def draw_values(rng: np.random.Generator, model: str, shape: tuple[int, int], users: Any, items: Any) -> Any:
    n = len(users)
    kinds = {"ratings": 30, "counts": 20, "magnitude": 20, "wild": 12, "constant": 6, "low rank": 12}
    kind = pick(rng, kinds)
    if kind == "ratings":
        values = rng.integers(1, 6, n).astype(np.float64)
    elif kind == "counts":
        values = np.ceil(rng.lognormal(0, rng.uniform(0.2, 2.5), n))
    elif kind == "magnitude":
        values = log_uniform(rng, 1e-12, 1e12) * rng.uniform(0.5, 1.5, n)
    elif kind == "wild":
        values = log_uniform(rng, 1e-12, 1e12, n)
    elif kind == "constant":
        values = np.full(n, rng.integers(1, 6) if rng.random() < 0.5 else log_uniform(rng, 1e-12, 1e12))
    else:
        rank = int(rng.integers(1, 4))
        P, Q = rng.uniform(0.1, 1, (shape[0], rank)), rng.uniform(0.1, 1, (shape[1], rank))
        values = (P @ Q.T)[users, items] * (1 if rng.random() < 0.5 else log_uniform(rng, 1e-9, 1e9))
    if rng.random() < 0.25:
        values = np.where(rng.random(n) < rng.choice([0.1, 0.5, 1.0], p=[0.5, 0.35, 0.15]), -values, values)
        kind += ", signed"
    if rng.random() < 0.15:
        values = np.where(rng.random(n) < rng.choice([0.1, 0.5, 1.0], p=[0.6, 0.35, 0.05]), 0.0, values)
        kind += ", zeros"
    return values, kind


def draw_weights(rng: np.random.Generator, n: int) -> Any:
    kind = pick(rng, {"none": 80, "mild": 8, "whole": 7, "wild": 5})
    if kind == "none":
        return None, kind
    if kind == "mild":
        return rng.uniform(0.1, 2, n), kind
    return (rng.integers(0, 4, n).astype(np.float64) if kind == "whole" else log_uniform(rng, 1e-6, 1e6, n)), kind


PRESETS = {
    "explicit": ["spark", "cmfrec", "lenskit"],
    "implicit": [
        *("spark", "implicit", "cmfrec", "irspack", "irspack-original", "lenskit", "lenskit-ratings", "buffalo"),
    ],
}


def draw_regularization(rng: np.random.Generator) -> float:
    kind = pick(rng, {"zero": 12, "usual": 58, "any": 30})
    low, high = (1e-4, 1e3) if kind == "usual" else (1e-50, 1e6)
    return 0.0 if kind == "zero" else float(log_uniform(rng, low, high))


def draw_parameters(
    rng: np.random.Generator, model: str, shape: tuple[int, int], long_row: bool
) -> tuple[dict[str, Any], bool]:
    """Settings, and whether they are gentle. What is drawn does not depend on which parameters the model has."""
    known = SIGNATURES[model]
    most = min(4 * max(shape), 240)
    factors = int(rng.integers(1, min(most, 9) + 1))
    more = pick(rng, {"few": 45, "some": 45, "many": 10})
    if more == "some":
        factors = int(np.clip(log_uniform(rng, 1, 80), 1, most))
    if more == "many":
        factors = int(log_uniform(rng, 1, most + 1))
    if long_row:
        factors = int(rng.integers(33, 66))
    dtype = "float32" if rng.random() < 0.6 else "float64"
    regularization: Any = draw_regularization(rng)
    if rng.random() < 0.25:
        regularization = (regularization, draw_regularization(rng))
    scaling = pick(rng, {"constant": 50, "count": 25, "power": 25})
    power = float(rng.choice([0.0, 0.5, 1.0, rng.uniform(0, 2)]))
    parameters: dict[str, Any] = {
        "factors": factors,
        "regularization": regularization,
        "regularization_scaling": power if scaling == "power" else scaling,
        "iterations": int(rng.integers(1, 9)),
        "solver": pick(rng, {"auto": 40, "cholesky": 25, "cg": 23, "lapack": 12}),
        "nonnegative": bool(rng.random() < 0.15),
        "preset": str(rng.choice(PRESETS[model])) if rng.random() < 0.3 else None,
        "dtype": dtype,
        "num_threads": int(pick(rng, {1: 84, 2: 8, 3: 8})),
        "random_state": int(rng.integers(1000)),
    }
    if parameters["nonnegative"] and parameters["solver"] in ("cg", "lapack"):
        parameters["solver"] = "auto"
    tol, bias_kind, bias_lambda = None, pick(rng, {"auto": 30, "zero": 10, "number": 60}), log_uniform(rng, 1e-6, 1e4)
    alpha = pick(rng, {"one": 15, "usual": 50, "any": 30, "zero": 5})
    bounds = (1e-8, 1e8) if alpha == "any" else (1e-2, 1e2)
    alpha = {"one": 1.0, "zero": 0.0}.get(alpha, float(log_uniform(rng, *bounds)))
    w0_kind = pick(rng, {"one": 40, "zero": 10, "uniform": 25, "small": 25})
    w0 = {"one": 1.0, "zero": 0.0, "uniform": float(rng.uniform(0, 10))}.get(w0_kind, float(log_uniform(rng, 1e-6, 1)))
    confidence, epsilon = rng.random() < 0.35, float(log_uniform(rng, 1e-6, 1e6) if rng.random() < 0.5 else 1.0)
    biases, autos = bool(rng.random() < 0.4), rng.random(6) < 0.5
    if model == "explicit":
        parameters["biases"] = biases
        bias: Any = {"auto": "auto", "zero": 0.0}.get(bias_kind, float(bias_lambda))
        if autos[0] and bias != "auto" and "tuple" in str(known.get("bias_regularization")):
            bias = (bias, 2 * bias)
        parameters["bias_regularization"] = bias
    else:
        parameters |= {"alpha": alpha, "unobserved_weight": w0, "epsilon": epsilon}
        parameters["confidence"] = "log" if confidence else "linear"
    parameters["tol"] = tol
    if rng.random() < 0.08 and known["regularization"].default == "auto" and parameters["preset"] is None:
        names = ("regularization", "regularization_scaling", "unobserved_weight", "confidence", "biases")
        parameters |= {name: "auto" for name, auto in zip(names, autos, strict=False) if auto and name in parameters}
    pair = np.broadcast_to([1.0 if regularization == "auto" else regularization][0], 2)
    gentle = bool(min(pair) >= (1e-8 if dtype == "float64" else 1e-3) and max(pair) <= 1e3)
    if model == "implicit":
        gentle &= 1e-3 <= alpha <= 1e3 and w0 >= 1e-3 and 1e-3 <= epsilon <= 1e3
    return {name: value for name, value in parameters.items() if name in known}, gentle


def draw_start(rng: np.random.Generator, shape: tuple[int, int], parameters: Mapping[str, Any]) -> Any:
    """Initial factors that float32 can hold; None: those that the model draws."""
    kind = pick(rng, {"none": 60, "normal": 20, "wild": 12, "zero": 4, "same": 4})
    if kind == "none":
        return None, kind
    k = parameters["factors"]
    sizes = log_uniform(rng, 1e-8, 1e8, 2) if kind == "wild" else np.ones(2)
    factors = [rng.standard_normal((n, k)) * size for n, size in zip(shape, sizes, strict=True)]
    if kind == "zero":
        factors[rng.integers(2)][:] = 0
        if rng.random() < 0.5:
            factors[0][:] = factors[1][:] = 0
    if kind == "same":
        factors[1][:] = factors[1][0]
    if parameters["nonnegative"]:
        factors = [np.abs(part) for part in factors]
    X, Y = (part.astype(np.float32).astype(np.float64) for part in factors)
    return (X, Y), kind


# ---------------------------------------------------------------------------------------------------------------------
# the equation of a case, by formulas of its own


class Preset(NamedTuple):
    """a and b of a cell of value r: a0 + a1 |r| and b0 + b1 r."""

    a0: float
    a1: float
    b0: float
    b1: float
    zeros_count: bool = False
    last: str = "items"
    mean: str = "none"
    """explicit: "center": ratings less their mean, also without biases; "damped": biases are fixed beforehand."""


def preset_of(name: str | None, model: str, alpha: float, w0: float) -> Preset:
    if model == "explicit":
        return {
            None: Preset(1, 0, 0, 1),
            "spark": Preset(1, 0, 0, 1, last="users"),
            "cmfrec": Preset(1, 0, 0, 1, last="users", mean="center"),
            "lenskit": Preset(1, 0, 0, 1, mean="damped"),
        }[name]
    return {
        None: Preset(0, alpha, 1, alpha),
        "spark": Preset(0, alpha, 1, alpha, last="users"),
        "implicit": Preset(-1, alpha, 0, alpha),
        "cmfrec": Preset(0, alpha, 1, alpha, True, last="users"),
        "irspack": Preset(0, alpha, 0, alpha),
        "irspack-original": Preset(0, alpha, w0, alpha, True),
        "lenskit": Preset(alpha, 0, 1 + alpha, 0, True),
        "lenskit-ratings": Preset(0, alpha, 1, alpha, True),
        "buffalo": Preset(0, alpha, 1, alpha, True),
    }[name]


class Point(NamedTuple):
    """Where the objective is asked for."""

    X: Floats
    Y: Floats
    mean: float
    user_biases: Floats | None
    item_biases: Floats | None

    @classmethod
    def of(cls, model: Any) -> "Point":
        biases = (getattr(model, "user_biases_", None), getattr(model, "item_biases_", None))
        return cls(model.user_factors_, model.item_factors_, getattr(model, "global_mean_", 0.0), *biases)

    def finite(self) -> bool:
        return all(part is None or bool(np.isfinite(part).all()) for part in self)

    def same_bits(self, other: "Point") -> bool:
        return all(np.asarray(one).tobytes() == np.asarray(two).tobytes() for one, two in zip(self, other, strict=True))


def is_auto(name: str, value: Any) -> bool:
    """Whether a setting is to be found by the model."""
    return name != "solver" and isinstance(value, str) and value == "auto"


def ratio(top: Any, bottom: Any) -> Any:
    """0 where the bottom is 0."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


class Equation:
    """Weights, targets and lambdas of all pairs and rows."""

    def __init__(self, case: Case, settings: Mapping[str, Any]) -> None:
        self.case, self.settings = case, settings
        get = settings.get
        self.dtype = case.dtype
        self.implicit = case.model == "implicit"
        self.w0 = float(get("unobserved_weight", 0.0)) if self.implicit else 0.0
        alpha = float(get("alpha", 1.0))
        self.preset = preset_of(get("preset"), case.model, alpha, self.w0)
        r = case.values.astype(self.dtype).astype(np.longdouble)
        scale = np.ones(len(r)) if case.weights is None else case.weights.astype(self.dtype)
        if self.implicit and get("confidence") == "log":
            r = np.copysign(np.log1p(np.abs(r) / np.longdouble(get("epsilon"))), r)
        positive = (r >= 0 if self.preset.zeros_count else r > 0) if self.implicit else np.ones(len(r), bool)
        self.any_positive = bool((case.values[positive] >= 0).any()) or not self.implicit
        s, p = scale.astype(np.longdouble), self.preset
        a = s * (np.longdouble(p.a0) + np.longdouble(p.a1) * np.abs(r))
        b = np.where(positive, s * (np.longdouble(p.b0) + np.longdouble(p.b1) * r), 0)

        # cells are sorted: the cells of a pair stand side by side
        pair = case.users.astype(np.int64) * case.shape[1] + case.items
        first = np.flatnonzero(np.diff(pair, prepend=-1))
        at = case.users[first], case.items[first]
        sum_a, sum_b = np.add.reduceat(a, first), np.add.reduceat(b, first)
        weight = self.w0 + sum_a
        target = np.where(weight > 0, ratio(sum_b, weight), 0)
        self.W, self.T = np.full(case.shape, self.w0), np.zeros(case.shape)
        self.W[at], self.T[at] = weight, target
        alone = np.diff(np.append(first, len(pair))) == 1
        # of one cell, b^2 / (w0 + a) is what W T^2 is
        each = np.where(self.w0 + a > 0, ratio(b * b, self.w0 + a), 0)
        constants = np.where(alone & (weight > 0), 0, np.add.reduceat(each, first) - weight * target**2)
        self.K = np.sum(constants)
        self.L0 = float(np.sum(each))
        self.size = np.zeros(case.shape)
        # a stored zero that counts is as good as the least positive number
        least = np.where(positive & (r == 0), s * p.b1 * (np.finfo(self.dtype).tiny / EPS[self.dtype]), 0)
        self.size[at] = np.where(weight > 0, ratio(np.add.reduceat(np.abs(b) + least, first), weight), 0)
        spread = self.w0 + np.add.reduceat(np.abs(a), first)
        self.no_minimum = bool((weight < -1e-6 * spread).any())
        self.doubtful = bool(((weight <= 1e-6 * spread) & ((sum_a < 0) | (sum_b > 0))).any())
        """Some pair has next to no weight: there may be no minimum, or none that float32 finds."""

        self.lam = {}
        pair_of = np.broadcast_to(get("regularization"), 2)
        for side, (rows, n, others) in enumerate(
            ((case.users, *case.shape), (case.items, *case.shape[::-1])),
        ):
            counts = np.bincount(rows, np.where(positive, scale, 0), n)
            scaling = get("regularization_scaling")
            by = {"constant": np.ones(n), "count": counts}.get(scaling) if isinstance(scaling, str) else None
            if by is None:
                by = (counts + self.w0 * others) ** float(scaling)
            self.lam[side] = float(pair_of[side]) * by
        self.held = tuple(
            np.bincount(rows, minlength=n) > 0 for rows, n in zip((case.users, case.items), case.shape, strict=True)
        )
        self.joint = bool(get("biases", False)) and self.preset.mean != "damped"
        own = get("bias_regularization")
        own_pair = None if own is None else np.broadcast_to(own, 2)
        self.lam_bias = {
            side: self.lam[side] if own_pair is None else np.full(case.shape[side], float(own_pair[side]))
            for side in (0, 1)
        }

    def offsets(self, point: Point) -> Floats:
        """What a score starts from."""
        users, items = (
            0 if part is None else part.astype(np.float64) for part in (point.user_biases, point.item_biases)
        )
        total: Floats = point.mean + np.add.outer(np.atleast_1d(users), np.atleast_1d(items))
        return np.broadcast_to(total, self.case.shape)

    def objective(self, point: Point, real: Any = np.float64) -> tuple[Any, float]:
        """L, and how much of it may be the rounding of ``real``."""
        X, Y, W = (part.astype(real) for part in (point.X, point.Y, self.W))
        absolute = np.abs(point.X).astype(np.float64) @ np.abs(point.Y).T.astype(np.float64)
        offsets, penalty = 0.0, 0.0
        if point.mean or point.user_biases is not None:
            offsets = real(point.mean)
            absolute = absolute + abs(point.mean)
            if point.user_biases is not None:
                bu, bi = point.user_biases.astype(real), point.item_biases.astype(real)
                offsets = offsets + bu[:, np.newaxis] + bi
                absolute += np.abs(bu[:, np.newaxis]).astype(np.float64) + np.abs(bi).astype(np.float64)
                if self.joint:
                    penalty = np.sum(self.lam_bias[0] * bu * bu) + np.sum(self.lam_bias[1] * bi * bi)
        distance = X @ Y.T + offsets - self.T
        L = np.sum(W * distance * distance) + real(self.K) + penalty
        L += np.sum(self.lam[0][:, np.newaxis] * X * X) + np.sum(self.lam[1][:, np.newaxis] * Y * Y)
        unit = (X.shape[1] + 4) * float(np.finfo(real).eps)
        wrong = unit * (absolute + np.abs(self.T))
        size = np.abs(distance).astype(np.float64)
        error = np.sum(np.abs(self.W) * wrong * (2 * size + wrong)) + unit * abs(float(L)) + 1e-18 * self.L0
        return L, float(error)

    def side(self, point: Point, side: int) -> "Side":
        """The rows of one side as systems of their own, the other side being fixed."""
        W, T, size = (part if side == 0 else part.T for part in (self.W, self.T, self.size))
        offsets = self.offsets(point if not self.joint else point._replace(user_biases=None, item_biases=None))
        offsets = offsets if side == 0 else offsets.T
        F, others = (part.astype(np.float64) for part in (point.X, point.Y)[:: 1 if side == 0 else -1])
        lam = np.repeat(self.lam[side][:, np.newaxis], F.shape[1], 1)
        size = size + np.abs(offsets)
        if self.joint and point.user_biases is not None:
            own, other = (point.user_biases, point.item_biases)[:: 1 if side == 0 else -1]
            offsets = offsets + other.astype(np.float64)
            size = size + np.abs(other) + np.abs(own)[:, np.newaxis]
            F, others = np.column_stack((F, own)), np.column_stack((others, np.ones(len(others))))
            lam = np.column_stack((lam, self.lam_bias[side]))
        bounded = self.case.parameters["factors"] if self.case.parameters["nonnegative"] else 0
        return Side(W, T - offsets, F, others, lam, size, bounded, self.dtype)


# ---------------------------------------------------------------------------------------------------------------------
# rows


@dataclass
class Side:
    """f(x) = sum_i W_i (y_i'x - T_i)^2 + sum_c lam_c x_c^2 for each row x of F; x_c >= 0 for c < ``bounded``."""

    W: Floats
    T: Floats
    F: Floats
    Y: Floats
    lam: Floats
    size: Floats
    bounded: int
    dtype: str
    moved: float = 0.0
    """The last coordinate has been shifted since the row was solved, by numbers of this size."""

    def value(self, F: Floats) -> Floats:
        distance = F @ self.Y.T - self.T
        return np.sum(self.W * distance * distance, axis=1) + np.sum(self.lam * F * F, axis=1)

    def gradient(self, F: Floats, rows: Any, real: Any = np.float64) -> Floats:
        """Half of it."""
        Y, F = self.Y.astype(real), F.astype(real)
        distance = F @ Y.T - self.T[rows]
        return (self.W[rows] * distance) @ Y + self.lam[rows] * F

    def curvature(self, d: Floats, rows: Any) -> Floats:
        along = d @ self.Y.T
        return np.sum(self.W[rows] * along * along, axis=1) + np.sum(self.lam[rows] * d * d, axis=1)

    def unsolved(self, most: float = 2e8) -> list[tuple[int, float, float]]:
        """(row, gap, bound) of rows that are further from their least than they may be.

        The gap is what a step from x takes off f: a lower bound, whatever the step is. Steps tried: to the solution of
        the row's system, the Newton step, to zero; of nonnegative rows, the Newton steps of the coordinates that are
        not zero, and of those and the ones that want to leave zero, cut off at zero, and each coordinate alone.
        """
        k = self.F.shape[1]
        g = self.gradient(self.F, slice(None))
        diagonal = self.W @ (self.Y * self.Y) + self.lam
        score = np.sum(ratio(g * g, diagonal), axis=1)
        rows = np.argsort(-score, kind="stable")[: max(4, int(most / k**3))]
        found = []
        step = max(1, int(8e6 / (k * k + 1)))
        for at in range(0, len(rows), step):
            found += self._unsolved(rows[at : at + step], g, diagonal)
        return found

    def _unsolved(self, rows: Any, gradient: Floats, diagonal: Floats) -> list[tuple[int, float, float]]:
        W, Y, lam, F, g = self.W[rows], self.Y, self.lam[rows], self.F[rows], gradient[rows]
        k = F.shape[1]
        A = np.stack([(Y.T * w) @ Y for w in W])
        A[:, np.arange(k), np.arange(k)] += lam
        scale = np.where(diagonal[rows] > 0, 1 / np.sqrt(np.where(diagonal[rows] > 0, diagonal[rows], 1)), 1)
        right = (W * self.T[rows]) @ Y
        units = A * scale[:, :, np.newaxis] * scale[:, np.newaxis]
        units[:, np.arange(k), np.arange(k)] += 1e-14

        def solve(r: Floats, free: Floats | None = None) -> Floats:
            systems, s = units, (scale * r)
            if free is not None:
                both = free[:, :, np.newaxis] & free[:, np.newaxis]
                systems, s = np.where(both, units, np.eye(k)), np.where(free, s, 0)
            try:
                return scale * np.linalg.solve(systems, s[:, :, np.newaxis])[:, :, 0]
            except np.linalg.LinAlgError:
                return np.zeros_like(r)

        if self.bounded:
            bound = np.arange(k) < self.bounded
            inside = (F > 0) | ~bound
            steps = []
            for free in (inside, inside | (g < 0)):
                target = F - solve(g, free)
                steps.append(F - np.where(bound, np.maximum(target, 0), target))
            single = ratio(g, diagonal[rows])
            single = np.where(bound, np.minimum(single, F), single)
            by = 2 * g * single - diagonal[rows] * single**2
            best = np.argmax(by, axis=1)
            steps.append(np.where(np.arange(k) == best[:, np.newaxis], single, 0))
            least = F - steps[1]
        else:
            least = solve(right)
            steps = [F - least, solve(g), F]
        gap, best_step = np.zeros(len(rows)), np.zeros_like(F)
        for d in steps:
            slope, bend = np.sum(g * d, axis=1), self.curvature(d, rows)
            t = np.clip(ratio(slope, bend), 0, 1) if self.bounded else ratio(slope, bend)
            this = 2 * t * slope - t * t * bend
            better = this > gap
            gap = np.where(better, this, gap)
            best_step = np.where(better[:, np.newaxis], t[:, np.newaxis] * d, best_step)
        bound = self.allowed(rows, A, right, least)
        found = []
        for i in np.flatnonzero(~(gap <= bound)):
            # once more in long double, before it is told
            row, d = rows[i : i + 1], best_step[i : i + 1].astype(np.longdouble)
            exact = self.gradient(F[i : i + 1], row, np.longdouble)
            null = self.null(A[i], F[i])
            if null.size and not self.bounded:
                d -= (d @ null) @ null.T
                d *= max(0, np.sum(exact * d) / max(self.curvature(d, row)[0], np.longdouble(1e-300)))
            true = float(2 * np.sum(exact * d) - self.curvature(d, row)[0])
            if not true <= bound[i]:
                found.append((int(rows[i]), true, float(bound[i])))
        return found

    def null(self, A: Floats, x: Floats) -> Floats:
        """Directions along which A is rounding of its largest entries, and where x, of minimum norm, is zero.

        Where nothing regularizes a row of float32, what its factors are known to counts: 8 k eps of the dtype.
        """
        values, vectors = np.linalg.eigh(A)
        zero = np.abs(x @ vectors) <= 1e-6 * np.linalg.norm(x)
        rounding = 16 * EPS["float64"]
        if self.dtype == "float32" and not self.lam.any(axis=None):
            rounding, zero = 8 * EPS["float32"], np.full(len(A), True)
        return vectors[:, zero & (values <= rounding * len(A) * values[-1])]

    def allowed(self, rows: Any, A: Floats, right: Floats, least: Floats) -> Floats:
        """How far above its least f may be.

        float32: 1e-4 of what the row takes off f(0), and what is lost by rounding the row (its length times eps in any
        direction, 16 times over, in energy), and by rounding the targets and what is taken off them.
        float64, which is also what float32 may ask for help: 1e-10 of the former, 1e-6 of it as the condition nears
        1 / eps, and what a stable solution of the normal equations loses. Never more than zeros. Nothing is asked
        along directions in which the system is singular to rounding and x is zero.
        """
        k, norm = A.shape[1], np.sqrt(np.sum(A * A, axis=(1, 2)))
        length = np.sum(least * least, axis=1)
        curvature = self.curvature(least, rows)
        drop = np.maximum(ratio(np.sum(right * least, axis=1) ** 2, curvature), 0)
        if self.bounded:
            drop = np.maximum(2 * np.sum(right * least, axis=1) - curvature, 0)
        W, at_zero = np.abs(self.W[rows]), np.sum(self.W[rows] * self.T[rows] ** 2, axis=1)
        unit, least_lam = 4 * k * EPS["float64"], np.min(self.lam[rows], axis=1)
        ill = np.minimum(1, unit * norm / np.maximum(least_lam, 1e-100))
        bound = (1e-10 + 1e-6 * ill * ill) * drop + 16 * unit * norm * length * ill
        share, eps = (1e-7 if self.dtype == "float32" else 1e-14), EPS[self.dtype]
        if self.dtype == "float32":
            bound += 1e-4 * drop + 16 * (eps * np.sqrt(length) + TINY) ** 2 * norm
        wrong = 8 * EPS["float64"] * np.linalg.norm((W * self.size[rows]) @ np.abs(self.Y), axis=1)
        rounded = wrong**2 / np.maximum(np.maximum(least_lam, unit * norm), 1e-100)
        rounded += np.sum(W * (8 * eps * (self.size[rows] + self.moved)) ** 2, axis=1)
        rounded += self.lam[rows, -1] * (8 * eps * self.moved) ** 2
        return np.minimum(bound, drop + share * at_zero) + rounded


# ---------------------------------------------------------------------------------------------------------------------
# the judge


@dataclass
class Verdict:
    outcome: str
    """"fitted", or the error."""
    failures: list[tuple[str, str]] = field(default_factory=list)


class Judge:
    """Fits a case and judges it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.failures: list[tuple[str, str]] = []
        self.data: Any = None
        self.at_start: tuple[float, float] | None = None
        """The objective there, and its rounding."""
        self.what = ""
        """Which fit is judged."""

    def fail(self, kind: str, detail: str) -> None:
        self.failures.append((kind, f"{self.what}{detail}"))

    def fit(self, **changes: Any) -> Any:
        """A fitted model, or the error of fastals; whatever else comes is raised."""
        case = self.case
        options: dict[str, Any] = {} if case.weights is None else {"sample_weight": case.weights}
        if case.start is not None:
            options["initial_factors"] = case.start
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                model = MODELS[case.model](**{**case.parameters, **changes})
                return model.fit(self.data, progress=False, **options)
            except fastals.FastalsError as error:
                return error

    def run(self) -> Verdict:
        isa, threads = kernels.active_isa(), os.environ.get("OMP_NUM_THREADS")
        # what has no num_threads of its own would wait for threads longer than it works
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            assert kernels.use_isa(self.case.isa)
            with np.errstate(all="ignore"):
                outcome = self._run()
        finally:
            kernels.use_isa(isa)
            del os.environ["OMP_NUM_THREADS"]
            if threads is not None:
                os.environ["OMP_NUM_THREADS"] = threads
        return Verdict(outcome, self.failures)

    def _fitted(self, **changes: Any) -> Any:
        try:
            return self.fit(**changes)
        except Exception as error:
            self.fail(f"raises {type(error).__name__}", f"{error}")
            return None

    def _run(self) -> str:
        case = self.case
        self.data = case.interactions()
        iterations = case.parameters["iterations"]
        model = self._fitted()
        if model is None:
            return "crashed"
        if isinstance(model, fastals.FastalsError):
            self.refused(model)
            return f"{type(model).__name__}: {' '.join(str(model).split()[:6])}"
        equation = Equation(case, self.settings(model))
        if equation.no_minimum or not equation.any_positive:
            kind = "no minimum" if equation.no_minimum else "no positive value"
            self.fail(f"{kind}, and no error", f"least weight {equation.W.min():.3g}")
            return "fitted"
        if equation.doubtful:
            return "fitted, no minimum"
        if case.start is None:
            start = self._fitted(iterations=0)
            if start is None or isinstance(start, fastals.FastalsError):
                self.fail("no start", str(start))
                return "fitted"
            start = Point.of(start)
        else:
            start = self.given_start(equation, model)
        self.judge(equation, model, start, iterations)
        for j in case.prefixes:
            self.what = f"iterations={j}: "
            prefix = self._fitted(iterations=j)
            if isinstance(prefix, fastals.FastalsError):
                self.fail("a shorter fit is refused", str(prefix))
            elif prefix is not None:
                self.judge(equation, prefix, start, j)
                if case.parameters["solver"] in ("cholesky", "lapack") and list(prefix.loss_history_) != list(
                    model.loss_history_[:j]
                ):
                    self.fail("a shorter fit has other losses", f"{prefix.loss_history_} {model.loss_history_[:j]}")
        self.what = ""
        for threads in case.threads:
            if threads != case.parameters["num_threads"]:
                other = self._fitted(num_threads=threads)
                if other is None:
                    continue
                if isinstance(other, fastals.FastalsError) or not Point.of(other).same_bits(Point.of(model)):
                    self.fail("threads change bits", f"{threads} for {case.parameters['num_threads']}")
                elif list(other.loss_history_) != list(model.loss_history_):
                    self.fail("threads change the loss", f"{threads} for {case.parameters['num_threads']}")
        return "fitted"

    def settings(self, model: Any) -> Mapping[str, Any]:
        """What was given, "auto" resolved."""
        given = dict(self.case.parameters)
        resolved = getattr(model, "settings_", None)
        if resolved is None:
            return given
        for name, value in given.items():
            if not is_auto(name, value) and name in resolved and np.any(resolved[name] != np.asarray(value)):
                self.fail("settings_ differ from what was given", f"{name}: {resolved[name]!r} for {value!r}")
        return {**given, **resolved}

    def given_start(self, equation: Equation, model: Any) -> Point:
        assert self.case.start is not None
        X, Y = self.case.start
        start = Point(X, Y, 0.0, None, None)
        if self.case.model == "implicit":
            return start
        zero = self._fitted(iterations=0)
        if zero is None or isinstance(zero, fastals.FastalsError):
            self.fail("no start", str(zero))
            return start
        return Point.of(zero)._replace(X=X, Y=Y)

    def refused(self, error: fastals.FastalsError) -> None:
        """Whether an error is due."""
        case = self.case
        # whatever "auto" stands for, it is no cause
        usual = {"regularization": 1.0, "regularization_scaling": "constant", "bias_regularization": 1.0}
        usual |= {"confidence": "linear", "unobserved_weight": 1.0, "biases": True}
        settings = {name: usual[name] if is_auto(name, value) else value for name, value in case.parameters.items()}
        equation = Equation(case, settings)
        due = equation.no_minimum or equation.doubtful or not equation.any_positive or not equation.L0
        if due or (case.weights is not None and not case.weights.all()):
            return
        if not isinstance(error, fastals.NumericalError):
            self.fail("refused without cause", f"{type(error).__name__}: {error}")
        elif case.tame:
            self.fail("a tame case is refused", f"{type(error).__name__}: {error}")

    # -- a fit --------------------------------------------------------------------------------------------------------

    def tolerance(self, equation: Equation, L: float) -> float:
        relative, absolute = (1e-5, 1e-7) if self.case.dtype == "float32" else (1e-12, 1e-14)
        return relative * abs(L) + absolute * equation.L0

    def may_be_cg(self) -> bool:
        parameters = self.case.parameters
        return parameters["solver"] == "cg" or (
            parameters["solver"] == "auto" and parameters["factors"] >= 32 and not parameters["nonnegative"]
        )

    def judge(self, equation: Equation, model: Any, start: Point, iterations: int) -> None:
        point, told = Point.of(model), [float(loss) for loss in model.loss_history_]
        if not point.finite():
            self.fail("factors not finite", f"after {iterations}")
            return
        # a fit ends early where not even exact solves lead down, and says so
        whole = len(told) == iterations or (model.n_repeated_ > 0 and len(told) < iterations)
        if not whole or model.n_iter_ != len(told):
            self.fail("history of another length", f"{len(told)} {model.n_iter_} for {iterations}")
            return
        if not np.isfinite(told).all():
            self.fail("loss not finite", str(told))
            return
        L = self.loss_right(equation, point, told[-1])
        self.never_up(equation, start, told, L)
        if self.case.parameters["nonnegative"] and min(point.X.min(), point.Y.min()) < 0:
            self.fail("negative entries", f"{min(point.X.min(), point.Y.min())}")
        users_last = equation.preset.last == "users"
        if self.case.parameters["solver"] != "cg":
            self.rows_solved("last side", equation.side(point, 0 if users_last else 1))
        if iterations == 1:
            self.first_side(equation, point, start, 1 if users_last else 0)

    def loss_right(self, equation: Equation, point: Point, told: float) -> float:
        L, error = equation.objective(point)
        if not abs(told - L) <= self.tolerance(equation, float(L)) - error:
            L, error = equation.objective(point, np.longdouble)
            tolerance = self.tolerance(equation, float(L))
            if not abs(told - L) <= tolerance + error:
                detail = f"told {told:.9g}, is {float(L):.9g}, L0 {equation.L0:.3g}, {abs(told - L) / tolerance:.2g} x"
                self.fail("wrong loss", detail)
        return float(L)

    def never_up(self, equation: Equation, start: Point, told: list[float], L: float) -> None:
        if self.at_start is None:
            exact, error = equation.objective(start, np.longdouble)
            self.at_start = float(exact), error
        at_start, error = self.at_start
        allowed = self.tolerance(equation, at_start) + error
        if allowed < L - at_start:
            self.fail("above the start", f"{L:.9g} for {at_start:.9g}, {(L - at_start) / allowed:.2g} x")
        elif told[0] > at_start + allowed:
            self.fail("told above the start", f"{told[0]:.9g} for {at_start:.9g}")
        for i, (one, other) in enumerate(itertools.pairwise(told), 2):
            tolerance = self.tolerance(equation, one)
            if other > one + tolerance:
                by = (other - one) / tolerance
                self.fail("rises", f"iteration {i} of {len(told)}: {one:.9g} {other:.9g}, {by:.2g} x")
                break

    def rows_solved(self, what: str, side: Side) -> None:
        found = side.unsolved()
        if found:
            row, gap, bound = max(found, key=lambda each: each[1] / max(each[2], 1e-300))
            total = float(np.sum(side.value(side.F)))
            detail = (
                f"{len(found)} of {len(side.F)}: row {row} gap {gap:.3g} bound {bound:.3g}, all rows' f {total:.3g}"
            )
            self.fail(f"{what} not solved", detail)

    def first_side(self, equation: Equation, point: Point, start: Point, side: int) -> None:
        """What the first half-sweep made of its rows, the other side being as given."""
        moved = point.mean - start.mean
        if side == 0:
            after = start._replace(X=point.X)
            other = start.item_biases
            own = point.user_biases
        else:
            after = start._replace(Y=point.Y)
            other = start.user_biases
            own = point.item_biases
        if equation.joint and own is not None:
            # the mean has moved by what these biases had in common
            own = own.astype(np.float64) + np.where(equation.held[side], moved, 0)
            other = np.zeros(self.case.shape[1 - side]) if other is None else other
            after = after._replace(user_biases=own if side == 0 else other, item_biases=other if side == 0 else own)
        rows = equation.side(after, side)
        rows.moved = max(abs(moved), abs(start.mean), abs(point.mean)) if moved else 0.0
        if not self.may_be_cg():
            self.rows_solved("first side", rows)
            return
        before = start.X if side == 0 else start.Y
        F = before.astype(np.float64)
        if rows.F.shape[1] > F.shape[1]:
            F = np.column_stack((F, np.zeros(len(F))))
        was, now = rows.value(F), rows.value(rows.F)
        at_zero = np.sum(np.abs(rows.W) * rows.T**2, axis=1)
        relative, absolute = (1e-5, 1e-7) if self.case.dtype == "float32" else (1e-12, 1e-14)
        bound = relative * was + absolute * at_zero
        if self.case.dtype == "float32":
            bound = bound + np.sum(np.abs(rows.W) * (8 * EPS["float32"] * (rows.size + rows.moved)) ** 2, axis=1)
        worse = now - was > bound
        if worse.any():
            row = int(np.argmax((now - was) / np.maximum(bound, 1e-300)))
            self.fail(
                "a row is worse than before", f"{worse.sum()} of {len(F)}: row {row} {was[row]:.9g} {now[row]:.9g}"
            )


def judge(seed: int, number: int) -> Verdict:
    return Judge(draw(seed, number)).run()


# ---------------------------------------------------------------------------------------------------------------------
# the command


def describe(case: Case) -> Iterator[str]:
    yield f"{case.model}, {case.shape[0]} x {case.shape[1]}, {len(case.values)} cells, {case.isa}, tame: {case.tame}"
    yield f"values, weights, start: {', '.join(map(repr, case.notes))}"
    yield f"again with iterations {case.prefixes}, threads {case.threads}"
    yield ", ".join(f"{name}={value!r}" for name, value in case.parameters.items())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fit random data at random settings, and judge the models.")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--stop-at", type=int, default=sys.maxsize, help="stop after so many failing cases")
    parser.add_argument("--case", type=int, help="this case alone, in detail")
    parser.add_argument("--show", type=int, default=5, help="cases listed for each kind of failure")
    options = parser.parse_args(arguments)
    if options.case is not None:
        case = draw(options.seed, options.case)
        print("\n".join(describe(case)))
        verdict = Judge(case).run()
        print("outcome:", verdict.outcome)
        for kind, detail in verdict.failures:
            print(f"  {kind}: {detail}")
        return bool(verdict.failures)
    outcomes: collections.Counter[str] = collections.Counter()
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    failing = done = 0
    begin = time.perf_counter()
    faulthandler.enable()
    threadpool_limits(limits=1, user_api="blas")
    for number in range(options.first, options.first + options.cases):
        if failing >= options.stop_at or time.perf_counter() - begin > 60 * options.minutes:
            break
        verdict = judge(options.seed, number)
        done += 1
        outcomes[verdict.outcome] += 1
        failing += bool(verdict.failures)
        for kind in {kind for kind, _ in verdict.failures}:
            case = draw(options.seed, number)
            detail = next(detail for k, detail in verdict.failures if k == kind)
            settings = case.parameters
            kinds[kind].append(
                f"--case {number}: {case.model} {case.dtype} {settings['solver']} k={settings['factors']} "
                f"l={settings['regularization']} {settings.get('preset') or ''} {detail}"
            )
    seconds = time.perf_counter() - begin
    print(f"{done} cases of seed {options.seed}, {failing} failing, {done / seconds:.0f} cases/s")
    for outcome, count in outcomes.most_common():
        print(f"{count:7d}  {outcome}")
    for kind, found in sorted(kinds.items(), key=lambda each: -len(each[1])):
        print(f"\n{len(found):7d}  {kind}")
        for line in found[: options.show]:
            print(f"         {line}")
    return bool(failing)


if __name__ == "__main__":
    sys.exit(main())
