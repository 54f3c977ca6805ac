"""The page of a fine-tuned run: WORKDIR/report.html, one file that opens offline."""

import json
import math
import tempfile

from gpt_jax.evaluation import scores
from gpt_jax.plots import drawn_text, task_figures
from gpt_jax.reports import page, task_examples, task_report, task_splits
from gpt_jax.reports.table_formats import NOTHING, Grid
from gpt_jax.train import task_baselines
from gpt_jax.workdir import files

MAX_TEXT = 600  # characters of an example
WIDE = 8  # classes: figures of more stand below each other
MAX_METRICS = 4  # columns of a table by length


def write(path, out=None):
  """Returns where the page of the run at `path` was written: report.html, or `out`.

  Raises ConfigError for a workdir without a run of a task, StorageError.
  """
  made = task_report.make_report(path)
  target = made.workdir.report if out is None else out
  files.write_text(target, render(made))
  return target


def render(made):
  """Returns the HTML of a TaskReport; all that comes from data is escaped."""
  with tempfile.TemporaryDirectory() as folder:
    sets = [_section(made, one, folder) for one in made.sets]
    drawn = _curves(made, folder)
    return (
      page.environment(name=_words)
      .get_template('task_page.html.jinja')
      .render(
        made=made,
        title=f'{made.config.task.name}: {made.workdir.path.name}',
        headlines=[text for one in made.sets if (text := _headline(made, one))],
        curves=drawn and page.inline_svg(drawn),
        curves_caption=drawn and drawn.caption,
        sets=sets,
        labels=_label_grid(made),
        splits=_split_grid(made),
        leakage=task_splits.shared(made.splits),
      )
    )


def _words(name):
  return str(name).replace('_', ' ')


def number(value):
  """Returns a cell: four decimals, whole numbers as they are."""
  if value is None:
    return NOTHING
  if isinstance(value, bool) or not isinstance(value, int | float):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
  if not math.isfinite(value):
    return 'not finite'
  return f'{value:,}' if isinstance(value, int) else f'{value:,.4f}'


def grid(columns, rows, note=''):
  """Returns the Grid of columns and rows of plain values."""
  rows = [tuple(row) for row in rows]
  is_number = [
    bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
    for i in range(len(columns))
  ]
  cells = tuple(tuple(map(number, row)) for row in rows)
  return Grid(tuple(map(_words, columns)), tuple(is_number), cells, note)


def _headline(made, one):
  """Returns how the model compares with the best baseline, in a sentence."""
  value = one.metrics.get(made.metric)
  if value is None:
    return ''
  text = f'{one.name}: {_words(made.metric)} {number(value)}'
  others = {
    name: found[made.metric]
    for name, found in one.baselines.items()
    if found.get(made.metric) is not None
  }
  if not others:
    return text
  sign = 1 if made.higher_is_better else -1
  best = max(others, key=lambda name: sign * others[name])
  ahead = sign * (value - others[best])
  how = 'worse than' if ahead < 0 else 'better than' if ahead > 0 else 'equal to'
  return f'{text}, {how} the best baseline: {best}, {number(others[best])}'


def _section(made, one, folder):
  """Returns all that the page shows of a set."""
  confidence_N, is_right_N = task_examples.judged(one.examples)
  figures = [_confusion(one, folder)]
  if len(confidence_N):
    figures.append(_calibration(one, confidence_N, is_right_N, folder))
  return dict(
    name=one.name,
    scores=_score_grid(made, one),
    others=_other_metrics(made, one),
    figures=[
      (page.inline_svg(drawn), drawn.caption, len(one.details.get('names', ())) > WIDE)
      for drawn in figures
      if drawn
    ],
    tables=[
      (_words(name), grid(rows[0], [row.values() for row in rows]))
      for name, rows in scores.tables_of(one.details).items()
    ],
    facts=_detail_facts(one.details),
    lengths=_length_grid(made, one),
    confusions=grid(
      ('gold', 'predicted', 'examples'), task_examples.confusions(one.examples)
    ),
    worst=[_shown(made, each) for each in task_examples.worst(one.examples)],
  )


def _score_grid(made, one):
  columns, rows = task_baselines.table(made.task, one.metrics, one.baselines)
  return grid(columns, rows, f'{len(one.examples):,} examples.' if one.examples else '')


def _other_metrics(made, one):
  """Returns pairs (name, text) of metrics that baselines do not have."""
  return [
    (_words(name), number(value))
    for name, value in one.metrics.items()
    if name not in made.task.metrics
  ]


