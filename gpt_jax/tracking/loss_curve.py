"""The loss curve of a run as a PNG, drawn from its `metrics.jsonl`."""

import numpy as np

from gpt_jax.storage.places import place
from gpt_jax.tracking import labels, metrics_file

TRAIN_LOSS = 'train/loss'
LEARNING_RATE = 'train/learning_rate'
EVAL_SUFFIX = '/loss'
TRAIN_COLOR = '#1f4e79'
EVAL_COLORS = ('#d1495b', '#2e8b57', '#8e5ea2', '#c98a00', '#3a9fbf')


def save(metrics_path, out_path, *, reference_lines=(), title=''):
  """Returns `out_path` after drawing the losses, and the learning rate below them.

  `reference_lines`, pairs (label, nats per token), are drawn dotted. Metrics that the
  file does not hold yet are left out.
  """
  figure = draw(metrics_file.read(metrics_path), reference_lines, title)
  out_path = place(out_path)
  out_path.parent.mkdir(parents=True, exist_ok=True)
  with out_path.open('wb') as file:
    figure.savefig(file, dpi=150, format='png')
  return out_path


def draw(series, reference_lines=(), title=''):
  """Returns the figure of `series`, `{name: [(step, value), ...]}` by rising step."""
  figure, axes = _axes(has_rate=LEARNING_RATE in series)
  _draw_train(axes[0], series.get(TRAIN_LOSS, []))
  _draw_evals(axes[0], series)
  _set_loss_range(axes[0], series, reference_lines)
  _draw_references(axes[0], reference_lines)
  axes[0].set_ylabel('loss, nats per token')
  axes[0].set_title(title, loc='left', fontsize=11)
  if axes[0].get_legend_handles_labels()[0]:
    axes[0].legend(
      fontsize=9,
      loc='upper right',
      bbox_to_anchor=(1.0, 0.94),
      framealpha=1.0,
      edgecolor='none',
    )
  if LEARNING_RATE in series:
    steps, rates = zip(*series[LEARNING_RATE], strict=True)
    axes[1].plot(steps, rates, color='0.35', linewidth=1.2)
    axes[1].set_ylabel('learning rate', fontsize=9)
    axes[1].ticklabel_format(axis='y', style='sci', scilimits=(0, 0))
  axes[-1].set_xlabel('step')
  return figure


def smooth(values):
  """Returns the moving average of `values` over 1/10 of their number."""
  # The window is centred and shrinks towards the start, which is steep: no lag there.
  # At the end it would shrink to one noisy value: the last average goes on instead with
  # the slope of the last 3/10, since that of one window is noise.
  values = np.asarray(values, np.float64)
  reach, index = len(values) // 20, np.arange(len(values))
  if not reach:
    return values
  sums = np.concatenate([[0.0], np.cumsum(values)])
  middle = np.minimum(index, len(values) - 1 - reach)
  left = np.minimum(middle, reach)
  averages = (sums[middle + left + 1] - sums[middle - left]) / (2 * left + 1)
  last = values[-6 * reach - 1 :]
  slope = np.polyfit(np.arange(len(last)), last, 1)[0]
  return averages + slope * (index - middle)


def _axes(*, has_rate):
  """Returns (figure, axes): the loss panel and, with `has_rate`, a low one below it."""
  # Without pyplot, which keeps every figure alive and looks for a display.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=(8, 5.2 if has_rate else 4.4), layout='constrained')
  FigureCanvasAgg(figure)
  ratios = [4, 1] if has_rate else [1]
  axes = figure.subplots(
    len(ratios), 1, sharex=True, height_ratios=ratios, squeeze=False
  )
  for axis in axes[:, 0]:
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(color='0.92', linewidth=0.8)
    axis.set_axisbelow(True)
  return figure, list(axes[:, 0])


def _draw_train(axis, points):
  if points:
    steps, losses = zip(*points, strict=True)
    axis.plot(steps, losses, color=TRAIN_COLOR, alpha=0.25, linewidth=0.8)
    axis.plot(steps, smooth(losses), color=TRAIN_COLOR, linewidth=1.6, label='train')


def _draw_evals(axis, series):
  names = [n for n in sorted(series) if n.endswith(EVAL_SUFFIX) and n != TRAIN_LOSS]
  for i, name in enumerate(names):
    steps, losses = zip(*series[name], strict=True)
    axis.plot(
      steps,
      losses,
      color=EVAL_COLORS[i % len(EVAL_COLORS)],
      marker='o',
      markersize=4,
      linewidth=1.3,
      label=f'{name.removesuffix(EVAL_SUFFIX)} ({losses[-1]:.3f})',
    )


def _draw_references(axis, reference_lines):
  """Draws dotted lines with their labels to the right of the panel, kept apart."""
  low, high = axis.get_ylim()
  reference_lines = sorted(reference_lines, key=lambda line: line[1])
  places = labels.spread([level for _, level in reference_lines], 0.045 * (high - low))
  for (label, level), label_at in zip(reference_lines, places, strict=True):
    axis.axhline(level, color='0.45', linestyle=':', linewidth=1.1)
    axis.annotate(
      f'{label}  {level:.3f}',
      xy=(1.0, level),
      xycoords=('axes fraction', 'data'),
      xytext=(1.02, label_at),
      textcoords=('axes fraction', 'data'),
      verticalalignment='center',
      fontsize=8.5,
      color='0.3',
      arrowprops={'arrowstyle': '-', 'color': '0.6', 'linewidth': 0.7},
      annotation_clip=False,
    )


def _set_loss_range(axis, series, reference_lines):
  """Sets the range to all reference lines and curves, without the first peaks."""
  points = [v for n in series if n.endswith(EVAL_SUFFIX) for _, v in series[n]]
  levels = [level for _, level in reference_lines]
  if points or levels:
    high = max(levels + ([float(np.quantile(points, 0.98))] if points else []))
    low = min(points + levels)
    margin = 0.06 * (high - low) or 0.5
    axis.set_ylim(low - margin, high + margin)
