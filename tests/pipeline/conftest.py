"""Where a pipeline is run."""

import pyarrow.parquet
import pytest
from pipelines import SPEC, log


@pytest.fixture
def directory(tmp_path):
    events = tmp_path / "events"
    for day, part in enumerate((log().slice(0, 2500), log().slice(2500))):
        (events / f"day={day}").mkdir(parents=True)
        pyarrow.parquet.write_table(part, events / f"day={day}" / "part.parquet")
    (tmp_path / "score.toml").write_text(SPEC)
    return tmp_path
