"""The report: its tables, plots and HTML."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import evaluation
from .._core import check_int, check_path, resolve_num_threads
from .._equation import told
from .._files import need, replacing
from .._inspect import check
from .._topn import FactorFitted, Fitted
from ..serving import titles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLE = 10_000
"""Users whose lists are looked at."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse } td, th { padding: .15em .9em .15em 0; text-align: left; vertical-align: top }
td.n, th.n { text-align: right } img { max-width: 100%; height: auto } .note { color: #666 }
"""


def write_report(
    model: Any,
    path: str | os.PathLike[str],
    *,
    test: Any = None,
    metrics: Mapping[str, float] | None = None,
    baseline: Mapping[str, float] | None = None,
    n: int = 10,
    n_examples: int = 5,
    titles: Any = None,
    item_column: str | None = None,
    title_column: str | None = None,
) -> None:
    """Write a report: parameters, settings, loss curve, scores and degrees, quality beside popularity, example lists.

    A model of factors is also checked as :meth:`ImplicitALS.diagnose` does it.

    Parameters
    ----------
    model : fitted ExplicitALS, ImplicitALS, EASE, ItemKNN or UserKNN
    path : str or path-like
        File to write, local or as hdfs://, s3://, gs://.
    test : Interactions, or what ``fit`` takes, optional
        Held-out interactions to measure the model on, beside the popularity baseline.
    metrics, baseline : mappings, optional
        What :func:`fastals.evaluation.evaluate` and :func:`~fastals.evaluation.popularity_baseline` gave, where that is
        done already.
    n : int, default 10
        Items in a list.
    n_examples : int, default 5
        Users whose lists are shown.
    titles : path, data frame or mapping of ids to strings, optional
        What items are called, in the place of their ids.
    item_column, title_column : str, optional
        Columns of such a file or frame; as for :func:`fastals.serving.publish`.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    NotFittedError, DataError, OSError

    Examples
    --------
    >>> import fastals, os, tempfile
    >>> from fastals.report import write_report
    >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "report.html")
    ...     write_report(model, path)
    ...     os.path.getsize(path) > 10_000
    True
    """
    name = check_path("path", path)
    model = copy(model)  # which keeps to its state, whatever is fitted meanwhile
    state, threads = model.state_, resolve_num_threads(model.num_threads)
    n, n_examples = check_int("n", n, low=1), check_int("n_examples", n_examples, low=0)
    need("plot", "matplotlib", "a report")
    called = titles_of(state.items, titles, item_column, title_column)
    if test is not None and metrics is None:
        metrics = evaluation.evaluate(model, None, test, n)
        baseline = evaluation.popularity_baseline(model, None, test, n)
    sample = np.unique(np.linspace(0, len(state.users) - 1, min(SAMPLE, len(state.users))).astype(np.int32))
    items, scores = state.top_items(sample, n, True, threads)
    parts = [
        f"<h1>{html.escape(type(model).__name__)}</h1>",
        _facts(model),
        "<h2>Loss</h2>",
        _loss(model),
        "<h2>Data</h2>",
        _degrees(state),
        "<h2>Recommendations</h2>",
        _lists(state, sample, items, scores, n),
        "<h2>Quality</h2>",
        _quality(metrics, baseline) + _checked(model),
        "<h2>Examples</h2>",
        _examples(state, sample, items, scores, n_examples, called),
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>fastals report</title>'
        f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )
    with replacing(name) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(page)


def _table(rows: list[list[Any]], header: list[str] | None = None) -> str:
    def cell(tag: str, value: Any) -> str:
        number = isinstance(value, int | float)
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if number else str(value)
        return f"<{tag}{' class=n' if number else ''}>{html.escape(text)}</{tag}>"

    lines = [("th", header)] * (header is not None) + [("td", row) for row in rows]
    body = "".join("<tr>" + "".join(cell(tag, value) for value in line or []) + "</tr>" for tag, line in lines)
    return f"<table>{body}</table>"


def _plot(*draw: Any) -> str:
    """Return plots side by side as one picture inside the page; no display and no state of pyplot is touched."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(draw), 3.1), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(1, len(draw), squeeze=False)[0]
    for one, on in zip(draw, axes, strict=True):
        one(on)
        on.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(out.getvalue()).decode()}">'


def _facts(model: Any) -> str:
    state = model.state_
    parameters = ", ".join(f"{name}={value!r}" for name, value in state.parameters.items())
    facts: list[list[Any]] = [
        ["users", len(state.users)],
        ["items", len(state.items)],
        ["interactions", state.pairs.nnz],
        ["parameters", parameters],
    ]
    if state.pairs.known is not None:
        facts.append(["known pairs", state.pairs.known.nnz])
    if state.pairs.on_disk:
        facts.append(["data", f"in {state.pairs.on_disk}"])
    if settings := getattr(state, "settings", None):
        facts.append(["settings", told(settings)])
    if scoring := getattr(model, "scoring_", None):
        facts.append(["scores", ", ".join(f"{name} {value}" for name, value in scoring.items())])
    return _table(facts)


