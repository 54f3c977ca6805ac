"""Numbers of a server for Prometheus, in a registry of its own.

What happens to requests is counted as they end (`Metrics.finished`); what an engine
holds is read when a scrape comes (`engine_state.py`). docs/serving_operations.md has
the list.
"""

import platform

from gpt_jax.core import extras
from gpt_jax.serving import engine_state
from gpt_jax.serving.engine_state import PREFIX
from gpt_jax.serving.request_record import OK

MAX_KEYS = 200
"""Keys with series of their own; those that come later share OTHER."""
OTHER, NO_MODEL = 'other', 'none'

COUNTERS = {
  'requests': ('Requests that have ended.', ('route', 'status')),
  'errors': ('Requests not answered in full, by class.', ('kind',)),
  'prompt_tokens': ('Tokens of prompts of requests that ended.', ('model',)),
  'new_tokens': ('Tokens written, counted as they come.', ('model',)),
  'filter_hits': ('Texts that a rule of the policy stopped.', ('side', 'rule')),
  'redactions': ('Personal data replaced.', ('kind',)),
  'rate_limited': ('Requests refused by a limit of their key.', ('limit',)),
  'key_requests': ('Requests of each key.', ('key',)),
  'key_tokens': ('Tokens of each key.', ('key', 'side')),
  'reloads': ('Times that a model was read anew.', ('model', 'outcome')),
}
"""Name, without PREFIX and `_total` -> (help, labels)."""

LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
HISTOGRAMS = {
  'request_seconds': (
    'From a request to the end of its answer.',
    'route',
    (*LATENCIES, 120, 300, 600),
  ),
  'queue_seconds': ('From a request to its place in the batch.', 'model', LATENCIES),
  'first_token_seconds': (
    'From a request to its first new token.',
    'model',
    LATENCIES,
  ),
  'token_seconds': (
    'Mean time from a new token to the next, of each text.',
    'model',
    (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5),
  ),
}
"""Name without PREFIX -> (help, label, upper ends of the buckets in seconds)."""


class Metrics:
  """Counters and histograms of requests, and the state of engines at a scrape.

  Used from any number of threads. Label values come from fixed sets of the server:
  routes, models, rules, classes of errors; keys are bounded by MAX_KEYS.
  """

  def __init__(self, version, commit=None, engines=lambda: (), budgets=lambda: {}):
    """Takes the version and commit that `gpt_jax_build_info` tells.

    Args:
      engines: called at a scrape; returns the EngineStates of the models served.
      budgets: called at a scrape; returns `{key id: share of its daily tokens used}`.
    """
    self._client = client = extras.load(
      'prometheus_client', extra='serve', package='prometheus-client', use='/metrics'
    )
    self._key_names = set()
    self.registry = registry = client.CollectorRegistry(auto_describe=True)
    self._counters = {
      name: client.Counter(f'{PREFIX}_{name}', text, labels, registry=registry)
      for name, (text, labels) in COUNTERS.items()
    }
    self._histograms = {
      name: client.Histogram(
        f'{PREFIX}_{name}', text, (label,), registry=registry, buckets=buckets
      )
      for name, (text, label, buckets) in HISTOGRAMS.items()
    }
    self._in_flight = client.Gauge(
      f'{PREFIX}_requests_in_flight',
      'Requests that have no full answer yet.',
      registry=registry,
    )
    self._draining = client.Gauge(
      f'{PREFIX}_draining', '1 once no more requests are taken.', registry=registry
    )
    info = client.Gauge(
      f'{PREFIX}_build_info',
      'Always 1; its labels say what runs.',
      ('version', 'commit', 'python'),
      registry=registry,
    )
    info.labels(version, commit or 'unknown', platform.python_version()).set(1)
    registry.register(engine_state.Collector(engines))
    registry.register(_Budgets(budgets, self._key))
    client.ProcessCollector(registry=registry)

  def started(self):
    """Counts a request that has come."""
    self._in_flight.inc()

  def written(self, model, count):
    """Counts `count` new tokens of a text that goes on."""
    self._counters['new_tokens'].labels(model).inc(count)

  def reloaded(self, model, outcome=OK):
    """Counts a reload of `model`; `outcome` is OK or the class of the error."""
    self._counters['reloads'].labels(model, outcome).inc()

  def drains(self):
    """Says that no more requests are taken."""
    self._draining.set(1)

  def finished(self, record):
    """Counts a request that has ended; takes its RequestRecord."""
    self._in_flight.dec()
    counters, model = self._counters, record.model or NO_MODEL
    status = str(record.status or 'none')
    counters['requests'].labels(record.route, status).inc()
    if record.outcome != OK:
      counters['errors'].labels(record.outcome).inc()
    if record.limit is not None:
      counters['rate_limited'].labels(record.limit).inc()
    for kind, count in record.redactions.items():
      counters['redactions'].labels(kind).inc(count)
    for (side, rule), count in record.filter_hits.items():
      counters['filter_hits'].labels(side, rule).inc(count)
    if record.prompt_tokens:
      counters['prompt_tokens'].labels(model).inc(record.prompt_tokens)
    if record.key_id is not None:
      key = self._key(record.key_id)
      counters['key_requests'].labels(key).inc()
      counters['key_tokens'].labels(key, 'prompt').inc(record.prompt_tokens)
      counters['key_tokens'].labels(key, 'answer').inc(record.new_tokens)
    self._observe('request_seconds', record.route, record.seconds('started', 'ended'))
    self._observe('queue_seconds', model, record.seconds('started', 'admitted'))
    first = record.seconds('started', 'first_token')
    self._observe('first_token_seconds', model, first)
    self._observe('token_seconds', model, record.seconds_per_token)

  def render(self):
    """Returns the text that Prometheus reads, as bytes."""
    return self._client.generate_latest(self.registry)

  def _observe(self, name, label, seconds):
    if seconds is not None:
      self._histograms[name].labels(label).observe(seconds)

  def _key(self, key_id):
    """Returns the label of a key: series live as long as the process."""
    if key_id in self._key_names or len(self._key_names) < MAX_KEYS:
      self._key_names.add(key_id)
      return key_id
    return OTHER


class _Budgets:
  """Collects the share of its daily tokens that each key has used."""

  def __init__(self, budgets, key_label):
    self._budgets, self._key_label = budgets, key_label

  def describe(self):
    return self._families({})

  def collect(self):
    return self._families(self._budgets())

  def _families(self, budgets):
    from prometheus_client import core

    family = core.GaugeMetricFamily(
      f'{PREFIX}_key_budget_used_ratio',
      'Tokens of today over those of the budget, of keys that have one.',
      labels=('key',),
    )
    shares = {}
    for key_id, share in budgets.items():
      label = self._key_label(key_id)
      shares[label] = max(share, shares.get(label, 0.0))
    for label, share in shares.items():
      family.add_metric((label,), share)
    yield family
