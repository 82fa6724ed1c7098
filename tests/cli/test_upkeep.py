"""What is done to models that there are: update, forget, compare."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from servers import Redis

import fastals
from fastals.__main__ import main
from fastals.evaluation import compare
from fastals.scoring import score, update

SPEC: dict[str, Any] = {"signals": {"played": {}}, "timestamp": "time", "half_life": "1 day"}
DAY, START = 86_400, 1_700_000_000


def log(n: int, seed: int, day: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user": [f"person-{i:02d}" for i in rng.integers(0, 15, n)],
            "item": rng.integers(-4, 8, n),
            "played": rng.integers(1, 9, n),
            "time": START + DAY * day + rng.integers(0, DAY, n),
        }
    )


def ok(capfd: Any, *argv: Any) -> str:
    """The output of a command that works and has nothing to complain of."""
    code = main([str(each) for each in argv])
    out, err = capfd.readouterr()
    assert (code, err) == (0, "")
    return str(out)


def refused(capfd: Any, *argv: Any, code: int = 1) -> str:
    """One line on standard error; returns it."""
    assert main([str(each) for each in argv]) == code
    out, err = capfd.readouterr()
    assert err.startswith("fastals: error: ")
    assert err.count("\n") == 1
    assert code == 3 or not out
    return str(err)


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A model of scores."""
    fastals.ImplicitALS(factors=3, random_state=0).fit(score(log(200, 0, 0), SPEC).interactions()).save(tmp_path / "m")
    return tmp_path / "m"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A model of interactions."""
    events = log(200, 0, 0)
    data = tuple(events[name].to_numpy() for name in ("user", "item", "played"))
    fastals.ImplicitALS(factors=3, random_state=0).fit(data).save(tmp_path / "m")
    return tmp_path / "m"


def names_in(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


# --- update ----------------------------------------------------------------------------------------------------------


def test_update_is_scoring_update(scored: Path, tmp_path: Path, capfd: Any) -> None:
    parts = [log(30, 1, 1), log(30, 2, 2)]
    for number, part in enumerate(parts):
        part.to_csv(tmp_path / f"{number}.csv", index=False)
    expected = fastals.load(scored, mmap=False)
    told = update(expected, [tmp_path / "0.csv", tmp_path / "1.csv"])
    out = ok(capfd, "update", scored, tmp_path / "0.csv", tmp_path / "1.csv", "--out", tmp_path / "n")
    assert "60 events" in out
    assert f"count {told.decay:.6g} of what they did" in out
    assert "1 since the last whole fit" in out
    assert "another one is due" in out
    found = fastals.load(tmp_path / "n")
    np.testing.assert_array_equal(found.user_factors_, expected.user_factors_)
    assert found.scoring_ == expected.scoring_
    # one after the other, in its place
    ok(capfd, "update", scored, tmp_path / "0.csv", "--quiet")
    assert ok(capfd, "update", scored, tmp_path / "1.csv", "--quiet") == ""
    again = fastals.load(scored)
    assert again.n_updates_ == 2
    np.testing.assert_allclose(again.state_.pairs.values, found.state_.pairs.values, rtol=1e-5)
    assert "2 since the last whole fit" in ok(capfd, "info", scored)
    assert names_in(tmp_path) == ["0.csv", "1.csv", "m", "n"]


def test_an_update_made_twice_is_told(scored: Path, tmp_path: Path, capfd: Any) -> None:
    """As a job does that died after the model was written, and is started again."""
    log(30, 1, 1).to_csv(tmp_path / "new.csv", index=False)
    ok(capfd, "update", scored, tmp_path / "new.csv")
    assert main(["update", str(scored), str(tmp_path / "new.csv"), "--summary", str(tmp_path / "s.json")]) == 0
    err = capfd.readouterr().err
    assert err.startswith("fastals: note: the model's scores stay those of 20")
    assert err.endswith("Z: events that it had taken in already count twice\n")
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["events"]["events"] == 30
    assert summary["events"]["notes"] == [err.removeprefix("fastals: note: ").rstrip("\n")]
    assert "now must not lie before that of the model's scores, 20" in refused(
        capfd, "update", scored, tmp_path / "new.csv", "--now", "2000-01-01"
    )
    assert re.search(r"now 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", ok(capfd, "info", scored))


def test_update_of_plain_interactions(plain: Path, tmp_path: Path, capfd: Any) -> None:
    part = log(20, 1, 1).rename(columns={"played": "count"})[["user", "item", "count"]]
    part.to_csv(tmp_path / "new.csv", index=False)
    expected = fastals.load(plain, mmap=False)
    before = expected.state_.pairs.matrix.sum()
    expected.partial_fit(tuple(part[name].to_numpy() for name in part), decay=0.25)
    out = ok(capfd, "update", plain, tmp_path / "new.csv", "--decay", "0.25")
    assert "20 interactions" in out
    found = fastals.load(plain)
    assert found.state_.pairs.matrix.sum() == pytest.approx(before / 4 + part["count"].sum())
    np.testing.assert_array_equal(found.item_factors_, expected.item_factors_)
    part[:7].to_csv(tmp_path / "a.csv", index=False)
    part[7:].to_csv(tmp_path / "b.csv", index=False)
    ok(capfd, "update", plain, tmp_path / "a.csv", tmp_path / "b.csv", "--duplicates", "max", "--passes", "1")


def test_update_refuses(scored: Path, tmp_path: Path, capfd: Any) -> None:
    log(5, 1, 1).to_csv(tmp_path / "new.csv", index=False)
    log(5, 1, 1).drop(columns="time").to_csv(tmp_path / "timeless.csv", index=False)
    log(5, 1, 1).assign(item="x").to_csv(tmp_path / "text.csv", index=False)
    before = scored.read_bytes()
    for options, rule in (
        (("new.csv", "--rating", "played"), "--rating has no meaning here: the model holds how its scores are made"),
        (("new.csv", "--decay", "0.5"), "--decay has no meaning here"),
        (("timeless.csv",), "time"),
        (("text.csv",), "items must be integers"),
        (("new.csv", "--passes", "0"), "passes must be >= 1"),
        (("nowhere.csv",), "nowhere.csv"),
    ):
        assert rule in refused(capfd, "update", scored, tmp_path / options[0], *options[1:])
    knn = tmp_path / "knn"
    fastals.ItemKNN().fit((["a", "b"], ["x", "x"])).save(knn)
    assert "ItemKNN cannot be updated" in refused(capfd, "update", knn, tmp_path / "new.csv")
    assert scored.read_bytes() == before


def test_update_says_what_ages_plain_models(plain: Path, tmp_path: Path, capfd: Any) -> None:
    log(5, 1, 1).to_csv(tmp_path / "new.csv", index=False)
    assert "--decay ages it" in refused(capfd, "update", plain, tmp_path / "new.csv", "--now", "2025-04-01")


# --- forget ----------------------------------------------------------------------------------------------------------


def test_forget_leaves_no_byte(plain: Path, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / ".m.0123456789abcdef.tmp").write_bytes(plain.read_bytes())  # of a writer that was killed
    before = fastals.load(plain, mmap=False)
    out = ok(capfd, "forget", plain, "--users", "person-03", "person-07", "person-03", "--items", "5")
    gone = before.state_.pairs.matrix.toarray()[[3, 7]]
    assert out.startswith("forgot   2 users, 1 items, ")
    assert np.count_nonzero(gone)
    assert names_in(tmp_path) == ["m"]
    text = plain.read_bytes()
    assert b"person-02person-04" in text
    assert b"person-03" not in text
    assert b"person-07" not in text
    after = fastals.load(plain)
    assert 5 not in after.items_
    np.testing.assert_array_equal(after.user_factors_, np.delete(before.user_factors_, [3, 7], 0))


def test_forget_from_a_file(plain: Path, tmp_path: Path, capfd: Any, monkeypatch: Any) -> None:
    (tmp_path / "who").write_bytes(b"\xef\xbb\xbfperson-01\r\n\r\nperson-99\nperson-02")
    assert "'person-99' at position 1" in refused(capfd, "forget", plain, "--users-from", tmp_path / "who")
    options = ("--users-from", tmp_path / "who", "--unknown", "ignore", "--out", tmp_path / "n")
    assert "2 users" in (out := ok(capfd, "forget", plain, *options))
    assert "1 unknown to the model" in out
    assert "person-01" in fastals.load(plain).users_
    assert not {"person-01", "person-02"} & set(fastals.load(tmp_path / "n").users_)
    (tmp_path / "what").write_text("-4\n")
    ok(capfd, "forget", plain, "--items-from", tmp_path / "what", "--quiet")
    assert fastals.load(plain).items_[0] == -3


def test_forget_refuses(plain: Path, tmp_path: Path, capfd: Any) -> None:
    before = plain.read_bytes()
    (tmp_path / "empty").write_text("\n \n")
    everybody = fastals.load(plain).users_.tolist()
    for options, rule in (
        (("--users", "nobody"), "'nobody'"),
        (("--items", "one"), "a whole number"),
        (("--users", *everybody), "delete the model instead"),
        (("--users-from", tmp_path / "empty"), "there is no id in it"),
        (("--users-from", tmp_path / "nowhere"), "nowhere"),
        (("--users", "person-01", "--on-disk", tmp_path / "d", "--out", tmp_path / "n"), "in memory"),
    ):
        assert rule in refused(capfd, "forget", plain, *options)
    assert plain.read_bytes() == before
    with pytest.raises(SystemExit) as caught:
        main(["forget", str(plain)])
    assert caught.value.code == 2
    assert "must name whom or what to forget" in capfd.readouterr().err


@pytest.fixture
def on_disk(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and the directory that it refers to."""
    events, store = log(200, 0, 0), tmp_path / "store"
    data = fastals.Interactions.from_arrays(
        events.user.to_numpy(), events["item"].to_numpy(), events.played.to_numpy(), on_disk=store
    )
    fastals.ImplicitALS(factors=3, random_state=0).fit(data).save(tmp_path / "m")
    return tmp_path / "m", store


