"""Texts with a text to be written about them: DialogSum, and P3 prompts."""

from gpt_jax.core.errors import DataError
from gpt_jax.examples import json_files
from gpt_jax.examples.record import Record, there_are, value

END_OF_TEXT = '<|endoftext|>'


def read_dialogsum(paths, encoding):
  """Yields {'source', 'targets'} of dialogues and their summaries, one or several.

  DialogSum, arXiv:2105.06762; `id` is there where the file has `fname`.
  """
  for record in json_files.read_lines(paths, encoding):
    values, place = record.values, record.place
    keys = [key for key in ('summary', 'summary1') if key in values][:1]
    while keys and keys[-1] != 'summary' and f'summary{len(keys) + 1}' in values:
      keys.append(f'summary{len(keys) + 1}')
    if not keys:
      raise DataError(
        f"{place}: no 'summary' and no 'summary1'; {there_are('summary', values)}."
      )
    found = {'id': values['fname']} if 'fname' in values else {}
    found['source'] = value(values, 'dialogue', place, str)
    found['targets'] = [value(values, key, place, str) for key in keys]
    yield Record(found, place)


def read_p3(paths, encoding):
  """Yields {'source', 'targets': [completion]} of prompts of P3. arXiv:2202.01279.

  A trailing <|endoftext|> is no part of a target.
  """
  for record in json_files.read_lines(paths, encoding):
    prompt, completion = (
      value(record.values, key, record.place, str) for key in ('prompt', 'completion')
    )
    target = completion.rstrip().removesuffix(END_OF_TEXT).strip()
    yield Record({'source': prompt, 'targets': [target]}, record.place)
