"""Small training states that the checkpoint tests save, and how they compare them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.checkpoints.manager import Checkpoints


def spread(devices, spec=('data',)):
  mesh = Mesh(np.asarray(jax.devices()[:devices]), ('data',))
  return NamedSharding(mesh, PartitionSpec(*spec))


def open_all(directory, **options):
  """Returns Checkpoints that keep everything and save before they return."""
  defaults = dict(keep_last=99, keep_best=0, best_metric='loss', asynchronous=False)
  return Checkpoints(directory, **(defaults | options))


def a_state(seed=0, sharding=None):
  """Returns the items of a tiny training state, with every kind of leaf."""
  sharding = sharding or spread(8, ())

  def make():
    key = jax.random.key(seed)
    params = {
      'embed': jax.random.normal(key, (16, 4)),
      'block': {'kernel': jax.random.normal(key, (8, 8), jnp.bfloat16)},
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    train = {
      'opt': optimizer.init(params),
      'step': jnp.int32(seed),
      'tokens': jnp.full((8,), seed, jnp.uint8),
      'rng': key,
      'mask': jnp.arange(8) % 2 == 0,
      'none': None,
    }
    return {'params': params, 'train': train}

  return jax.jit(make, out_shardings=sharding)()


def abstract(tree, sharding=None):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding or x.sharding),
    tree,
  )


def assert_bit_equal(got, wanted):
  assert jax.tree.structure(got) == jax.tree.structure(wanted)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
    assert a.dtype == b.dtype
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
      a, b = jax.random.key_data(a), jax.random.key_data(b)
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def save_steps(saved, losses, first=1):
  array = {'params': {'w': jax.device_put(jnp.ones(8), spread(8))}}
  for step, loss in enumerate(losses, first):
    saved.save(step, array, {}, None if loss is None else {'loss': loss})
