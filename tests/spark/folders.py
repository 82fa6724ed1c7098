"""Models, folders that they are in, and what is wrong with some."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

import fastals
from fastals.spark import save_model

RANK = 4
CLASSES = {"explicit": fastals.ExplicitALS, "implicit": fastals.ImplicitALS}


def ratings():
    """Of users -7 to 32 and items -3 to 24, each pair once."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(40 * 28, 400, replace=False)
    return pairs // 28 - 7, pairs % 28 - 3, rng.integers(1, 6, 400).astype(float)


def fitted(kind, ids=np.asarray, **parameters):
    users, items, values = ratings()
    model = CLASSES[kind].from_preset("spark", factors=RANK, iterations=2, random_state=0, **parameters)
    return model.fit((ids(users), ids(items), values))


def as_text(ids):
    return np.array([f"#{each}" for each in ids], dtype=object)


def edit_line(path, **changes):
    """Change the line of a folder of metadata; None: leave out."""
    [file] = Path(path).glob("part-*")
    line = {**json.loads(file.read_text()), **changes}
    write_line(path, json.dumps({name: value for name, value in line.items() if value is not None}))


def write_line(path, line):
    [file] = Path(path).glob("part-*")
    file.write_text(line)
    (file.parent / f".{file.name}.crc").unlink(missing_ok=True)


def edit_table(path, change):
    """Replace the table in a folder by what a function makes of it."""
    table = change(parquet.read_table(path))
    shutil.rmtree(path)
    os.mkdir(path)
    parquet.write_table(table, f"{path}/part-0.parquet")


# ---------------------------------------------------------------------------------------------------------------------
# what is wrong


def with_rows(change):
    """What edits a table's rows, as Python's dictionaries."""

    def edit(table):
        rows = table.to_pylist()
        change(rows)
        return pa.Table.from_pylist(rows, table.schema)

    return edit


def with_type(column, kind):
    def edit(table):
        at = table.schema.get_field_index(column)
        return table.set_column(at, column, table.column(column).cast(kind))

    return edit


FACTORS = {
    "a factor too few": (with_rows(lambda rows: rows[3]["features"].pop()), "id .* has"),
    "a factor too many": (with_rows(lambda rows: rows[3]["features"].append(1.0)), "id .* has|cannot be"),
    "NaN": (
        with_rows(lambda rows: rows[5].update(features=[1.0, float("nan"), 2.0, 3.0])),
        "id #?-?[0-9]+ are not finite",
    ),
    "infinity": (with_rows(lambda rows: rows[5].update(features=[1.0, float("-inf"), 2.0, 3.0])), "are not finite"),
    "no factor": (with_rows(lambda rows: rows[5].update(features=[1.0, None, 2.0, 3.0])), "are not finite"),
    "no factors": (with_rows(lambda rows: rows[5].update(features=None)), "id .* has"),
    "no id": (with_rows(lambda rows: rows[5].update(id=None)), "id"),
    "an id twice": (with_rows(lambda rows: rows[5].update(id=rows[4]["id"])), "more than once|no label"),
    "no rows": (with_rows(list.clear), "no rows|are 0"),
    "ids of 64 bits": (with_type("id", pa.int64()), "column 'id' must be int, but is bigint"),
    "factors of 64 bits": (with_type("features", pa.list_(pa.float64())), "must be array<float>, but is array<double>"),
    "no column": (lambda table: table.drop_columns("features"), "column 'features' must be .* missing"),
}


def break_line(path):
    write_line(path, "{not JSON")


def truncate(path):
    for file in Path(path).glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-50])


def empty(path):
    for file in Path(path).glob("*.parquet"):
        file.unlink()


FOLDERS = {
    "nothing": (shutil.rmtree, "", "usable ALSModel"),
    "no metadata": (shutil.rmtree, "metadata", "usable ALSModel"),
    "no JSON": (break_line, "metadata", "usable ALSModel"),
    "a list": (lambda path: write_line(path, "[1]"), "metadata", "not an object"),
    "an empty line": (lambda path: write_line(path, "\n"), "metadata", "usable ALSModel"),
    "of another class": (
        lambda path: edit_line(path, **{"class": "org.apache.spark.ml.recommendation.ALS"}),
        "metadata",
        "not a 'org.apache.spark.ml.recommendation.ALSModel'",
    ),
    "no class": (lambda path: edit_line(path, **{"class": None}), "metadata", "it holds a None"),
    "no rank": (lambda path: edit_line(path, rank=None), "metadata", "'rank' is missing"),
    "rank 0": (lambda path: edit_line(path, rank=0), "metadata", "rank is 0"),
    "another rank": (lambda path: edit_line(path, rank=RANK + 1), "metadata", "rank"),
    "a lower rank": (lambda path: edit_line(path, rank=RANK - 1), "metadata", "rank|cannot be"),
    "no factors": (shutil.rmtree, "itemFactors", "usable ALSModel"),
    "no files of factors": (empty, "itemFactors", "usable ALSModel"),
    "half a file": (truncate, "userFactors", "usable ALSModel|cannot be read"),
    "of a later version": (lambda path: edit_line(path, version="99"), "fastals/metadata", "version '99'"),
    "no labels": (shutil.rmtree, "fastals/userLabels", "usable ALSModel"),
    "no seen items": (shutil.rmtree, "fastals/seen", "usable ALSModel"),
    "another class of ours": (lambda path: edit_line(path, **{"class": "Popen"}), "fastals/metadata", "class 'Popen'"),
    "parameters of ours": (
        lambda path: edit_line(path, parameters={"factors": -1, "x": 1}),
        "fastals/metadata",
        "usable ALSModel",
    ),
    "a label too few": (
        lambda path: edit_table(path, lambda table: table.slice(1)),
        "fastals/userLabels",
        "label",
    ),
    "a label twice": (
        lambda path: edit_table(path, with_rows(lambda rows: rows[1].update(label=rows[0]["label"]))),
        "fastals/userLabels",
        "more than once",
    ),
    "labels of others": (
        lambda path: edit_table(path, with_rows(lambda rows: rows[1].update(id=1000))),
        "fastals/userLabels",
        "label",
    ),
    "seen by nobody": (
        lambda path: edit_table(path, with_rows(lambda rows: rows[1].update(id="nobody"))),
        "fastals/seen",
        "user nobody has no factors",
    ),
    "seen nothing that is": (
        lambda path: edit_table(path, with_rows(lambda rows: rows[1]["items"].append("nothing"))),
        "fastals/seen",
        "item nothing has no factors",
    ),
}

CASES = {
    name: (lambda path, change=change: edit_table(path, change), "userFactors", message)
    for name, (change, message) in FACTORS.items()
}
CASES |= {name if name not in CASES else f"{name} at all": case for name, case in FOLDERS.items()}


def broken(name, tmp_path):
    """A folder with all that one may have, of which one thing is wrong, and the message that it must give."""
    change, part, message = CASES[name]
    path = tmp_path / "model"
    save_model(fitted("implicit", as_text), path)
    change(str(path / part).rstrip("/"))
    return str(path), message
