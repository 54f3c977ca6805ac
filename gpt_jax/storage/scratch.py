"""Folders of this machine for what a run in a bucket needs on a disk."""

import os
import pathlib

from gpt_jax.core.errors import ConfigError
from gpt_jax.storage import urls


def folder(name):
  """Returns the path of `name` in GPT_JAX_SCRATCH, or in ~/.cache/gpt_jax.

  ConfigError for a URL there: it would become a local folder called gs:.
  """
  home = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  root = os.environ.get('GPT_JAX_SCRATCH') or f'{home}/gpt_jax'
  if urls.is_url(root):
    raise ConfigError(
      f'GPT_JAX_SCRATCH={root}: expected a folder of a disk of this machine, such as'
      ' /tmp/gpt_jax; it keeps what cannot lie in a bucket.'
    )
  return pathlib.Path(root).expanduser().absolute() / name
