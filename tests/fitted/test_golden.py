"""Files of the version before there was a fitted state: they open, and answer what that version answered.

``python tests/fitted/test_golden.py`` has written them, and ``answers.json``, run by that version: a newer one is not
to write them again.
"""

import json
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


def rounded(numbers: Any) -> list[float]:
    return [float(f"{number:.6g}") for number in np.ravel(numbers)]


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("name", MAKE)
def test_it_answers_as_it_did(name: str, mmap: bool, tmp_path: Path) -> None:
    expected = json.loads((GOLDEN / "answers.json").read_text())[name]
    model = fastals.load(GOLDEN / f"{name}.fastals", mmap=mmap)
    model.save(tmp_path / "again")
    for each in (model, fastals.load(tmp_path / "again", mmap=mmap)):
        assert type(each).__name__ == name
        # that version stored it
        assert each.num_threads is None
        found = answers(each)
        assert found.keys() == expected.keys()
        for question, (labels, numbers) in expected.items():
            assert found[question][0] == labels, question
            np.testing.assert_allclose(found[question][1], numbers, rtol=1e-4, atol=1e-5, err_msg=question)


@pytest.mark.parametrize("name", MAKE)
def test_it_is_the_model_that_is_fitted_now(name: str) -> None:
    old, new = fastals.load(GOLDEN / f"{name}.fastals"), MAKE[name]()
    assert old.get_params() == {**new.get_params(), "num_threads": None}
    assert old.settings_.keys() == new.settings_.keys()
    for setting, value in new.settings_.items():
        assert old.settings_[setting] == (pytest.approx(value) if isinstance(value, float) else value)
    for one, other in zip(old.state_.numbers(), new.state_.numbers(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["ExplicitALS", "ImplicitALS"])
def test_it_can_go_on(name: str) -> None:
    later = ["u0", "zoe", "zoe"], ["i1", "i1", "new"], [5, 4, 3]
    old, new = fastals.load(GOLDEN / f"{name}.fastals").partial_fit(later), MAKE[name]().partial_fit(later)
    np.testing.assert_allclose(old.predict("zoe", old.items_), new.predict("zoe", new.items_), rtol=1e-3, atol=1e-4)
    assert old.recommend("zoe", n=3).items.tolist() == new.recommend("zoe", n=3).items.tolist()


if __name__ == "__main__":
    models = {name: make() for name, make in MAKE.items()}
    for name, model in models.items():
        model.save(GOLDEN / f"{name}.fastals")
    lines = [f'"{name}": {json.dumps(answers(model), separators=(",", ":"))}' for name, model in models.items()]
    (GOLDEN / "answers.json").write_text("{" + ",\n".join(lines) + "}\n")
