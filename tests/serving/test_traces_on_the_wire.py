"""A real `gpt-jax serve` sends its spans to a receiver of OTLP over HTTP."""

import collections
import contextlib
import gzip
import http.server
import signal
import threading

import pytest

from tests.faults import servers
from tests.serving.test_tracing import PARENT

pytestmark = [pytest.mark.extra, pytest.mark.slow]
TRACE_ID, PARENT_ID = PARENT.split('-')[1:3]


@contextlib.contextmanager
def receiver(service):
  """Yields (address, spans) of a server that decodes what it is sent."""
  spans = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      content = self.rfile.read(int(self.headers['content-length']))
      if self.headers.get('content-encoding') == 'gzip':
        content = gzip.decompress(content)
      request = service.ExportTraceServiceRequest.FromString(content)
      spans.extend(
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
      )
      self.send_response(200)
      self.send_header('content-type', 'application/x-protobuf')
      self.send_header('content-length', '0')
      self.end_headers()

    def log_message(self, *args):
      pass

  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
      yield f'http://127.0.0.1:{server.server_address[1]}', spans
    finally:
      server.shutdown()


def test_spans_arrive_and_the_last_ones_at_the_end(tmp_path, monkeypatch):
  reason = 'sends spans: opentelemetry-exporter-otlp'
  pytest.importorskip('opentelemetry.exporter.otlp.proto.http', reason=reason)
  service = pytest.importorskip(
    'opentelemetry.proto.collector.trace.v1.trace_service_pb2', reason=reason
  )
  with receiver(service) as (url, spans):
    monkeypatch.setenv('OTEL_TRACES_EXPORTER', 'otlp')
    monkeypatch.setenv('OTEL_EXPORTER_OTLP_PROTOCOL', 'http/protobuf')
    monkeypatch.setenv('OTEL_EXPORTER_OTLP_ENDPOINT', url)
    monkeypatch.setenv('OTEL_BSP_SCHEDULE_DELAY', '600000')  # the end alone sends
    with servers.Server(tmp_path, servers.trained()) as server:
      body = {'model': servers.MODEL, 'prompt': 'ab', 'max_tokens': 4}
      answer = server.ask('POST', servers.WORK, body, headers={'traceparent': PARENT})
      assert answer.status == 200 and not spans
      assert server.ask('GET', '/healthz').status == 200  # leaves no span
      assert server.end(signal.SIGTERM) == 0
    (request,) = [span for span in spans if not span.name.islower()]
    assert request.name == f'POST {servers.WORK}'
    assert request.trace_id.hex() == TRACE_ID
    assert request.parent_span_id.hex() == PARENT_ID
    parts = [span for span in spans if span.parent_span_id == request.span_id]
    assert collections.Counter(span.name for span in parts) == {
      'queue': 1, 'prefill': 1, 'decode': 1,
    }  # fmt: skip
    assert {span.trace_id for span in parts} == {request.trace_id}
