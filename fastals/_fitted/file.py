"""The model file: no pickle, memory-mapped, readable elsewhere, safe to open from strangers.

Tensors in a file of :mod:`fastals._core.container`:

    user_factors   (n_users, factors)  F32 or F64         seen_indptr   (n_users + 1,)  I64
    item_factors   (n_items, factors)  the same dtype     seen_indices  (nnz,)          I32
    loss_history   (n,)                F64                seen_values   (nnz,)          as the factors, may be missing
    user_biases    (n_users,)          as the factors;    seen_weights  (nnz,)          as the factors; both and
    item_biases    (n_items,)          these may be missing
    user_means     (n_users, factors, and one more where biases are trained)   what the rows are drawn to; as the
    user_strength  (n_users,)          how strongly                            factors, and with the history alone;
    user_pull      (n_users,)          likewise of biases                      of items likewise
    weight_users, weight_items, weight_unobserved   (n_users,), (n_items,)     weights of rows; as the factors
    known_indptr, known_indices            pairs known beside the cells, as seen_*; where there are any
    elsewhere_indptr, elsewhere_indices    pairs known of a user or an item that is none of the model's, likewise, and
    elsewhere_users, elsewhere_items       their labels
    users, items   labels by kind:  "index"  none         "int64"  (n,) I64      "uuid"  (n, 16) U8
                                    "uint64"  (n,) U64
                                    "string", "bytes"  the (UTF-8) bytes, U8, and users_offsets, items_offsets
                                                       (n + 1,) I64: label i is bytes offsets[i] to offsets[i + 1]

Of a model trained on interactions on disk the file says in which directory they are, and has no seen_* and known_*.
A file without known pairs is of version 1, one with some of version 2, one of a fit that was drawn to another model,
or whose rows have weights, of version 3: earlier releases refuse what they do not know.

The content holds the class, its parameters, what those that are "auto" stood for (``settings``, which files of older
versions do not have) and the kinds of the labels. Every value that compiled code uses as an
address (`seen_indptr`, `seen_indices`, likewise of known pairs, the offsets) is checked before the model exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import Tensors as AnyTensors
from .._core import field, read_tensors, reading, resolve_num_threads, tables, write_tensors
from .._data import (
    DUPLICATES,
    Interactions,
    Known,
    Labels,
    decode_labels,
    encode_labels,
    known_of,
    manifest_digest,
    of_pairs,
    trusted,
)
from .._equation import Prior, RowWeights
from .replacement import home_of, stored_at
from .state import FittedState

VERSIONS = ("1", "2", "3")
"""Without known pairs, and with some; of a fit that was drawn to another model or whose rows have weights, with any."""


class Stored(Protocol):
    """A model of which files are written and read; its class is found by the kind that the file holds."""

    @classmethod
    def _read(cls, content: Mapping[str, Any], tensors: Tensors) -> Any:
        """The model of a file."""


LATER: dict[str, Callable[[], object]] = {}
"""What brings the classes that are not imported before they are needed."""

Model = TypeVar("Model", bound=type[Stored])

KINDS: dict[str, type[Stored]] = {}
"""The classes that :func:`load_model` makes models of, by their names."""


def stored(cls: Model) -> Model:
    """Let files hold models of this class."""
    KINDS[cls.__name__] = cls
    return cls


def save_state(path: str, kind: type, state: FittedState, *, history: bool = True) -> None:
    """Write the model of a class to the file `path`, atomically: see `fastals._core.files.replacing`.

    Without `history` the values of the training cells are left out.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    tensors = {
        "user_factors": state.user_factors,
        "item_factors": state.item_factors,
        "loss_history": np.array(state.loss_history, dtype=np.float64),
    }
    if not state.pairs.on_disk and history and state.has_history:
        tensors["seen_values"] = state.pairs.values
    if history and state.weights is not None:
        tensors["seen_weights"] = state.weights.values
    for axis, prior in zip(("user", "item"), state.priors, strict=True):
        if history and prior is not None:
            tensors |= dict(zip(prior_names(axis), prior, strict=True))
    tensors |= {f"weight_{name}": x for name, x in state.equation.row_weights._asdict().items() if x is not None}
    if state.biases is not None:
        tensors["user_biases"], tensors["item_biases"] = state.biases
    content = content_of(state)
    if state.pairs.on_disk:
        content["on_disk"] = {"path": home_of(state.pairs.on_disk), "digest": manifest_digest(state.pairs)}
    write_model(path, kind, state.parameters, state.pairs, content, tensors)


def content_of(state: FittedState) -> dict[str, Any]:
    """What the file of a state says beside class, parameters and arrays."""
    content: dict[str, Any] = {
        "n_iter": state.n_iter,
        "n_repeated": state.n_repeated,
        "metrics_history": [dict(metrics) for metrics in state.metrics_history],
        "best_iteration": state.best_iteration or 0,
        "mean": state.mean,
        "scoring": state.scoring or {},
        "settings": {name: plain(value) for name, value in state.settings.items()},
        "duplicates": state.duplicates,
    }
    if state.n_updates:
        content["updates"] = {"n_updates": state.n_updates, "fresh": float(state.fresh)}
    return content