def bytes_of(store: Path) -> bytes:
    return b"".join(each.read_bytes() for each in store.iterdir())


def test_forget_what_is_on_disk(on_disk: tuple[Path, Path], tmp_path: Path, capfd: Any) -> None:
    model, store = on_disk
    before = fastals.load(model, mmap=False)
    lists = before.recommend("person-04", n=5)
    cells = before.state_.pairs.in_memory().matrix.toarray()
    assert b"person-03" in bytes_of(store)
    ok(capfd, "forget", model, "--users", "person-03", "--items", "0")
    assert names_in(tmp_path) == ["m", "store"]
    assert b"person-03" not in bytes_of(store) + model.read_bytes()
    after = fastals.load(model)
    assert after.state_.pairs.on_disk == str(store)
    np.testing.assert_array_equal(
        fastals.Interactions.open(store).in_memory().matrix.toarray(), np.delete(np.delete(cells, 3, 0), 4, 1)
    )
    again = after.recommend("person-04", n=6)
    kept = [(item, s) for item, s in zip(lists.items, lists.scores, strict=True) if item != 0]
    assert kept == list(zip(again.items, again.scores, strict=True))[: len(kept)]
    # once more, and beside what there is
    other = tmp_path / "other"
    options = ("--users", "person-05", "--out", tmp_path / "n")
    assert "--on-disk must name a new directory" in refused(capfd, "forget", model, *options)
    ok(capfd, "forget", model, *options, "--on-disk", other)
    assert b"person-05" not in bytes_of(other) + (tmp_path / "n").read_bytes()
    assert "person-05" in fastals.load(model).users_
    assert "--on-disk needs --out" in refused(capfd, "forget", model, "--users", "person-05", "--on-disk", other)
    (store / "notes.txt").write_text("mine")
    assert "holds other files, as 'notes.txt'" in refused(capfd, "forget", model, "--users", "person-05")
    assert fastals.load(model).recommend("person-05").items.size


