"""The config of a run that is there to be used, not trained on."""

import shlex

from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.program import setup

CHANGEABLE = ('parallel', 'inference')
HOW_TO_TRAIN = 'gpt-jax train --config=configs/tiny.py --workdir={path}'


def _require_run(workdir):
  """Raises CheckpointError that names what `workdir` lacks to be one."""
  missing = [
    path.name
    for path in (workdir.config, workdir.checkpoints, workdir.tokenizer)
    if not path.exists()
  ]
  if not missing:
    return
  is_new = not workdir.path.exists()
  place = shlex.quote(str(workdir if is_new else workdir.path / 'run'))
  found = 'no such folder' if is_new else f'no {", ".join(missing)}'
  raise CheckpointError(
    f'{workdir}: {found}; expected the workdir of a run, with config.json, checkpoints'
    f' and tokenizer. Train one with: {HOW_TO_TRAIN.format(path=place)}'
  )


def refuse_adapter(overrides):
  """Raises ConfigError for fields that say what an adapter is, or where its base is."""
  for field in overrides:
    if field.partition('.')[0] == 'peft':
      raise ConfigError(
        f'{field}: the run was trained with it, and its checkpoints hold what that'
        ' made: drop it. Another adapter is another run.'
      )
    if field == 'init_from':
      raise ConfigError(
        'init_from: a trained run has its own parameters. Where the base of a run with'
        ' an adapter has moved to, this says once: gpt-jax checkpoint rebase'
        ' --workdir=RUN --base=MODEL'
      )


def check_overrides(overrides):
  """Raises ConfigError for fields that a trained run cannot change."""
  refuse_adapter(overrides)
  for field in overrides:
    section = field.partition('.')[0]
    if section not in CHANGEABLE:
      raise ConfigError(
        f'{field}: the run was trained with it; of a trained run only the sections'
        f' {" and ".join(CHANGEABLE)} can change.'
      )


def read_config(workdir, overrides):
  """Returns the Config of a run; CheckpointError for what is none, or is not whole."""
  _require_run(workdir)
  try:
    setup.read_config(workdir.path)
  except ConfigError as error:
    raise CheckpointError(f'{workdir.config}: {error}') from error
  return setup.resolve(workdir.read_config(), overrides)
