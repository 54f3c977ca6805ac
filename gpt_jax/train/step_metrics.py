"""The metrics of a step: fetched once the next one runs, shown and recorded."""

import time

import jax

from gpt_jax.model import flops
from gpt_jax.program import norms, throughput
from gpt_jax.train import divergence

_ALWAYS_FETCHED = ('loss', 'grad_norm', 'skipped')


class StepMetrics:
  """Holds the metrics of the step that was dispatched last, and reports them."""

  def __init__(self, session, progress):
    self._session, self._progress = session, progress
    self._monitor = divergence.Monitor(session, progress)
    self._held, self._tokens = None, 0  # read by steps of this start
    self._once = {}
    config = session.config
    self._meter = throughput.Meter(
      flops_per_token=flops.of_program(session.program),
      peak=throughput.total_peak_flops(config.model.dtype),
    )
    self.restart_clock()

  def restart_clock(self):
    """Measures throughput from now on, without what the hooks took."""
    self._meter.start(self._tokens, time.monotonic())

  def add_compilation(self, compilation):
    """Says where the step's program came from; the next record has it."""
    self._session.console.note(f'step: {compilation}')
    self._once = compilation.metrics()

  def hold(self, metrics):
    """Keeps the metrics of the step that was just dispatched."""
    progress, horizon = self._progress, self._session.program.horizon
    # Rows of a task are padded to the longest of their batch, not to data.seq_len.
    length = progress.batch['tokens'].shape[1] - 1
    self._tokens += horizon.batch_size_at(progress.step - 1) * length
    self._held = (progress.step, metrics)

  def flush(self):
    """Reports the step that is held, if any; returns the Spike to roll back from."""
    # Called before hooks: a checkpoint's record has every bad step of its past, and
    # metrics.jsonl every step that counts as done.
    if self._held is None:
      return None
    (step, metrics), self._held = self._held, None
    # One step runs and one is queued, never more: batches would pile up, and XLA's CPU
    # backend dies of a deadlock when many steps of several devices are under way.
    jax.block_until_ready(metrics)
    values = jax.device_get({name: metrics[name] for name in _ALWAYS_FETCHED})
    every = self._session.config.logging.every_steps
    is_due = step % every == 0 or step == self._session.program.horizon.total_steps
    if is_due or step == 1 or 'norms' in metrics or values['skipped']:
      values = jax.device_get(metrics)
      self._report(step, dict(values))
    return self._monitor.observe(step, values)

  def _report(self, step, values):
    session = self._session
    record = norms.flatten(values.pop('norms', {}))
    speed = self._meter.measure(self._tokens, time.monotonic())
    session.console.update(
      step,
      loss=values['loss'],
      learning_rate=values['learning_rate'],
      tokens_per_second=speed.tokens_per_second,
      mfu=speed.mfu,
    )
    record |= {f'train/{name}': float(value) for name, value in values.items()}
    record['train/skipped'] += self._progress.skips.skipped  # of the whole run
    record['train/tokens_per_second'] = speed.tokens_per_second
    if speed.mfu is not None:
      record['train/mfu'] = speed.mfu
    session.track(step, record | self._once)
    self._once = {}
