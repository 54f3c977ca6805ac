"""What a compiled program sends between devices, read from its text."""

import re

COLLECTIVE = re.compile(
  r' = (\S+|\(.*?\)) '
  r'(all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\('
)
CALLED = re.compile(r'(?:calls|to_apply|body|condition)=%?([\w.-]+)')


def collectives(program, scope=''):
  """Returns (inside, outside): what is sent in while loops, and elsewhere.

  Each is a list of (shape, kind). Only loops made under the named `scope` count.
  """
  computations, name = {}, None
  for line in program.splitlines():
    if line.endswith('{') and not line.startswith(' '):
      name = re.match(r'(?:ENTRY )?%?([\w.-]+)', line)[1]
      computations[name] = []
    elif name:
      computations[name].append(line)
  lines = [line for lines in computations.values() for line in lines]
  loops = [line for line in lines if ' while(' in line and scope in line]
  assert loops, 'no loop there'
  calls = {
    name: set(CALLED.findall('\n'.join(ls))) for name, ls in computations.items()
  }
  inside = set(CALLED.findall('\n'.join(loops)))
  while more := set().union(*(calls[name] for name in inside)) - inside:
    inside |= more
  found = [], []
  for name, lines in computations.items():
    sent = [m.groups() for line in lines if (m := COLLECTIVE.search(line))]
    found[name not in inside].extend(sent)
  return found
