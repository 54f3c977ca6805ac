"""Flags that several commands share, and the compilation cache."""

import argparse
import os

from gpt_jax import configs
from gpt_jax.commands import mistakes
from gpt_jax.core.errors import ConfigError
from gpt_jax.storage import urls
from gpt_jax.workdir import files


def add_workdir(parser, help='the run: a folder, or gs://BUCKET/RUN', required=True):
  parser.add_argument(
    '--workdir', required=required, type=_folder, metavar='DIR', help=help
  )


def _folder(text):
  try:
    files.as_folder(text)
  except ConfigError as error:
    raise argparse.ArgumentTypeError(str(error)) from error
  return text


def local_path(text):
  """Returns `text`, what a flag names on this machine; argparse's error for a URL."""
  if urls.is_url(text):
    raise argparse.ArgumentTypeError(f'{text}: expected a path on this machine.')
  return text


def add_config(parser):
  parser.add_argument(
    '--config',
    metavar='CONFIG[:ARG]',
    help='a config file, mine.py, or the name of a shipped one, such as gpt2:124m:'
    f' {", ".join(configs.names())}',
  )
  add_config_overrides(parser)


def add_processes(parser):
  group = parser.add_argument_group(
    'several processes',
    'detected on TPU pods, SLURM, MPI, JobSet and torchrun; `gpt-jax doctor` shows what'
    ' is detected here, and why',
  )
  group.add_argument('--coordinator', metavar='HOST:PORT', help='address of process 0')
  group.add_argument('--num_processes', type=int, metavar='N')
  group.add_argument('--process_id', type=int, metavar='I', help='from 0')
  group.add_argument(
    '--join_seconds',
    type=float,
    default=300.0,
    metavar='S',
    help='how long to wait for the others; those missing are named after 60 s, and'
    ' where it ends; default: 300',
  )


def add_json(parser):
  parser.add_argument(
    '--json', action='store_true', help='print one JSON object as the last line'
  )


def cache_folder():
  """Returns where compiled programs are kept: GPT_JAX_CACHE or ~/.cache/gpt_jax/xla."""
  home = os.environ.get('XDG_CACHE_HOME', '~/.cache')
  return files.as_folder(os.environ.get('GPT_JAX_CACHE') or f'{home}/gpt_jax/xla')


def enable_compilation_cache(min_seconds=1.0):
  """Keeps compiled programs between runs, in GPT_JAX_CACHE or ~/.cache/gpt_jax/xla.

  Not those that compile in less than `min_seconds`.
  """
  import jax

  if jax.config.values['jax_compilation_cache_dir'] is None:
    jax.config.update('jax_compilation_cache_dir', str(cache_folder()))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', min_seconds)


def refuse_overrides(overrides, file=None):
  """Raises ConfigError for `--config.` flags of a command that takes none.

  `file`: an experiment file, which has its own place for them.
  """
  for field, value in overrides.items():
    text = f'--config.{field}: this command uses the config of'
    if file is None:
      raise ConfigError(f'{text} the run as it is; see its --help for flags.')
    raise ConfigError(
      f'{text} {file} as it is; put {field!r}: {value} into overrides={{...}} there, of'
      ' the experiment or of a size.'
    )


def add_config_overrides(parser):
  group = parser.add_argument_group('any field of the config')
  group.add_argument(
    mistakes.OVERRIDES,
    dest='unused_override',
    action='store_true',
    help='such as --config.train.steps=500; configs/base.py explains every field',
  )
