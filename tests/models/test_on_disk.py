"""Training on interactions on disk: the bits of training in memory, and all questions answered from the directory."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, evaluation
from fastals._equation import lines
from fastals.evaluation import _metrics

RNG = np.random.default_rng(5)
N_USERS, N_ITEMS, EVENTS = 9_000, 700, 60_000
USERS = (N_USERS * RNG.random(EVENTS) ** 2).astype(int)
USERS[-6000:] = 3  # a row that no run of others holds
ITEMS = (N_ITEMS * RNG.random(EVENTS) ** 3).astype(int)
VALUES = RNG.integers(1, 6, EVENTS).astype(np.float32)
LABELS = [f"item {item}" for item in ITEMS.tolist()]


@pytest.fixture(scope="module")
def memory() -> Interactions:
    return Interactions.from_arrays(USERS, LABELS, VALUES, duplicates="last")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Interactions:
    path = tmp_path_factory.mktemp("disk") / "events"
    return Interactions.from_arrays(USERS, LABELS, VALUES, duplicates="last", on_disk=path)


def bits(model: Any) -> list[bytes]:
    arrays = [model.user_factors_, model.item_factors_, np.array(model.loss_history_)]
    arrays += [np.array(model.state_.mean), *(model.state_.biases or ())]
    return [array.tobytes() for array in arrays]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"solver": "cholesky"},
    {"solver": "cg"},
    {"solver": "lapack"},
    {"nonnegative": True},
    {"regularization": 0.1},
    {"dtype": "float64"},
]
PRESETS = [(ImplicitALS, name) for name in ("spark", "implicit", "lenskit")]
PRESETS += [(ExplicitALS, name) for name in ("spark", "cmfrec", "lenskit")]


@pytest.mark.parametrize("run_bytes", [1 << 26, 1 << 15])
@pytest.mark.parametrize("factors", [5, 33])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", [ImplicitALS, ExplicitALS])
def test_the_bits_are_those_of_memory(
    memory: Interactions,
    disk: Interactions,
    kind: Any,
    settings: dict[str, Any],
    factors: int,
    run_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "RUN_BYTES", run_bytes)
    model = kind(factors=factors, iterations=3, random_state=0, **settings)
    expected = model.fit(memory)
    expected_bits, expected_settings = bits(expected), expected.settings_
    found = model.fit(disk)
    assert found.settings_ == expected_settings
    assert bits(found) == expected_bits


@pytest.mark.parametrize(("kind", "preset"), PRESETS)
def test_presets_too(memory: Interactions, disk: Interactions, kind: Any, preset: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(lines, "RUN_BYTES", 1 << 15)
    model = kind.from_preset(preset, factors=6, iterations=2, random_state=0)
    assert bits(model.fit(memory)) == bits(model.fit(disk))


@pytest.fixture(scope="module", params=[ImplicitALS, ExplicitALS])
def pair(request: pytest.FixtureRequest, memory: Interactions, disk: Interactions) -> tuple[Any, Any]:
    models = (request.param(factors=8, iterations=3, random_state=0) for _ in range(2))
    in_memory, on_disk = (model.fit(data) for model, data in zip(models, (memory, disk), strict=True))
    return in_memory, on_disk


def test_all_questions_are_answered(pair: tuple[Any, Any], disk: Interactions) -> None:
    in_memory, on_disk = pair
    assert on_disk.state_.pairs is disk
    users, items = in_memory.users_[[0, 3, 700, 17]], in_memory.items_[[0, 5, 66]]
    for ask in (
        lambda model: model.recommend(users, n=7),
        lambda model: model.recommend(users, n=7, boost={items[0]: 3.0}, exclude=items[1:]),
        lambda model: model.recommend("nobody", unknown="popular") if users.dtype == object else None,
        lambda model: model.recommend_users(items, n=5, exclude_seen=True),
        lambda model: model.similar_items(items, n=5),
        lambda model: [np.concatenate([batch[1] for batch in model.recommend_all(n=3, batch_size=4000)])],
        lambda model: [np.array(model.explain(users[1], items[1]).score)],
        lambda model: [model.fold_in((["new"] * 3, items, [1.0, 2.0, 3.0]))],
    ):
        for expected, found in zip(ask(in_memory) or (), ask(on_disk) or (), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert on_disk.diagnose() == in_memory.diagnose()


def test_files_and_pickles_refer_to_the_directory(pair: tuple[Any, Any], tmp_path: Path) -> None:
    in_memory, on_disk = pair
    in_memory.save(tmp_path / "whole")
    on_disk.save(tmp_path / "model")
    saved = os.path.getsize(tmp_path / "whole") - os.path.getsize(tmp_path / "model")
    assert saved > 8 * on_disk.state_.pairs.nnz  # an index and a value each
    users = in_memory.users_[:20]
    for again in (fastals.load(tmp_path / "model"), pickle.loads(pickle.dumps(on_disk))):
        assert again.state_.pairs.on_disk == on_disk.state_.pairs.on_disk
        np.testing.assert_array_equal(again.recommend(users).items, in_memory.recommend(users).items)
        assert again.explain(users[3], in_memory.items_[2]) is not None


def test_a_directory_that_has_gone_or_changed_is_told(tmp_path: Path) -> None:
    data = Interactions.from_arrays(USERS[:99], ITEMS[:99], on_disk=tmp_path / "events")
    ImplicitALS(factors=2, iterations=1).fit(data).save(tmp_path / "model")
    shutil.rmtree(tmp_path / "events")
    with pytest.raises(fastals.FileFormatError, match="which is not there any more: move them back"):
        fastals.load(tmp_path / "model")
    Interactions.from_arrays(USERS[100:300], ITEMS[100:300], on_disk=tmp_path / "events")
    with pytest.raises(fastals.FileFormatError, match="other interactions"):
        fastals.load(tmp_path / "model")


def test_validation_and_checkpoints(memory: Interactions, disk: Interactions, tmp_path: Path) -> None:
    held_out = USERS[:900], [LABELS[-place] for place in range(1, 901)], VALUES[:900]
    for kind, metric in ((ImplicitALS, "ndcg@5"), (ExplicitALS, "rmse")):
        model = kind(factors=6, iterations=4, random_state=0)
        expected = model.fit(memory, validation=held_out, validation_metric=metric)
        metrics, factors = expected.metrics_history_, expected.user_factors_
        path = tmp_path / kind.__name__
        kind(factors=6, iterations=4, random_state=0).fit(
            disk, validation=held_out, validation_metric=metric, checkpoint=path, checkpoint_every=1,
            callback=lambda iteration, *_: iteration == 2,
        )  # fmt: skip
        found = model.fit(disk, validation=held_out, validation_metric=metric, checkpoint=path)
        assert found.metrics_history_ == metrics
        np.testing.assert_array_equal(found.user_factors_, factors)


@pytest.mark.parametrize("run_cells", [1 << 24, 500])
@pytest.mark.parametrize("duplicates", ["last", "keep"])
@pytest.mark.parametrize("kind", [ImplicitALS, ExplicitALS])
def test_measures_are_those_of_memory(
    kind: Any, duplicates: str, run_cells: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"duplicates": duplicates}
    held_out, events = slice(0, 20_000, 40), slice(20_000, 40_000)
    memory, disk = (
        Interactions.from_arrays(USERS[events], LABELS[events], VALUES[events], on_disk=place, **options)
        for place in (None, tmp_path / "events")
    )
    new = ["an item that nobody has"] * 3
    test = np.append(USERS[held_out], [1, 2, 3]), [*LABELS[held_out], *new], np.append(VALUES[held_out], [1, 0, 2])
    expected = kind(factors=4, iterations=2, random_state=0).fit(memory)
    found = kind(factors=4, iterations=2, random_state=0).fit(disk)

    def measured(model: Any, train: Any) -> list[Any]:
        asked = (evaluation.evaluate, evaluation.popularity_baseline, evaluation.auc)
        return [*(ask(model, train, test) for ask in asked), model.score(test)]

    whole = measured(expected, None)
    monkeypatch.setattr(_metrics, "RUN_CELLS", run_cells)
    assert measured(expected, None) == whole
    for train in (None, disk, Interactions.open(tmp_path / "events")):
        assert measured(found, train) == whole
    lists = expected.recommend(memory.users, n=7).items
    for metric in (evaluation.novelty_at_k, evaluation.coverage_at_k, evaluation.gini_at_k, evaluation.entropy_at_k):
        assert metric(lists, disk) == metric(lists, memory)
    np.testing.assert_array_equal(evaluation.most_popular(disk, 5), evaluation.most_popular(memory, 5))


def test_what_needs_the_cells_in_memory_says_so(pair: tuple[Any, Any], disk: Interactions) -> None:
    _, on_disk = pair
    with pytest.raises(fastals.DataError, match="make interactions of all events anew"):
        on_disk.partial_fit((["new"], ["item 1"]))
    with pytest.raises(fastals.DataError, match="in_memory"):
        ImplicitALS(factors=2).fit(disk, sample_weight=np.ones(disk.nnz))
    for ask in (fastals.ItemKNN().fit, evaluation.train_test_split):
        with pytest.raises(fastals.DataError, match="in_memory"):
            ask(disk)
