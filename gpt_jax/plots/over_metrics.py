"""Several metrics of a run as one curve, such as losses at several lengths of a row."""

import numpy as np

from gpt_jax.plots import palette


def of(metrics, *, x_label, y_label, log2=False, reference=None):
  """Returns the `draw` of a figure: each row's metrics, mean and range over seeds.

  `metrics`: the number that a metric stands for, its place on the x axis -> metric.
  `reference`: a label and the values of a level to draw beside, one for each metric.
  """

  def draw_over_metrics(axes, results):
    x = list(metrics)
    for i, row in enumerate(results.study.experiment.rows):
      values_SX = [
        [one.value(name) for name in metrics.values()] for one in results.where(row=row)
      ]
      if values_SX:
        color, style, marker = palette.of_number(i)
        mean, low, high = (f(values_SX, axis=0) for f in (np.mean, np.min, np.max))
        axes.plot(x, mean, color=color, linestyle=style, marker=marker, label=row)
        axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    if reference is not None:
      label, levels = reference
      axes.plot(x, levels, color=palette.REFERENCE, linestyle=':', label=label)
    if log2:
      axes.set_xscale('log', base=2)
    axes.set_xticks(x, [f'{place:g}' for place in x])
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.legend()

  draw_over_metrics.caption = (
    'Mean over seeds; bands reach from the lowest to the highest.'
  )
  return draw_over_metrics
