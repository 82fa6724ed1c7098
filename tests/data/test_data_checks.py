import numpy as np
import pytest

from fastals._core.errors import DataError
from fastals._data.checks import check_ids, check_known_shape
from fastals._data.labels import Labels


def test_readable_ids_are_not_copied():
    ids = np.arange(3)
    assert np.shares_memory(check_ids("users", ids), ids)


def test_known_shape():
    users, items = Labels(None, 3706), Labels(None, 6040)
    check_known_shape((3706, 6040), users, items)
    check_known_shape((1, 6040), None, items)
    with pytest.raises(
        DataError, match=r"the matrix has 6040 rows but the model knows 3706 users: was it passed items x"
    ):
        check_known_shape((6040, 3706), users, items)
    with pytest.raises(DataError, match=r"the matrix has 7 columns but the model knows 6040 items$"):
        check_known_shape((9, 7), None, items)
