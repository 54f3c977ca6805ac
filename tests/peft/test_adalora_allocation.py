"""AdaLoRA's scores and masks, against the algorithm written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gpt_jax.core import pytree
from gpt_jax.peft import adalora_allocation as allocation
from gpt_jax.peft.adalora_budget import Schedule
from gpt_jax.peft.linears import LinearMap
from gpt_jax.program import guard

R = 3
QUERY = LinearMap(
  'layers/block_0/attention/query', ('BTD', 'DHK', 'BTHK'), (2, 4, 2, 3),
  ('layers', 'embed', 'heads', None), False,
)  # fmt: skip
OUT = LinearMap(
  'layers/block_0/attention/out', ('BTHK', 'HKD', 'BTD'), (2, 2, 3, 4),
  ('layers', 'heads', None, 'embed'), False,
)  # fmt: skip
HEAD = LinearMap('other/up', ('BTD', 'DF', 'BTF'), (4, 5), ('embed', 'mlp'), False)
TARGETS = [QUERY, OUT, HEAD]
SCHEDULE = Schedule(5 * R, 5, 12, 2, 4, 2)
SHAPES = {
  QUERY: ((2, 4, R), (2, R), (2, R, 2, 3)),
  OUT: ((2, 2, 3, R), (2, R), (2, R, 4)),
  HEAD: ((4, R), (R,), (R, 5)),
}


def draw(seed):
  rng = np.random.default_rng(seed)
  return {
    name: rng.normal(size=shape).astype('f4')
    for linear, shapes in SHAPES.items()
    for name, shape in zip(allocation.names_of(linear), shapes, strict=True)
  } | {'other/scale': rng.normal(size=4).astype('f4')}


def triplets(leaves):
  """Yields (P [d, r], E [r], Q [r, d]) of each matrix: views, to be changed."""
  for linear, shapes in SHAPES.items():
    p, e, q = (leaves[name] for name in allocation.names_of(linear))
    if len(shapes[1]) == 1:
      p, e, q = p[None], e[None], q[None]
    for i in range(len(e)):
      yield p[i].reshape(-1, R), e[i], q[i].reshape(R, -1)


def write_out(params, gradients, rate, beta1=0.85, beta2=0.6):
  """Returns `{name: array}` after SGD on `gradients`, by algorithm 1 of the paper."""
  params = {name: leaf.astype('f8') for name, leaf in params.items()}
  zeros = [np.zeros_like(part) for one in triplets(params) for part in one]
  smooth, unsure = zeros, [np.copy(one) for one in zeros]
  for t, gradient in enumerate(gradients, start=1):
    if t <= SCHEDULE.total_steps - SCHEDULE.final_steps:
      pairs = zip(triplets(params), triplets(gradient), strict=True)
      flat = [pair for one in pairs for pair in zip(*one, strict=True)]
      for i, (w, g) in enumerate(flat):
        now = np.abs(w * g)
        smooth[i] = beta1 * smooth[i] + (1 - beta1) * now
        unsure[i] = beta2 * unsure[i] + (1 - beta2) * np.abs(now - smooth[i])
    params = {name: leaf - rate * gradient[name] for name, leaf in params.items()}
    if t <= 2:
      continue
    left = 1 - (min(t, 8) - 2) / 6
    budget = int(5 + 10 * left**3)
    if t > 8 or t % 2 == 0:
      scores = [s * u for s, u in zip(smooth, unsure, strict=True)]
      of_matrices = zip(scores[::3], scores[1::3], scores[2::3], strict=True)
      each = [e + p.mean(0) + q.mean(1) for p, e, q in of_matrices]
      limit = np.sort(np.concatenate(each))[-budget]
      for (_, e, _), score in zip(triplets(params), each, strict=True):
        e[score < limit] = 0
  return params


def step_of(optimizer):
  @jax.jit
  def step(params, state, gradients):
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state

  return step


def wrapped(rate=0.1):
  scores = allocation.Scores(0.85, 0.6)
  return allocation.wrap_optimizer(optax.sgd(rate), TARGETS, SCHEDULE, scores)


def values_of(leaves):
  return np.concatenate([e for _, e, _ in triplets(leaves)])


@pytest.mark.parametrize('steps', [3, 4, 6, 8, 9, 12])
def test_steps_are_those_of_the_algorithm(steps):
  params, gradients = draw(0), [draw(1 + i) for i in range(steps)]
  expected = write_out(params, gradients, 0.1)
  optimizer = wrapped()
  tree = pytree.nested(params)
  state, step = optimizer.init(tree), step_of(optimizer)
  for gradient in gradients:
    tree, state = step(tree, state, pytree.nested(gradient))
  found = {name: np.asarray(leaf) for name, leaf in pytree.named_leaves(tree)}
  for name, leaf in expected.items():
    np.testing.assert_allclose(found[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)
  np.testing.assert_array_equal(values_of(found) == 0, values_of(expected) == 0)


def test_equal_scores_do_not_exceed_the_budget():
  optimizer = wrapped()
  tree = pytree.nested(draw(0))
  zeros = jax.tree.map(jnp.zeros_like, tree)
  state, step = optimizer.init(tree), step_of(optimizer)
  for t in range(1, 13):
    tree, state = step(tree, state, zeros)
    if SCHEDULE.masks_at(t):
      leaves = dict(pytree.named_leaves(tree))
      assert allocation.rank(TARGETS, leaves) == SCHEDULE.budgets()[t]
  ranks = allocation.ranks_of(tree)
  assert {path: len(each) for path, each in ranks.items()} == {
    QUERY.path: 2, OUT.path: 2, HEAD.path: 1,
  }  # fmt: skip
  assert sum(each.sum() for each in ranks.values()) == 5


def test_a_skipped_step_moves_the_clock_alone():
  optimizer = wrapped()
  tree = pytree.nested(draw(0))
  before = optimizer.init(tree)
  _, before = step_of(optimizer)(tree, before, pytree.nested(draw(1)))
  _, after = step_of(optimizer)(tree, before, pytree.nested(draw(2)))
  kept = guard.select(jnp.bool_(False), after, before)
  assert kept.steps.count == 2
  for found, wanted in (
    (kept.sensitivity, before.sensitivity),
    (kept.uncertainty, before.uncertainty),
  ):
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_the_penalty_is_the_mean_distance_from_orthogonal():
  leaves = draw(0)
  distances = []
  for p, _, q in triplets(leaves):
    distances.append(np.linalg.norm(p.T @ p - np.eye(R)))
    distances.append(np.linalg.norm(q @ q.T - np.eye(R)))
  found = allocation.orthogonality(TARGETS, leaves)
  np.testing.assert_allclose(found, np.mean(distances), rtol=1e-5)


def test_orthogonal_vectors_have_a_finite_gradient():
  p = np.eye(4, R, dtype='f4')
  q = np.eye(R, 5, dtype='f4')
  leaves = dict(zip(allocation.names_of(HEAD), (p, np.ones(R, 'f4'), q), strict=True))
  value, gradient = jax.value_and_grad(allocation.orthogonality, argnums=1)(
    [HEAD], leaves
  )
  assert value < 1e-6
  assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
