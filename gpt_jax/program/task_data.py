"""The data of a task: its examples read and checked, then rows of them as datasets."""

import dataclasses
import functools

import numpy as np

from gpt_jax import tasks
from gpt_jax.augmentation import synonym_table
from gpt_jax.core import registry
from gpt_jax.core.errors import (
  ConfigError,
  DataError,
  Problem,
  note_once,
  require_none,
)
from gpt_jax.data import tokenizers
from gpt_jax.examples import leakage, splits
from gpt_jax.parallel import multihost
from gpt_jax.program import task_members
from gpt_jax.tasks import augmented, buckets, mixture, packed
from gpt_jax.tasks.dataset import EMPTY, TaskDataset, digest
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.tasks.task import FOR_PREDICT
from gpt_jax.tracking.console import progress


def problems(config):
  """Returns the Problems of the fields of a task, and of what trains it."""
  cfg = config.task
  found = [*_problems_of_names('task.files', cfg.files, 'the path of a file')]
  found += _problems_of_names('task.columns', cfg.columns, 'the name of a column')
  if not cfg.name and cfg.mixture:
    text = f'={cfg.mixture}: other examples of a task; set task.name'
    found.append(Problem('task.mixture', text))
  if not cfg.name or found:
    return found
  if not cfg.files:
    text = '={}: expected files of the examples, such as'
    text += " {'train': 'train.tsv', 'validation': 'dev.tsv'} or {'all': 'all.jsonl'}"
    found.append(Problem('task.files', text))
  task = tasks.make_task(config)
  assert task is not None
  found += task_members.problems_of_objective(config, task, 'task.name')
  if config.train.ramp_tokens is not None:
    text = ': the rows of a task come in batches of one size; set it to None'
    found.append(Problem('train.ramp_tokens', text))
  found += _problems_of_metrics(config, task)
  return found + augmented.problems(config) + task_members.problems(config)


MANY_RECORDS = 16
"""From so many on a class with one example is worth a word."""
OF_HEADS = ('loss', 'accuracy', 'macro_f1', 'calibration_error')
"""Metrics of objectives with a task head, beside those of the task."""
OF_TEXT = ('loss', 'perplexity', 'accuracy', 'bits_per_byte')
"""Those of models that write, which training evaluates without writing."""
LOWER_IS_BETTER = (
  'loss', 'perplexity', 'bits_per_byte', 'log_loss', 'mse', 'calibration_error',
  'attacked_loss',
)  # fmt: skip


def _problems_of_metrics(config, task):
  """Yields a Problem for each metric to be watched that training does not give.

  And for each whose direction is said to be the other one.
  """
  if task.answers in ('outputs', 'scoring'):
    of_objective = OF_HEADS if task.answers == 'outputs' else OF_TEXT
    known = (*task.metrics, *of_objective, *config.eval.metrics)
  else:
    known = (*OF_TEXT, *config.eval.metrics)
  stopping, checkpoint = config.early_stopping, config.checkpoint
  watched = [('early_stopping.metric', stopping.metric, stopping.mode)]
  if checkpoint.keep_best:
    best = 'checkpoint.best_metric', checkpoint.best_metric, checkpoint.best_mode
    watched.append(best)
  for field, value, mode in watched:
    part, _, name = value.rpartition('/')
    if not value or name.startswith('attacked_'):
      continue
    sets = *config.eval.sets, *config.task.mixture
    # That of the best checkpoint is checked for all runs (`config.checks`).
    if field == 'early_stopping.metric' and sets and part not in sets:
      text = f'={value!r}: expected SET/METRIC, SET one of {", ".join(sets)}'
      yield Problem(field, text)
    if name not in known:
      hint = registry.nearest(name, known)
      listed = ', '.join(dict.fromkeys(known))
      text = f'={value!r}: task.name={task.name!r} has {listed} during training'
      yield Problem(field, text + (f'; did you mean {hint!r}?' if hint else ''))
    expected = 'min' if name in LOWER_IS_BETTER else 'max'
    if name in known and name not in config.eval.metrics and mode != expected:
      section = field.partition('.')[0]
      mode_field = 'best_mode' if section == 'checkpoint' else 'mode'
      text = f'={mode!r}: {value} is better when it is'
      text += f' {"lower" if expected == "min" else "higher"}; set {expected!r}'
      yield Problem(f'{section}.{mode_field}', text)


def _problems_of_names(field, given, what):
  for key, value in given.items():
    listed = value if isinstance(value, tuple) else (value,)
    if not isinstance(key, str) or not all(
      isinstance(one, str) and one for one in listed
    ):
      text = f'={value!r}: expected {what}, or a list of some'
      yield Problem(f'{field}.{key}', text)


