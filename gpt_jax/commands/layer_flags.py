"""Flags for how many layers a token takes, and for drafts: fields of `inference`."""

FIELDS = (
  'depth', 'exit_measure', 'exit_threshold', 'exit_decay', 'exit_after', 'draft',
  'draft_tokens',
)  # fmt: skip
"""Fields of the section that are flags of the same name."""


def add(parser):
  group = parser.add_argument_group('layers and drafts', 'docs/decoding.md')
  group.add_argument('--depth', metavar='N', help='the first N layers only')
  group.add_argument(
    '--exit_measure', metavar='NAME', help='margin, similarity: tokens skip layers when'
    ' it is above --exit_threshold',
  )  # fmt: skip
  group.add_argument('--exit_threshold', metavar='X', help='from 0 to 1: never')
  group.add_argument('--exit_decay', metavar='X', help='by which it falls; 0: it stays')
  group.add_argument('--exit_after', metavar='N', help='layers that no token skips')
  group.add_argument(
    '--draft', metavar='WHAT', help='ngram, exit:N (first N layers) or the workdir of a'
    ' smaller run: speculative decoding',
  )  # fmt: skip
  group.add_argument('--draft_tokens', metavar='K', help='drafted for each pass')


def overrides(args):
  """Returns `{dotted field: text}` of the flags that were given."""
  given = {name: getattr(args, name) for name in FIELDS}
  return {f'inference.{name}': v for name, v in given.items() if v is not None}
