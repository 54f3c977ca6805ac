"""A small TPU API (v2) for the real gcloud: it keeps requests, and grants none."""

import contextlib
import http.server
import json
import re
import threading

PATH = re.compile(
  r'/v2/(?P<parent>projects/[^/]+/locations/[^/]+)/'
  r'(?P<kind>queuedResources|operations)(/(?P<name>[^/?]+))?(\?(?P<query>.*))?'
)


class Handler(http.server.BaseHTTPRequestHandler):
  """Answers as the API does, as far as gcloud asks."""

  def do_GET(self):
    found = PATH.fullmatch(self.path)
    if found['kind'] == 'operations':
      self._answer(200, self._operation(found))
    elif resource := self.server.resources.get(found['name']):
      self._answer(200, resource)
    else:
      self._refuse(404, 'NOT_FOUND', found, 'was not found')

  def do_POST(self):
    found = PATH.fullmatch(self.path)
    name = re.search('queuedResourceId=([^&]+)', found['query'])[1]
    if name in self.server.resources:
      self._refuse(409, 'ALREADY_EXISTS', found, 'already exists', name)
      return
    length = int(self.headers['content-length'])
    resource = json.loads(self.rfile.read(length))
    for spec in resource['tpu']['nodeSpec']:
      spec['node'].pop('metadata', None)  # empty: the API leaves it out
    self.server.resources[name] = resource | dict(
      createTime='2026-11-29T12:00:00.000000000Z',
      name=f'{found["parent"]}/queuedResources/{name}',
      state=dict(state='ACCEPTED'),
    )
    self._answer(200, self._operation(found))

  def do_DELETE(self):
    found = PATH.fullmatch(self.path)
    if self.server.resources.pop(found['name'], None) is None:
      self._refuse(404, 'NOT_FOUND', found, 'was not found')
    else:
      self._answer(200, self._operation(found))

  def log_message(self, *_):
    pass

  def _operation(self, found):
    return dict(
      name=f'{found["parent"]}/operations/operation-1', done=True, response={}
    )

  def _refuse(self, code, status, found, text, name=None):
    path = f'{found["parent"]}/queuedResources/{name or found["name"]}'
    message = f"Resource '{path}' {text}"
    self._answer(code, dict(error=dict(code=code, message=message, status=status)))

  def _answer(self, code, value):
    body = json.dumps(value).encode()
    self.send_response(code)
    self.send_header('content-type', 'application/json')
    self.send_header('content-length', str(len(body)))
    self.end_headers()
    self.wfile.write(body)


@contextlib.contextmanager
def served():
  """Gives (URL, {name: queued resource}) of an API on this machine."""
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  server.resources = {}
  thread = threading.Thread(target=server.serve_forever)
  thread.start()
  try:
    yield f'http://127.0.0.1:{server.server_port}/', server.resources
  finally:
    server.shutdown()
    thread.join()
    server.server_close()
