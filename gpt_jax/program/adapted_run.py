"""The saved step of a run with an adapter, read as it is: adapter and base apart."""

import functools

import jax
import numpy as np

from gpt_jax import objectives, peft
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model.heads import make_head
from gpt_jax.program import adapted_checkpoints, build
from gpt_jax.program.base import Base


class AdaptedRun:
  """A step of a run with `peft.name`; its moving average, where the run keeps one."""

  def __init__(self, store, config, step, place):
    """Takes an open CheckpointReader and the Config, its model.vocab_size resolved.

    Raises ConfigError for a run without an adapter.
    """
    self.store, self.config, self.step, self.place = store, config, step, place
    adapter, base = peft.make_adapter(config), Base.of_step(store, step)
    if adapter is None or base is None:
      raise ConfigError(
        f'{place}: has no adapter, all of its parameters train; expected a run with'
        ' peft.name, such as --config.peft.name=lora.'
      )
    self.adapter, self.base = adapter, base
    self._leaves = dict(pytree.named_leaves(abstract_params(config, self.adapter)))

  @property
  def trained(self):
    """Names of parameters that train and are not the adapter's: biases, task heads."""
    added = self.adapter.added
    return [n for n in self._leaves if n not in added and not self.adapter.is_frozen(n)]

  def read(self, names):
    """Returns {name: numpy array} of parameters; those of the base are compared."""
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = {
      name: jax.ShapeDtypeStruct(
        self._leaves[name].shape, self._leaves[name].dtype, sharding=here
      )
      for name in names
    }
    item = 'ema' if 'ema' in self.store.items(self.step) else 'params'
    found = adapted_checkpoints.read_adapted(
      self.store, self.step, item, self.base, wanted
    )
    return {name: np.asarray(array) for name, array in found.items()}


def abstract_params(config, adapter):
  """Returns the ShapeDtypeStructs of an adapted model, its task head included."""
  head = make_head(config, objectives.describe(config).num_outputs)
  model = peft.make_gpt(adapter, config.model, task_head=head)
  return jax.eval_shape(functools.partial(build.init_params, model=model), 0)
