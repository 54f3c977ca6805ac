"""The training run: prepare, resume, step until done, leave everything on disk.

The device never waits for the host: batches are read ahead, metrics of a step are
fetched after the next one has been dispatched, checkpoints are written behind.
"""

import contextlib
import dataclasses
from typing import Any

from gpt_jax.checkpoints import manager
from gpt_jax.config import load
from gpt_jax.core.errors import Interrupted
from gpt_jax.data import loader as data_loader
from gpt_jax.data import pipeline
from gpt_jax.model import flops
from gpt_jax.parallel import multihost, sync
from gpt_jax.program import compilation, setup
from gpt_jax.program.batches import process_shard, put_batch
from gpt_jax.program.build import Program
from gpt_jax.program.state import TrainState
from gpt_jax.tracking import writers
from gpt_jax.tracking.console import TrainConsole
from gpt_jax.train import divergence, hooks, preemption, resume, rollback, save
from gpt_jax.train.step_metrics import Report
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir


@dataclasses.dataclass
class Run:
  """Everything that hooks may look at; `state` and `step` move."""

  config: load.Config
  workdir: Workdir
  tokenizer: Any
  program: Program
  dataset: pipeline.Dataset
  eval_sets: dict[str, pipeline.Dataset]
  fingerprints: dict[str, Any]
  store: manager.Checkpoints
  signals: preemption.Watch
  console: TrainConsole
  tracker: writers.Tracker
  state: TrainState
  step: int
  scores: dict[str, float]
  """The last figures of each eval set, of the state after `scored_step`."""
  scored_step: int
  detours: rollback.Detours
  """The rollbacks so far: with the step, they say what it reads."""
  tally: divergence.SkipCounts
  events: list[dict]
  """Those of run.json."""
  events_unsaved: bool = False
  """Whether run.json lacks some of them, as its disk was full."""
  debt: save.PendingSave = dataclasses.field(default_factory=save.PendingSave)
  """The save that failed, or came due after a bad step, and is to be made up for."""

  @property
  def is_primary(self):
    return multihost.is_primary()

  @property
  def saved_config(self):
    return load.to_dict(self.program.config)

  def track(self, values):
    """Records `values` at the present step."""
    self.tracker.write(
      self.step, values, tokens=self.program.horizon.tokens_at(self.step)
    )

  def add_event(self, event):
    """Writes `event` into run.json; all processes know it, the first one writes."""
    self.events.append(event)
    self.write_events()

  def write_events(self):
    """Brings run.json up to date, as soon as its disk has room."""
    self.events_unsaved = True
    with hooks.warn_if_unwritable(self, self.workdir.run):
      _write_events(self.workdir, self.events)
      self.events_unsaved = False


def train(config, workdir, *, allow_changes=False, quiet=False):
  """Trains `config` in `workdir` to its end and returns the last figures by name.

  Goes on from the workdir's newest checkpoint by itself. Raises UserError subclasses
  for whatever the user can mend, before the first step where possible, and Interrupted
  after SIGTERM or Ctrl-C, once the step that was under way is saved.
  """
  workdir = sync.raise_on_all(Workdir(workdir).create)
  settings = config.checkpoint
  with (
    preemption.Watch() as signals,
    workdir.lock(),
    manager.Checkpoints(
      workdir.checkpoints,
      keep_last=settings.keep_last,
      keep_best=settings.keep_best,
      best_metric=settings.best_metric,
      asynchronous=settings.asynchronous,
    ) as store,
  ):
    latest = store.latest_valid_step()
    meta = None if latest is None else store.read_meta(latest)
    if meta:
      config = resume.same_run(meta['config'], config, workdir, allow_changes)
    tokenizer = setup.open_tokenizer(config, workdir)
    dataset, eval_sets = sync.raise_on_all(
      lambda: (
        setup.open_training_data(config, tokenizer, workdir),
        setup.open_eval_sets(config, tokenizer, workdir),
      )
    )
    fingerprints = dict(tokenizer=tokenizer.fingerprint, data=dataset.fingerprint)
    if meta:
      resume.check_same_data(meta, fingerprints, workdir, allow_changes)
    parts = dict(
      config=config,
      workdir=workdir,
      tokenizer=tokenizer,
      program=setup.open_program(
        config, tokenizer, embedding_rows=config.model.vocab_size if meta else None
      ),
      dataset=dataset,
      eval_sets=eval_sets,
      fingerprints=fingerprints,
      store=store,
      signals=signals,
      events=provenance.read_events(workdir),
    )
    while True:
      try:
        return _from_checkpoint(parts, quiet)
      except rollback.RollBack as found:
        event = found.event
      # The exception is gone, and with its frames the state that it left.
      parts['events'].append(event)
      sync.raise_on_all(lambda: _write_events(workdir, parts['events']))


def _write_events(workdir, events):
  if multihost.is_primary():
    provenance.write_events(workdir, events)


