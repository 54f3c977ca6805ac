"""Requests that ask for too much: forged keys, values at limits, paths, origins."""

import collections
import os
import re
import site
import sys

from tests import tiny_runs
from tests.faults import runs, servers
from tests.faults.servers import CONTEXT, MODEL, WORK, Server

METHODS = ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')


def forge_tokens(count, rng, folder):
  """Forged, missing and doubled tokens on every route with every method."""
  with Server(folder, servers.trained(), with_keys=True) as server:
    return forge_for(server, count, rng)


def forge_for(server, count, rng):
  """Returns the row of `count` forged tokens, one at least for a route and method."""
  outcomes, wrong = collections.Counter(), []
  routes = server.probe('routes')
  secrets = list(server.secrets.values())
  for number in range(max(count, len(routes) * len(METHODS))):
    path, _, is_open = routes[number % len(routes)]
    method = METHODS[number // len(routes) % len(METHODS)]
    kind, headers = forged_header(rng, secrets)
    lines = [b'authorization: ' + header for header in headers]
    content = b'\r\n'.join([
      f'{method} {path} HTTP/1.1'.encode(), b'host: localhost', b'content-length: 0',
      b'connection: close', *lines, b'', b'',
    ])  # fmt: skip
    status = servers.send_raw(server.port, content).status
    if is_open:
      outcomes[f'open path: {status}'] += 1
      continue
    outcomes[status] += 1
    # A header that is no HTTP is refused before anyone reads it.
    if status != 401 and not (status == 400 and kind == 'control characters'):
      wrong.append(f'{method} {path} with {kind}: {status}')
  wrong += [f'{name} is refused' for name in ('a', 'b') if not _is_let_in(server, name)]
  shown = [name for name, secret in server.secrets.items() if secret in server.log()]
  wrong += [f'the secret of {name} is in the log' for name in shown]
  opened = ' '.join(path for path, _, is_open in routes if is_open)
  good = f'{len(routes)} routes x {len(METHODS)} methods; open to all: {opened}'
  return runs.row(
    'no, wrong, truncated, non-ASCII, doubled tokens on every route', outcomes,
    not wrong, '\n'.join(wrong) or good,
  )  # fmt: skip


def forged_header(rng, secrets):
  """Returns (kind, values of Authorization headers) that no server may let in."""
  secret = rng.choice(secrets).encode()
  at = rng.randrange(len(secret))
  flipped = bytearray(secret)
  flipped[at] ^= 1
  bearer = b'Bearer '
  return rng.choice([
    ('no token', []), ('an empty token', [bearer]), ('the scheme alone', [b'Bearer']),
    ('a wrong token', [bearer + b'gj-000000000000-' + b'A' * 43]),
    ('one bit changed', [bearer + bytes(flipped)]),
    ('a truncated token', [bearer + secret[:at]]),
    ('a token and more', [bearer + secret + b'x']),
    ('non-ASCII', [bearer + secret[:-1] + b'\xff']),
    ('a doubled token', [bearer + secret + b' ' + secret]),
    ('two headers', [bearer + secret, bearer + secret]),
    ('two in one header', [bearer + secret + b', ' + bearer + secret]),
    ('another scheme', [b'Basic ' + secret]), ('no scheme', [secret]),
    ('a long token', [bearer + b'x' * 5000]),
    ('control characters', [bearer + secret + b'\0']),
  ])  # fmt: skip


def _is_let_in(server, name):
  return server.complete('some words', name, max_tokens=1).status == 200


BIG = 2**63


def send_bounds(count, rng, folder):
  """Every number of the API at its limits, and prompts at the context's."""
  del count, rng
  with Server(folder, servers.trained()) as server:
    return send_bounds_to(server)


def send_bounds_to(server):
  """Returns the row of all values at limits; they may compile nothing."""
  outcomes, wrong = collections.Counter(), []
  page = server.ask('GET', '/openapi.json').json
  before = server.probe()['compiled']
  cases = [*_number_cases(page), *_prompt_cases()]
  for name, body, is_fine in cases:
    answer = server.ask('POST', WORK, body)
    outcomes[answer.status] += 1
    text = answer.content.decode()
    if (compiled := server.probe()['compiled']) > before:
      before = compiled
      wrong.append(f'{name}: compiled a program')
    if answer.status != (200 if is_fine else 400):
      wrong.append(f'{name}: {answer.status} {text[:200]}')
    elif not is_fine and not re.search(r'\d', answer.json['error']['message']):
      wrong.append(f'{name}: no limit in {text[:200]}')
  good = f'{len(cases)} values; nothing is compiled'
  return runs.row(
    'numbers and prompts at their limits', outcomes, not wrong,
    '\n'.join(wrong) or good,
  )  # fmt: skip


def _number_cases(page):
  """Yields (name, body, whether it is in the published range) of each number."""
  schema = page['paths'][WORK]['post']['requestBody']['content']['application/json']
  schema = schema['schema']
  if '$ref' in schema:
    schema = page['components']['schemas'][schema['$ref'].split('/')[-1]]
  base = {'model': MODEL, 'prompt': 'ab', 'max_tokens': 1, 'temperature': 0}
  for field, rules in schema['properties'].items():
    low, high = rules.get('minimum'), rules.get('maximum')
    if low is None or high is None:
      continue
    step = 1 if 'integer' in rules['type'] else 0.01
    values = {low - step, low, low + step, high - step, high, high + step, 0, -1, BIG}
    for value in sorted(values):
      is_fine = low <= value <= high
      if field == 'max_tokens':
        is_fine &= value + 2 <= CONTEXT
      body = base | {field: value}
      if field in ('n', 'best_of') and is_fine:
        continue  # below: they depend on each other, and on how many may wait
      yield f'{field}={value}', body, is_fine


def _prompt_cases():
  """Yields the same of prompts and answers around the context, and of ids."""
  for new in (1, 7):
    for extra in (-1, 0, 1):
      ids = [5] * (CONTEXT - new + extra)
      body = {'model': MODEL, 'prompt': ids, 'max_tokens': new, 'temperature': 0}
      yield f'{len(ids)} + {new} tokens', body, extra <= 0
  base = {'model': MODEL, 'max_tokens': 1, 'temperature': 0}
  for ids, is_fine in (
    ([0], True), ([255], True), ([10**6], False), ([-1], False), ([BIG], False),
  ):  # fmt: skip
    yield f'prompt={ids}', base | {'prompt': ids}, is_fine
  for n in (1, 2, 4):
    yield f'n={n}', base | {'prompt': 'ab', 'n': n}, True
    yield f'best_of={n}', base | {'prompt': 'ab', 'best_of': n}, True


NAMES = (
  '../tiny', '../../etc/passwd', '/etc/passwd', 'tiny/../tiny', './tiny', 'tiny/',
  'tiny\0',
  '%2e%2e%2fetc', '..\\..\\x', 'file:///etc/passwd', '~/x', '$HOME', '{0}',
  'tiny/config.json',
  'gs://b/x', '\u2025/x', 'tiny\n', 'TINY', ' tiny', '/dev/zero',
  '/proc/self/mem',
)  # fmt: skip
FIELDS = ('model', 'adapter', 'chat_template', 'user', 'suffix', 'stop', 'regex')
URLS = (
  '/../../etc/passwd',
  '/v1/%2e%2e/%2e%2e/etc/passwd',
  '/static/../../x',
  '//etc/passwd',
)


def traverse(count, rng, folder):
  """Names that are paths, in every field and in the URL; every open file is watched."""
  del rng
  workdir = servers.trained()
  link = folder / 'link'
  link.symlink_to('/etc')
  with Server(folder, workdir) as server:
    return traverse_in(server, count, [*NAMES, str(link), f'{workdir}/../link/passwd'])


def traverse_in(server, count, names):
  """Returns the row of `names` in all fields, `count` times."""
  outcomes, wrong = collections.Counter(), []
  server.complete('some words', max_tokens=2)
  server.probe('watch')
  for _ in range(count):
    for name in names:
      for field in FIELDS:
        body = {'model': MODEL, 'prompt': 'a', 'max_tokens': 1, 'temperature': 0}
        answer = server.ask('POST', WORK, body | {field: name})
        outcomes[answer.status] += 1
        if field == 'model' and answer.status not in (400, 404):
          wrong.append(f'model={name!r}: {answer.status}')
    for url in URLS:
      answer = servers.send_raw(
        server.port, f'GET {url} HTTP/1.1\r\nhost: localhost\r\n\r\n'.encode()
      )
      outcomes[answer.status] += 1
      if answer.status != 404:
        wrong.append(f'{url}: {answer.status}')
  opened = server.probe('opened')
  outside = [path for path in opened if not is_ours(path)]
  wrong += [f'opened: {path}' for path in outside]
  good = f'{len(opened)} files opened, all of Python and its packages; 0 others'
  return runs.row(
    'paths in place of names, every opened file watched', outcomes, not wrong,
    '\n'.join(wrong) or good,
  )  # fmt: skip


def is_ours(path):
  """Returns whether a file is one of Python, of its packages, or of gpt_jax."""
  code = [sys.prefix, sys.base_prefix, *site.getsitepackages()]
  code.append(str(tiny_runs.ROOT / 'gpt_jax'))
  return any(path.startswith(os.path.realpath(one) + os.sep) for one in code)


def cross_origins(count, rng, folder):
  """Host headers of other names, and pages of other origins."""
  del rng
  with Server(folder, servers.trained()) as server:
    return cross_origins_to(server, count)


def cross_origins_to(server, count):
  """Returns the row of crafted Host and Origin headers."""
  outcomes, wrong = collections.Counter(), []
  bad = (
    'evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '', '0.0.0.0',
    f'evil.example:{server.port}', 'localhost@evil.example', 'evil.example#localhost',
    '127.0.0.2', '[::2]:80', 'localhost:x', 'LOCALHOST.', '127.1', '2130706433',
  )  # fmt: skip
  good = ('localhost', f'localhost:{server.port}', '127.0.0.1', '[::1]:9', 'LOCALHOST')
  for _ in range(count):
    for host in (*bad, *good):
      lines = f'GET /v1/models HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n'
      status = servers.send_raw(server.port, lines.encode()).status
      outcomes[f'Host: {status}'] += 1
      if (status == 200) != (host in good):
        wrong.append(f'host {host!r}: {status}')
    for method, path in (('GET', '/v1/models'), ('OPTIONS', WORK), ('POST', WORK)):
      body = {'model': MODEL, 'prompt': 'a', 'max_tokens': 1}
      headers = {
        'origin': 'http://evil.example', 'access-control-request-method': 'POST'
      }  # fmt: skip
      answer = server.ask(
        method, path, body if method == 'POST' else None, None, headers
      )
      allowed = [name for name in answer.headers if 'access-control' in name.lower()]
      outcomes[f'Origin: {"allowed" if allowed else "no CORS"}'] += 1
      wrong += [f'{method} {path}: {allowed}'] if allowed else []
    text = servers.request_bytes({'model': MODEL, 'prompt': 'a'})
    plain = text.replace(b'application/json', b'text/plain')  # no preflight in browsers
    status = servers.send_raw(server.port, plain).status
    outcomes[f'text/plain: {status}'] += 1
    wrong += [f'text/plain: {status}'] if status != 415 else []
  return runs.row(
    'Host of other names, pages of other origins', outcomes, not wrong, '\n'.join(wrong)
  )