def records_of(config, split):
  """Returns the Records of a split, checked, or [] where task.files lacks it.

  All have an answer: those without one are for `predict`.
  """
  cfg, task = config.task, tasks.make_task(config)
  assert task is not None
  if splits.holder(cfg.files, split) is None:
    return []
  limit = cfg.max_examples if split == 'train' else cfg.max_eval_examples
  try:
    records = splits.load(
      cfg.files, cfg.reader, cfg.columns, split,
      data_dir=config.data.data_dir, encoding=config.data.encoding, limit=limit,
    )  # fmt: skip
  except splits.NoColumn as error:
    if error.field != task.target or split == 'train':
      raise
    raise DataError(f'{error} {FOR_PREDICT}') from error
  for record in records:
    task.check(record)
    task.require_answer(record, is_training=split == 'train')
  return records


def complete(config):
  """Returns a Config with what its training examples decide: the labels.

  Members of a mixture have them together: one task head answers for all.
  """
  task = tasks.make_task(config)
  if task is None or not task.has_labels:
    return config
  if not task.label_names:
    records = [
      record
      for member, _ in task_members.members(config).values()
      for record in records_of(member, 'train')
    ]
    names = task.labels_of(records)
    note_rare_labels(task, records)
    config = dataclasses.replace(
      config, task=dataclasses.replace(config.task, label_names=names)
    )
    task = tasks.make_task(config)
    assert task is not None
    require_none(list(_problems_of_metrics(config, task)))
  options = config.objective.options
  if getattr(options, 'num_labels', task.num_outputs) == task.num_outputs:
    return config
  options = dataclasses.replace(options, num_labels=task.num_outputs)
  objective = dataclasses.replace(config.objective, options=options)
  return dataclasses.replace(config, objective=objective)


def note_rare_labels(task, records):
  """Says which classes have a single example: a header line often makes one."""
  places = {}
  for record in records:
    label = task.gold(record)
    if not isinstance(label, str | int):  # one label for each word
      return
    places.setdefault(str(label), []).append(record.place)
  single = {label: found[0] for label, found in places.items() if len(found) == 1}
  if not single or len(records) < MANY_RECORDS or not multihost.is_primary():
    return
  listed = ', '.join(f'{label!r} ({place})' for label, place in single.items())
  note_once(
    f'WARNING: of {len(places)} classes {len(single)} have one example: {listed}. If'
    ' that is the header line of a table, set task.reader to tsv_header or csv_header.'
  )


def open_training_data(config, tokenizer):
  """Returns the TaskDataset that training reads, of all members of a mixture."""
  opened, share, labels = [], [], set()
  for name, (member, fixed) in task_members.members(config).items():
    records = records_of(member, 'train')
    if not records:
      field = f'task.mixture.{name}.files' if name else 'task.files'
      raise ConfigError(f"{field}: has no 'train', and no 'all' to take a part of.")
    label = f'{name} train' if name else 'train'
    opened.append(make_dataset(member, tokenizer, records, label))
    share.append(fixed)
    labels |= _labels_of_head(opened[-1].task, records)
  if len(labels) == 1:
    raise DataError(
      f"task.files: all examples of split 'train' have the same label,"
      f' {labels.pop()!r}: there is nothing to tell apart. Add examples of others; of a'
      ' sorted file raise task.max_examples.'
    )
  if len(opened) == 1:
    return opened[0]
  return _mixed(config, opened, share)


def _labels_of_head(task, records):
  """Returns the labels that records have, {} of tasks without a head of labels."""
  if not task.has_labels or task.num_outputs is None:
    return set()
  gold = [task.gold(record) for record in records]
  each = [one if isinstance(one, list | tuple) else [one] for one in gold]
  return {str(label) for labels in each for label in labels}


def _mixed(config, opened, fixed):
  """Returns the TaskDataset of several ones; `fixed` are shares, or None."""
  fields = {dataset.task.name: sorted(dataset.fields) for dataset in opened}
  if len(set(map(tuple, fields.values()))) > 1:
    raise ConfigError(
      f'task.mixture: the tasks have different rows ({fields}); mix those that have'
      ' the same.'
    )
  counts = [len(dataset.rows) for dataset in opened]
  share_of = mixture.shares(counts, fixed, config.task.mixture_temperature)
  if multihost.is_primary():
    named = zip(task_members.members(config), counts, share_of, strict=True)
    listed = ', '.join(
      f'{name or config.task.name} {count:,} rows {share:.1%}'
      for name, count, share in named
    )
    note_once(f'task.mixture: {listed}')
  first = opened[0]
  digests = '; '.join(str(one.fingerprint['task.rows']) for one in opened)
  shares = ', '.join(f'{share:.6g}' for share in share_of)
  return dataclasses.replace(
    first,
    rows=[row for one in opened for row in one.rows],
    owners=np.full(sum(counts), EMPTY),
    draw=functools.partial(mixture.rows_of_epoch, counts, share_of, first.seed),
    augment=_augment_of(opened, counts),
    fingerprint=first.fingerprint | {'task.rows': digests, 'task.shares': shares},
  )


