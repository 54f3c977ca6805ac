"""Verifies the audit log of a server: was a record changed, removed or moved?

Each record has the hash of the one before it. The first line that does not fit is named
(exit code 3). Files that were rotated away, FILE.000001 and so on, are read first. That
the end was cut off shows only by a hash that was noted before: --expect=HASH, of the
last record that an earlier `audit verify` printed.

examples:
  gpt-jax audit verify audit.jsonl
  gpt-jax audit verify audit.jsonl --json
"""

import json

from gpt_jax.commands import flags


def add_arguments(parser):
  parser.add_argument('action', choices=['verify'], help='the only one')
  parser.add_argument('file', type=flags.local_path, metavar='FILE')
  parser.add_argument(
    '--expect',
    action='append',
    default=[],
    metavar='HASH',
    help='has to be that of a record; may be repeated',
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.safety import audit_check

  report = audit_check.verify(args.file, args.expect)
  for note in report.notes:
    print(note)
  print(
    f'{args.file}: {report.records:,} records in {len(report.files)} files hold; the'
    f' last one is {report.head}'
  )
  if args.json:
    print(json.dumps({'records': report.records, 'head': report.head}))
