"""What an engine holds at this moment, and its metrics for Prometheus."""

import dataclasses
import typing

PREFIX = 'gpt_jax'


@dataclasses.dataclass(frozen=True)
class EngineState:
  """The scheduler of one model, at one moment."""

  model: str
  step: int
  """Of the checkpoint that is served."""
  is_alive: bool
  waiting: int
  queue_limit: int | None
  """How many may wait; None: any number."""
  running: int
  slots: int
  prefix_blocks: int
  prefix_blocks_used: int
  counts: typing.Mapping[str, int]
  """`Scheduler.counts`."""


def read(model, step, scheduler, queue_limit, is_alive=True):
  """Returns the EngineState of a `Scheduler`, which may be at work."""
  return EngineState(
    model=model,
    step=step,
    is_alive=is_alive,
    waiting=scheduler.num_waiting,
    queue_limit=queue_limit,
    running=scheduler.num_running,
    slots=scheduler.slots.num_slots,
    prefix_blocks=scheduler.slots.num_blocks,
    prefix_blocks_used=len(scheduler.prefixes),
    counts=dict(scheduler.counts),
  )


def of(models):
  """Returns the EngineStates of the Models that write texts."""
  return [
    read(
      model.source.name, model.run.step, model.texts.raw,
      queue_limit=model.run.engine.wishes.queue_limit, is_alive=model.error is None,
    )
    for model in models
    if model.texts is not None
  ]  # fmt: skip


GAUGES = {
  'engine_up': ('1 while the engine takes requests.', lambda s: float(s.is_alive)),
  'model_step': ('Step of the checkpoint that is served.', lambda s: s.step),
  'queue_length': ('Requests that wait for a slot.', lambda s: s.waiting),
  'queue_limit': ('How many requests may wait.', lambda s: s.queue_limit),
  'running_requests': ('Requests in slots: the batch.', lambda s: s.running),
  'slots': ('Texts that can be written at a time.', lambda s: s.slots),
  'prefix_blocks': ('Blocks of the prefix cache.', lambda s: s.prefix_blocks),
  'prefix_blocks_used': ('Blocks that hold a prefix.', lambda s: s.prefix_blocks_used),
}
"""Name -> (help, value of an EngineState; None: no series)."""

COUNTERS = {
  'admitted': ('Requests that got a slot.', 'admitted'),
  'preempted': (
    'Requests that gave their slot to one of higher priority.',
    'preempted',
  ),
  'engine_steps': ('Rounds of the scheduler.', 'steps'),
  'prompt_tokens_read': ('Tokens of prompts that the engine read.', 'read'),
  'prompt_tokens_reused': ('Those taken from the prefix cache instead.', 'reused'),
}
"""Name -> (help, entry of `EngineState.counts`)."""


class Collector:
  """Yields the metrics of engines at a scrape; for a CollectorRegistry."""

  def __init__(self, engines):
    """Takes a function that returns EngineStates."""
    self._engines = engines

  def describe(self):
    """Yields the families without values: there may be no engine yet."""
    return self._families([])

  def collect(self):
    """Yields a metric family for each entry of GAUGES and COUNTERS."""
    return self._families(list(self._engines()))

  def _families(self, states):
    from prometheus_client import core

    for name, (text, value_of) in GAUGES.items():
      gauge = core.GaugeMetricFamily(f'{PREFIX}_{name}', text, labels=('model',))
      for state in states:
        if (value := value_of(state)) is not None:
          gauge.add_metric((state.model,), value)
      yield gauge
    for name, (text, entry) in COUNTERS.items():
      counter = core.CounterMetricFamily(f'{PREFIX}_{name}', text, labels=('model',))
      for state in states:
        counter.add_metric((state.model,), state.counts.get(entry, 0))
      yield counter