def _from_checkpoint(parts, quiet):
  """Trains from the newest checkpoint on the run's way to the end; returns the scores.

  Raises RollBack, with an event to write down, when it has to be done once more.
  """
  program, store, workdir = parts['program'], parts['store'], parts['workdir']
  way = rollback.Detours.read(program.horizon, parts['events'])
  resume.delete_abandoned_checkpoints(store, way)
  store.latest_valid_step()  # a rollback may have come to one that is damaged
  state, step, origin = resume.starting_state(program, store, parts['config'])
  meta = store.read_meta(step) if step else {}
  # What happened after the checkpoint will happen again; rollbacks are the way itself.
  parts['events'][:] = rollback.until(step, parts['events'])
  with (
    TrainConsole(
      program.horizon.total_steps, enabled=multihost.is_primary() and not quiet
    ) as console,
    sync.raise_on_all(
      lambda: writers.open_tracker(
        parts['config'].logging,
        workdir,
        restored_step=step,
        run_config=load.to_dict(program.config),
      )
    ) as tracker,
  ):
    run = Run(
      **parts, console=console, tracker=tracker, state=state, step=step,
      scores=store.read_metrics(step) if step else {}, scored_step=step,
      detours=way, tally=divergence.SkipCounts(**meta.get('tally', {})),
    )  # fmt: skip
    del state  # the first step gives its memory away
    _introduce(run, origin)
    try:
      _steps(run)
    except rollback.RollBack as found:
      save.commit_pending(run)
      after = divergence.roll_back(run, found)
      found.event |= dict(kind='rollback', **after.as_json()[-1])
      console.note(rollback.said(found.event))
      raise
    save.save_and_wait(run)
    if run.events_unsaved:
      _write_events(run.workdir, run.events)
  return run.scores


def _introduce(run, origin):
  """Writes down what this start is made of, and says it in a line."""
  program = run.program
  sync.raise_on_all(lambda: _write_start(run))
  num_params = flops.parameter_count(program.config.model)
  mesh = ' '.join(f'{a}={n}' for a, n in program.rules.mesh.shape.items() if n > 1)
  run.console.note(
    f'{num_params:,} parameters, {run.dataset.num_tokens:,} training tokens,'
    f' {program.horizon.total_steps:,} steps, attention {program.attention_kernel},'
    f' loss {program.loss}, mesh {mesh or "1 device"}; {origin}'
  )
  run.console.note(compilation.describe_cache())


def _write_start(run):
  if run.is_primary:
    run.workdir.write_config(run.saved_config)
    start = provenance.collect(now=hooks.now())
    mesh = dict(run.program.rules.mesh.shape)
    start |= dict(step=run.step, mesh=mesh, data=run.fingerprints)
    provenance.add_start(run.workdir, start)
    provenance.write_events(run.workdir, run.events)


def _hooks(run):
  config = run.config
  actions = [
    hooks.Every(config.eval.every_steps, hooks.evaluate, at_end=True),
    hooks.Every(config.checkpoint.every_steps, save.save, at_end=True),
  ]
  # A bidirectional model writes no text from left to right.
  writes_text = run.program.objective.visibility != 'bidirectional'
  if config.logging.sample_prompts and writes_text:
    every = config.logging.sample_every_steps
    actions.append(hooks.Every(every, hooks.Samples(run), at_end=True))
  return actions


def _steps(run):
  """Runs the steps that are left, then what belongs at the end of a run."""
  config, program = run.config, run.program
  horizon, first = program.horizon, run.step
  actions = _hooks(run)
  report = Report(run)
  loader = data_loader.Loader(
    run.dataset,
    prefetch_batches=config.data.prefetch_batches,
    **process_shard(program),
  )
  profile = hooks.Profile(
    run.workdir.profile,
    first + config.logging.profile_start_step,
    config.logging.profile_steps,
  )
  norms_every = config.logging.layer_norms_every_steps
  run.signals.begin()
  with profile, loader.read(run.detours.batches(first)) as batches:
    for step in range(first, horizon.total_steps):
      profile.before(step)
      batch = put_batch(program, next(batches))
      with_norms = norms_every and (step + 1) % norms_every == 0
      advance = program.step_with_norms if with_norms else program.step
      with compilation.watch() if step == first else contextlib.nullcontext() as made:
        run.state, metrics = advance(run.state, batch)
      if made:
        report.compiled(made)
      report.settle()
      run.step = step + 1
      report.hold(metrics)
      must_stop = run.signals.must_stop()
      save.poll(run)
      due = [hook for hook in actions if hook.is_due(run)]
      owes_save = run.debt.is_owed and save.may_try(run)
      if due or must_stop or owes_save:
        report.settle()
      for hook in due:
        hook.action(run)
      if owes_save and run.debt.is_owed:  # no hook has made up for it
        save.save(run)
      if run.events_unsaved and not run.debt.failures:
        run.write_events()
      if must_stop:
        _stop(run)
      if due:
        report.restart_clock()
  if config.logging.figures:
    with hooks.warn_if_unwritable(run, run.workdir.figures):
      hooks.draw_figures(run)


def _stop(run):
  """Saves the present step and raises Interrupted."""
  save.save_and_wait(run)
  raise Interrupted(
    f'{run.signals.signal or "SIGTERM"}: step {run.step} of'
    f' {run.program.horizon.total_steps} is done and saved in {run.workdir};'
    ' the same command goes on from there.'
  )
