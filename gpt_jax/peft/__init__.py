"""Methods that train few parameters: `peft.name`, one file each; docs/peft.md."""

from gpt_jax.core.registry import lookup
from gpt_jax.peft import lora
from gpt_jax.peft.adapter import AdaptedGPT, Adapter, merge_params, with_leaves

METHODS = {'lora': lora.make}
"""Each entry: `make(config) -> Adapter`."""


def make_adapter(config) -> Adapter | None:
  """Returns the Adapter that peft.name of a Config picks; None for ''.

  The config has model.vocab_size resolved. Raises ConfigError for what does not fit.
  """
  if not config.peft.name:
    return None
  return lookup(METHODS, config.peft.name, 'peft.name')(config)


__all__ = [
  'METHODS',
  'AdaptedGPT',
  'Adapter',
  'make_adapter',
  'merge_params',
  'with_leaves',
]
