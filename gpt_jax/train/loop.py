"""The training run: prepare, resume, step until done, leave everything on disk.

The device never waits for the host: batches are read ahead, metrics of a step are
fetched after the next one has been dispatched, checkpoints are written behind.
"""

import contextlib
import dataclasses
import datetime
import functools

from gpt_jax import optimizers
from gpt_jax.checkpoints import manager
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import Interrupted
from gpt_jax.data.loader import Loader
from gpt_jax.examples.reading import reading_once
from gpt_jax.model import initializers
from gpt_jax.parallel import multihost, sync
from gpt_jax.program import compilation, epochs, restore, setup, step_memory, task_data
from gpt_jax.program.batches import process_shard
from gpt_jax.tasks import make_task
from gpt_jax.tracking import writers
from gpt_jax.tracking.console import TrainConsole
from gpt_jax.train import (
  alone,
  changes,
  divergence,
  early_stopping,
  hooks,
  preemption,
  resume,
  start,
  task_end,
)
from gpt_jax.train.save import Saver
from gpt_jax.train.session import (
  Session,
  Step,
  add_event,
  events_up_to,
  flush_events,
  write_events,
)
from gpt_jax.train.step_metrics import StepMetrics
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir


def train(
  config,
  workdir,
  *,
  allow_changes=False,
  quiet=False,
  extra_hooks=(),
  open_program=setup.open_program,
  signals=None,
):
  """Returns the last metrics by name, once `config` is trained in `workdir` to its end.

  Resumes from the newest checkpoint. Raises UserErrors, before the first step where
  possible, and Interrupted after SIGTERM or Ctrl-C, once the present step is saved.
  `extra_hooks` are called after those of every run; one that sets
  `progress.stop_reason` ends the run there, scored and saved. `open_program`: as
  `setup.open_program`, such as one that shares what is compiled. `signals`: a
  preemption.Watch of the caller, who then knows of one that came too late.
  """
  with signals or preemption.Watch() as signals:
    return alone.drive(
      run(
        config,
        workdir,
        signals,
        allow_changes=allow_changes,
        quiet=quiet,
        extra_hooks=extra_hooks,
        open_program=open_program,
      )
    )


def run(
  config,
  workdir,
  signals,
  *,
  allow_changes=False,
  quiet=False,
  extra_hooks=(),
  console=None,
  open_program=setup.open_program,
):
  """Yields the `session.Step`s of `train`, is sent the metrics of each, returns scores.

  `console`: a rich one, instead of the screen.
  """
  setup.check_trains(config)
  workdir = sync.raise_on_all(Workdir(workdir).create)
  settings = config.checkpoint
  with (
    workdir.lock() as lock,
    manager.Checkpoints(
      workdir.checkpoints,
      keep_last=settings.keep_last,
      keep_best=settings.keep_best,
      best_metric=settings.best_metric,
      best_mode=settings.best_mode,
      asynchronous=settings.asynchronous,
      lock=lock,
    ) as store,
  ):
    program, session_with, events, notes = _prepare(
      config, workdir, store, signals, allow_changes, open_program
    )
    data = session_with.keywords['dataset']
    while True:
      progress, origin = resume.restore_progress(program, store, events, data)
      with (
        TrainConsole(
          program.horizon.total_steps,
          enabled=multihost.is_primary() and not quiet,
          console=console,
        ) as shown,
        _open_tracker(program, workdir, progress.step) as tracker,
      ):
        session = session_with(console=shown, tracker=tracker)
        references, steps = restore.load_references(program, session.tokenizer)
        progress.state = dataclasses.replace(progress.state, references=references)
        origin = dataclasses.replace(origin, references=steps)
        notes += start.describe_references(steps, provenance.read_starts(workdir))
        rollback = yield from _run(session, progress, origin, notes, extra_hooks)
        if rollback is None:
          return progress.scores
      events, notes = progress.events, []
      del progress  # its state has to be gone before the next one is restored


