"""Methods that train few parameters: `peft.name`, one file each; docs/peft.md."""

import dataclasses

from gpt_jax.config.schema import PeftConfig
from gpt_jax.core.registry import lookup
from gpt_jax.core.sections import NoOptions
from gpt_jax.peft import (
  adalora,
  adapters,
  bitfit,
  ia3,
  last_layers,
  lora,
  p_tuning_v2,
  prefix,
  prompt,
  storage,
  vera,
)
from gpt_jax.peft.adapter import (
  AdaptedGPT,
  Adapter,
  add_penalties,
  in_full,
  make_gpt,
  merge_params,
  with_leaves,
)
from gpt_jax.peft.linears import lookup_layer

METHODS = {
  'adalora': adalora.make,
  'adapters': adapters.make,
  'bitfit': bitfit.make,
  'ia3': ia3.make,
  'last_layers': last_layers.make,
  'lora': lora.make,
  'p_tuning_v2': p_tuning_v2.make,
  'prefix': prefix.make,
  'prompt': prompt.make,
  'vera': vera.make,
}
"""Each entry: `make(config) -> Adapter`."""


def make_adapter(config) -> Adapter | None:
  """Returns the Adapter that peft.name of a Config picks; None for ''.

  The config has model.vocab_size resolved. Raises ConfigError for what does not fit.
  """
  if not config.peft.name:
    return None
  adapter = lookup(METHODS, config.peft.name, 'peft.name')(config)
  stored = storage.make_storage(config, adapter.is_frozen)
  return dataclasses.replace(adapter, storage=stored)


def plain_form(config, params):
  """Returns (Config, parameters) of the plain model that computes the same.

  They are as given without an adapter, and where it cannot be merged.
  """
  adapter = make_adapter(config)
  if adapter is None or adapter.merged is None:
    return config, params
  return without_adapter(config), merge_params(adapter, params)


def without_adapter(config):
  """Returns the Config of the plain model."""
  none = PeftConfig(name='', options=NoOptions(), base_storage='as_is', init_from='')
  return dataclasses.replace(config, peft=none)


__all__ = [
  'METHODS',
  'AdaptedGPT',
  'Adapter',
  'add_penalties',
  'in_full',
  'lookup_layer',
  'make_adapter',
  'make_gpt',
  'merge_params',
  'plain_form',
  'without_adapter',
  'with_leaves',
]
