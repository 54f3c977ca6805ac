"""Replaces personal data in a file by labels: a log, a corpus, a data set.

E-mail addresses, telephone numbers, Chinese and US identity numbers, payment cards,
IBANs and IP addresses, English and Chinese, become [EMAIL], [PHONE] and so on. Numbers
have to keep the rules of their kind (check digits, prefixes, lengths), so others stay.
--names=RUN also replaces the names of people that a fine-tuned tagger finds.

A file of .jsonl stays JSON lines: every text in it is read, or those of --fields; keys
and numbers stay. Any other file is text. `-` is standard input or output. Counts by
kind go to standard error, what was replaced goes nowhere.

examples:
  gpt-jax redact --input=requests.log --out=clean.log
  gpt-jax redact --input=chats.jsonl --out=clean.jsonl --fields=prompt,answer
  gpt-jax redact --input=mail.txt --out=clean.txt --kinds=email,phone
  gpt-jax redact --input=news.txt --out=clean.txt --names=runs/ner
"""

import collections
import contextlib
import json
import os
import pathlib
import sys

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, DataError, StorageError

PIECE_CHARS = 1 << 20


def add_arguments(parser):
  parser.add_argument('--input', required=True, type=flags.local_path, metavar='FILE')
  parser.add_argument('--out', required=True, type=flags.local_path, metavar='FILE')
  parser.add_argument(
    '--kinds', metavar='NAME,...', help='of those to replace; default: all with a form'
  )
  parser.add_argument(
    '--names', metavar='DIR', help='a run that tags the names of people; default: none'
  )
  parser.add_argument(
    '--name_tags',
    default='PER,NAME',
    metavar='TAG,...',
    help='what the run calls a person; default: PER,NAME',
  )
  parser.add_argument(
    '--fields', metavar='NAME,...', help='of .jsonl: only these; default: every text'
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.safety.redaction import Redactor

  source = pathlib.Path(args.input)
  is_jsonl = '.jsonl' in (source.suffix, pathlib.Path(args.out).suffix)
  if args.fields and not is_jsonl:
    raise ConfigError(f'--fields={args.fields}: only a file of .jsonl has fields.')
  if os.path.realpath(args.input) == os.path.realpath(args.out) and args.out != '-':
    raise ConfigError(f'--out={args.out}: is the input; expected another file.')
  find_names = None
  if args.names:
    from gpt_jax.commands import text_models

    find_names = text_models.open_names(args.names, _split(args.name_tags))
  redactor = Redactor(_split(args.kinds) if args.kinds else None, find_names)
  with _opened(args) as (lines, out):
    if is_jsonl:
      counts = _redact_records(redactor, lines, out, args)
    else:
      counts = _redact_text(redactor, lines, out)
  found = ', '.join(f'{count:,} {kind}' for kind, count in sorted(counts.items()))
  print(f'{args.out}: replaced {found or "nothing"}', file=sys.stderr)
  if args.json:
    print(json.dumps(dict(sorted(counts.items()))))


def _split(text):
  return [name.strip() for name in text.split(',') if name.strip()]


def _redact_text(redactor, file, out):
  stream = redactor.stream()
  while piece := file.read(PIECE_CHARS):
    out.write(stream.feed(piece))
  out.write(stream.finish())
  return stream.counts


def _redact_records(redactor, lines, out, args):
  counts, fields = collections.Counter(), _split(args.fields or '')
  missing = set(fields)
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    try:
      record = json.loads(line)
    except ValueError as error:
      raise DataError(f'{args.input}, line {number}: no JSON ({error}).') from error
    if fields:
      if not isinstance(record, dict):
        raise DataError(
          f'{args.input}, line {number}: expected an object, with --fields.'
        )
      missing -= set(record)
      for name in set(fields) & set(record):
        record[name] = _redacted(redactor, record[name], counts)
    else:
      record = _redacted(redactor, record, counts)
    out.write(json.dumps(record, ensure_ascii=False) + '\n')
  if missing:
    raise DataError(f'{args.input}: no record has the field {sorted(missing)[0]!r}.')
  return counts


def _redacted(redactor, value, counts):
  """Returns a JSON value with all texts in it redacted."""
  if isinstance(value, str):
    text, found = redactor.redact(value)
    counts.update(found)
    return text
  if isinstance(value, list):
    return [_redacted(redactor, each, counts) for each in value]
  if isinstance(value, dict):
    return {key: _redacted(redactor, each, counts) for key, each in value.items()}
  return value


@contextlib.contextmanager
def _opened(args):
  """Yields (file to read, file to write); the output appears once it is complete."""
  partial = pathlib.Path(f'{args.out}.partial')
  try:
    with contextlib.ExitStack() as stack:
      source = sys.stdin
      if args.input != '-':
        source = stack.enter_context(open(args.input, encoding='utf-8', newline=''))
      if args.out == '-':
        yield source, sys.stdout
        return
      try:
        out = stack.enter_context(open(partial, 'w', encoding='utf-8', newline=''))
      except OSError as error:
        raise StorageError(f'--out={args.out}: {error}') from error
      yield source, out
    partial.replace(args.out)
  except UnicodeDecodeError as error:
    raise DataError(f'--input={args.input}: is not UTF-8 ({error}).') from error
  except BrokenPipeError:
    raise
  except OSError as error:
    raise DataError(f'--input={args.input}: {error}') from error
  finally:
    if args.out != '-':
      partial.unlink(missing_ok=True)
