"""What inference makes of the Adapter of a run that is no plain model (`peft`)."""

import functools

import jax

from gpt_jax import attention, peft
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import decode, placement
from gpt_jax.model import exits, positions


def make_model_parts(config, adapter=None):
  """Returns (attend, Adapter or None) of a Config, as `peft.make_gpt` takes them.

  `adapter`: instead of what `peft.name` picks. Raises ConfigError for fields of
  `inference` that need the layers of a plain model.
  """
  if adapter is None:
    adapter = peft.make_adapter(config)
  if adapter is not None and config.peft.name and adapter.merged is None:
    _require_all_layers(config)
  _, attend = attention.choose_kernel(
    config,
    has_slopes=positions.has_slopes(config.model),
    has_virtual=adapter is not None and adapter.has_virtual_keys,
  )
  return attend, adapter


def _require_all_layers(config):
  asked = config.inference
  for field, value, none in (
    ('depth', asked.depth, None),
    ('exit_measure', asked.exit_measure, 'none'),
    ('draft', asked.draft if asked.draft.startswith('exit:') else '', ''),
  ):
    if value != none:
      raise ConfigError(
        f'inference.{field}={value!r}: peft.name={config.peft.name!r} was trained on'
        ' all layers and cannot be merged into a plain model, whose first layers would'
        f' be one; set it to {none!r}.'
      )


def num_positions(adapter):
  """Returns how many positions are taken before those of a text."""
  return 0 if adapter is None else adapter.num_positions


def make_prepare(adapter, cfg, params):
  """Returns the function from parameters like `params` to those that decoding reads.

  `cfg`: the ModelConfig of the unrolled model, which may have fewer layers; what an
  interceptor computes of parameters alone is computed here, once.
  """

  def expand(params):
    return _expanded(adapter, exits.first_layers(cfg, params))

  cast = jax.jit(
    functools.partial(
      decode.prepare_params,
      keeps_dtype=_is_added(adapter),
      **placement.preparation(cfg, params, adapter),
    ),
    out_shardings=placement.unstacked_shardings(expand(params)),
  )
  return lambda params: cast(expand(params))


def _expanded(adapter, params):
  """Returns `params` as an Adapter's interceptor reads them.

  On a mesh what is new is on all devices.
  """
  if adapter is None or adapter.prepare is None:
    return params
  everywhere = placement.replicated(params)
  if everywhere is None:
    return jax.jit(adapter.prepare)(params)
  old = {name: leaf.sharding for name, leaf in pytree.named_leaves(params)}
  shardings = pytree.map_named(
    lambda name, _: old.get(name, everywhere), jax.eval_shape(adapter.prepare, params)
  )
  return jax.jit(adapter.prepare, out_shardings=shardings)(params)


def _is_added(adapter):
  """Returns the test of names, of unrolled layers too, of what an Adapter has added."""
  added = {} if adapter is None else adapter.added
  return lambda name: peft.lookup_layer(added, name) is not None
