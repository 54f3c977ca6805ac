"""The section `peft` of a config from a run whose adapter trains on: peft.init_from."""

import copy

from ml_collections import ConfigDict

from gpt_jax.core.errors import ConfigError, Problem, UserError
from gpt_jax.workdir.paths import Workdir


def with_adapter_of_run(values, overrides):
  """Returns (`values` with the adapter of `peft.init_from` in it, `overrides`).

  `values`: a ConfigDict or dict, left as it is where no run is named, or where
  `peft.name` says by itself which adapter it is. Method, options and storage of the
  base are those of the run, and so are its base (`init_from`) and the form of its
  layers; what `overrides` say stays. Raises ConfigError for a run without an adapter.
  """
  values = values.to_dict() if isinstance(values, ConfigDict) else values
  own = values.get('peft')
  if not isinstance(own, dict) or not isinstance(values.get('model'), dict):
    return values, overrides  # a mistake or an old config, for those who check
  path = overrides.get('peft.init_from', own.get('init_from', ''))
  if not path or overrides.get('peft.name', own.get('name')):
    return values, overrides
  saved = config_of(str(path))
  values = copy.deepcopy(values)
  values['peft'] = own | saved['peft'] | {'init_from': path}
  values['init_from'] = values.get('init_from') or saved['init_from']
  values['model']['scan_layers'] = saved['model']['scan_layers']
  return values, {name: v for name, v in overrides.items() if name != 'peft.name'}


def problems(config):
  """Yields the Problem of a run that an adapter would start from, without a method."""
  if config.peft.init_from and not config.peft.name:
    text = f"={config.peft.init_from!r}: peft.name is '', so no adapter trains; leave"
    yield Problem('peft.init_from', f"{text} it empty, or name that run's method")


def config_of(path):
  """Returns the config of a run with an adapter, as nested dicts."""
  try:
    saved = Workdir(path).read_config()
  except (OSError, UserError) as error:  # a name that no folder has, say
    raise ConfigError(f'peft.init_from={path!r}: {error}') from error
  if saved is None:
    raise ConfigError(
      f'peft.init_from={path!r}: no config.json there; expected the workdir of a run'
      ' with an adapter. Of a folder of peft make one first: gpt-jax import FOLDER'
      ' --base=MODEL --workdir=RUN.'
    )
  if not saved.get('peft', {}).get('name'):
    raise ConfigError(
      f'peft.init_from={path!r}: that run has no adapter (its peft.name is empty). For'
      f' a new one over it: --config.init_from={path} --config.peft.name=lora.'
    )
  return saved
