"""The examples run, and show what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_nearest_neighbours():
    pytest.importorskip("faiss")
    command = [sys.executable, str(EXAMPLES / "nearest_neighbours.py")]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    flat, graph = map(float, re.findall(r" (0\.\d+|1\.0+)", out))
    assert flat > 0.99  # but for ties of rounding
    assert graph > 0.9
