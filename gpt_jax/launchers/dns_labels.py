"""Names that Kubernetes and the TPU API can take: DNS labels, RFC 1035.

They begin with a letter, have small letters, digits and hyphens, and at most 63
characters with all that a controller appends (kubernetes.io, object names and IDs).
"""

import hashlib
import re

MAX_LENGTH = 63
_LABEL = re.compile(r'[a-z]([a-z0-9-]*[a-z0-9])?')
_DIGEST_LENGTH = 6


def problem(field, name, appended=''):
  """Returns what is wrong with a `name` that somebody chose, or None.

  Args:
    field: what it was given as, such as --name.
    appended: the longest text that is put after it.
  """
  allowed = MAX_LENGTH - len(appended)
  if not _LABEL.fullmatch(name):
    return (
      f'{field}={name}: expected small letters, digits and hyphens, a letter first and'
      f' no hyphen last, such as {label(name, appended)}'
    )
  if len(name) > allowed:
    longest = (
      f', with {appended} after it {len(name) + len(appended)}' if appended else ''
    )
    return (
      f'{field}={name}: {len(name)} characters{longest}, and {MAX_LENGTH} are allowed;'
      f' use at most {allowed}, such as {label(name, appended)}'
    )
  return None


def label(text, appended=''):
  """Returns a name made of any text; two texts that were cut have different ones."""
  allowed = MAX_LENGTH - len(appended)
  name = re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')
  if not name[:1].isalpha():
    name = f'run-{name}'.strip('-')
  if len(name) <= allowed:
    return name
  digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
  return f'{name[: allowed - _DIGEST_LENGTH - 1].rstrip("-")}-{digest}'
