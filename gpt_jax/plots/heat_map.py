"""A table of numbers as colours, for the `draw` of a figure."""

import numpy as np

# Not those of palette.py, which a dark page replaces: cells keep their colours there.
ON_BRIGHT, ON_DARK = '#101010', '#fdfdfd'


def draw(
  axes, values_RC, rows, columns, *,
  low=None, high=None, digits=2, label='', texts_RC=None, size=10,
):  # fmt: skip
  """Draws `values_RC` on `axes`, with each number in its cell; nan cells stay empty.

  `texts_RC`: to be in the cells instead; `size`: of the letters, in points.
  """
  values_RC = np.asarray(values_RC, np.float64)
  image = axes.imshow(values_RC, cmap='viridis', vmin=low, vmax=high, aspect='auto')
  axes.set_xticks(range(len(columns)), [str(name) for name in columns])
  axes.set_yticks(range(len(rows)), [str(name) for name in rows])
  axes.grid(visible=False)
  axes.spines[:].set_visible(False)
  axes.tick_params(length=0)
  for (i, j), value in np.ndenumerate(values_RC):
    if np.isfinite(value):
      red, green, blue, _ = image.cmap(image.norm(value))
      # Of relative luminance: black on the bright end, white on the dark one.
      is_bright = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45
      text = f'{value:.{digits}f}' if texts_RC is None else texts_RC[i][j]
      axes.text(
        j, i, text, ha='center', va='center', fontsize=size,
        color=ON_BRIGHT if is_bright else ON_DARK,
      )  # fmt: skip
  axes.figure.colorbar(image, ax=axes, label=label)


def of_heads(statistic, *, low=None, high=None):
  """Returns the `draw` of a figure: a statistic of each head at the end of training.

  A line for each layer of each row; mean over seeds of the heads in ascending order,
  since which head does what differs from seed to seed. `statistic`: one that tells
  heads apart, such as `prefix_matching`.
  """

  def draw_heads(axes, results):
    values_LH, lines = [], []
    for group in results.groups():
      if len(group):
        each_SLH = np.sort([_by_head(one, statistic) for one in group], axis=-1)
        values_LH.extend(each_SLH.mean(axis=0))
        lines += [f'{group.describe()}: {i + 1}' for i in range(each_SLH.shape[1])]
    heads = [str(i + 1) for i in range(len(values_LH[0]))]
    draw(axes, values_LH, lines, heads, low=low, high=high)
    axes.set(xlabel='heads, ascending', ylabel='layer')

  draw_heads.caption = 'Mean over seeds, heads of each in ascending order.'
  return draw_heads


def _by_head(result, statistic):
  model = result.point.config.model
  return [
    [
      result.value(f'statistics/{statistic}/layer_{i}/head_{h}')
      for h in range(model.num_heads)
    ]
    for i in range(model.num_layers)
  ]
