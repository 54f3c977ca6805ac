"""What a step says of itself, read once the next one runs."""

import time

import jax

from gpt_jax.model import flops
from gpt_jax.program import norms, throughput
from gpt_jax.train import divergence


class Report:
  """Fetches the metrics of a step once the next one runs; prints and records them."""

  def __init__(self, run):
    self._run = run
    self._guard = divergence.Guard(run)
    self._held = None
    self._once = {}
    program = run.program
    self._meter = throughput.Meter(
      flops_per_token=flops.palm_flops_per_token(
        program.config.model, program.config.data.seq_len
      ),
      peak=throughput.total_peak_flops(program.config.model.dtype),
    )
    self.restart_clock()

  def restart_clock(self):
    """Measures the pace from now on: what came before was no training."""
    run = self._run
    self._meter.start(run.program.horizon.tokens_at(run.step), time.monotonic())

  def compiled(self, compilation):
    """Says where the step's program came from; the next line records it."""
    self._run.console.note(f'step: {compilation}')
    self._once = compilation.metrics()

  def hold(self, metrics):
    """Keeps the metrics of the step that was just dispatched."""
    self._held = (self._run.step, metrics)

  def settle(self):
    """Waits for the step that is held, if one is, judges and reports it.

    Hooks come after it and act on what is known: a checkpoint has every bad step of its
    past in its record, and `metrics.jsonl` every step that it counts as done.
    """
    if self._held is None:
      return
    run, (step, metrics) = self._run, self._held
    self._held = None
    # One step runs and one is queued, never more: batches would pile up, and XLA's CPU
    # backend dies of a deadlock when many steps of several devices are under way.
    jax.block_until_ready(metrics)
    judged = ('loss', 'grad_norm', 'skipped')
    values = jax.device_get({name: metrics[name] for name in judged})
    horizon = run.program.horizon
    is_due = step % run.config.logging.every_steps == 0 or step == horizon.total_steps
    if is_due or step == 1 or 'norms' in metrics or values['skipped']:
      values = jax.device_get(metrics)
      self._write(step, dict(values))
    self._guard.observe(step, values)

  def _write(self, step, values):
    run, tokens = self._run, self._run.program.horizon.tokens_at(step)
    named = norms.flatten(values.pop('norms', {}))
    speed = self._meter.measure(tokens, time.monotonic())
    run.console.update(
      step,
      loss=values['loss'],
      learning_rate=values['learning_rate'],
      tokens_per_second=speed.tokens_per_second,
      mfu=speed.mfu,
    )
    named |= {f'train/{name}': float(value) for name, value in values.items()}
    named['train/skipped'] += run.tally.skipped  # of the whole run
    named['train/tokens_per_second'] = speed.tokens_per_second
    if speed.mfu is not None:
      named['train/mfu'] = speed.mfu
    run.tracker.write(step, named | self._once, tokens=tokens)
    self._once = {}
