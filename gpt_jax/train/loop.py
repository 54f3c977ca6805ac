"""The training run: prepare, resume, step until done, leave everything on disk.

The device never waits for the host: batches are read ahead, metrics of a step are
fetched after the next one has been dispatched, checkpoints are written behind.
"""

import dataclasses
import itertools
import time
from typing import Any

import jax

from gpt_jax import checkpoints, config_door
from gpt_jax.data import loader as data_loader
from gpt_jax.data import pipeline
from gpt_jax.errors import DivergedError
from gpt_jax.model import flops
from gpt_jax.parallel import multihost
from gpt_jax.train import assembly, hooks, resume, throughput, tracking
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
  config = _same_run(config, workdir, allow_changes)
  tokenizer = assembly.open_tokenizer(config, workdir)
  dataset = assembly.open_training_data(config, tokenizer, workdir)
  eval_sets = assembly.open_eval_sets(config, tokenizer, workdir)
  program = assembly.open_program(config, tokenizer)
  fingerprints = dict(tokenizer=tokenizer.fingerprint, data=dataset.fingerprint)
  settings = config.checkpoint
  with checkpoints.Checkpoints(
    workdir.checkpoints,
    keep_last=settings.keep_last,
    keep_best=settings.keep_best,
    best_metric=settings.best_metric,
    asynchronous=settings.asynchronous,
  ) as store:
    if store.latest_step() is not None:
      meta = store.read_meta(store.latest_step())
      resume.check_same_data(meta, fingerprints, workdir, allow_changes)
    state, step, origin = resume.starting_state(program, store, config)
    total = program.horizon.total_steps
    with (
      TrainConsole(total, enabled=multihost.is_primary() and not quiet) as console,
      tracking.open_tracker(
        config.logging,
        workdir,
        restored_step=step,
        run_config=config_door.to_dict(config),
      ) as tracker,
    ):
      run = Run(
        config, workdir, tokenizer, program, eval_sets, fingerprints, store, console,
        tracker, state, step, {},
      )  # fmt: skip
      del state  # the first step gives its memory away
      if multihost.is_primary():
        workdir.write_config(run.saved_config)
        start = provenance(now=hooks.now())
        mesh = dict(program.rules.mesh.shape)
        workdir.add_start(start | dict(step=step, mesh=mesh, data=fingerprints))
      _introduce(run, dataset, origin)
      _steps(run, dataset)
      store.wait()
  return run.scores


def _same_run(config, workdir, allow_changes):
  """Returns `config` with what an earlier start of this workdir has decided."""
  saved = workdir.read_config()
  if saved is None or not workdir.checkpoints.is_dir():
    return config
  resume.check_same_run(saved, config, workdir, allow_changes)
  vocab_size = config.model.vocab_size or saved['model']['vocab_size']
  model = dataclasses.replace(config.model, vocab_size=vocab_size)
  return dataclasses.replace(config, model=model)


def _introduce(run, dataset, origin):
  program = run.program
  num_params = flops.parameter_count(program.config.model)
  mesh = ' '.join(f'{a}={n}' for a, n in program.rules.mesh.shape.items() if n > 1)
  run.console.note(
    f'{num_params:,} parameters, {dataset.num_tokens:,} training tokens,'
    f' {program.horizon.total_steps:,} steps, attention {program.attention_kernel},'
    f' mesh {mesh or "1 device"}; {origin}'
  )


def _hooks(run):
  config = run.config
  return [
    hooks.Every(config.eval.every_steps, hooks.evaluate, at_end=True),
    hooks.Every(config.logging.sample_every_steps, hooks.write_samples),
    hooks.Every(config.checkpoint.every_steps, hooks.save, at_end=True),
  ]


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
  with loader.batches(horizon.samples_at(first), sizes) as batches:
    for step in range(first, horizon.total_steps):
      profile.before(step)
      batch = place(next(batches))
      norms_every = config.logging.layer_norms_every_steps
      with_norms = norms_every and (step + 1) % norms_every == 0
      advance = program.step_with_norms if with_norms else program.step
      run.state, metrics = advance(run.state, batch)
      report.previous()
      run.step = step + 1
      report.hold(metrics)
      if with_norms:
        hooks.track_norms(run, metrics)
      run.store.check()
      for action in actions:
        action(run)
  profile.close()
  report.previous()
  hooks.write_eval(run)
  if config.logging.figures:
    hooks.draw_figures(run)


class Report:
  """Fetches the metrics of a step once the next one runs; prints and records them."""

  def __init__(self, run):
    self._run = run
    self._held = None
    program = run.program
    self._meter = throughput.Meter(
      flops_per_token=flops.palm_flops_per_token(
        program.config.model, program.config.data.seq_len
      ),
      peak=throughput.peak_flops(program.config.model.dtype),
    )
    self._meter.start(program.horizon.tokens_at(run.step), time.monotonic())

  def hold(self, metrics):
    """Keeps the metrics of the step that was just dispatched."""
    self._held = (self._run.step, metrics)

  def previous(self):
    """Reports the step that is held, if one is and it is due."""
    if self._held is None:
      return
    run, (step, metrics) = self._run, self._held
    self._held = None
    horizon = run.program.horizon
    is_due = step % run.config.logging.every_steps == 0 or step == horizon.total_steps
    if not is_due and step != 1:
      return
    names = [name for name in metrics if name != 'norms']
    values = {name: float(jax.device_get(metrics[name])) for name in names}
    _require_finite(values, step)
    speed = self._meter.measure(horizon.tokens_at(step), time.monotonic())
    run.console.update(
      step,
      loss=values['loss'],
      learning_rate=values['learning_rate'],
      tokens_per_second=speed.tokens_per_second,
      mfu=speed.mfu,
    )
    named = {f'train/{name}': value for name, value in values.items()}
    named['train/tokens_per_second'] = speed.tokens_per_second
    if speed.mfu is not None:
      named['train/mfu'] = speed.mfu
    run.tracker.write(step, named, tokens=horizon.tokens_at(step))


def _require_finite(values, step):
  if values['loss'] != values['loss'] or abs(values['loss']) == float('inf'):
    raise DivergedError(
      f'train/loss={values["loss"]} at step {step}: the run has diverged; lower'
      ' optimizer.learning_rate, lengthen schedule.warmup_steps or lower'
      ' optimizer.clip_norm, and start again from an earlier checkpoint.'
    )
