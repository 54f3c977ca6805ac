"""Which of several adapters writes each row of a batch: data of compiled programs."""

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import batched


class AdapterChoice:
  """Numbers of adapters by their names; without a BatchedAdapter there are none."""

  def __init__(self, adapter):
    is_batched = isinstance(adapter, batched.BatchedAdapter)
    self._adapter = adapter if is_batched else None

  def require(self, name):
    """Raises ConfigError for an adapter that is not there; None always is: the base."""
    if self._adapter is not None:
      self._adapter.number(name)
    elif name is not None:
      raise ConfigError(
        f'adapter={name!r}: the run was loaded without adapters; load it with'
        f' gpt_jax.load(BASE, adapters={{{name!r}: RUN}}), or --adapters={name}=RUN.'
      )

  def params_of(self, params, names, pad_rows):
    """Returns the parameters of a call that its rows read with adapters of `names`.

    `names`: a list, which `pad_rows` makes as long as the mesh wants, or one of all.
    """
    if self._adapter is None:
      self.require(next((n for n in names if n), None) if _is_list(names) else names)
      return params
    if not _is_list(names):
      return batched.with_choice(params, np.int32(self._adapter.number(names)))
    numbers_B = np.array([self._adapter.number(name) for name in names], np.int32)
    return batched.with_choice(params, pad_rows(numbers_B))


def _is_list(names):
  return isinstance(names, list)
