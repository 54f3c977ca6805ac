"""The end of a fine-tuning: the best step is scored on the test split, once.

WORKDIR/eval.json has the metrics of that step on every set, scores.json the tables
behind them, predictions/SET.jsonl what it predicts, one example a line; samples.md
shows texts that it wrote.
"""

import dataclasses
import functools
import json
import math
import textwrap

from gpt_jax.core.errors import CheckpointError, Interrupted, StorageError, note_once
from gpt_jax.evaluation import evaluate as evaluation
from gpt_jax.parallel import multihost
from gpt_jax.program import restore, task_data, task_members
from gpt_jax.program.state import of_model
from gpt_jax.storage import objects
from gpt_jax.tasks import make_task
from gpt_jax.tracking import metrics_file
from gpt_jax.train.task_scores import score_sets
from gpt_jax.workdir import files

TEST = 'test'
SHOWN = 5


def best_step(store, keep_best):
  """Returns the step with the best checkpoint.best_metric, else the newest valid one.

  `store`: a CheckpointReader of that metric; `keep_best`: checkpoint.keep_best of the
  run. A damaged best step is passed over, and said.
  """
  best = store.best_step() if keep_best else None
  newest = store.latest_valid_step()
  if best is None or best == newest:
    return newest
  if (damage := store.integrity.find_damage(best)) is not None:
    note_once(f'{damage}\nThe best step is damaged; the newest one is used.')
    return newest
  return best


def final_sets(config, tokenizer):
  """Returns `{name: TaskDataset}` of eval.sets and the test split, if there is one."""
  test = task_data.open_test_set(config, tokenizer)
  sets = dict(task_data.open_eval_sets(config, tokenizer))
  return sets if test is None else sets | {TEST: test}


def finish(session, store):
  """Scores the best step of a finished run on its sets and the test split.

  Returns {set: metrics}; reads them from eval.json where that was done before. Raises
  Interrupted after a signal: all but the scores is saved by then.
  """
  config, workdir = session.config, session.workdir
  step = best_step(store, config.checkpoint.keep_best)
  if step is None:
    raise CheckpointError(f'{workdir}: has no valid step to score.')
  params, _ = restore.load_params(
    store, of_model(session.program.abstract_state.params), step=step
  )
  references, _ = restore.load_references(session.program, session.tokenizer)
  sets = dict(session.eval_sets)
  if session.test_set is not None:
    sets[TEST] = session.test_set
  if done := _scored_before(workdir, step, sets):
    return done
  results = {}
  for name, dataset in sets.items():
    if session.signals.must_stop():
      raise _interrupted(session)
    results |= score_sets(
      session.program, params, {name: dataset}, tokenizer=session.tokenizer,
      progress=functools.partial(_until_signal, session), references=references,
    )  # fmt: skip
  results = _with_forgetting(config, results, metrics_file.read(workdir.metrics))
  for name, result in results.items():
    session.console.show_evaluation(step, f'{name} (best step)', result.metrics)
  if multihost.is_primary():
    write_results(workdir, step, results, make_task(config))
  return {name: result.metrics for name, result in results.items()}


def _until_signal(session, items, label, total=None):
  """Yields `items`, shown as progress, until the run is asked to stop."""
  for item in session.console.progress(items, label, total):
    # Several processes agree between sets: they may have unlike numbers of items.
    if multihost.process_count() == 1 and session.signals.must_stop():
      raise _interrupted(session)
    yield item


def _interrupted(session):
  return Interrupted(
    f'{session.signals.signal or "SIGTERM"}: the training is done and saved in'
    f' {session.workdir}, its scores are not; the same command scores it.'
  )


def _with_forgetting(config, results, history):
  """Returns `results` with `forgetting` of members of a mixture, where it is known.

  By how much the member's first metric is worse than before the first step
  (eval.at_start); `history`: `metrics_file.read`.
  """
  found = dict(results)
  for name, (member, _) in task_members.members(config).items():
    task = make_task(member)
    assert task is not None
    metric = task.metrics[0]
    before = [value for step, value in history.get(f'{name}/{metric}', ()) if step == 0]
    if before and before[0] is not None and metric in results[name].metrics:
      lost = before[0] - results[name].metrics[metric]
      metrics = results[name].metrics | {
        'forgetting': lost if task.higher_is_better else -lost
      }
      found[name] = dataclasses.replace(results[name], metrics=metrics)
  return found


def write_results(workdir, step, results, task):
  """Writes predictions/SET.jsonl, scores.json and eval.json of `{set: SetResult}`.

  eval.json comes last: what it says was scored has all its files.
  """
  scores = {
    f'{name}/{key}': value if math.isfinite(value) else None
    for name, result in results.items()
    for key, value in result.metrics.items()
  }
  details = {name: one.scores.details for name, one in results.items() if one.scores}
  rows = {name: one.rows for name, one in results.items()}
  files.write_json(workdir.scores, dict(step=step, sets=details, rows=rows))
  workdir.baselines.unlink(missing_ok=True)  # may be of other examples
  workdir.predictions.mkdir(parents=True, exist_ok=True)
  for name, result in results.items():
    if result.predictions:
      lines = [
        json.dumps(prediction_line(task, record, one), ensure_ascii=False)
        for record, one in zip(result.records, result.predictions, strict=True)
      ]
      files.write_text(workdir.predictions / f'{name}.jsonl', '\n'.join(lines) + '\n')
  if task.answers == 'writing':
    objects.append_text(workdir.samples, samples_page(results, step, task))
  files.write_json(workdir.eval, evaluation.by_set(scores, step))


def samples_page(results, step, task):
  """Returns Markdown: what was written of the first records of the first set."""
  name, result = next(iter(results.items()))
  parts = [f'## Step {step}, {name}\n']
  for record, one in list(zip(result.records, result.predictions, strict=True))[:SHOWN]:
    shown = dict(
      Input=task.describe(record), Written=one['text'], Reference=task.gold(record)
    )
    for title, text in shown.items():
      if text is None:
        continue
      text = text if isinstance(text, str) else '\n'.join(text)
      parts.append(f'{title}:\n\n{textwrap.indent(text, "    ")}\n')
  return '\n'.join(parts) + '\n'


def prediction_line(task, record, prediction):
  """Returns what a line of predictions says of a record, as plain JSON values."""
  return dict(
    place=record.place,
    input=task.describe(record),
    answer=task.gold(record),
    prediction=prediction,
  )


def _scored_before(workdir, step, sets):
  """Returns {set: metrics} of eval.json, if `step` was scored on all of these sets.

  `gpt-jax eval` may have scored it on other examples since, or on fewer.
  """
  try:
    saved, scores = files.read_json(workdir.eval), files.read_json(workdir.scores)
  except StorageError:  # there is none yet
    return {}
  expected = {name: str(one.fingerprint['task.rows']) for name, one in sets.items()}
  if saved.get('step') != step or scores.get('rows', expected) != expected:
    return {}
  if TEST not in saved:
    return {}
  return {name: part for name, part in saved.items() if isinstance(part, dict)}