def _loss(model: Any) -> str:
    losses = getattr(model, "loss_history_", [])
    if not losses:
        return "<p class=note>None.</p>"

    def curve(on: Axes) -> None:
        on.plot(range(1, len(losses) + 1), losses, marker="o", markersize=3)
        on.set(xlabel="iteration", ylabel="objective")

    metrics = getattr(model, "metrics_history_", [])
    if not metrics:
        return _plot(curve)

    def measured(on: Axes) -> None:
        for name in metrics[0]:
            on.plot(range(1, len(metrics) + 1), [values[name] for values in metrics], label=name)
        on.set(xlabel="iteration", ylabel="on held-out data")
        on.legend(frameon=False)

    return _plot(curve, measured)


def _degrees(state: Fitted) -> str:
    per_user, per_item = state.cells_of_users(), state.cells_of_items()

    def ranked(counts: NDArray[Any], what: str) -> Any:
        def draw(on: Axes) -> None:
            shown = np.sort(counts[counts > 0])[::-1]
            some = np.unique(np.geomspace(1, max(1, len(shown)), 400).astype(int)) - 1
            on.loglog(some + 1, shown[some])
            on.set(xlabel=f"{what}s, busiest first", ylabel=f"interactions of the {what}")

        return draw

    empty = f"{(per_user == 0).sum():,} users and {(per_item == 0).sum():,} items have no interaction."
    return _plot(ranked(per_user, "user"), ranked(per_item, "item")) + f"<p class=note>{empty}</p>"


def _lists(state: Fitted, sample: NDArray[Any], items: NDArray[Any], scores: NDArray[Any], n: int) -> str:
    """Plot the scores by rank, and how much of the lists the popular items take."""
    listed = items >= 0
    counts = state.cells_of_items()
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    in_lists = np.bincount(rank[items[listed]], minlength=len(counts)).cumsum() / max(1, listed.sum())
    in_data = np.sort(counts)[::-1].cumsum() / max(1, counts.sum())

    def by_rank(on: Axes) -> None:
        shown = [scores[listed[:, r], r] for r in range(n) if listed[:, r].any()]
        low, middle, high = (np.array([np.quantile(s, q) for s in shown]) for q in (0.1, 0.5, 0.9))
        on.plot(range(1, len(shown) + 1), middle)
        on.fill_between(range(1, len(shown) + 1), low, high, alpha=0.2)
        on.set(xlabel="rank in the list", ylabel="score: median, 10 to 90 %")

    def of_popular(on: Axes) -> None:
        share = np.arange(1, len(counts) + 1) / len(counts)
        some = np.unique(np.geomspace(1, len(counts), 400).astype(int)) - 1
        on.plot(share[some], in_lists[some], label="of what is recommended")
        on.plot(share[some], in_data[some], label="of what is in the data", linestyle="--")
        on.set(xlabel="share of the items, most popular first", ylabel="share", xscale="log")
        on.legend(frameon=False)

    covered = len(np.unique(items[listed]))
    note = f"Lists of {len(sample):,} users hold {covered:,} of {len(counts):,} items ({covered / len(counts):.1%})."
    return _plot(by_rank, of_popular) + f"<p class=note>{note}</p>"


def _quality(metrics: Mapping[str, float] | None, baseline: Mapping[str, float] | None) -> str:
    if metrics is None:
        return "<p class=note>Not measured: no held-out data was given.</p>"
    names = [name for name in metrics if not name.startswith("n_")]
    rows = [[name, float(metrics[name]), float((baseline or {}).get(name, np.nan))] for name in names]
    rows += [[name[2:] + " measured", int(metrics[name]), ""] for name in metrics if name.startswith("n_")]
    return _table(rows, ["", "this model", "most popular"])


def _checked(model: Any) -> str:
    """Say how a model of the same settings did beside what needs no model."""
    if not isinstance(model.state_, FactorFitted):
        return ""
    return "".join(f"<p class=note>{html.escape(line)}</p>" for line in check(model).lines())


def _examples(
    state: Fitted,
    sample: NDArray[Any],
    items: NDArray[Any],
    scores: NDArray[Any],
    n_examples: int,
    titles: NDArray[Any] | None,
) -> str:
    """Show what some users of middling activity have, beside what they are recommended."""

    def names(some: NDArray[Any]) -> list[str]:
        called = [None] * len(some) if titles is None else titles[some].tolist()
        labels = state.items.decode(some).tolist()
        return [str(label) if title is None else title for label, title in zip(labels, called, strict=True)]

    counts = state.cells_of_users()[sample]
    # those around the median, spread over the whole range of users
    near = np.argsort(np.abs(np.log1p(counts) - np.median(np.log1p(counts))), kind="stable")
    parts = []
    for place in near[:: max(1, len(near) // (4 * n_examples or 1))][:n_examples]:
        user = sample[place]
        listed = items[place] >= 0
        seen = state.seen(np.array([user])).pairs()[1]
        known = names(seen[: items.shape[1]])
        best = zip(names(items[place][listed]), scores[place][listed].tolist(), strict=True)
        label = state.users.decode(np.array([user]))[0]
        rows = [[", ".join(known), ", ".join(f"{item} ({score:.2f})" for item, score in best)]]
        parts.append(f"<h3>{html.escape(str(label))}</h3>" + _table(rows, ["some of what it has", "recommended"]))
    return "".join(parts)
