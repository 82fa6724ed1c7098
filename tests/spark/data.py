"""Ratings for the tests of engines, and fits of them on one machine."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fastals
from fastals._engines.block import drawn

USERS, ITEMS, CELLS = 30_000, 20_000, 250_000
"""Eight parts of 4,096 users, and five of items."""


def ratings(path, *, users=USERS, items=ITEMS, cells=CELLS, seed=0):
    """Write ratings of ids that have gaps, some of them negative, some pairs rated again; in no order."""
    rng = np.random.default_rng(seed)
    pool_u, pool_i = (rng.choice(np.arange(-n, 20 * n), n, replace=False).astype(np.int32) for n in (users, items))
    user = np.append(np.arange(users), (users * rng.random(cells - users) ** 2).astype(int))
    item = np.append(np.arange(items), (items * rng.random(cells - items) ** 3).astype(int))
    user[:500], item[:500] = user[500:1000], item[500:1000]
    values = np.float32(rng.integers(-1, 6, cells))
    order = rng.permutation(cells)
    table = pa.table({"user": pool_u[user[order]], "item": pool_i[item[order]], "rating": values[order]})
    pq.write_table(table, path, row_group_size=cells // 5)
    return str(path)


def cells_of(path):
    return [pq.read_table(path)[name].to_numpy() for name in ("user", "item", "rating")]


def on_one_machine(path, *, seed=7, initial=None, implicit=False, rank=10, **parameters):
    """The model, with repeated ratings by value as on Spark, from the start that Spark's ids have."""
    user, item, rating = cells_of(path)
    order = np.lexsort((rating, item, user))
    data = fastals.Interactions.from_arrays(user[order], item[order], rating[order], duplicates="keep")
    signs = parameters.get("nonnegative", False)
    start = initial or tuple(
        drawn(seed, side, np.unique(ids), rank, nonnegative=signs) for side, ids in enumerate((user, item))
    )
    kind = fastals.ImplicitALS if implicit else fastals.ExplicitALS
    model = kind.from_preset("spark", factors=rank, **parameters)
    return model.fit(data, initial_factors=start, progress=False)


def factors(frame):
    """Ids, ascending, and their factors."""
    table = frame.toArrow().sort_by("id")
    rows = table["features"].combine_chunks()
    return table["id"].to_numpy(), rows.flatten().to_numpy().reshape(len(rows), -1)


def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def digest_of(model):
    """Of a model of Spark or of one machine: ids and factors."""
    if isinstance(model, fastals.ExplicitALS | fastals.ImplicitALS):
        return digest(
            model.users_.astype(np.int32), model.user_factors_, model.items_.astype(np.int32), model.item_factors_
        )
    return digest(*factors(model.userFactors), *factors(model.itemFactors))
