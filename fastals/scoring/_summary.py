"""What is told of a log beside its scores: what was passed over, what is odd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._files import is_span, iso
from ._types import Types

if TYPE_CHECKING:
    from ._events import Events
    from ._kept import Kept
    from ._spec import ScoreSpec

MOST_SHOWN = 5
"""Values of a column that one line shows."""


def summary_of(events: Events, kept: Kept, shape: tuple[int, int]) -> dict[str, Any]:
    """Return what :meth:`Scores.summary` says."""
    period = events.period
    return {
        "events": events.count,
        "users": shape[0],
        "items": shape[1],
        "now": iso(period.now) if period.dated and events.count else None,
        "later_events": later_events(events),
        "events_before_since": kept.n_early,
        "events_from_until_on": kept.n_late,
        "events_of_no_signal": events.unnamed,
        "users_above_max_user_events": kept.n_robots,
        "items_below_min_item_events": kept.n_rare_items,
        "users_below_min_user_events": kept.n_rare_users,
        "bad_rows": events.bad_rows.to_dict(),
        "types": _types(events.types),
        "types_never_met": events.types.never() if events.count else {},
    }


def later_events(events: Events) -> int:
    """Return how many events lie behind now and yet count."""
    return 0 if is_span(events.period.spec.until) else events.period.n_later


def _types(types: Types) -> dict[str, list[dict[str, Any]]]:
    told = {}
    for column, counts in types.counts.items():
        wanted = types.wanted[column]
        rows = [{"value": v, "events": n, "signals": wanted.get(v, [])} for v, n in counts.most_common()]
        if types.others[column]:
            rows.append({"value": "…", "events": types.others[column], "signals": []})
        told[column] = rows
    return told


def notes_of(summary: dict[str, Any], spec: ScoreSpec) -> list[str]:
    """Return a line for each thing of a summary that one should know."""
    notes = _later(summary)
    for name, text in (
        ("events_before_since", f"events before since={spec.since!r} are left out"),
        ("events_from_until_on", f"events from until={spec.until!r} on are left out"),
        ("events_of_no_signal", "events are of no type that a signal names, and are left out"),
        ("users_above_max_user_events", f"users with more than {spec.max_user_events} events are left out"),
        ("items_below_min_item_events", f"items with fewer than {spec.min_item_events} events are left out"),
        ("users_below_min_user_events", f"users with fewer than {spec.min_user_events} events are left out"),
    ):
        if summary[name]:
            notes.append(f"{summary[name]:,} {text}")
    for column, rows in summary["types"].items():
        if unnamed := [row for row in rows if not row["signals"]]:
            notes.append(f"column {column!r}: no signal names {_listed(unnamed)}")
    return notes + _never_met(summary)


def odd_notes(summary: dict[str, Any], spec: ScoreSpec) -> list[str]:
    """Return the lines for what is likely a mistake."""
    return (_later(summary) if spec.now in (None, "now") else []) + _never_met(summary)


def _later(summary: dict[str, Any]) -> list[str]:
    n = summary["later_events"]
    text = f"{n:,} events are later than now and have age 0: timezone= may be missing; later='error' refuses them"
    return [text] if n else []


def _never_met(summary: dict[str, Any]) -> list[str]:
    return [
        f"column {column!r} never holds {', '.join(map(repr, values))}; it holds "
        + (_listed(summary["types"][column]) or "nothing")
        for column, values in summary["types_never_met"].items()
    ]


def _listed(rows: list[dict[str, Any]]) -> str:
    shown = [f"{row['value']!r} ({row['events']:,})" for row in rows[:MOST_SHOWN]]
    return ", ".join(shown) + (", …" if len(rows) > MOST_SHOWN else "")