def _detail_facts(details):
  """Returns pairs (name, text) of the details that are no tables."""
  hidden = {'confusion', 'names', *scores.tables_of(details)}
  return [
    (_words(name), number(value))
    for name, value in details.items()
    if name not in hidden and value not in ([], {})
  ]


def _length_grid(made, one):
  found = task_examples.by_length(one.examples, made.task)
  if not found:
    return None
  names = [name for name in made.task.metrics if any(name in m for *_, m in found)]
  names = sorted(names, key=lambda name: name != made.metric)[:MAX_METRICS]
  rows = [
    (f'{low:,} to {high:,}', count, *(metrics.get(name) for name in names))
    for low, high, count, metrics in found
  ]
  return grid((made.unit, 'examples', *names), rows)


def _shown(made, one):
  """Returns the parts of a worst error as texts."""
  if one.confidence is not None:
    mark = f'confidence {one.confidence:.3f}'
  elif one.is_number:
    mark = f'off by {-one.worth:.4f}'
  elif 'text' in one.prediction or 'tags' in one.prediction:
    mark = f'{_words(made.task.metrics[0])} {abs(one.worth):.4f}'
  else:
    mark = ''
  answer, said = one.answer, one.said
  if 'tags' in one.prediction:
    words = one.record.values['words'] if one.record else one.text.split()
    answer, said = _tagged(words, answer), _tagged(words, said)
  if isinstance(answer, list | tuple):  # several references, each as good
    answer = ' / '.join(map(str, answer))
  return dict(
    place=_place(one.place), text=_cut(one.text), answer=_cut(number(answer)),
    said=_cut(number(said)), mark=mark,
  )  # fmt: skip


def _tagged(words, tags):
  """Returns the words that have another tag than O, as word/TAG."""
  if len(words) != len(tags):  # of a text without spaces
    return tags
  pairs = [f'{w}/{tag}' for w, tag in zip(words, tags, strict=True) if tag != 'O']
  return ' '.join(pairs) or 'none'


def _place(place):
  """Returns a place without the folders of the machine: `sst2/dev.tsv, line 12`."""
  path, comma, line = place.partition(',')
  return '/'.join(path.split('/')[-2:]) + comma + line


def _cut(text):
  return text if len(text) <= MAX_TEXT else f'{text[:MAX_TEXT]} …'


def _label_grid(made):
  labels, counts = task_splits.label_counts(made.task, made.splits)
  if not labels:
    return None
  totals = {name: max(1, sum(counter.values())) for name, counter in counts.items()}
  rows = [
    (label, *(f'{counts[s][label]:,} ({counts[s][label] / totals[s]:.1%})'
              for s in counts))
    for label in labels
  ]  # fmt: skip
  made_grid = grid(('label', *counts), rows)
  is_number = (False, *(True for _ in counts))
  return Grid(made_grid.headers, is_number, made_grid.rows, '')


def _split_grid(made):
  rows = []
  for name, records in made.splits.records.items():
    text, mean = made.rows.get(name, ('', None))
    rows.append((name, len(records), mean, text or 'all fit'))
  if not rows:
    return None
  return grid(('split', 'examples', 'mean tokens of a row', 'too long'), rows)


def _curves(made, folder):
  if not any(name.endswith('/loss') for name in made.series):
    return None
  canvas = task_figures.curves(made.series, made.metric, made.step)
  caption = f'Loss and {_words(made.metric)} by step.'
  if made.step is not None:
    caption += ' The dotted line is the step that was scored.'
  return _drawn(canvas, 'curves', 'Learning curves', caption, folder)


def _confusion(one, folder):
  if 'confusion' not in one.details:
    return None
  canvas = task_figures.confusion(one.details['confusion'], one.details['names'])
  if canvas is None:
    return None
  caption = 'How often each gold class (row) was predicted as what (column).'
  return _drawn(canvas, f'confusion-{one.name}', 'Confusion matrix', caption, folder)


def _calibration(one, confidence_N, is_right_N, folder):
  canvas = task_figures.calibration(confidence_N, is_right_N)
  caption = (
    'Calibration: of predictions with this confidence, how many are right'
    ' (arXiv:1706.04599, figure 1).'
  )
  return _drawn(canvas, f'calibration-{one.name}', 'Calibration', caption, folder)


def _drawn(canvas, name, title, caption, folder):
  alt = f'{title}: {drawn_text.describe(canvas)}'
  return task_figures.save(canvas, name, title, caption, alt, folder)
