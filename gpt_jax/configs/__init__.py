"""The shipped configs, from a clone or installed: `from gpt_jax.configs import tiny`.

Their files lie in `configs/` of the repository; a wheel holds copies of them here.
"""

import pathlib

_here = pathlib.Path(__file__).resolve().parent
FOLDER = _here if (_here / 'base.py').exists() else _here.parents[1] / 'configs'
__path__ = [str(FOLDER)]


def names():
  """Returns what `--config=NAME` may be, sorted."""
  return sorted(path.stem for path in FOLDER.glob('[!_]*.py'))
