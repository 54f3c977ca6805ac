"""Traces by OpenTelemetry, where it is installed and told where to send them.

A request is a span with the parts `queue`, `prefill` and `decode`; the trace goes on
that the client began (W3C `traceparent`). Names of attributes: OpenTelemetry's semantic
conventions for HTTP and generative AI.
"""

import importlib.metadata
import importlib.util
import os
import threading
import weakref

from gpt_jax.core.errors import ConfigError
from gpt_jax.serving.request_log import PROBES
from gpt_jax.serving.request_record import OK

EXPORTER_VARIABLE = 'OTEL_TRACES_EXPORTER'
"""OpenTelemetry's own: `otlp`, `console`, or `none`."""
PROTOCOL_VARIABLES = 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'
"""Its own too: how `otlp` sends; the first that is set holds."""
PROTOCOLS = {'grpc': 'otlp_proto_grpc', 'http/protobuf': 'otlp_proto_http'}
"""Value of these -> name of the exporter."""
SERVICE_VARIABLE = 'OTEL_SERVICE_NAME'
SERVICE = 'gpt-jax'
LAST_SECONDS = 5.0
"""For which the end of a server waits for its last spans to be taken."""
PARTS = (
  ('queue', 'started', 'admitted'),
  ('prefill', 'admitted', 'first_token'),
  ('decode', 'first_token', 'ended'),
)
"""Name of a span -> the times of a RequestRecord at its ends."""


def open_tracing(environment=os.environ):
  """Returns the Tracing of this process; None where no traces are taken.

  They are where somebody has set a tracer provider, as `opentelemetry-instrument` does,
  or EXPORTER_VARIABLE names an exporter. Raises ConfigError for one that is missing.
  """
  exporter = environment.get(EXPORTER_VARIABLE, 'none')
  if not importlib.util.find_spec('opentelemetry'):
    if exporter == 'none':
      return None
    raise ConfigError(
      f'{EXPORTER_VARIABLE}={exporter}: traces need OpenTelemetry; install'
      ' opentelemetry-sdk, or unset the variable.'
    )
  from opentelemetry import trace

  provider = trace.get_tracer_provider()
  if not isinstance(provider, trace.ProxyTracerProvider):
    return Tracing(provider)
  if exporter == 'none':
    return None
  return Tracing(_provider(exporter, environment))


def _provider(exporter, environment):
  """Returns a TracerProvider of the SDK that sends to the exporter of that name."""
  installed = {
    entry.name: entry
    for entry in importlib.metadata.entry_points(group='opentelemetry_traces_exporter')
  }
  names = _otlp_names(environment) if exporter == 'otlp' else (exporter,)
  found = next((installed[name] for name in names if name in installed), None)
  if found is None or not importlib.util.find_spec('opentelemetry.sdk'):
    raise ConfigError(
      f'{EXPORTER_VARIABLE}={exporter}: no installed package has the exporter'
      f' {" or ".join(names)}; expected one of'
      f' {sorted(installed) or "those of opentelemetry-sdk"}; otlp comes with'
      ' opentelemetry-exporter-otlp.'
    )
  from opentelemetry.sdk import resources
  from opentelemetry.sdk import trace as sdk
  from opentelemetry.sdk.trace import export

  name = environment.get(SERVICE_VARIABLE, SERVICE)
  provider = sdk.TracerProvider(
    resource=resources.Resource.create({'service.name': name}),
    shutdown_on_exit=False,  # `Tracing.close` does it
  )
  provider.add_span_processor(export.BatchSpanProcessor(found.load()()))
  return provider


def _otlp_names(environment):
  """Returns the exporters that `otlp` may mean, the likeliest first."""
  for variable in PROTOCOL_VARIABLES:
    if protocol := environment.get(variable):
      if protocol not in PROTOCOLS:
        raise ConfigError(
          f'{variable}={protocol}: expected one of {", ".join(PROTOCOLS)}.'
        )
      return (PROTOCOLS[protocol],)
  return tuple(PROTOCOLS.values())


class Tracing:
  """Makes the spans of requests."""

  def __init__(self, provider):
    """Takes an OpenTelemetry TracerProvider."""
    from opentelemetry.trace.propagation import tracecontext

    self._provider, self._spans = provider, weakref.WeakKeyDictionary()
    self._tracer = provider.get_tracer('gpt_jax.serving')
    self._propagator = tracecontext.TraceContextTextMapPropagator()

  def started(self, record, headers):
    """Begins the span of a request and sets `trace_id` of its RequestRecord.

    `headers`: in small letters; `traceparent` and `tracestate` are read from them.
    The route is not known yet.
    """
    from opentelemetry import trace

    span = self._tracer.start_span(
      record.method,
      context=self._propagator.extract(headers),
      kind=trace.SpanKind.SERVER,
      start_time=_nanoseconds(record, record.started),
    )
    self._spans[record] = span
    record.trace_id = trace.format_trace_id(span.get_span_context().trace_id)

  def finished(self, record):
    """Ends the span of a RequestRecord that has ended, after those of its parts.

    Probes and scrapes that are answered leave no span.
    """
    from opentelemetry import trace

    span = self._spans.pop(record)
    if record.route in PROBES and record.outcome == OK:
      return  # a span that is never ended is never sent
    span.update_name(f'{record.method} {record.route}')
    context = trace.set_span_in_context(span)
    for name, begin, end in PARTS:
      first, last = getattr(record, begin), getattr(record, end)
      if first is not None and last is not None:
        part = self._tracer.start_span(
          name, context=context, start_time=_nanoseconds(record, first)
        )
        part.end(_nanoseconds(record, max(first, last)))
    for name, value in _attributes(record).items():
      if value is not None:
        span.set_attribute(name, value)
    if record.status is None or record.status >= 500:
      span.set_status(trace.StatusCode.ERROR, record.outcome)
    span.end(_nanoseconds(record, record.ended))

  def close(self, seconds=LAST_SECONDS):
    """Sends what has not been sent, and gives up after a while."""
    # An exporter whose receiver is away tries again and again, in all for up to 30 s.
    if hasattr(self._provider, 'shutdown'):
      sending = threading.Thread(target=self._provider.shutdown, daemon=True)
      sending.start()
      sending.join(seconds)


def _attributes(record):
  return {
    'http.request.method': record.method,
    'http.route': record.route,
    'http.response.status_code': record.status,
    'error.type': None if record.outcome == OK else record.outcome,
    'gen_ai.request.model': record.model,
    'gen_ai.usage.input_tokens': record.prompt_tokens,
    'gen_ai.usage.output_tokens': record.new_tokens,
    'gpt_jax.request_id': record.id,
    'gpt_jax.reused_tokens': record.reused_tokens,
  }


def _nanoseconds(record, time):
  """Returns a time of `time.monotonic` as nanoseconds of the epoch."""
  return int((record.started_at + time - record.started) * 1e9)
