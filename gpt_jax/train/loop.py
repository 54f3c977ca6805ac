"""The training run: prepare, resume, step until done, leave everything on disk.

The device never waits for the host: batches are read ahead, metrics of a step are
fetched after the next one has been dispatched, checkpoints are written behind.
"""

import dataclasses
import itertools
import math
import time
from typing import Any

import jax

from gpt_jax import checkpoints, config_door
from gpt_jax.data import loader as data_loader
from gpt_jax.data import pipeline
from gpt_jax.errors import DivergedError
from gpt_jax.model import flops
from gpt_jax.parallel import multihost
from gpt_jax.train import (
  assembly,
  compilation,
  hooks,
  norms,
  resume,
  throughput,
  tracking,
)
from gpt_jax.train.console import TrainConsole
from gpt_jax.train.state import TrainState
from gpt_jax.train.step import Program
from gpt_jax.workdir import Workdir, provenance


@dataclasses.dataclass
class Run:
  """Everything that hooks may look at; `state` and `step` move."""

  config: config_door.Config
  workdir: Workdir
  tokenizer: Any
  program: Program
  eval_sets: dict[str, pipeline.Dataset]
  fingerprints: dict[str, Any]
  store: checkpoints.Checkpoints
  console: TrainConsole
  tracker: tracking.Tracker
  state: TrainState
  step: int
  scores: dict[str, float]
  """The last figures of each eval set, of the state after `scored_step`."""
  scored_step: int

  @property
  def is_primary(self):
    return multihost.is_primary()

  @property
  def saved_config(self):
    return config_door.to_dict(self.program.config)

  def track(self, values):
    """Records `values` at the present step."""
    self.tracker.write(
      self.step, values, tokens=self.program.horizon.tokens_at(self.step)
    )


def train(config, workdir, *, allow_changes=False, quiet=False):
  """Trains `config` in `workdir` to its end and returns the last figures by name.

  Goes on from the workdir's newest checkpoint by itself. Raises UserError subclasses
  for whatever the user can mend, before the first step where possible.
  """
  workdir = Workdir(workdir).create()
  settings = config.checkpoint
  with (
    workdir.lock(),
    checkpoints.Checkpoints(
      workdir.checkpoints,
      keep_last=settings.keep_last,
      keep_best=settings.keep_best,
      best_metric=settings.best_metric,
      asynchronous=settings.asynchronous,
    ) as store,
  ):
    latest = store.newest_sound_step()
    meta = None if latest is None else store.read_meta(latest)
    if meta:
      config = resume.same_run(meta['config'], config, workdir, allow_changes)
    tokenizer = assembly.open_tokenizer(config, workdir)
    dataset = assembly.open_training_data(config, tokenizer, workdir)
    fingerprints = dict(tokenizer=tokenizer.fingerprint, data=dataset.fingerprint)
    if meta:
      resume.check_same_data(meta, fingerprints, workdir, allow_changes)
    eval_sets = assembly.open_eval_sets(config, tokenizer, workdir)
    program = assembly.open_program(
      config, tokenizer, table_rows=config.model.vocab_size if meta else None
    )
    state, step, origin = resume.starting_state(program, store, config)
    with (
      TrainConsole(
        program.horizon.total_steps, enabled=multihost.is_primary() and not quiet
      ) as console,
      tracking.open_tracker(
        config.logging,
        workdir,
        restored_step=step,
        run_config=config_door.to_dict(program.config),
      ) as tracker,
    ):
      run = Run(
        config, workdir, tokenizer, program, eval_sets, fingerprints, store, console,
        tracker, state, step, scores=store.read_metrics(step) if step else {},
        scored_step=step,
      )  # fmt: skip
      del state  # the first step gives its memory away
      _introduce(run, dataset, origin)
      _steps(run, dataset)
      store.wait()
  return run.scores


def _introduce(run, dataset, origin):
  """Writes down what this start is made of, and says it in a line."""
  program = run.program
  if run.is_primary:
    run.workdir.write_config(run.saved_config)
    start = provenance(now=hooks.now())
    mesh = dict(program.rules.mesh.shape)
    run.workdir.add_start(start | dict(step=run.step, mesh=mesh, data=run.fingerprints))
  num_params = flops.parameter_count(program.config.model)
  mesh = ' '.join(f'{a}={n}' for a, n in program.rules.mesh.shape.items() if n > 1)
  run.console.note(
    f'{num_params:,} parameters, {dataset.num_tokens:,} training tokens,'
    f' {program.horizon.total_steps:,} steps, attention {program.attention_kernel},'
    f' loss {program.loss}, mesh {mesh or "1 device"}; {origin}'
  )
  run.console.note(compilation.cache_place())


