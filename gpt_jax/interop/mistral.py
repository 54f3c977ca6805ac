"""Mistral 7B (arXiv:2310.06825): LLaMA with a window in every layer, or in none."""

from gpt_jax.interop import dialect, llama
from gpt_jax.interop.family import Family
from gpt_jax.interop.mapping import pattern_of


def to_config(fields):
  """Returns our fields of a MistralConfig."""
  shape = llama.read_shape(fields, default_positions=4096 * 32)
  # Left out it is 4096 in the library; null is none.
  window = fields.take('sliding_window', None)
  if 'sliding_window' not in fields.values:
    window = 4096
  return (
    shape
    | dialect.read_rope(fields, shape['model.max_seq_len'])
    | {
      'model.layer_pattern': pattern_of([window]),
      'model.tie_embeddings': fields.take('tie_word_embeddings', False, bool),
    }
  )


def from_config(config):
  """Returns a MistralConfig of our fields."""
  _, window = dialect.write_windows(config.model)
  return llama.write_shape(config) | dict(sliding_window=window)


FAMILY = Family(
  name='mistral',
  architectures=('MistralForCausalLM', 'MistralModel'),
  to_config=to_config,
  from_config=from_config,
  table=llama.table,
  prefix='model.',
  ignored=(llama.OLD_FREQUENCIES,),
)
