"""Text and token sources, tokenizers, packing and the loader.

A source is one split of a corpus: `len(source)` documents, `source[i]` is
`{'text': str}` or, for synthetic languages, `{'tokens': int32 [n]}`. Its `fingerprint`
is a flat dict that changes whenever its content does. A new source is one file with
`make(data)` and one line in `SOURCES`.
"""

from gpt_jax.config.schema import DataConfig
from gpt_jax.core.registry import lookup
from gpt_jax.data import (
  array_records,
  dyck,
  json_lines,
  markov,
  python_library,
  repetition,
  text_files,
  tfds_sets,
)

SOURCES = {
  'python_docs': python_library.make_docs,
  'python_source': python_library.make_source,
  'text': text_files.make,
  'jsonl': json_lines.make,
  'tfds': tfds_sets.make,
  'array_record': array_records.make,
  'markov': markov.make,
  'uniform': markov.make_uniform,
  'copy': repetition.make_copy,
  'dyck': dyck.make,
  'induction': repetition.make_induction,
}


def make(data: DataConfig):
  """Returns the source that `data.source` names, at the split `data.split`.

  Raises ConfigError for an unknown name, DataError for data that is missing or broken.
  """
  return lookup(SOURCES, data.source, 'data.source')(data)


def raw_texts(source):
  """Yields the text of each document of `source`, in order."""
  for i in range(len(source)):
    yield source[i]['text']
