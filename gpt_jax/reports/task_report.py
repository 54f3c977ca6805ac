"""What the page of a fine-tuned run shows, collected from its workdir and its data."""

import dataclasses
import datetime
import math
import shlex
from typing import Any

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError, StorageError, UserError
from gpt_jax.data import tokenizers
from gpt_jax.parallel import multihost
from gpt_jax.program import setup
from gpt_jax.reports import page_text, task_examples, task_splits
from gpt_jax.tasks import make_task
from gpt_jax.tracking import metrics_file
from gpt_jax.train import task_baselines
from gpt_jax.workdir import files, provenance
from gpt_jax.workdir.paths import Workdir


@dataclasses.dataclass
class SetReport:
  """One set: what the model and the baselines score on it, and its predictions."""

  name: str
  metrics: dict[str, float]
  baselines: dict[str, dict[str, float]]
  details: dict[str, Any]
  examples: list[task_examples.Example]


@dataclasses.dataclass
class TaskReport:
  """All of a page."""

  workdir: Workdir
  config: Any
  task: Any
  step: int | None  # whose predictions these are
  sets: list[SetReport]
  splits: task_splits.Splits
  series: dict[str, list]  # of metrics.jsonl
  facts: list[tuple[str, str]]
  unit: str  # of lengths
  rows: dict[str, tuple[str, float]]
  """Split -> (sentence about what is too long, mean tokens of a row)."""
  command: str = ''  # that began or resumed the run last
  notes: list[str] = dataclasses.field(default_factory=list)  # what is missing, and why

  @property
  def metric(self):
    """The metric that counts first: the one that chose the step, else the task's."""
    chosen = self._chosen
    return chosen if chosen in self.task.metrics else self.task.metrics[0]

  @property
  def higher_is_better(self):
    """Whether that is so of `metric`."""
    if self.metric == self._chosen:
      return self.config.checkpoint.best_mode == 'max'
    return self.task.higher_is_better

  @property
  def _chosen(self):
    return self.config.checkpoint.best_metric.rpartition('/')[2]


def make_report(path):
  """Returns the TaskReport of the workdir of a run of a task.

  Data, metrics or predictions that are gone are left out, and `notes` say so. The first
  of several processes may call it alone. Raises ConfigError for a workdir without a run
  of a task.
  """
  workdir = Workdir(path)
  if workdir.read_config() is None:
    raise ConfigError(
      f'{workdir}: holds no run; expected a --workdir of `gpt-jax train`.'
    )
  config = setup.read_config(workdir)
  task = make_task(config)
  if task is None:
    raise ConfigError(
      f'{workdir}: a run without a task (task.name), which has no report of its own;'
      f' see {workdir.figures} and `gpt-jax eval --workdir={workdir}`.'
    )
  notes = []
  splits = task_splits.read(config)
  if splits.problem:
    notes.append(
      f'The data could not be read ({splits.problem.rstrip(".")}), so this page shows'
      ' what the workdir has: no counts of labels, no leakage, and no score that needs'
      ' the examples.'
    )
  tokenizer = _tokenizer(workdir, notes)
  if tokenizer is None:
    length_of, unit = len, 'characters'
  else:
    length_of, unit = (lambda text: len(tokenizer.encode(text))), 'tokens'
  scored = _read(workdir.eval, notes, 'it has not been scored yet')
  sets = _sets(workdir, task, splits, scored, length_of, notes)
  series = {}
  try:
    series = metrics_file.read(workdir.metrics)
  except OSError:
    if provenance.read_starts(workdir):
      notes.append(f'{workdir.metrics.name} is not there: no learning curves.')
  return TaskReport(
    workdir, config, task, scored.get('step'), sets, splits, series,
    _facts(workdir, config, scored.get('step'), series), unit,
    _rows(config, task, tokenizer, splits, notes),
    _command(provenance.read_starts(workdir)), notes,
  )  # fmt: skip


def _read(path, notes, why):
  try:
    return files.read_json(path)
  except StorageError:
    notes.append(f'{path.name} is not there: {why} (gpt-jax eval).')
    return {}


def _tokenizer(workdir, notes):
  if not workdir.tokenizer.exists():
    notes.append('The tokenizer is gone: lengths are in characters.')
    return None
  try:
    return tokenizers.load(workdir.tokenizer)
  except (UserError, OSError) as error:
    notes.append(f'The tokenizer could not be read ({error}): lengths in characters.')
    return None


def _sets(workdir, task, splits, scored, length_of, notes):
  details = {}
  if workdir.scores.exists():
    saved = files.read_json(workdir.scores)
    details = saved['sets'] if saved['step'] == scored.get('step') else {}
  names = [name for name, found in scored.items() if isinstance(found, dict)]
  names += [name for name in task_examples.sets_in(workdir) if name not in names]
  kept = task_baselines.read(workdir)
  made = []
  for name in names:
    lines = task_examples.read_lines(workdir, name)
    records = splits.records.get(name, [])
    examples = task_examples.make_examples(lines, task, records, length_of)
    matched = [one for one in examples if one.record is not None]
    if records and len(matched) < len(examples):
      notes.append(
        f'{name}: {len(examples) - len(matched):,} of {len(examples):,} predictions are'
        ' of examples that the data no longer have; score the run again: gpt-jax eval.'
      )
    made.append(
      SetReport(
        name, scored.get(name, {}), kept.get(name, {}),
        details.get(name) or _details(task, matched, examples), examples,
      )
    )  # fmt: skip
  _fill_in_baselines(workdir, task, splits, made, notes)
  return made