def _augment_of(opened, counts):
  """Returns `(row, epoch) -> Row` of a mixture, None where no member changes any."""
  if all(one.augment is None for one in opened):
    return None
  starts = np.cumsum([0, *counts])

  def augment(number, epoch):
    member = int(np.searchsorted(starts, number, side='right')) - 1
    one, place = opened[member], number - int(starts[member])
    return one.rows[place] if one.augment is None else one.augment(place, epoch)

  return augment


def open_test_set(config, tokenizer):
  """Returns the TaskDataset of the test split, None without one, or as an eval set."""
  known = {fields.get('split', name) for name, fields in config.eval.sets.items()}
  records = [] if 'test' in known else records_of(config, 'test')
  if not records:
    return None
  return make_dataset(config, tokenizer, records, 'test', for_eval=True)


def open_eval_sets(config, tokenizer):
  """Returns `{name: TaskDataset}` of eval.sets, and the validation sets of members.

  Says what they, and the test split, share with training and with each other.
  """
  members = task_members.members(config)
  found, validation = {}, {}
  # What is wrong in the test split is said before training, not after.
  test = {'test': records} if (records := records_of(config, 'test')) else {}
  for name, fields in config.eval.sets.items():
    split = fields.get('split', name)
    records = records_of(config, split)
    if not records:
      raise ConfigError(
        f'eval.sets.{name}: task.files has no {split!r}; it has'
        f' {", ".join(config.task.files)}.'
      )
    found[name] = make_dataset(config, tokenizer, records, split, for_eval=True)
    if split == 'validation':
      validation[name] = records
  for name, (member, _) in members.items():
    records = records_of(member, 'validation') if name else []
    if records:
      found[name] = make_dataset(member, tokenizer, records, name, for_eval=True)
      validation[name] = records
  train = [one for own, _ in members.values() for one in records_of(own, 'train')]
  for text in leakage.reports(train, validation, test):
    if multihost.is_primary():
      note_once(text)
  return found


class AllDropped(DataError):
  """Examples all of which are longer than the model reads."""


def make_dataset(config, tokenizer, records, split, for_eval=False):
  """Returns the TaskDataset of records, for a model with this tokenizer.

  Raises AllDropped where none is left.
  """
  task = tasks.make_task(config)
  assert task is not None
  encoder = Encoder(tokenizer, config.data, config.task)
  rows, owners = [], []
  shown = progress(records, f'encoding {split}') if multihost.is_primary() else records
  for i, record in enumerate(shown):
    made = task.encode(record, encoder, is_training=not for_eval)
    rows += made
    owners += [i] * len(made)
  if (said := encoder.counts.describe(encoder.max_tokens)) and multihost.is_primary():
    note_once(f'{split}: {said}')
  if not rows:
    raise AllDropped(
      f'{split}: all {len(records):,} examples are longer than data.seq_len='
      f'{config.data.seq_len} tokens and dropped (task.too_long="drop").'
    )
  data = config.data
  widths = buckets.widths(config.task.buckets, data.seq_len)
  owners = np.array(owners)
  if task.packing == 'first_fit' and not for_eval:
    rows = packed.side_by_side(rows, data.seq_len, data.seed or 0)
    owners, widths = np.full(len(rows), EMPTY), widths[-1:]
  return TaskDataset(
    task=task,
    records=records if for_eval else [],
    rows=rows,
    owners=owners,
    batch_size=config.eval.batch_size if for_eval else config.train.batch_size,
    seq_len=data.seq_len,
    widths=widths,
    fingerprint=_fingerprint(config, tokenizer, rows, split, for_eval),
    seed=data.seed or 0,
    shuffle=data.shuffle,
    for_eval=for_eval,
    augment=None
    if for_eval
    else augmented.row_maker(task, records, rows, owners, encoder, data.seed or 0),
    prefetch_batches=data.prefetch_batches,
    warn_after_seconds=data.warn_after_seconds,
    timeout_seconds=data.timeout_seconds,
  )


def open_tokenizer(config, workdir, inherited=None):
  """Returns the tokenizer of a run; one that learns does so from training examples."""

  def texts():
    for member, _ in task_members.members(config).values():
      own = tasks.make_task(member)
      assert own is not None
      for record in records_of(member, 'train'):
        yield from own.texts(record)

  return tokenizers.build(config.tokenizer, texts, workdir, inherited)


def _fingerprint(config, tokenizer, rows, split, for_eval):
  data, table = config.data, config.task.augmentation.table
  is_read = bool(table) and not for_eval and augmented.is_on(config.task)
  return {
    'task.name': config.task.name,
    'task.split': split,
    'task.rows': digest(rows),
    'data.shuffle': data.shuffle,
    'data.seed': data.seed,
    'task.augmentation': dataclasses.asdict(config.task.augmentation),
    # A path says nothing of the synonyms that rows of later epochs have.
    **({'task.augmentation.table': synonym_table.digest(table)} if is_read else {}),
    'tokenizer': tokenizer.fingerprint[:16],
    'for_eval': for_eval,
  }
