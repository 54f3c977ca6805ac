"""Examples of a task, as their files have them: readers of the field's formats.

Read `record.py` first, then `splits.py`, whose `load` gives the records of a split.
A new format is a file with `read(paths, encoding)`, which yields Records, and a line in
`READERS`; `formats.py` says which ending stands for which.
"""

from gpt_jax.examples import (
  conversations,
  json_files,
  line_pairs,
  minimal_pairs,
  movielens,
  plain_text,
  semeval,
  squad,
  summaries,
  tables,
  tagged_words,
  tfds,
)

READERS = {
  'tsv': tables.read_tsv,
  'tsv_header': tables.read_tsv_header,
  'csv': tables.read_csv,
  'csv_header': tables.read_csv_header,
  'jsonl': json_files.read_lines,
  'json': json_files.read_list,
  'lines': plain_text.read_lines,
  'text': plain_text.read_files,
  'conll': tagged_words.read_conll,
  'char_tags': tagged_words.read_char_tags,
  'squad': squad.read,
  'semeval': semeval.read,
  'parallel': line_pairs.read_parallel,
  'dialogsum': summaries.read_dialogsum,
  'p3': summaries.read_p3,
  'alpaca': conversations.read_alpaca,
  'sharegpt': conversations.read_sharegpt,
  'piqa': line_pairs.read_piqa,
  'blimp': minimal_pairs.read,
  'movielens': movielens.read,
  'tfds': tfds.read,
}
"""Name -> `read(paths, encoding)`, the values of `task.reader` beside `auto`."""