def write_model(
    path: str,
    kind: type,
    parameters: Mapping[str, Any],
    pairs: Interactions,
    content: Mapping[str, Any],
    tensors: dict[str, NDArray[Any]],
) -> None:
    """Write what all model files have, and the content and tensors that are this model's own.

    Of the training cells and of what is known beside them all is written but the values, unless it is on disk.
    """
    labels = {"users": pairs.user_labels, "items": pairs.item_labels}
    known, elsewhere = Known() if pairs.on_disk else known_of(pairs)
    for name, part in {"seen": None if pairs.on_disk else pairs, "known": known, "elsewhere": elsewhere}.items():
        if part is not None:
            tensors |= {f"{name}_indptr": part.indptr, f"{name}_indices": part.indices}
    if elsewhere is not None:
        labels |= {"elsewhere_users": elsewhere.user_labels, "elsewhere_items": elsewhere.item_labels}
        content = {**content, "elsewhere": list(elsewhere.shape)}
    version = VERSIONS[known is not None or elsewhere is not None]
    if "prior_strength" in content.get("settings", ()) or any(name.startswith("weight_") for name in tensors):
        version = VERSIONS[2]
    told = {side: encode_labels(side, ids, tensors) for side, ids in labels.items()}
    common = {**identity_of(kind, parameters), "labels": told}
    write_tensors(path, "model", version, {**common, **content}, tensors)


