"""Parameters of an adapter put over a base: what a step of such a run saves."""

from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax import peft
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.program import adapted_run, init_from
from gpt_jax.program.base import Base

_POOLER = {
  'task_head/pooler_kernel': 'pooler/dense/kernel',
  'task_head/pooler_bias': 'pooler/dense/bias',
}
"""Of BERT with a task head -> of the bare encoder."""


def over_base(config, source, step, leaves, place):
  """Returns ({parameter: array} that a step saves, Base).

  Args:
    config: with its peft section; `init_from` is the path of the base.
    source, step: the base, as of `base.open_source`.
    leaves: {parameter: array, or a function of the base's array}. Parameters that train
      and are not here are those of the base.
    place: of the adapter, for errors: CheckpointError for what is nowhere.
  """
  adapter = peft.make_adapter(config)
  assert adapter
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  wanted = pytree.map_named(
    lambda _, leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
    adapted_run.abstract_params(config, adapter),
  )
  params, report = init_from.init_params(config, wanted, source, step, adapter.added)
  params = dict(pytree.named_leaves(params))
  frozen = [n for n in params if n not in adapter.added and adapter.is_frozen(n)]
  base = Base.of(report, config, frozen)
  own = {name: leaf for name, leaf in params.items() if name not in base.sources}
  own |= _poolers(source, step, own)
  for name, given in leaves.items():
    value: Any = given(own[name]) if callable(given) else given
    assert value.shape == own[name].shape, (name, value.shape, own[name].shape)
    own[name] = jax.device_put(jnp.asarray(value, own[name].dtype), here)
  missing = [n for n, one in own.items() if isinstance(one, jax.ShapeDtypeStruct)]
  if missing:
    raise CheckpointError(
      f'{place}: neither the adapter nor the base has {", ".join(missing[:5])}; of a'
      ' task head, name its modules in modules_to_save and train the adapter with them.'
    )
  return own, base


def _poolers(source, step, own):
  """Returns {parameter: array} of a bare encoder's pooler: a classifier reads it."""
  saved = dict(pytree.named_leaves(source.abstract(step, 'params')))
  wanted = {
    _POOLER[name]: leaf
    for name, leaf in own.items()
    if isinstance(leaf, jax.ShapeDtypeStruct) and _POOLER.get(name) in saved
  }
  if not wanted:
    return {}
  found = source.restore_leaves(step, 'params', wanted)
  return {name: found[theirs] for name, theirs in _POOLER.items() if theirs in found}
