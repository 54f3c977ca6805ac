"""Rings of a torus, and sums scattered along one after the other."""

import functools
import itertools

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from gpt_jax.parallel import reduce_scatter
from gpt_jax.parallel.mesh import make_mesh

P = PartitionSpec


def grid(*sizes, order=None):
  """Returns the coordinates of a torus in row-major order, axes permuted by `order`."""
  places = itertools.product(*(range(size) for size in sizes))
  order = order or range(len(sizes))
  return [tuple(place[i] for i in order) for place in places]


def test_a_plane_is_summed_over_columns_and_then_rows():
  columns, rows = reduce_scatter.ring_groups(grid(2, 3))
  assert columns == ((0, 3), (1, 4), (2, 5))
  assert rows == ((0, 1, 2), (3, 4, 5))


@pytest.mark.parametrize('sizes', [(4, 4), (2, 4), (2, 3, 4), (8, 1, 8)])
def test_every_two_devices_meet_and_every_group_is_a_line(sizes):
  stages = reduce_scatter.ring_groups(grid(*sizes))
  assert len(stages) == sum(size > 1 for size in sizes)
  reached = [{i} for i in range(len(grid(*sizes)))]
  for groups in stages:
    assert sorted(itertools.chain(*groups)) == list(range(len(reached)))
    for group in groups:
      together = set().union(*(reached[i] for i in group))
      for i in group:
        reached[i] = together
  assert all(len(places) == len(reached) for places in reached)


@pytest.mark.parametrize(
  'coordinates',
  [
    [None] * 8,
    grid(8),
    grid(1, 8),
    [(0, 0), (0, 1), (1, 1), (1, 0)],  # a snake: no grid in this order
    [(0, 0), (0, 1), (1, 0)],
  ],
)
def test_devices_that_form_no_grid_are_one_group(coordinates):
  assert reduce_scatter.ring_groups(coordinates) == (None,)


def test_rings_in_turn_leave_the_shards_of_one_reduce_scatter(monkeypatch):
  mesh = make_mesh({'fsdp': 8})
  x = np.random.default_rng(0).integers(0, 9, (8, 5, 16)).astype(np.float32)

  def scattered(x):
    local = functools.partial(
      reduce_scatter.reduce_scatter, mesh=mesh, axes=('fsdp',), dim=1
    )
    return jax.shard_map(
      lambda x: local(x[0]),
      mesh=mesh, in_specs=P('fsdp'), out_specs=P(None, 'fsdp'), check_vma=False,
    )(x)  # fmt: skip

  np.testing.assert_array_equal(jax.jit(scattered)(x), x.sum(0))
  monkeypatch.setattr(
    reduce_scatter,
    '_ring_groups_of',
    lambda mesh, axis: reduce_scatter.ring_groups(grid(2, 2, 2)),
  )
  program = jax.jit(lambda x: scattered(x)).lower(x).compile()
  np.testing.assert_array_equal(program(x), x.sum(0))
  assert program.as_text().count(' reduce-scatter(') == 3
