"""What a block is made of, beside plain loops; no Spark."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastals._engines.block import InBlock, drawn, in_order, in_parts, parts_of
from fastals._engines.build import Cuts
from fastals._engines.pack import Cells
from fastals._engines.pieces import Piece, content_of, packed_content, pieces_of, table

SIDES = st.sampled_from(["users", "items"])
EDGES = st.lists(st.integers(-8, 20), max_size=3, unique=True)
CELLS = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 2**31 - 1), st.integers(-2, 2)), min_size=1, max_size=60)


def cells_of(triples):
    users, items, values = zip(*triples, strict=True)
    return Cells(np.array(users, np.int32), np.array(items, np.int32), np.array(values, np.float32))


@settings(deadline=None)
@given(
    triples=CELLS,
    edges=st.lists(st.integers(-8, 20), max_size=3, unique=True),
    axis=st.sampled_from(["users", "items"]),
)
def test_in_block_is_what_its_cells_say(triples, edges, axis):
    others_from = np.array([-(2**31), *sorted(edges)], np.int32)
    block = InBlock.of(axis, cells_of(triples), others_from)
    own, other = (0, 1) if axis == "users" else (1, 0)
    assert block.ids.tolist() == sorted({each[own] for each in triples})
    assert block.need.tolist() == sorted({each[other] for each in triples})
    for row, id_ in enumerate(block.ids.tolist()):
        part = slice(block.indptr[row], block.indptr[row + 1])
        found = list(zip(block.need[block.indices[part]].tolist(), block.values[part].tolist(), strict=True))
        assert found == sorted((each[other], float(each[2])) for each in triples if each[own] == id_)
    for number in range(len(others_from)):
        last = others_from[number + 1] if number + 1 < len(others_from) else 2**31
        wanted = {each[own] for each in triples if others_from[number] <= each[other] < last}
        assert block.ids[block.wanted_by(number)].tolist() == sorted(wanted)


@given(triples=CELLS, seed=st.integers(0, 99))
def test_order_of_ratings_says_nothing(triples, seed):
    order = np.random.default_rng(seed).permutation(len(triples))
    others_from = np.array([0], np.int32)
    one, other = (InBlock.of("users", cells_of(each), others_from) for each in (triples, [triples[i] for i in order]))
    for name in vars(one):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_in_block_in_files(tmp_path):
    block = InBlock.of("items", cells_of([(1, 2, 3), (1, 2, 1), (4, 2, 0)]), np.array([0, 3], np.int32))
    path = block.save(str(tmp_path))
    opened = InBlock.load(path)
    for name in vars(block):
        np.testing.assert_array_equal(getattr(opened, name), getattr(block, name))
    InBlock.remove(path)
    InBlock.remove(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 7, 100])
def test_cuts_are_at_whole_parts_and_share_the_ratings(n_blocks):
    rng = np.random.default_rng(n_blocks)
    n_rows, first_ids = 4096 * 30 - 5, np.sort(rng.choice(10**6, 30, replace=False)).astype(np.int32)
    cells = rng.integers(1, 100, 30)
    cuts = Cuts.of(first_ids, cells, n_rows, n_blocks)
    assert cuts.first_rows[0] == 0
    assert (cuts.first_rows % 4096 == 0).all()
    assert len(cuts.first_ids) <= min(n_blocks, 30)
    assert n_blocks > 3 or len(cuts.first_ids) == n_blocks
    shares = np.add.reduceat(cells, cuts.first_rows // 4096)
    assert shares.max() <= cells.sum() / n_blocks + cells.max()
    numbers = cuts.blocks_of(first_ids)
    assert (np.diff(numbers) >= 0).all()
    assert set(numbers.tolist()) == set(range(len(cuts.first_ids)))


def test_sums_of_parts_are_the_sum():
    from fastals._core import kernels

    rows = np.random.default_rng(0).standard_normal(4096 * 5 + 17)
    whole = kernels.sum_rows(rows)
    for cut in (4096, 3 * 4096):
        assert in_order([in_parts(rows[:cut]), in_parts(rows[cut:])]) == whole
    assert [part.start for part in parts_of(len(rows))] == list(range(0, len(rows), 4096))


def test_a_start_depends_on_seed_side_and_id_alone():
    ids = np.array([-(2**31), -1, 0, 5, 2**31 - 1], np.int32)
    rows = drawn(3, 0, ids, 7)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(drawn(3, 0, ids[3:4], 7), rows[3:4])
    np.testing.assert_array_equal(
        drawn(3, 0, ids, 3)[:, 1] / drawn(3, 0, ids, 3)[:, 0] > 0, rows[:, 1] / rows[:, 0] > 0
    )
    assert len({drawn(seed, side, ids, 7).tobytes() for seed in (3, 4, -3) for side in (0, 1)}) == 6
    assert (drawn(3, 0, ids, 7, nonnegative=True) == np.abs(rows)).all()
    many = drawn(0, 1, np.arange(50_000, dtype=np.int32), 8)
    assert np.abs(many.mean(axis=0)).max() < 0.01
    np.testing.assert_allclose(many.T @ many / len(many), np.eye(8) / 8, atol=0.005)


@pytest.mark.parametrize(
    "content",
    [
        None,
        ("text", 3, [b"bytes"]),
        np.arange(7, dtype=np.int32)[::2],
        (np.empty((0, 3), np.float32), {"a": np.ones((3, 5), np.float32)}, np.float64([1.5]), np.array([True])),
    ],
    ids=["nothing", "plain", "strided", "arrays"],
)
def test_what_pieces_hold_comes_back(content):
    data = packed_content(content)
    assert len(data) % 64 == 0
    np.testing.assert_equal(content_of(data.tobytes()), content)
    [piece] = pieces_of(table([Piece(3, "kind", 1, 2, content)]))
    assert piece[:4] == (3, "kind", 1, 2)
    np.testing.assert_equal(piece.content, content)


def test_pieces_come_in_order_of_source_and_number():
    order = [(1, 1), (0, 2), (1, 0), (0, 0)]
    assert [each.content for each in pieces_of(table(Piece(0, "", *at, at) for at in order))] == sorted(order)