@pytest.mark.parametrize("step", range(5))
def test_forget_may_be_killed_at_any_step(
    on_disk: tuple[Path, Path], step: int, capfd: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    """The model is there all the time; and when the command is given again, nobody is left."""
    model, store = on_disk

    class KilledError(BaseException):
        pass

    count = 0

    def dying(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            if count == step:
                raise KilledError
            count += 1
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr("fastals.cli._forget.save", dying(fastals.cli._forget.save))
        patch.setattr("fastals.cli._forget.move_in", dying(fastals.cli._forget.move_in))
        patch.setattr("fastals._fitted.replacement.os.rename", dying(os.rename))
        patch.setattr("fastals._fitted.replacement.shutil.rmtree", dying(fastals._fitted.replacement.shutil.rmtree))
        with pytest.raises(KilledError):
            main(["forget", str(model), "--users", "person-03"])
    found = fastals.load(model)
    assert found.recommend("person-04").items.size
    ok(capfd, "forget", model, "--users", "person-03", "--unknown", "ignore", "--quiet")
    assert names_in(tmp_path) == ["m", "store"]
    assert b"person-03" not in bytes_of(store) + model.read_bytes()
    assert fastals.load(model).state_.pairs.on_disk == str(store)


# --- compare ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(plain: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two models, and what was held out."""
    events = log(260, 5, 0)
    data = tuple(events[name].to_numpy() for name in ("user", "item", "played"))
    fastals.ImplicitALS(factors=2, random_state=1).fit(data).save(tmp_path / "n")
    log(60, 6, 1)[["user", "item"]].to_csv(tmp_path / "test.csv", index=False)
    return plain, tmp_path / "n", tmp_path / "test.csv"


def test_compare_is_evaluation_compare(two: tuple[Path, Path, Path], capfd: Any) -> None:
    old, new, test = two
    frame = pd.read_csv(test)
    expected = compare(fastals.load(old), fastals.load(new), (frame.user.to_numpy(), frame["item"].to_numpy()), n=4)
    assert json.loads(ok(capfd, "compare", old, new, test, "--n", 4, "--json")) == expected.to_dict()
    out = ok(capfd, "compare", old, new, test, "--n", 4)
    assert f"overlap of the lists of {expected.n_lists} users, 4 items each" in out
    metric = expected.metrics["ndcg@4"]
    line = next(line for line in out.splitlines() if line.startswith("ndcg@4")).split()[1:]
    assert line == [
        f"{metric.old:.4f}",
        f"{metric.new:.4f}",
        *(f"{v:+.4f}" for v in (metric.difference, metric.low, metric.high)),
    ]
    without = ok(capfd, "compare", old, new)
    assert "held out" not in without
    assert "rbo" in without


def test_compare_is_a_gate(two: tuple[Path, Path, Path], capfd: Any) -> None:
    old, new, test = two
    ok(capfd, "compare", old, old, "--min-overlap", "1")
    assert "in common, less than --min-overlap 0.99" in refused(
        capfd, "compare", old, new, "--min-overlap", "0.99", code=3
    )
    ok(capfd, "compare", old, old, test, "--max-drop", "0")
    ok(capfd, "compare", old, new, test, "--max-drop", "1")
    metric = compare(fastals.load(old), fastals.load(new), fastals.Interactions.from_csv(test)).metrics["ndcg@10"]
    near = -metric.high
    assert "ndcg@10 is worse by" in refused(capfd, "compare", old, new, test, "--max-drop", str(near - 1e-6), code=3)
    ok(capfd, "compare", old, new, test, "--max-drop", str(near + 1e-6))
    assert "--min-overlap must be from 0 to 1, got 50" in refused(capfd, "compare", old, new, "--min-overlap", "50")
    assert "--max-drop needs a file" in refused(capfd, "compare", old, new, "--max-drop", "0.1")


def test_compare_refuses(plain: Path, tmp_path: Path, capfd: Any) -> None:
    other = tmp_path / "other"
    fastals.ImplicitALS(factors=1).fit(([1], [2])).save(other)
    assert "strings and integers, which cannot be matched" in refused(capfd, "compare", plain, other)
    assert "nowhere" in refused(capfd, "compare", plain, tmp_path / "nowhere")


# --- forget, in Redis ------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_before_the_model_forgets(plain: Path, capfd: Any) -> None:
    before = plain.read_bytes()
    options = ("--users", "person-03", "--from", "redis://127.0.0.1:1")
    assert "cannot be reached" in refused(capfd, "forget", plain, *options)
    assert plain.read_bytes() == before


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: Any) -> Any:
    pytest.importorskip("redis")
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.stop()


def test_forget_what_is_served(plain: Path, tmp_path: Path, redis_url: str, capfd: Any) -> None:
    model = fastals.load(plain, mmap=False)
    for prefix in ("fastals", "other"):
        fastals.serving.publish(model, redis_url, n=4, prefix=prefix, progress=False)
    out = ok(capfd, "forget", plain, "--users", "person-03", "person-07", "--from", redis_url)
    assert "removed  2 lists from redis://" in out
    assert "person-03" not in fastals.load(plain).users_
    reader = fastals.serving.RedisRecommendations(redis_url)
    assert [each.popular for each in reader.get_many(["person-03", "person-04"])] == [True, False]
    # a model that knows nobody of them any more, and none at all
    options = ("--users", "person-03", "person-05", "--from", redis_url, "--prefix", "other")
    assert "'person-03'" in refused(capfd, "forget", plain, *options)
    assert "removed  2 lists" in ok(capfd, "forget", plain, *options, "--unknown", "ignore")
    assert ok(capfd, "forget", "--from", redis_url, "--users", "person-06").startswith("removed  1 lists from")
    assert reader.get("person-06").popular


def test_forget_says_where(plain: Path, capfd: Any) -> None:
    for options, rule in (
        (("--users", "person-03"), "MODEL, or --from, must say where"),
        ((plain, "--items", "1", "--from", "redis://localhost:1"), "--from needs users"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["forget", *map(str, options)])
        assert caught.value.code == 2
        assert rule in capfd.readouterr().err
    assert "localhost:1" in refused(capfd, "forget", "--users", "person-03", "--from", "redis://localhost:1")
