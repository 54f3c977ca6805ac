"""The chat page: three files of `static/`, and headers that let nothing else in.

The page talks to the routes of /v1 as any client does, with the key that its reader
enters; the files themselves hold no secret and need no key.
"""

import functools
import importlib.resources

from gpt_jax.serving.app import Route

FILES = {
  '/': ('index.html', 'text/html; charset=utf-8'),
  '/static/chat.css': ('chat.css', 'text/css; charset=utf-8'),
  '/static/chat.js': ('chat.js', 'text/javascript; charset=utf-8'),
}
"""Path -> file of `static/` and its type; no other file can be asked for."""

POLICY = (
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
  " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
  " require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy: nothing of others, nothing inline, no text as markup."""

HEADERS = (
  ('content-security-policy', POLICY),
  ('x-frame-options', 'DENY'),
  ('referrer-policy', 'no-referrer'),
  ('permissions-policy', 'camera=(), geolocation=(), microphone=()'),
  ('cross-origin-opener-policy', 'same-origin'),
  ('cross-origin-resource-policy', 'same-origin'),
)


def read(name):
  """Returns the bytes of a file of `static/`."""
  return (importlib.resources.files('gpt_jax.serving') / 'static' / name).read_bytes()


def routes():
  """Returns the Routes of the page; its files are read now."""
  return tuple(
    Route(
      path, functools.partial(_answer, content=read(name), kind=kind), 'GET',
      scope=None, is_open=True, summary='The chat page',
    )
    for path, (name, kind) in FILES.items()
  )  # fmt: skip


async def _answer(call, *, content, kind):
  del call
  return content, kind, HEADERS
