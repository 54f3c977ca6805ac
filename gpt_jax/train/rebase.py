"""Where the base of a run with an adapter is now: said once, for all commands."""

import dataclasses

import jax

from gpt_jax import peft
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import adapted_run, restore, setup
from gpt_jax.program.adapted_checkpoints import open_run, open_source
from gpt_jax.program.base import Base
from gpt_jax.workdir.paths import Workdir


def rebase(workdir, path):
  """Writes into config.json of a run with `peft.name` that its base is at `path`.

  Returns the Base. All of its arrays are read and compared. Raises ConfigError for a
  run without a base, CheckpointError where `path` is nothing or another model.
  """
  workdir = Workdir(workdir)
  config = setup.read_config(workdir.path)
  with workdir.lock(), open_run(workdir.path) as store:
    step = restore.choose_step(store)
    base = Base.of_step(store, step)
    if base is None:
      raise ConfigError(
        f'{workdir}: has no base, its checkpoints hold all parameters; expected a run'
        ' with peft.name.'
      )
    rows = restore.embedding_rows(store, step)
    with open_source(path, base.dtype) as source:
      base.read(source, path, _plain_leaves(config, rows, base))
    workdir.write_config((workdir.read_config() or {}) | {'init_from': str(path)})
  return base


def _plain_leaves(config, rows, base):
  """Returns {name: ShapeDtypeStruct} of the parameters of a Base, kernels in full."""
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  model = dataclasses.replace(config.model, vocab_size=rows)
  plain = peft.without_adapter(dataclasses.replace(config, model=model))
  leaves = dict(pytree.named_leaves(adapted_run.abstract_params(plain, None)))
  return {
    name: jax.ShapeDtypeStruct(leaves[name].shape, leaves[name].dtype, sharding=here)
    for name in base.sources
  }
