"""Numbers become inputs; the functions themselves, at those numbers, are the oracle."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.program import literals

X = jnp.linspace(0.5, 2.0, 6).reshape(2, 3)


def plain(x, c):
  return c * jnp.sin(x) + jnp.asarray(np.full(3, c))


def called(x, c):
  return jax.jit(lambda y: jnp.where(y > c, y, c))(x)


def scanned(x, c):
  return jax.lax.scan(lambda carry, row: (carry * c + row, carry), x[0], x)


def looped(x, c):
  return jax.lax.while_loop(lambda y: y.sum() < 9 * c, lambda y: y + c, x)


def branched(x, c):
  branches = [lambda y: y + c, lambda y: y * c]
  return jax.lax.switch(jnp.int32(x.sum()) % 2, branches, x)


def rematerialized(x, c):
  return jax.grad(lambda y: jax.checkpoint(lambda z: jnp.sin(c * z))(y).sum())(x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scaled(x, c):
  return c * x


scaled.defvjp(lambda x, c: (c * x, None), lambda c, _, g: (c * g,))


def own_derivative(x, c):
  return scaled(x, c), jax.grad(lambda y: (scaled(y, c) ** 2).sum())(x)


def as_output(x, c):
  return {'x': x, 'c': jnp.float32(c), 'nested': jax.jit(lambda: jnp.float32(c))()}


KEYS = {c: jax.random.split(jax.random.key(int(4 * c))) for c in (0.5, 1.5, 2.0)}


def seeded(x, c):
  return x + jax.random.normal(KEYS[c][0], x.shape)  # of keys made elsewhere


KINDS = [
  plain, called, seeded, scanned, looped, branched, rematerialized, own_derivative,
  as_output,
]  # fmt: skip


def traced(function, *numbers):
  return [literals.trace(functools.partial(function, c=c), X) for c in numbers]


@pytest.mark.parametrize('function', KINDS)
def test_a_lifted_function_is_each_of_those_it_came_from(function):
  numbers = (0.5, 1.5, 2.0)
  members = traced(function, *numbers)
  lifted = literals.lift(members)
  run = jax.jit(lifted)
  for member, c in zip(members, numbers, strict=True):
    found, wanted = run(lifted.numbers(member), X), function(X, c)
    jax.tree.map(np.testing.assert_allclose, found, wanted)


@pytest.mark.parametrize('function', KINDS)
def test_vmap_over_numbers_makes_them_all_at_once(function):
  numbers = (0.5, 1.5, 2.0)
  members = traced(function, *numbers)
  lifted = literals.lift(members)
  stacked = jax.tree.map(lambda *x: np.stack(x), *map(lifted.numbers, members))
  found = jax.vmap(lifted, in_axes=(0, None))(stacked, X)
  for i, c in enumerate(numbers):
    of_member = jax.tree.map(lambda x, i=i: x[i], found)
    jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-6),
      of_member,
      function(X, c),
    )


def test_equal_functions_have_nothing_to_lift():
  members = traced(scanned, 0.5, 0.5)
  assert literals.differing(members) == ()
  assert members[0].key == members[1].key


def test_a_number_that_chooses_code_makes_another_structure():
  def decayed(x, c):
    return x * c if c else x

  one, other = traced(decayed, 0.5, 0.0)
  assert one.key != other.key
  assert 'mul' in literals.difference(one, other)


def test_scalars_of_one_dtype_are_one_input():
  def many(x, c):
    return sum(c * x**2 + (c + i) for i in range(9))

  members = traced(many, 0.5, 1.5)
  assert [x.shape for x in literals.lift(members).numbers(members[0])] == [(18,)]


def solved(x, c):
  return jax.lax.custom_linear_solve(lambda y: c * y, x, lambda f, b: b / c)


def test_numbers_inside_what_cannot_be_rebuilt_are_refused():
  with pytest.raises(literals.NotLiftable, match='custom_linear_solve'):
    literals.lift(traced(solved, 0.5, 1.5))


def test_functions_are_grouped_by_numbers_that_stay():
  members = traced(solved, 0.5, 1.5, 0.5)
  assert literals.groups(members) == [0, 1, 0]
  literals.lift(members[::2])
  assert literals.groups(traced(plain, 0.5, 1.5)) == [0, 0]


def test_functions_on_the_host_are_told_apart():
  def hosted(c):
    def on_host(x):
      return np.asarray(x * c)

    return lambda x: jax.pure_callback(on_host, jax.ShapeDtypeStruct((), x.dtype), x)

  half, third, shape = hosted(1 / 2), hosted(1 / 3), jax.ShapeDtypeStruct((), 'float32')
  members = [literals.trace(each, shape) for each in (half, third)]
  assert members[0].key != members[1].key
  assert literals.lift(members[1:])((), 6.0) == 2.0


def test_without_shardings_a_function_runs_on_other_devices():
  def placed(x, c):
    mesh = jax.sharding.Mesh(jax.devices()[:2], 'a')
    place = jax.NamedSharding(mesh, jax.P('a'))
    return jnp.zeros_like(jax.lax.with_sharding_constraint(x * c, place)) + c * x

  members = traced(placed, 0.5, 1.5)
  lifted = literals.lift(members, keeps_shardings=False)
  mesh = jax.sharding.Mesh(jax.devices()[:3], 'b')
  run = jax.shard_map(
    lifted,
    mesh=mesh,
    in_specs=jax.P(),
    out_specs=jax.P(),
    check_vma=False,
  )
  np.testing.assert_allclose(run(lifted.numbers(members[1]), X), 1.5 * X)
