"""Two files that belong together line by line: translations, questions and labels."""

from gpt_jax.core.errors import DataError
from gpt_jax.examples import content, json_files
from gpt_jax.examples.record import Record, shown, value


def read_parallel(paths, encoding):
  """Yields {'source', 'targets': [target]} of a file and its translation."""
  source_path, target_path = _two(paths, 'parallel', 'the source and its translation')
  sources = content.lines(source_path, encoding)
  targets = content.lines(target_path, encoding)
  if len(sources) != len(targets):
    raise DataError(
      f'{source_path}: {len(sources)} lines, but {target_path} has {len(targets)};'
      ' expected line n of one to be the translation of line n of the other. Give two'
      ' files that belong together.'
    )
  for number, pair in enumerate(zip(sources, targets, strict=True), start=1):
    for path, line in zip((source_path, target_path), pair, strict=True):
      if not line.strip():
        raise DataError(
          f'{path}, line {number}: is blank; expected a text. Delete this line in both'
          ' files.'
        )
    values = {'source': pair[0], 'targets': [pair[1]]}
    yield Record(values, f'{source_path}, line {number}')


def read_piqa(paths, encoding):
  """Yields {'prompt', 'choices', 'label'} of PIQA's questions and their labels.

  arXiv:1911.11641; the label is 0 or 1.
  """
  questions, labels_path = _two(paths, 'piqa', 'questions (.jsonl) and labels (.lst)')
  records = list(json_files.read_lines([questions], encoding))
  labels = list(content.filled_lines(labels_path, encoding))
  if len(records) != len(labels):
    raise DataError(
      f'{questions}: {len(records)} questions, but {labels_path} has {len(labels)}'
      ' labels; expected one for each. Give two files that belong together.'
    )
  for record, (place, label) in zip(records, labels, strict=True):
    if label.strip() not in ('0', '1'):
      raise DataError(f'{place}: {shown(label)}; expected 0 or 1.')
    texts = [
      value(record.values, key, record.place, str) for key in ('goal', 'sol1', 'sol2')
    ]
    values = {'prompt': texts[0], 'choices': texts[1:], 'label': int(label)}
    yield Record(values, record.place)


def _two(paths, reader, what):
  if len(paths) != 2:
    listed = ', '.join(str(path) for path in paths)
    raise DataError(
      f'task.reader={reader}: {len(paths)} file(s) ({listed}); expected two, {what}, in'
      ' this order (task.files).'
    )
  return paths
