"""Smaller models: methods of `gpt-jax compress`, one file each; docs/compress.md.

`method.py` says what a method is given and returns; a new one is a file and a line in
METHODS.
"""

from gpt_jax.compress import bfloat16
from gpt_jax.compress.method import Compressed, Given

METHODS = {
  'bfloat16': bfloat16.compress,
}
"""Each entry: `compress(given) -> Compressed`; its options are declared by
`registry.entry`."""

__all__ = ['METHODS', 'Compressed', 'Given']