def identity_of(kind: type, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of class and parameters; how many threads there are is the reader's matter."""
    told = {name: plain(value) for name, value in parameters.items() if name != "num_threads"}
    return {"class": kind.__name__, "parameters": told}


def load_model(path: str, *, mmap: bool = True) -> Any:
    """Read the model that :func:`write_model` wrote.

    With `mmap` the factors stay in the file and are read where they are touched; many processes share them. Without
    it the whole file is read and its checksums are compared.

    Raises
    ------
    FileFormatError
        The file is missing, damaged, or not a fastals model.
    """
    with reading(path, "model"):
        content, tensors = read_tensors(path, "model", VERSIONS, mmap=mmap)
        return model_of(content, tensors)


def model_of(content: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Any:
    """Make the model of what a file holds, or somebody else in its stead; ValueError or TypeError where it is none."""
    name = field(content, "class", str)
    if name in LATER:
        LATER[name]()
    if name not in KINDS:
        raise ValueError(f"it holds a model of class {name!r}, not {' or '.join(sorted({*KINDS, *LATER}))}")
    taken = Tensors(content, tensors)
    model = KINDS[name]._read(content, taken)
    taken.check_empty()
    return model


# --- the model -------------------------------------------------------------------------------------------------------


class Tensors(AnyTensors):
    """The tensors of a model's file; what serves as an address is checked by value."""

    def __init__(self, content: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(tensors)
        self.content = content

    def take_labels(self, side: str, size: int) -> Labels:
        """Return the labels of "users" or "items"."""
        return decode_labels(side, field(field(self.content, "labels", dict), side, str), size, self)

    def take_rows(self, name: str, n_rows: int, n_columns: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return indptr and indices of compressed rows, in range and ascending; a cell may be stored repeatedly."""
        indices = self.take(f"{name}_indices", "<i4", None)
        indptr = self.take_offsets(f"{name}_indptr", n_rows, indices.size)
        if tables.check_rows(indptr, indices, n_columns, None, resolve_num_threads()) & ~tables.REPEATED:
            raise ValueError(f"{name}_indices are not within 0..{n_columns - 1}, or do not ascend within each row")
        return indptr, indices

    def take_known(self, users: Labels, items: Labels) -> Known:
        """Return what is known beside the training cells."""
        known = elsewhere = None
        if "known_indptr" in self:
            known = of_pairs(*self.take_rows("known", len(users), len(items)), users, items)
        if "elsewhere" in self.content:
            shape = n_users, n_items = field(self.content, "elsewhere", list)
            if not all(type(n) is int and 0 < n < 2**31 for n in shape):
                raise ValueError(f"elsewhere is of shape {shape!r}")
            users, items = self.take_labels("elsewhere_users", n_users), self.take_labels("elsewhere_items", n_items)
            elsewhere = of_pairs(*self.take_rows("elsewhere", n_users, n_items), users, items)
        return Known(known, elsewhere)


def read_state(content: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
    """Check each tensor against the table at the head of this module; returns what a state consists of.

    Its "settings" are None where the file is of a version that had none.
    """
    take = tensors.take
    user_factors = take("user_factors", "<f4 <f8", None, None)
    n_users, factors = user_factors.shape
    item_factors = take("item_factors", user_factors.dtype.str, None, factors)
    n_items = item_factors.shape[0]
    if not (factors and max(n_users, n_items) < 2**31):
        raise ValueError(f"{n_users} x {n_items} factors of length {factors}")
    biases = None
    if "user_biases" in tensors:
        dtype = user_factors.dtype.str
        biases = take("user_biases", dtype, n_users), take("item_biases", dtype, n_items)
    users, items = tensors.take_labels("users", n_users), tensors.take_labels("items", n_items)
    if "on_disk" in content:
        pairs, weights, has_history = _stored(field(content, "on_disk", dict), (n_users, n_items)), None, True
    else:
        pairs, weights, has_history = _held(tensors, users, items, user_factors.dtype)
    priors = tuple(
        _prior(tensors, axis, len(ids), user_factors.dtype, factors) for axis, ids in (("user", users), ("item", items))
    )
    return {
        "priors": priors,
        "parameters": {**_with_pairs(content, "parameters"), "num_threads": None},
        "user_factors": user_factors,
        "item_factors": item_factors,
        "users": users,
        "items": items,
        "pairs": pairs,
        "weights": weights,
        "has_history": has_history,
        "loss_history": tuple(take("loss_history", "<f8", None).tolist()),
        "n_iter": field(content, "n_iter", int),
        "n_repeated": field(content, "n_repeated", int) if "n_repeated" in content else 0,
        "metrics_history": tuple(field(content, "metrics_history", list)),
        "best_iteration": field(content, "best_iteration", int) or None,
        "mean": field(content, "mean", float),
        "biases": biases,
        "scoring": field(content, "scoring", dict) or None,
        "settings": _with_pairs(content, "settings") if "settings" in content else None,
        **_updates(content),
    }


def prior_names(axis: str) -> tuple[str, str, str]:
    """The tensors of what users or items are drawn to, in its order."""
    return f"{axis}_means", f"{axis}_strength", f"{axis}_pull"


def _prior(tensors: Tensors, axis: str, n: int, dtype: np.dtype[Any], factors: int) -> Prior | None:
    means, strength, pull = prior_names(axis)
    if means not in tensors:
        return None
    prior = Prior(
        tensors.take(means, dtype.str, n, None), *(tensors.take(name, dtype.str, n) for name in (strength, pull))
    )
    if prior.means.shape[1] not in (factors, factors + 1):
        raise ValueError(f"{means} has {prior.means.shape[1]} columns beside {factors} factors")
    if not all(np.isfinite(array).all() for array in prior) or min(prior.strength.min(), prior.last.min()) < 0:
        raise ValueError(f"{axis}s are drawn by numbers that are not finite, or below 0")
    return prior


def read_row_weights(tensors: Tensors, n_users: int, n_items: int, dtype: np.dtype[Any]) -> RowWeights:
    """Return the weights of users and items that a file holds."""
    sizes = {"users": n_users, "items": n_items, "unobserved": n_items}
    found = {
        name: tensors.take(f"weight_{name}", dtype.str, n) for name, n in sizes.items() if f"weight_{name}" in tensors
    }
    if not all(np.isfinite(array).all() and array.min() >= 0 for array in found.values()):
        raise ValueError("weights of rows are not finite, or below 0")
    return RowWeights(**found)


def duplicates_of(content: Mapping[str, Any], default: str) -> str:
    """What becomes of repeated cells; the default where a file is of a version that did not say it."""
    duplicates = field(content, "duplicates", str) if "duplicates" in content else default
    if duplicates not in DUPLICATES:
        raise ValueError(f"duplicates is {duplicates!r}")
    return duplicates


def _updates(content: Mapping[str, Any]) -> dict[str, Any]:
    """How often a model has been updated since its fit, and how much of that is left; nothing where it has not."""
    if "updates" not in content:
        return {}
    updates = field(content, "updates", dict)
    n, fresh = field(updates, "n_updates", int), field(updates, "fresh", float)
    if not (n >= 1 and 0 <= fresh <= 1):
        raise ValueError(f"updates is {updates!r}")
    return {"n_updates": n, "fresh": fresh}


def _held(
    tensors: Tensors, users: Labels, items: Labels, dtype: np.dtype[Any]
) -> tuple[Interactions, Interactions | None, bool]:
    """The training cells of a file, their weights, and whether it has the values."""
    indptr, indices = tensors.take_rows("seen", len(users), len(items))
    kept = {
        name: tensors.take(name, dtype.str, len(indices)) for name in ("seen_values", "seen_weights") if name in tensors
    }
    values = kept.get("seen_values", np.broadcast_to(dtype.type(1), indices.shape))
    weights = kept.get("seen_weights")
    pairs = trusted((indptr, indices, values), None, users, items, known=tensors.take_known(users, items))
    twin = None if weights is None else trusted((indptr, indices, weights), None, users, items)
    return pairs, twin, "seen_values" in kept


def _stored(content: Mapping[str, Any], shape: tuple[int, int]) -> Interactions:
    """The training cells that a file says to be in a directory."""
    data = stored_at(path := field(content, "path", str), field(content, "digest", str))
    if data.shape != shape:
        raise ValueError(f"{path!r} holds other interactions than those that it was trained on")
    return data


def _with_pairs(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object's entries; a pair is a tuple to whoever set it, and JSON has but lists."""
    entries = field(content, name, dict)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entries.items()}


def plain(value: Any) -> Any:
    """Turn a parameter into what JSON has; a random generator, which is no value, becomes None."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [plain(element) for element in value]
    if isinstance(value, type | np.dtype):
        return np.dtype(value).name
    return None
