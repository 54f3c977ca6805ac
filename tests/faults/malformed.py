"""Requests that are wrong, made from a seed: no HTTP, no JSON, no possible values.

`make(rng)` returns a Malformed, which may not be answered with 200.
"""

import dataclasses
import json

from tests.faults.servers import MODEL, WORK, request_bytes

PATHS = (
  WORK, '/v1/chat/completions', '/v1/embeddings', '/v1/classify', '/tokenize',
)  # fmt: skip
VALID = {'model': MODEL, 'prompt': 'some words', 'max_tokens': 2}


@dataclasses.dataclass(frozen=True)
class Malformed:
  """Bytes to send in pieces; `ends`: they were cut off, the sending side is closed."""

  kind: str
  pieces: tuple[bytes, ...]
  ends: bool = False


def make(rng):
  """Returns a Malformed of a kind that `rng` chooses."""
  kind = rng.choice(list(KINDS))
  found = KINDS[kind](rng)
  content, ends = found if isinstance(found, tuple) else (found, False)
  return Malformed(kind, _cut(content, rng), ends)


def _cut(content, rng):
  """Returns the bytes in one piece, mostly, or in a few."""
  if rng.random() < 0.8 or len(content) < 4:
    return (content,)
  cuts = sorted(rng.sample(range(1, len(content)), min(3, len(content) - 1)))
  return tuple(content[i:j] for i, j in zip([0, *cuts], [*cuts, None], strict=True))


def _noise(rng, low=1, high=200):
  return rng.randbytes(rng.randint(low, high))


def _no_http(rng):
  starts = (
    b'', b'\x16\x03\x01\x02\x00', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', b'\0\0\0', b'{}',
    b'SSH-2.0-x\r\n',
  )  # fmt: skip
  return rng.choice(starts) + _noise(rng) + b'\r\n\r\n'


def _line(rng):
  path = rng.choice([WORK, '/v1/models', '/healthz'])
  return rng.choice([
    f'GET {path}\r\n\r\n', f'GET  {path} HTTP/1.1\r\nhost: localhost\r\n\r\n',
    f'GET {path} HTTP/9.9\r\nhost: localhost\r\n\r\n', f'{path} GET HTTP/1.1\r\n\r\n',
    f'G\0ET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n', '\r\n\r\n \r\n\r\n',
    f'GET {path} HTTP/1.1 extra\r\nhost: localhost\r\n\r\n',
    f'GET {path}\x7f\x01 HTTP/1.1\r\nhost: localhost\r\n\r\n',
    f'GET /{"a" * rng.randint(20_000, 90_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n',
  ]).encode('latin-1')  # fmt: skip


def _header(rng):
  bad = rng.choice([
    'no colon here', ' folded: x', 'name : space', 'na\0me: x', 'name: x\0y', ': empty',
    'näme: x', 'a: ' + 'x' * rng.randint(17_000, 90_000), 'name: x\ry',
    '\r\n'.join(f'x-{n}: {n}' for n in range(2000)), 'host: other.example',
    'host: localhost',
  ])  # fmt: skip
  return request_bytes(VALID, headers=[bad])


def _length(rng):
  body = json.dumps(VALID).encode()
  bad = rng.choice([
    '-1', '+5', '1e3', '0x10', '', 'abc', '9' * 400, '5, 6', f'{len(body)}\r\n'
    f'content-length: {len(body) + 1}', f'{2**63}', f'{10**10}', '1_0', '１',
    f'{len(body)}\r\ntransfer-encoding: chunked',
  ])  # fmt: skip
  head = (
    f'POST {WORK} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'
  )
  return head.encode() + f'content-length: {bad}\r\n\r\n'.encode() + body


def _chunks(rng):
  body = json.dumps(VALID).encode()
  size = f'{len(body):x}'.encode()
  bad = rng.choice([
    b'zz\r\n' + body, b'-5\r\n' + body, b'f' * 40 + b'\r\n' + body, b'\r\n' + body,
    size + b'\r\n' + body + b'junk\r\n0\r\n\r\n', size + b';' + b'e' * 70_000 + b'\r\n',
    b'1\r\n{\r\n0\r\n\r\n', b'0\r\n\r\n',
  ])  # fmt: skip
  coding = rng.choice(['chunked', 'chunked', 'gzip', 'chunked, chunked', 'identity, x'])
  head = (
    f'POST {WORK} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'
  )
  return head.encode() + f'transfer-encoding: {coding}\r\n\r\n'.encode() + bad


def _cut_off(rng):
  content = request_bytes(VALID, rng.choice(PATHS))
  return content[: rng.randint(1, len(content) - 1)], True


