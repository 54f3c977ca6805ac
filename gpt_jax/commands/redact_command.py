"""Replaces personal data in a file by labels: a log, a corpus, a data set.

E-mail addresses, telephone numbers, Chinese and US identity numbers, payment cards,
IBANs and IP addresses, English and Chinese, become [EMAIL], [PHONE] and so on. Numbers
have to keep the rules of their kind (check digits, prefixes, lengths), so others stay.
--names=RUN also replaces the names of people that a fine-tuned tagger finds.

A file of .jsonl stays JSON lines, one of .json stays JSON: every text in it is read, or
those of --fields. Keys, numbers and all that is not replaced stay as they are, to the
byte. Any other file is text. `-` is standard input or output. Counts by kind go to
standard error, what was replaced goes nowhere.

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
    '--fields',
    metavar='NAME,...',
    help='of .jsonl and .json: only these; default: every text',
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.safety.redaction import Redactor

  suffixes = {pathlib.Path(path).suffix for path in (args.input, args.out)}
  redact = next((make for end, make in FORMS.items() if end in suffixes), _redact_text)
  if args.fields and redact is _redact_text:
    raise ConfigError(
      f'--fields={args.fields}: only a file of .jsonl or .json has fields.'
    )
  if os.path.realpath(args.input) == os.path.realpath(args.out) and args.out != '-':
    raise ConfigError(f'--out={args.out}: is the input; expected another file.')
  find_names = None
  if args.names:
    from gpt_jax.commands import text_models

    find_names = text_models.open_names(args.names, _split(args.name_tags))
  redactor = Redactor(_split(args.kinds) if args.kinds else None, find_names)
  with _opened(args) as (lines, out):
    counts = redact(redactor, lines, out, args)
  found = ', '.join(f'{count:,} {kind}' for kind, count in sorted(counts.items()))
  print(f'{args.out}: replaced {found or "nothing"}', file=sys.stderr)
  if args.json:
    print(json.dumps(dict(sorted(counts.items()))))


def _split(text):
  return [name.strip() for name in text.split(',') if name.strip()]


def _redact_text(redactor, file, out, args):
  del args
  stream = redactor.stream()
  while piece := file.read(PIECE_CHARS):
    out.write(stream.feed(piece))
  out.write(stream.finish())
  return stream.counts


def _redact_lines(redactor, lines, out, args):
  """Returns the counts of JSON lines; blank ones stay."""
  return _redact_documents(
    redactor,
    ((f'{args.input}, line {number}', line) for number, line in enumerate(lines, 1)),
    out,
    args,
  )


def _redact_document(redactor, file, out, args):
  """Returns the counts of one JSON document."""
  return _redact_documents(redactor, [(str(args.input), file.read())], out, args)


FORMS = {'.jsonl': _redact_lines, '.json': _redact_document}
"""Ending of the input, or of the output -> what reads it."""


def _redact_documents(redactor, documents, out, args):
  from gpt_jax.safety import json_texts

  counts, fields = collections.Counter(), _split(args.fields or '')
  missing = set(fields)

  def change(text):
    changed, found = redactor.redact(text)
    counts.update(found)
    return changed

  for place, document in documents:
    if not document.strip():
      out.write(document)
      continue
    value = _parsed(document, place)
    if fields:
      records = value if isinstance(value, list) else [value]
      if not all(isinstance(record, dict) for record in records):
        raise DataError(f'{place}: expected an object, with --fields.')
      missing -= set().union(*records)
    out.write(json_texts.change(document, change, fields))
  if missing:
    raise DataError(f'{args.input}: no record has the field {sorted(missing)[0]!r}.')
  return counts


def _parsed(document, place):
  try:
    return json.loads(document.removeprefix('\ufeff'))
  except RecursionError as error:
    raise DataError(f'{place}: lists within lists, too deep to read.') from error
  except ValueError as error:
    hint = '; is it JSON lines? Then name it .jsonl' * ('Extra data' in str(error))
    raise DataError(f'{place}: no JSON ({error}){hint}.') from error


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