def _hooks(run):
  config = run.config
  actions = [
    hooks.Every(config.eval.every_steps, hooks.evaluate, at_end=True),
    hooks.Every(config.checkpoint.every_steps, hooks.save, at_end=True),
  ]
  # A masked model writes no text left to right.
  if config.logging.sample_prompts and config.objective.name != 'masked_lm':
    every = config.logging.sample_every_steps
    actions.append(hooks.Every(every, hooks.Samples(run), at_end=True))
  return actions


def _steps(run, dataset):
  """Runs the steps that are left, then what belongs at the end of a run."""
  config, program = run.config, run.program
  horizon, first = program.horizon, run.step
  actions = _hooks(run)
  report = Report(run)
  loader = data_loader.Loader(
    dataset,
    prefetch_batches=config.data.prefetch_batches,
    **assembly.reader_share(program),
  )
  sizes = (horizon.batch_size_at(step) for step in itertools.count(first))
  place = assembly.placer(program)
  profile = hooks.Profile(
    run.workdir.profile,
    first + config.logging.profile_start_step,
    config.logging.profile_steps,
  )
  norms_every = config.logging.layer_norms_every_steps
  with profile, loader.batches(horizon.samples_at(first), sizes) as batches:
    for step in range(first, horizon.total_steps):
      profile.before(step)
      batch = place(next(batches))
      with_norms = norms_every and (step + 1) % norms_every == 0
      advance = program.step_with_norms if with_norms else program.step
      if step == first:
        with compilation.watch() as compiled:
          run.state, metrics = advance(run.state, batch)
        report.compiled(compiled)
      else:
        run.state, metrics = advance(run.state, batch)
      report.previous()
      run.step = step + 1
      report.hold(metrics)
      run.store.check()
      due = [hook for hook in actions if hook.is_due(run)]
      if due:
        report.settle()
        for hook in due:
          hook.action(run)
        report.restart_clock()
  if config.logging.figures:
    hooks.draw_figures(run)


class Report:
  """Fetches the metrics of a step once the next one runs; prints and records them."""

  def __init__(self, run):
    self._run = run
    self._held = None
    self._once = {}
    program = run.program
    self._meter = throughput.Meter(
      flops_per_token=flops.palm_flops_per_token(
        program.config.model, program.config.data.seq_len
      ),
      peak=throughput.peak_flops(program.config.model.dtype),
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
    """Waits for the step that is held and reports it: hooks act on what is known.

    A checkpoint thus never holds a state that has diverged, and `metrics.jsonl` has
    every step that a checkpoint counts as done.
    """
    if self._held is not None:
      step, metrics = self._held
      _require_finite(jax.device_get(metrics), step)
      self.previous()

  def previous(self):
    """Waits for the step that is held, if one is, and reports it if that is due."""
    if self._held is None:
      return
    run, (step, metrics) = self._run, self._held
    self._held = None
    # One step runs and one is queued, never more: batches would pile up, and XLA's CPU
    # backend dies of a deadlock when many steps of several devices are under way.
    jax.block_until_ready(metrics)
    horizon = run.program.horizon
    is_due = step % run.config.logging.every_steps == 0 or step == horizon.total_steps
    if not is_due and step != 1 and 'norms' not in metrics:
      return
    values = jax.device_get(metrics)
    named = norms.flatten(values.pop('norms', {}))
    _require_finite(values, step)
    speed = self._meter.measure(horizon.tokens_at(step), time.monotonic())
    run.console.update(
      step,
      loss=values['loss'],
      learning_rate=values['learning_rate'],
      tokens_per_second=speed.tokens_per_second,
      mfu=speed.mfu,
    )
    named |= {f'train/{name}': float(value) for name, value in values.items()}
    named['train/tokens_per_second'] = speed.tokens_per_second
    if speed.mfu is not None:
      named['train/mfu'] = speed.mfu
    run.tracker.write(step, named | self._once, tokens=horizon.tokens_at(step))
    self._once = {}


def _require_finite(metrics, step):
  """Raises DivergedError when a step's loss or gradient is no number.

  The loss tells of the parameters before the step, the gradient of those after it.
  """
  for name in ('loss', 'grad_norm'):
    if not math.isfinite(metrics[name]):
      raise DivergedError(
        f'train/{name}={metrics[name]} at step {step}: the run has diverged. Lower'
        ' optimizer.learning_rate or optimizer.clip_norm, or lengthen'
        ' schedule.warmup_steps; then start in a new workdir, or go on from the last'
        ' checkpoint with --allow_changes.'
      )