def _no_json(rng):
  text = json.dumps(VALID).encode()
  at = rng.randint(0, len(text) - 1)
  bad = rng.choice([
    b'', text[:at], text + b'}', b'[' * 100_000, b'{"a":' * 50_000, b'nul', b'\xff\xfe',
    b'\xef\xbb\xbf' + text, text.replace(b'"', b"'"), b'"text"', b'[]', b'3', b'null',
    text.replace(b'some', b'\xed\xa0\x80'), text.replace(b'some', b'\xc0\xaf'),
    text.replace(b'words', b'\x00'), text + b'\0', b'{"model": "tiny", "prompt": "a",}',
    _noise(rng, 1, 2000), text.replace(b': 2', b': 02'), text.replace(b'2', b'2.'),
  ])  # fmt: skip
  return request_bytes(bad, rng.choice(PATHS))


WRONG = {
  'model': (None, 3, '', '../tiny', '/etc/passwd', 'tiny\0', [], {}, 'x' * 300, 'no'),
  'prompt': (None, 3, {}, [], [[]], [-1], [2**63], ['a', 3], [3, 'a'], [None], 1.5,
             [10**6], 'x' * 400_000, True, [[1, 2], 'a'], [1.5]),
  'max_tokens': (-1, 2**63, 10**30, 1.5, '3', [], {}, True, 10**6),
  'n': (0, -1, 129, 2**63, 1.5, 'a', [1]),
  'temperature': (-1, 'hot', [], 1e9, 10**400, True),
  'top_p': (-0.1, 1.1, 'x', {}), 'top_k': (-1, 2**63, 1.5, 'a'),
  'stop': ('', [''], 3, ['a'] * 17, {}, ['a', 3], 'x' * 2000),
  'logit_bias': ([], {'a': 1}, {'-1': 1}, {'1': 'x'}, {'1': 1e9}, {'99999999': 1}),
  'seed': (2**63, -(2**63) - 1, 1.5, 'a', []), 'logprobs': (-1, 10**6, 'a', 2**63),
  'stream': ('yes', 1, []), 'echo': (1, 'no'), 'best_of': (0, -1, 1000, 'a'),
  'regex': ('(', '[', 3, '', 'x' * 20_000, 'a{1000000000}', '(?P<'),
  'repetition_penalty': (0, -1, 'x'), 'stream_options': (3, {'a': 1}, {}),
  'suffix': ('x',), 'no_such_field': (1, None), '__class__': ({},), '': (1,),
}  # fmt: skip


def _values(rng):
  field = rng.choice(list(WRONG))
  return request_bytes(VALID | {field: rng.choice(WRONG[field])})


def _odd_json(rng):
  """JSON that Python's parser would take, and that is none, or says two things."""
  text = json.dumps(VALID)
  bad = rng.choice([
    text.replace('2}', 'NaN}'), text.replace('2}', '-Infinity}'),
    text.replace('2}', '1e999}'), text.replace('2}', '9' * 5000 + '}'),
    text[:-1] + ', "prompt": "again"}', text[:-1] + ', "model": "tiny"}',
    text.replace('some', '\\ud800'), text.replace('some', '\\udfff x'),
    text[:-1] + ', "user": "\\ud83d"}',
    text[:-1] + ', "metadata": ' + '{"a":' * 80 + '1' + '}' * 80 + '}',
    text[:-1] + ', "metadata": ' + '[' * 900 + ']' * 900 + '}',
  ])  # fmt: skip
  return request_bytes(bad.encode())


def _routes(rng):
  path = rng.choice([
    '/v1', '/v1/', '/v1/completions/', '//v1/completions', '/v1/../v1/completions',
    '/%2e%2e/etc/passwd', '/v1/completions%00', '/V1/COMPLETIONS', '/' + 'a/' * 500,
    '/v1/models/../../x', '*', 'http://localhost/x', '/\xff', '/?' + 'a=b&' * 2000,
  ])  # fmt: skip
  if rng.random() < 0.5:
    return request_bytes(VALID, path)
  method = rng.choice(['GET', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'FOO', 'OPTIONS'])
  return request_bytes(VALID, WORK, method=method)


def _kinds(rng):
  kind = rng.choice(
    ['text/plain', 'multipart/form-data; boundary=x', '', 'json', '\xff']
  )
  content = request_bytes(VALID).replace(b'application/json', kind.encode('latin-1'), 1)
  if rng.random() < 0.3:
    content = content.replace(
      b'content-type', b'connection: upgrade\r\nupgrade: h2c\r\nx'
    )
  return content


KINDS = {
  'no HTTP': _no_http, 'request line': _line, 'header': _header, 'length': _length,
  'chunks': _chunks, 'cut off': _cut_off, 'no JSON': _no_json, 'values': _values,
  'odd JSON': _odd_json, 'route or method': _routes, 'content type': _kinds,
}  # fmt: skip
