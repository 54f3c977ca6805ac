"""Spans of a request, read from OpenTelemetry's own exporter in memory."""

import threading

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.serving import tracing
from tests.serving.records import STARTED_AT, record

PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'


@pytest.fixture
def sdk():
  return pytest.importorskip('opentelemetry.sdk.trace', reason='traces need the SDK')


def spans(sdk, request, headers):
  from opentelemetry.sdk.trace import export
  from opentelemetry.sdk.trace.export import in_memory_span_exporter

  exporter = in_memory_span_exporter.InMemorySpanExporter()
  provider = sdk.TracerProvider()
  provider.add_span_processor(export.SimpleSpanProcessor(exporter))
  made = tracing.Tracing(provider)
  route, request.route = request.route, 'unknown'
  made.started(request, headers)
  request.route = route  # found later
  made.finished(request)
  return {span.name: span for span in exporter.get_finished_spans()}


@pytest.mark.extra
def test_parts_lie_end_to_end_within_the_request(sdk):
  found = spans(sdk, record(), {})
  request = found.pop('POST /v1/completions')
  begin = int(STARTED_AT * 1e9)
  times = {
    name: ((span.start_time - begin) / 1e9, (span.end_time - begin) / 1e9)
    for name, span in found.items()
  }
  assert times == {'queue': (0, 1), 'prefill': (1, 2), 'decode': (2, 4)}
  assert all(span.parent.span_id == request.context.span_id for span in found.values())
  assert request.attributes['gen_ai.usage.output_tokens'] == 5


@pytest.mark.extra
def test_the_trace_of_the_client_goes_on(sdk):
  request = record()
  found = spans(sdk, request, {'traceparent': PARENT})['POST /v1/completions']
  assert request.trace_id == '0af7651916cd43dd8448eb211c80319c'
  assert found.parent.span_id == 0xB7AD6B7169203331


@pytest.mark.extra
@pytest.mark.parametrize('header', ['', 'x', '00-' + '0' * 32 + '-1-01', '\x00'])
def test_a_broken_traceparent_begins_a_new_trace(sdk, header):
  found = spans(sdk, record(), {'traceparent': header})
  assert found['POST /v1/completions'].parent is None


@pytest.mark.extra
def test_a_failed_request_is_an_error_span(sdk):
  failed = record(status=500, outcome='server_error', first_token=None, new_tokens=0)
  found = spans(sdk, failed, {})
  assert not found['POST /v1/completions'].status.is_ok
  assert found['POST /v1/completions'].attributes['error.type'] == 'server_error'
  assert 'decode' not in found


@pytest.mark.extra
def test_probes_leave_no_span_unless_they_fail(sdk):
  assert not spans(sdk, record(route='/healthz', method='GET'), {})
  assert spans(sdk, record(route='/healthz', outcome='dead', status=503), {})


def test_a_receiver_that_is_away_does_not_hold_the_end_up():
  pytest.importorskip('opentelemetry.trace', reason='traces need the API')
  from opentelemetry import trace

  released = threading.Event()

  class Provider(trace.NoOpTracerProvider):
    def shutdown(self):
      released.wait(20)

  made = tracing.Tracing(Provider())
  made.close(seconds=0.01)
  assert not released.is_set()
  released.set()


def test_no_exporter_means_no_traces():
  assert tracing.open_tracing({}) is None


@pytest.mark.extra
def test_an_unknown_exporter_is_refused_by_name(sdk):
  with pytest.raises(ConfigError, match='OTEL_TRACES_EXPORTER=nowhere'):
    tracing.open_tracing({'OTEL_TRACES_EXPORTER': 'nowhere'})


@pytest.mark.extra
@pytest.mark.parametrize('variable', tracing.PROTOCOL_VARIABLES)
def test_a_protocol_that_otlp_lacks_is_refused_by_name(sdk, variable):
  with pytest.raises(ConfigError, match=f'{variable}=smoke'):
    tracing.open_tracing({'OTEL_TRACES_EXPORTER': 'otlp', variable: 'smoke'})


@pytest.mark.extra
def test_otlp_goes_over_http_where_it_is_told_so(sdk):
  http = pytest.importorskip(
    'opentelemetry.exporter.otlp.proto.http.trace_exporter', reason='sends spans'
  )
  made = tracing.open_tracing({
    'OTEL_TRACES_EXPORTER': 'otlp', 'OTEL_EXPORTER_OTLP_PROTOCOL': 'http/protobuf',
  })  # fmt: skip
  (processor,) = made._provider._active_span_processor._span_processors
  assert isinstance(processor.span_exporter, http.OTLPSpanExporter)
  made.close()
