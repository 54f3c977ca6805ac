"""What a prepared corpus has, and what was left out: `report.json` and `report.md`."""

from gpt_jax.corpus.shard_report import MAX_DAMAGED, MAX_EXAMPLES, MAX_LONGEST

JSON, TEXT = 'report.json', 'report.md'


def add_up(shards, chosen, steps):
  """Returns the report of all shards, as plain JSON.

  `chosen`: the steps of the command line; `steps`: what they made.
  """
  splits = {}
  for shard in shards:
    for name, record in shard.splits.items():
      found = splits.setdefault(
        name, dict(shards=0, documents=0, tokens=0, bytes=0, words=0)
      )
      found['shards'] += 1
      found['documents'] += record.documents
      found['tokens'] += record.tokens
      found['bytes'] += record.num_bytes
      found['words'] += shard.report['splits'][name]['words']
  for found in splits.values():
    found['tokens_per_word'] = _ratio(found['tokens'], found['words'])
    found['bytes_per_token'] = _ratio(found['bytes'], found['tokens'])
  longest = [one for shard in shards for one in shard.report['longest']]
  longest.sort(key=lambda one: -one['tokens'])
  damaged = [line for shard in shards for line in shard.report['damaged']]
  read = [shard.report['read'] for shard in shards]
  return {
    'shards': len(shards),
    'read': {
      key: sum(one[key] for one in read) for key in ('documents', 'bytes', 'empty')
    },
    'splits': splits,
    'sources': _sources(shards),
    'longest': longest[:MAX_LONGEST],
    'damaged': len(damaged),
    'damaged_records': damaged[:MAX_DAMAGED],
    'steps': [
      {**chosen[i].to_dict(), **steps[i].describe(), 'left_out': _left_out(shards, i)}
      for i in range(len(chosen))
    ],
  }


def _sources(shards):
  """Returns what training reads of each member of a mixture; {} without one."""
  found = {}
  for shard in shards:
    record = shard.splits.get('train')
    if shard.member and record is not None:
      one = found.setdefault(shard.member, dict(documents=0, tokens=0))
      one['documents'] += record.documents
      one['tokens'] += record.tokens
  total = sum(one['tokens'] for one in found.values())
  for one in found.values():
    one['share'] = _ratio(one['tokens'], total)
  return dict(sorted(found.items()))


def _left_out(shards, step):
  found = {}
  for shard in shards:
    for reason, one in shard.report['left_out'][step].items():
      all_ = found.setdefault(reason, {'documents': 0, 'bytes': 0, 'examples': []})
      all_['documents'] += one['documents']
      all_['bytes'] += one['bytes']
      all_['examples'] += one['examples'][: MAX_EXAMPLES - len(all_['examples'])]
  return dict(sorted(found.items()))


def pace(shards, seconds):
  """Returns tokens and bytes of text a second of what was made just now."""
  tokens = sum(part.tokens for shard in shards for part in shard.splits.values())
  num_bytes = sum(shard.report['read']['bytes'] for shard in shards)
  return {
    'tokens_per_second': round(tokens / seconds) if tokens else None,
    'megabytes_per_second': round(num_bytes / seconds / 1e6, 3) if tokens else None,
  }


def _ratio(count, of):
  return round(count / of, 4) if of else None


def as_markdown(found):
  """Returns the report as a page."""
  lines = [
    '# Prepared corpus',
    '',
    _what_was_read(found),
    '',
    '| split | documents | tokens | size | tokens a word | bytes a token |',
    '|---|---|---|---|---|---|',
  ]
  for name, split in found['splits'].items():
    lines.append(
      f'| {name} | {split["documents"]:,} | {split["tokens"]:,} |'
      f' {_size(split["bytes"])} | {split["tokens_per_word"]} |'
      f' {split["bytes_per_token"]} |'
    )
  if found['sources']:
    lines += [
      '',
      '| source, of train | documents | tokens | share |',
      '|---|---|---|---|',
    ]
    lines += [
      f'| {name} | {one["documents"]:,} | {one["tokens"]:,} | {one["share"]:.1%} |'
      for name, one in found['sources'].items()
    ]
  lines += ['', '## The longest documents', '']
  lines += [
    f'* {one["tokens"]:,} tokens: {one["place"]}, {one["split"]}'
    for one in found['longest']
  ]
  if found['damaged']:
    lines += ['', f'## Damaged records, left out: {found["damaged"]:,}', '']
    lines += [f'* {line}' for line in found['damaged_records']]
  lines += _table_of_steps(found)
  for step in found['steps']:
    lines += ['', f'## Left out by `{step["name"]}`', '']
    lines += _step_lines(step)
  return '\n'.join(lines) + '\n'


def _what_was_read(found):
  read = found['read']
  line = (
    f'{count(read["documents"], "document")}, {_size(read["bytes"])} of text, in'
    f' {count(found["shards"], "shard")}'
  )
  if read['empty']:
    line += f'; {count(read["empty"], "empty document")} left out'
  return line + '.'


def _table_of_steps(found):
  """Returns what each step left out, and why, as a table."""
  if not found['steps']:
    return []
  lines = ['', '## What was left out', '']
  lines += ['| step | why | documents | of all | size |', '|---|---|---|---|---|']
  total = found['read']['documents']
  for step in found['steps']:
    if not step['left_out']:
      lines.append(f'| `{step["name"]}` | - | 0 | 0.0% | - |')
    for reason, one in step['left_out'].items():
      lines.append(
        f'| `{step["name"]}` | {reason} | {one["documents"]:,} |'
        f' {one["documents"] / total:.1%} | {_size(one["bytes"])} |'
      )
  return lines


def _step_lines(step):
  lines, settings = [], []
  for key, value in step.items():
    if key not in ('name', 'left_out'):
      if isinstance(value, dict):
        lines += [f'* {key}, {name}: {_values(part)}' for name, part in value.items()]
      else:
        settings.append(f'{key}={_value(value)}')
  lines = [', '.join(settings), '', *lines, *[''] * bool(lines)]
  if not step['left_out']:
    return [*lines, 'Nothing.']
  for reason, one in step['left_out'].items():
    documents = count(one['documents'], 'document')
    lines.append(f'* {reason}: {documents}, {_size(one["bytes"])}')
    for example in one['examples']:
      instead = example.get('because_of')
      lines.append(
        f'  * {example["place"]}'
        + (f' (as {instead})' if instead is not None else '')
        + f': {_escaped(example["text"])}'
      )
  return lines


def _values(part):
  if not isinstance(part, dict):
    return _value(part)
  return ', '.join(f'{key}={_value(value)}' for key, value in part.items())


def _value(value):
  if isinstance(value, list | tuple):
    return ','.join(map(str, value)) or 'all'
  return f'{value:g}' if isinstance(value, float) else str(value)


def count(number, what):
  """Returns `1 document` or `2 documents`."""
  return f'{number:,} {what}' + 's' * (number != 1)


def _size(num_bytes):
  if num_bytes < 1e3:
    return f'{num_bytes} bytes'
  if num_bytes < 1e6:
    return f'{num_bytes / 1e3:,.1f} kB'
  return f'{num_bytes / 1e6:,.1f} MB'


def _escaped(text):
  return '`' + text.replace('`', "'") + '`' if text else '(empty)'