def _details(task, matched, examples):
  """Returns the details of runs whose workdir has none, from the data."""
  if not matched or len(matched) < len(examples):
    return {}
  if any(one.answer is None for one in matched):
    return {}
  records = [one.record for one in matched]
  return task.score(records, [one.prediction for one in matched]).details


def _fill_in_baselines(workdir, task, splits, sets, notes):
  """Scores the baselines of sets that baselines.json lacks, and keeps them there."""
  found = {}
  for one in sets:
    records = [each.record for each in one.examples if each.record is not None]
    if task.answers == 'none':  # whose examples have no predictions
      records = splits.records.get(one.name, [])
    if one.baselines or not splits.train or not records:
      continue
    try:
      found[one.name] = task_baselines.score_baselines(task, splits.train, records)
    except UserError as error:
      notes.append(f'{one.name}: no baselines ({str(error).rstrip(".")}).')
      continue
    scored = found[one.name].items()
    one.baselines = {name: each.json_metrics() for name, each in scored}
  if found:
    kept = {one.name: one.baselines for one in sets if one.baselines}
    files.write_json(workdir.baselines, kept)
  if missing := [one.name for one in sets if not one.baselines and one.metrics]:
    why = 'this task has none' if splits.train else 'the training data are gone'
    notes.append(f'No baselines on {", ".join(missing)}: {why}.')


def _rows(config, task, tokenizer, splits, notes):
  found = {}
  for name, records in splits.records.items() if tokenizer is not None else ():
    try:
      found[name] = task_splits.too_long(config, task, tokenizer, records)
    except UserError as error:
      notes.append(f'{name}: rows could not be made ({error}).')
  return found


def _facts(workdir, config, step, series):
  """Returns pairs (name, text) of the head of the page."""
  cfg, model = config.task, config.model
  order = ('train', 'validation', 'test')  # others come first, such as `all`
  names = sorted(
    cfg.files, key=lambda name: (order.index(name) if name in order else -1, name)
  )
  data = ', '.join(f'{name}: {_listed(cfg.files[name])}' for name in names)
  starts = provenance.read_starts(workdir)
  is_trained = bool(starts)  # `eval --config` scores what a training would begin with
  is_chosen = config.checkpoint.keep_best and is_trained
  is_chosen &= not any('averaged' in s for s in starts)
  chosen = config.checkpoint.best_metric if is_chosen else ''
  found = [
    ('Task', f'{cfg.name}, trained by {config.objective.name}'),
    ('Data', data),
    ('Model', _model(workdir, model, step)),
    ('Init from', config.init_from or 'nothing: trained from scratch'),
    ('Tokenizer', config.tokenizer.name),
    ('Row', f'at most {config.data.seq_len} tokens; what is longer: {cfg.too_long}'),
    ('Training', _length(config.train) if is_trained else 'none'),
  ]
  if step is not None:
    found.append(('Scored step', f'{step:,}' + (f', by {chosen}' if chosen else '')))
  if (seconds := _seconds(starts, series)) is not None:
    found.append(('Time', page_text.duration(seconds)))
  if starts:
    found += _start_facts(starts)
  return found


def _length(train):
  text = f'{train.steps:,} steps of {train.batch_size} rows'
  if train.epochs is not None:
    text += f', {train.epochs:g} epoch' + 's' * (train.epochs != 1)
  return text


def _listed(value):
  return value if isinstance(value, str) else ' '.join(value)


def _model(workdir, model, step):
  text = f'{model.num_layers} layers of width {model.d_model}, {model.num_heads} heads'
  if multihost.process_count() > 1:  # all of them would have to open the checkpoint
    return text
  try:
    with CheckpointReader(workdir.checkpoints) as store:
      steps = store.steps()
      step = step if step in steps else max(steps)
      count = pytree.count(store.abstract(step, 'params'))
  except (UserError, OSError, ValueError):  # removed to save space
    return text
  return f'{count:,} parameters, {text}'


def _seconds(starts, series):
  """Returns the time of all starts, from the first to the last line of metrics."""
  times = [value for _, value in series.get('time', [])]
  if not times:
    return None
  began = min(times)
  if len(starts) == 1:
    began = datetime.datetime.fromisoformat(starts[0]['time']).timestamp()
  seconds = max(times) - began
  return seconds if math.isfinite(seconds) and seconds > 0 else None


def _start_facts(starts):
  last = starts[-1]
  devices, git = last.get('devices') or {}, last.get('git') or {}
  found = []
  if 'averaged' in last:
    found.append(('Averaged', f'steps {", ".join(map(str, last["averaged"]))}'))
  if devices:
    cores = f', {last["cores"]} cores' if last.get('cores') else ''
    text = f'{devices["count"]} × {devices["kind"]}{cores}'
    found.append(('Machine', text))
  if len(starts) > 1:
    found.append(('Starts', f'{len(starts)}; time includes what lay between them'))
  if git:
    plus = ', with changes that were not committed' if git.get('dirty') else ''
    found.append(('Commit', f'{git["commit"][:12]}{plus}'))
  return found


def _command(starts):
  """Returns the command line of the last start, a flag a line; '' where unknown."""
  words = starts[-1].get('argv', [])[1:] if starts else []
  quoted = [shlex.quote(word) for word in words]
  return ' \\\n  '.join([f'gpt-jax {quoted[0]}', *quoted[1:]]) if quoted else ''
