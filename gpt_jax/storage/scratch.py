"""Folders of this machine for what a run in a bucket needs on a disk."""

import os
import pathlib


def folder(name):
  """Returns the path of `name` in GPT_JAX_SCRATCH, or in ~/.cache/gpt_jax."""
  home = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  root = os.environ.get('GPT_JAX_SCRATCH') or f'{home}/gpt_jax'
  return pathlib.Path(root).expanduser().absolute() / name
