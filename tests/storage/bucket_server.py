"""A GCS bucket on this machine: an emulator, with what it lacks and faults on request.

It adds to gcp_storage_emulator the precondition `ifGenerationMatch`, and refuses an
upload that broke off. `python -m tests.storage.bucket_server --port=9023` runs it.
"""

import argparse
import contextlib
import dataclasses
import email
import http
import json
import os
import re
import time
import urllib.parse

BUCKET = 'test-bucket'
TENSORSTORE = 'tensorstore/'  # begins what TensorStore says that it is


@dataclasses.dataclass
class Faults:
  """What goes wrong; may be changed while the server runs."""

  # One request in so many fails in passing, 0: none. By turns 429, 500, 503 and a cut
  # connection; all but 429 every second time after the work was done.
  every: int = 0
  # 'all': no credentials count; 'writes': the bucket is read-only; 'arrays': nothing is
  # done for TensorStore, which writes and reads them.
  refused: str = ''
  requests: int = 0  # since the start
  failed: int = 0  # of these


def _read_to_the_byte(server):
  """Makes the emulator read uploads as they are, and refuse those that broke off."""
  read = server._read_raw_data

  def read_whole(handler):
    content = read(handler)
    wanted = int(handler.headers.get('Content-Length') or 0)
    if content is not None and len(content) < wanted:
      raise ConnectionResetError('the upload broke off: nothing of it is kept')
    return content

  read_data = server._read_data

  def read_exactly(handler, query):
    kind = handler.headers.get('Content-Type') or ''
    if not kind.startswith('multipart/related'):
      return read_data(handler, query)
    return related_parts(read_whole(handler), kind)

  server._read_raw_data, server._read_data = read_whole, read_exactly


def related_parts(raw, content_type):
  """Returns the metadata and content of a multipart upload, to the byte.

  The emulator reads them as an e-mail: of a content that ends in a carriage return it
  takes this for a part of the line's end, and drops it.
  """
  boundary = b'--' + re.search(r'boundary="?([^";]+)', content_type)[1].encode()
  _, meta, content, _ = raw.split(boundary)
  end = b'\r\n' if meta.startswith(b'\r\n') else b'\n'

  def parts(part):
    head, _, body = part.removeprefix(end).removesuffix(end).partition(end * 2)
    return email.message_from_bytes(head).get_content_type(), body

  kind, body = parts(content)
  return {'meta': json.loads(parts(meta)[1]), 'content': body, 'content-type': kind}


def start(port=0, bucket=BUCKET):
  """Returns (server, Faults) of a running server with an empty `bucket`."""
  from gcp_storage_emulator import server
  from gcp_storage_emulator.exceptions import NotFound

  faults = Faults()

  class Router(server.Router):
    def handle(self, method):
      faults.requests += 1
      agent = self._request_handler.headers.get('User-Agent', '')
      if status := _refusal(faults, method, agent):
        return self._answer(status, 'refused')
      if faults.every and faults.requests % faults.every == 0:
        turn, kind = divmod(faults.failed, 4)
        faults.failed += 1
        is_done = kind > 0 and turn % 2 == 1 and self._do_in_silence(method)
        if kind == 3:
          return self._request_handler.connection.close()
        return self._answer((429, 500, 503)[kind], 'try again', is_read=is_done)
      if not self._is_met(method):
        return self._answer(412, 'precondition')
      return super().handle(method)

    def _is_met(self, method):
      """Returns whether the request's precondition holds; the server has one thread."""
      handler = self._request_handler
      url = urllib.parse.urlparse(handler.path)
      query = urllib.parse.parse_qs(url.query)
      if method != 'POST' or 'ifGenerationMatch' not in query:
        return True
      if 'name' not in query:
        return True  # of a form that names the object in its body
      try:
        found = handler.storage.get_file_obj(
          url.path.split('/b/')[1].split('/')[0], query['name'][0]
        )['generation']
      except NotFound:
        found = '0'
      return found == query['ifGenerationMatch'][0]

    def _do_in_silence(self, method):
      """Returns whether it was done; nothing of the answer goes out."""
      if not self._is_met(method):
        return False
      handler = self._request_handler
      wire, handler.wfile = handler.wfile, _Nowhere()
      with contextlib.suppress(OSError):
        super().handle(method)
      handler.wfile = wire
      return True

    def _answer(self, status, text, is_read=False):
      if not is_read:
        with contextlib.suppress(OSError):
          server._read_raw_data(self._request_handler)
      response = server.Response(self._request_handler)
      response.status = http.HTTPStatus(status)
      response.json({'error': {'code': status, 'message': text}})
      response.close()

  server.Router = Router
  _read_to_the_byte(server)
  server.server.HTTPServer.request_queue_size = 128  # 5: a burst waits for a second
  running = server.create_server(
    '127.0.0.1', port, in_memory=True, default_bucket=bucket
  )
  running._api.daemon = True  # it ends with the process
  running.start()
  return running, faults


def environment(port):
  """Returns the variables by which processes find the server."""
  url = f'http://127.0.0.1:{port}'
  return {
    'STORAGE_EMULATOR_HOST': url,
    'TENSORSTORE_GCS_HTTP_URL': url,
    'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
  }


class _Nowhere:
  """A connection that was cut: nothing of the answer arrives."""

  closed = False

  def write(self, content):
    return len(content)

  def flush(self):
    pass

  close = flush


def _refusal(faults, method, agent):
  if faults.refused == 'all':
    return 401
  denied = faults.refused == 'writes' and method != 'GET'
  return 403 if denied or (faults.refused == 'arrays' and TENSORSTORE in agent) else 0


def serve(start, environment, port, description):
  """Runs a server until it is killed; prints the variables by which it is found."""
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument('--port', type=int, default=port)
  parser.add_argument(
    '--every', type=int, default=0, help='one request in so many fails'
  )
  args = parser.parse_args()
  _, faults = start(args.port)
  faults.every = args.every
  print(json.dumps(environment(args.port) | {'pid': os.getpid()}), flush=True)
  while True:
    time.sleep(3600)


if __name__ == '__main__':
  serve(start, environment, 9023, __doc__)
