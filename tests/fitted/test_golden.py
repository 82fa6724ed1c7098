"""Files of former versions: they open, and answer what these answered.

Those of ``golden`` are of the version before there was a fitted state, those of ``golden/known`` of the first that had
known pairs; those of EASE of the first that had it. ``python tests/fitted/test_golden.py DIRECTORY`` has written them,
and ``answers.json``, run by that version: a newer one is not to write them again.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastals

GOLDEN = Path(__file__).with_name("golden")


def events() -> tuple[list[str], list[str], list[int]]:
    """Ratings of two tastes, by 14 users of 9 items."""
    rng = np.random.default_rng(3)
    users, items = np.nonzero(rng.random((14, 9)) < 0.55)
    values = np.where((users + items) % 2, 2, 4) + rng.integers(-1, 2, len(users))
    return [f"u{user}" for user in users], [f"i{item}" for item in items], values.tolist()


def weights() -> Any:
    return np.random.default_rng(4).choice([0.5, 1.0, 2.0], len(events()[0]))


MAKE: dict[str, Callable[[], Any]] = {
    "ExplicitALS": lambda: fastals.ExplicitALS(factors=3, num_threads=1, random_state=0).fit(events()),
    "ImplicitALS": lambda: fastals.ImplicitALS(
        factors=3, regularization=(0.5, 0.25), dtype="float64", num_threads=1, random_state=0
    ).fit(events(), sample_weight=weights()),
    "EASE": lambda: fastals.EASE(num_threads=1).fit(events()),
    "ItemKNN": lambda: fastals.ItemKNN(neighbors=5, num_threads=1).fit(events()),
    "UserKNN": lambda: fastals.UserKNN(neighbors=6, feedback="explicit", shrinkage=1.0, num_threads=1).fit(events()),
}


def answers(model: Any) -> dict[str, tuple[list[Any], list[Any]]]:
    """What a model says: labels, and numbers, of six digits and none infinite, as JSON has them."""
    users, items, of_one = model.users_, model.items_, (["new"] * 3, ["i0", "i3", "i4"], [5, 1, 4])
    lists = {"recommend": model.recommend(users, n=4), "recommend_users": model.recommend_users(items, n=3)}
    if isinstance(model, fastals.UserKNN):
        lists["similar_users"] = model.similar_users(users, n=3)
    else:
        lists["similar_items"] = model.similar_items(items, n=3)
        lists["histories"] = model.recommend(histories=of_one, n=4)
    found = {
        name: (labels.tolist(), rounded(np.where(np.isfinite(scores), scores, -99)))
        for name, (labels, scores) in lists.items()
    }
    found["predict"] = [], rounded(model.predict(users, "i2", unknown="mean"))
    if hasattr(model, "fold_in"):
        found["fold_in"] = [], rounded(model.fold_in(of_one))
        why = model.explain("u3", "i5")
        found["explain"] = why.items.tolist(), rounded([*why.contributions, why.score, why.base])
        found["loss_history"] = [], rounded(model.loss_history_)
    return found


def some_known() -> fastals.Interactions:
    """The same events, and pairs that are no cells: of users and items there are, of a user and an item without any."""
    known = [
        ("u0", "i1"),
        ("u3", "i2"),
        ("u3", "i8"),
        ("u13", "i4"),
        ("u5", "later"),
        ("nobody", "i2"),
        ("nobody", "i6"),
    ]
    users, items, values = events()
    return fastals.Interactions.from_arrays(users, items, values, known=tuple(zip(*known, strict=True)))


KNOWING: dict[str, Callable[[], Any]] = {
    "known/ExplicitALS": lambda: fastals.ExplicitALS(factors=3, num_threads=1, random_state=0).fit(some_known()),
    "known/ImplicitALS": lambda: fastals.ImplicitALS(factors=3, num_threads=1, random_state=0).fit(some_known()),
    "known/EASE": lambda: fastals.EASE(dtype="float64", weighting="binary", num_threads=1).fit(some_known()),
    "known/ItemKNN": lambda: fastals.ItemKNN(neighbors=5, num_threads=1).fit(some_known()),
    "known/UserKNN": lambda: fastals.UserKNN(neighbors=6, feedback="explicit", num_threads=1).fit(some_known()),
}
EVERY = MAKE | KNOWING


def rounded(numbers: Any) -> list[float]:
    return [float(f"{number:.6g}") for number in np.ravel(numbers)]


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_it_answers_as_it_did(name: str, mmap: bool, tmp_path: Path) -> None:
    file = GOLDEN / f"{name}.fastals"
    expected = json.loads((file.parent / "answers.json").read_text())[name]
    model = fastals.load(file, mmap=mmap)
    model.save(tmp_path / "again")
    for each in (model, fastals.load(tmp_path / "again", mmap=mmap)):
        assert type(each).__name__ == name.removeprefix("known/")
        # that version stored it
        assert each.num_threads is None
        found = answers(each)
        assert found.keys() == expected.keys()
        for question, (labels, numbers) in expected.items():
            assert found[question][0] == labels, question
            np.testing.assert_allclose(found[question][1], numbers, rtol=1e-4, atol=1e-5, err_msg=question)


@pytest.mark.parametrize("name", EVERY)
def test_it_is_the_model_that_is_fitted_now(name: str) -> None:
    old, new = fastals.load(GOLDEN / f"{name}.fastals"), EVERY[name]()
    assert old.get_params() == {**new.get_params(), "num_threads": None}
    assert old.settings_.keys() == new.settings_.keys()
    for setting, value in new.settings_.items():
        assert old.settings_[setting] == (pytest.approx(value) if isinstance(value, float) else value)
    for one, other in zip(old.state_.numbers(), new.state_.numbers(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in EVERY if name.endswith("ALS")])
def test_it_can_go_on(name: str) -> None:
    later = ["u0", "zoe", "zoe"], ["i1", "i1", "new"], [5, 4, 3]
    old, new = fastals.load(GOLDEN / f"{name}.fastals").partial_fit(later), EVERY[name]().partial_fit(later)
    np.testing.assert_allclose(old.predict("zoe", old.items_), new.predict("zoe", new.items_), rtol=1e-3, atol=1e-4)
    assert old.recommend("zoe", n=3).items.tolist() == new.recommend("zoe", n=3).items.tolist()


@pytest.mark.parametrize("name", KNOWING)
def test_what_it_knew_it_knows(name: str) -> None:
    model, met = fastals.load(GOLDEN / f"{name}.fastals"), set(zip(*events()[:2], strict=True))
    met |= {("u0", "i1"), ("u3", "i2"), ("u3", "i8"), ("u13", "i4")}
    assert {(u, i) for u in model.users_ for i in model.recommend(u, n=9).items if i is not None}.isdisjoint(met)
    popular = model.recommend(["nobody", "else"], n=9, unknown="popular").items
    assert set(popular[1]) - set(popular[0]) == {"i2", "i6"}
    if name.endswith("ALS"):
        model.partial_fit((["u1", "nobody"], ["later", "i0"], [3, 4]))
        assert "later" not in model.recommend("u5", n=10).items
        assert not {"i2", "i6"} & set(model.recommend("nobody", n=10).items)


if __name__ == "__main__":
    directory = sys.argv[1]
    models = {name: make() for name, make in EVERY.items() if (GOLDEN / name).parent == GOLDEN / directory}
    for name, model in models.items():
        model.save(GOLDEN / f"{name}.fastals")
    lines = [f'"{name}": {json.dumps(answers(model), separators=(",", ":"))}' for name, model in models.items()]
    (GOLDEN / directory / "answers.json").write_text("{" + ",\n".join(lines) + "}\n")
