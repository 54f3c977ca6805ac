"""BLiMP: pairs of sentences of which one is acceptable. arXiv:1912.00582."""

from gpt_jax.examples import json_files
from gpt_jax.examples.record import Record, value


def read(paths, encoding):
  """Yields {'prompt': '', 'choices': [good, bad], 'label': 0}."""
  for record in json_files.read_lines(paths, encoding):
    choices = [
      value(record.values, key, record.place, str)
      for key in ('sentence_good', 'sentence_bad')
    ]
    yield Record({'prompt': '', 'choices': choices, 'label': 0}, record.place)
