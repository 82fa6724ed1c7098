"""``fastals report``: a model as a page of HTML."""

from __future__ import annotations

import argparse

from .._core import told_address
from .._files import check_target
from ._common import add_data_options, add_model, add_title_options, load, read, size, title_options

HELP = "write an HTML report on a model"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write")
    add_data_options(parser, "CSV, JSON lines or Parquet: what was held out (default: no quality)", nargs="?")
    add_title_options(parser)


def command(arguments: argparse.Namespace) -> None:
    """Write an HTML report on a model."""
    from .. import report

    check_target(arguments.out)
    model = load(arguments.model)
    test = read(arguments, ratings=model.state_.ratings) if arguments.data else None
    report.write_report(model, arguments.out, test=test, **title_options(arguments))
    if not arguments.quiet:
        print(f"wrote    {told_address(arguments.out)}{size(arguments.out)}")
