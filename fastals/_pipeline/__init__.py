"""A pipeline file: what it says, and doing it; the demo's is one."""

from . import command, demo
from .events import event_facts, score, told_events, update
from .models import NONE, load, loss, model_facts, print_metrics, save, told_publication
from .summary import Summary

__all__ = [
    "NONE",
    "Summary",
    "command",
    "demo",
    "event_facts",
    "load",
    "loss",
    "model_facts",
    "print_metrics",
    "save",
    "score",
    "told_events",
    "told_publication",
    "update",
]