@reading_once()
def _prepare(config, workdir, store, signals, allow_changes, open_program):
  """Returns (program, Session without console and tracker, events, notes)."""
  resume.refuse_imported(workdir)
  latest = store.latest_valid_step()
  meta = None if latest is None else store.read_meta(latest)
  events, notes = events_up_to(latest or 0, provenance.read_events(workdir)), []
  config = sync.raise_on_all(lambda: task_data.complete(config))
  opened = None
  if epochs.has_epochs(config):  # how many steps there are, only the data know
    opened = _open_data(config, workdir, is_new=meta is None)
    config = epochs.fill_in(config, opened[1])
  if meta:
    config = resume.same_run(meta['config'], config, workdir, allow_changes)
    events, notes = resume.with_changes(meta['config'], config, latest, events)
    notes += resume.other_bound(meta['config'], config)
  opened = opened or _open_data(config, workdir, is_new=meta is None)
  tokenizer, dataset, eval_sets, test_set = opened
  fingerprints = dict(tokenizer=tokenizer.fingerprint, data=dataset.fingerprint)
  if meta:
    notes += resume.check_same_data(meta, fingerprints, workdir, allow_changes)
  program = open_program(
    config,
    tokenizer,
    embedding_rows=config.model.vocab_size if meta else None,
    past=changes.past_of(events),
  )
  session_with = functools.partial(
    Session,
    workdir=workdir,
    tokenizer=tokenizer,
    program=program,
    dataset=dataset,
    eval_sets=eval_sets,
    test_set=test_set,
    fingerprints=fingerprints,
    store=store,
    signals=signals,
  )
  return program, session_with, events, notes


def _open_data(config, workdir, is_new):
  """Returns (tokenizer, training Dataset, eval sets, test set) of a run.

  The test set of a task is None for other runs. What is wrong with it, and packages
  that its scores need, show here, before training.
  """
  if is_new:
    start.require_base(config)  # before its tokenizer is missed
  tokenizer = setup.open_tokenizer(config, workdir)
  if config.init_from and is_new:
    start.check_tokenizer(config, tokenizer)

  def read():
    test_set = None
    if (task := make_task(config)) is not None:
      task.require_packages()
      test_set = task_data.open_test_set(config, tokenizer)
    return (
      tokenizer,
      setup.open_training_data(config, tokenizer, workdir),
      setup.open_eval_sets(config, tokenizer, workdir),
      test_set,
    )

  return sync.raise_on_all(read)


def _open_tracker(program, workdir, step):
  return sync.raise_on_all(
    lambda: writers.open_tracker(
      program.config.logging,
      workdir,
      restored_step=step,
      run_config=load.to_dict(program.config),
    )
  )


def _run(session, progress, origin, notes, extra_hooks):
  """Yields steps to the end, then returns None; to a spike, then its Rollback."""
  sync.raise_on_all(lambda: _record_start(session, progress, origin))
  _introduce(session, origin, notes)
  if session.config.eval.at_start and progress.step == 0:
    hooks.evaluate(session, progress)
  saver = Saver()
  actions = [*default_hooks(session, saver), *extra_hooks]
  if stopped := early_stopping.reason(session.config, progress.watched):
    session.console.note(f'ended before, after step {progress.step}: {stopped}')
    if session.config.task.name:
      task_end.finish(session, session.store)
    return None
  spike = yield from _run_steps(session, progress, saver, actions)
  if spike is not None:
    return divergence.roll_back(session, progress, spike)
  if progress.stop_reason and progress.step < session.program.horizon.total_steps:
    _end_early(session, progress)
  if session.config.logging.figures:
    hooks.draw_loss_curve(session, progress)
  saver.save_and_wait(session, progress)
  if progress.events_unsaved:
    write_events(session, progress)
  if session.config.task.name:
    task_end.finish(session, session.store)
  return None


def _record_start(session, progress, origin):
  """Writes down what this start is made of: config.json and run.json."""
  if multihost.is_primary():
    workdir = session.workdir
    workdir.write_config(load.to_dict(session.config))
    entry = provenance.collect(now=datetime.datetime.now(datetime.UTC))
    mesh = dict(session.program.rules.mesh.shape)
    entry |= dict(step=progress.step, mesh=mesh, data=session.fingerprints)
    if origin.references:
      entry['references'] = origin.references
    if origin.report:
      entry['init_from'] = origin.report.as_json()
    sources = dict(session.program.references)
    if origin.report:
      sources['init_from'] = session.config.init_from
    if sources:  # when each was made: results are of those, not of later ones
      entry['sources'] = {
        str(path): provenance.first_start(Workdir(path)) for path in sources.values()
      }
    provenance.add_start(workdir, entry)
    provenance.write_events(workdir, progress.events)


def _introduce(session, origin, notes):
  """Says what runs here; `origin`: where its parameters come from."""
  program = session.program
  session.console.note(
    f'{pytree.count(program.parameters):,} parameters,'
    f' {session.dataset.num_tokens:,} training tokens,'
    f' {program.horizon.total_steps:,} steps, attention {program.attention_kernel},'
    f' loss {program.loss}, mesh {start.describe_mesh(program.rules.mesh.shape)};'
    f' {origin.text}'
  )
  if origin.report and not origin.report.is_whole:
    for line in origin.report.lines():
      session.console.note(line)
  for note in notes:
    session.console.note(note)
  if (width := initializers.relative_width(program.config.model)) != 1:
    session.console.note(_rates_of_mup(program, width))
  session.console.note(compilation.describe_cache())


