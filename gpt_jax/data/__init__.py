"""From files to batches: sources, tokenizers, packing, the token cache and the loader.

Read `pipeline.py` first: it puts the parts together. A new source is a file with a
`Source` (`source.py`) and `make(data)`, and a line in `SOURCES`; a new tokenizer a line
in `tokenizers.TOKENIZERS`; a new packing a line in `packing.PACKINGS`.
"""

from gpt_jax.config.schema import DataConfig
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import lookup
from gpt_jax.data import (
  array_records,
  dyck,
  json_lines,
  markov,
  modular,
  prepared,
  python_library,
  records,
  repetition,
  symbol_map,
  text_files,
  tfds_sets,
)
from gpt_jax.data.source import Source

SOURCES = {
  'python_docs': python_library.make_docs,
  'python_source': python_library.make_code,
  'text': text_files.make,
  'jsonl': json_lines.make,
  'tfds': tfds_sets.make,
  'array_record': array_records.make,
  'prepared': prepared.make,
  'markov': markov.make,
  'uniform': markov.make_uniform,
  'copy': repetition.make_copy,
  'dyck': dyck.make,
  'induction': repetition.make_induction,
  'modular': modular.make,
  'symbol_map': symbol_map.make,
}


def make_source(data: DataConfig) -> Source:
  """Returns the source that `data.source` names, at the split `data.split`.

  Raises ConfigError for an unknown name, DataError for data that is missing or broken.
  """
  source = lookup(SOURCES, data.source, 'data.source')(data)
  if not isinstance(source, Source):
    raise ConfigError(
      f'data.source={data.source!r}: returns a {type(source).__name__}; derive that'
      ' class from gpt_jax.data.source.Source, which has the defaults.'
    )
  records.check_has_records(data, source)
  return source
