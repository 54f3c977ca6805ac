"""An S3 bucket on this machine: moto's server, with faults on request.

It adds to moto that the condition of a write (`If-Match`, `If-None-Match`) is checked
while no other write is made. `python -m tests.storage.s3_server --port=9024` runs it.
"""

import io
import socket
import threading
import urllib.request

from tests.storage.bucket_server import BUCKET, TENSORSTORE, Faults, serve

KINDS = (
  ('500 Internal Server Error', 'InternalError'),
  ('503 Slow Down', 'SlowDown'),
  ('503 Service Unavailable', 'ServiceUnavailable'),
)
REFUSALS = {
  'all': ('403 Forbidden', 'InvalidAccessKeyId'),
  'writes': ('403 Forbidden', 'AccessDenied'),
  'arrays': ('403 Forbidden', 'AccessDenied'),
}


def start(port=0, bucket=BUCKET):
  """Returns (server, Faults) of a running server with an empty `bucket`.

  `server.port` is where it listens, `server.shutdown()` ends it.
  """
  import logging

  from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
  from werkzeug.serving import make_server

  logging.getLogger('werkzeug').setLevel(logging.ERROR)  # a line for each request
  faults = Faults()
  app = _Faulty(create_backend_app('s3'), faults)
  server = make_server(
    '127.0.0.1', port, app, threaded=True, request_handler=MotoRequestHandler
  )
  threading.Thread(target=server.serve_forever, daemon=True).start()
  make = urllib.request.Request(
    f'http://127.0.0.1:{server.port}/{bucket}', method='PUT', data=b''
  )
  urllib.request.urlopen(make).close()
  return server, faults


def environment(port):
  """Returns the variables by which processes find the server."""
  return {
    'AWS_ENDPOINT_URL': f'http://127.0.0.1:{port}',
    'AWS_REGION': 'us-east-1',
    'AWS_DEFAULT_REGION': 'us-east-1',
    'AWS_ACCESS_KEY_ID': 'test',
    'AWS_SECRET_ACCESS_KEY': 'test',
    'AWS_EC2_METADATA_DISABLED': 'true',
  }


class _Faulty:
  """The WSGI application `app`, behind what goes wrong."""

  def __init__(self, app, faults):
    self._app, self._faults = app, faults
    self._writing = threading.Lock()

  def __call__(self, environ, start_response):
    faults = self._faults
    faults.requests += 1
    is_write = environ['REQUEST_METHOD'] not in ('GET', 'HEAD')
    if {
      'all': True,
      'writes': is_write,
      'arrays': TENSORSTORE in environ.get('HTTP_USER_AGENT', ''),
    }.get(faults.refused):
      return _answer(environ, start_response, *REFUSALS[faults.refused])
    if not faults.every or faults.requests % faults.every:
      return self._done(environ, start_response, is_write)
    kind = faults.failed % (len(KINDS) + 1)
    faults.failed += 1
    if kind < len(KINDS):
      return _answer(environ, start_response, *KINDS[kind])
    if faults.failed % (2 * len(KINDS) + 2) == 0:  # every second time it was done
      self._done(environ, lambda *_: None, is_write)
    environ['werkzeug.socket'].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError('cut')

  def _done(self, environ, start_response, is_write):
    if not is_write:
      return self._app(environ, start_response)
    # All of it, before the others have to wait: its sender may be gone.
    size = int(environ.get('CONTENT_LENGTH') or 0)
    body = environ['wsgi.input'].read(size)
    if len(body) < size:
      raise ConnectionResetError('the upload broke off: nothing of it is kept')
    environ['wsgi.input'] = io.BytesIO(body)
    with self._writing:  # moto looks at the condition first and writes then
      return self._app(environ, start_response)


def _answer(environ, start_response, status, code):
  environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))
  body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message>'
  body = f'{body}<RequestId>1</RequestId></Error>'.encode()
  headers = [('Content-Type', 'application/xml'), ('Content-Length', str(len(body)))]
  start_response(status, headers)
  return [b'' if environ['REQUEST_METHOD'] == 'HEAD' else body]


if __name__ == '__main__':
  serve(start, environment, 9024, __doc__)
