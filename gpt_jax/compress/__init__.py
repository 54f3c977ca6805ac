"""Smaller models: methods of `gpt-jax compress`, one file each; docs/compress.md.

`method.py` says what a method is given and returns; a new one is a file and a line in
METHODS.
"""

from gpt_jax.compress import (
  bfloat16,
  heads,
  int4,
  int8,
  layers,
  mlp_units,
  unstructured,
  w8a8,
)
from gpt_jax.compress.method import Compressed, Given

METHODS = {
  'bfloat16': bfloat16.compress,
  'int4': int4.compress,
  'int8': int8.compress,
  'llm_int8': w8a8.compress_outliers,
  'nf4': int4.compress_nf4,
  'w8a8': w8a8.compress,
  'magnitude': unstructured.magnitude,
  'wanda': unstructured.wanda,
  'drop_heads': heads.drop_heads,
  'drop_units': mlp_units.drop_units,
  'drop_layers': layers.drop_layers,
}
"""Each entry: `compress(given) -> Compressed`; its options are declared by
`registry.entry`."""

__all__ = ['METHODS', 'Compressed', 'Given']
