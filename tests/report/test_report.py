"""The report: one file with everything in it, for any model."""

import re

import numpy as np
import pytest

import fastals
from fastals.report import write_report


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    users = np.array([f"<u&{i}>" for i in range(60)], dtype=object)[rng.integers(0, 60, 900)]
    items = np.array([f"i{i}" for i in range(40)], dtype=object)[(40 * rng.random(900) ** 2).astype(int)]
    cells = fastals.Interactions.from_arrays(users, items, rng.integers(1, 6, 900), duplicates="last")
    return fastals.evaluation.train_test_split(cells, 0.2, random_state=0)


MODELS = {
    "implicit": lambda: fastals.ImplicitALS(factors=4, iterations=3, random_state=0),
    "explicit": lambda: fastals.ExplicitALS(factors=4, iterations=3, random_state=0),
    "untrained": lambda: fastals.ImplicitALS(factors=4, iterations=0, random_state=0),
    "neighbours": lambda: fastals.ItemKNN(neighbors=5),
    "linear": fastals.EASE,
}


@pytest.mark.parametrize("kind", MODELS)
def test_for_any_model(data, tmp_path, kind):
    model = MODELS[kind]().fit(data[0])
    write_report(model, tmp_path / "r.html", test=data[1], n=7)
    page = (tmp_path / "r.html").read_text("utf-8")
    assert type(model).__name__ in page
    metrics = fastals.evaluation.evaluate(model, None, data[1], 7)
    assert f">{metrics['ndcg@7']:.4f}<" in page
    assert page.count("data:image/svg+xml;base64,") == (3 if kind in ("implicit", "explicit") else 2)
    assert "&lt;u&amp;" in page
    assert "<u&" not in page
    assert ("fitted again without" in page) == (kind not in ("neighbours", "linear"))
    # nothing is fetched from anywhere
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)


def test_what_validation_measured_is_drawn(data, tmp_path):
    model = fastals.ImplicitALS(factors=4, iterations=3, random_state=0).fit(data[0], validation=data[1])
    for name in ("a", "b"):
        write_report(model, tmp_path / name, n_examples=0)
    assert (tmp_path / "a").read_text().count("<h3>") == 0
    assert "Not measured" in (tmp_path / "a").read_text()


def test_what_is_refused(data, tmp_path, monkeypatch):
    with pytest.raises(fastals.NotFittedError):
        write_report(fastals.ImplicitALS(), tmp_path / "r.html")
    model = fastals.ImplicitALS(factors=2, iterations=1).fit(data[0])
    with pytest.raises(fastals.ParameterError, match="n must be"):
        write_report(model, tmp_path / "r.html", n=0)
    monkeypatch.setattr("fastals._files.storage.find_spec", lambda name: None)
    with pytest.raises(fastals.MissingDependencyError, match=r"pip install 'fastals\[plot\]'"):
        write_report(model, tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []
