"""The chat page: three files of `static/`, and headers that let nothing else in.

The page talks to the routes of /v1 as any client does, with the key that its reader
enters; the files themselves hold no secret and need no key.
"""

import dataclasses
import hashlib
import importlib.resources

CONTENT_TYPES = {
  'index.html': 'text/html; charset=utf-8',
  'chat.css': 'text/css; charset=utf-8',
  'chat.js': 'text/javascript; charset=utf-8',
}
PATHS = {
  '/': 'index.html',
  '/static/chat.css': 'chat.css',
  '/static/chat.js': 'chat.js',
}
"""Path of a request -> file; no other file can be asked for."""

POLICY = (
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
  " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
  " require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy: nothing of others, nothing inline, no text as markup."""

HEADERS = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-cache',
}


@dataclasses.dataclass(frozen=True)
class File:
  """A file as it is sent."""

  body: bytes
  headers: dict[str, str]


def files():
  """Returns `{path: File}`, read once; each with its type, ETag and HEADERS."""
  folder, found = importlib.resources.files('gpt_jax.serving') / 'static', {}
  for path, name in PATHS.items():
    body = (folder / name).read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    own = {'Content-Type': CONTENT_TYPES[name], 'ETag': etag}
    found[path] = File(body, HEADERS | own)
  return found


def answer(file, if_none_match=''):
  """Returns (status, headers, body) for a File; 304 where the browser has it."""
  known = {tag.strip().removeprefix('W/') for tag in (if_none_match or '').split(',')}
  if file.headers['ETag'] in known:
    return 304, file.headers, b''
  return 200, file.headers, file.body