def _rates_of_mup(program, width):
  cfg, params = program.config.optimizer, program.abstract_state.params
  names = [name for name, _ in pytree.named_leaves(params)]
  rates = optimizers.metric_rates(cfg, names, width)
  listed = ', '.join(f'{name} {rate:.3g}' for name, rate in rates.items())
  return f'muP at {width:g} times the base width: {listed}'


def default_hooks(session, saver):
  """Returns the hooks of every run, in the order in which they are called."""
  config = session.config
  actions = [
    hooks.Every(config.eval.every_steps, hooks.evaluate, at_end=True),
    hooks.Every(1, hooks.ReleaseMemory()),
    hooks.Every(0, hooks.record_ranks, at_end=True),
  ]
  if config.early_stopping.patience:
    every = config.eval.every_steps
    actions.append(hooks.Every(every, early_stopping.observe, at_end=True))
  actions.append(hooks.Every(config.checkpoint.every_steps, saver.save, at_end=True))
  if config.logging.statistics:
    every = config.logging.statistics_every_steps
    actions.append(hooks.Every(every, hooks.record_statistics, at_end=True))
  # A bidirectional model writes no text from left to right.
  writes_text = session.program.objective.writes_text
  if config.logging.sample_prompts and writes_text:
    every = config.logging.sample_every_steps
    actions.append(hooks.Every(every, hooks.Samples(session), at_end=True))
  return actions


def _run_steps(session, progress, saver, actions):
  """Yields the steps that are left; returns the Spike to roll back from, or None."""
  program, logging = session.program, session.config.logging
  first = progress.step
  step_metrics = StepMetrics(session, progress)
  loader = Loader(
    session.dataset,
    prefetch_batches=session.config.data.prefetch_batches,
    **process_shard(program),
  )
  profile = hooks.Profile(
    session.workdir.profile,
    first + logging.profile_start_step,
    logging.profile_steps,
  )
  norms_every = logging.layer_norms_every_steps
  begins = {first, *(stage.first_step for stage in program.horizon.stages)}
  session.signals.begin()
  with profile, loader.read(progress.rollbacks.batches(first)) as batches:
    for step in range(first, program.horizon.total_steps):
      profile.before(step)
      rows = next(batches)
      with_norms = bool(norms_every) and (step + 1) % norms_every == 0
      is_first, is_new = step == first, step in begins
      with compilation.watch() if is_first else contextlib.nullcontext() as made:
        with step_memory.explained(program, program.horizon.batch_size_at(step)):
          metrics = yield Step(session, progress, rows, with_norms, is_first, is_new)
          spike = step_metrics.flush()
      if made:
        step_metrics.add_compilation(made)
      if spike:
        return spike
      progress.step, progress.batch = step + 1, rows
      step_metrics.hold(metrics)
      must_stop = session.signals.must_stop()
      saver.poll(session, progress)
      due = [hook for hook in actions if hook.is_due(session, progress)]
      must_save = saver.is_pending and saver.may_try()
      if due or must_stop or must_save:
        if spike := step_metrics.flush():
          return spike
      for hook in due:
        hook.action(session, progress)
      if must_save and saver.is_pending:  # no hook has saved
        saver.save(session, progress)
      if progress.events_unsaved and not saver.failures:
        flush_events(session, progress)
      if must_stop:
        _stop(session, progress, saver)
      if progress.stop_reason:
        break
      if due:
        step_metrics.restart_clock()
  return None


def _end_early(session, progress):
  """Records that a hook has ended the run; its last scores are those of this step."""
  if progress.scored_step != progress.step:
    hooks.evaluate(session, progress)
  reason = progress.stop_reason
  add_event(session, progress, dict(kind='stopped', step=progress.step, reason=reason))
  session.console.note(
    f'stopped after step {progress.step} of {session.program.horizon.total_steps}:'
    f' {reason}; the run is saved.'
  )


def _stop(session, progress, saver):
  """Saves the present step and raises Interrupted."""
  saver.save_and_wait(session, progress)
  raise Interrupted(
    f'{session.signals.signal or "SIGTERM"}: step {progress.step} of'
    f' {session.program.horizon.total_steps} is done and saved in {session.workdir};'
    ' the same command resumes there.'
  )
