"""Names of curves and reference lines, beside the data and never on them."""

import textwrap
from typing import Any

from gpt_jax.plots import palette, series
from gpt_jax.tracking import labels

LINE_HEIGHT = 0.062  # of one line of text, as a share of the axes
TALLEST = 1.1  # of all labels together; what is taller becomes a legend
LETTER_INCHES = 0.085
MAX_IN_LEGEND = 40
DOWN_UP, LEFT_RIGHT = '↓↑', '←→'


def beside(axis, found, chosen, lines):
  """Writes each name to the right of the panel, at the height where its curve ends."""
  limits = axis.get_ylim()
  entries = [
    (one.x[-1], one.mean[-1], one.label, series.format_value(float(one.mean[-1])),
     chosen[one.key, one.variant][0])
    for one in found
  ] + [
    (None, level, f'{_arrow(level, limits)}{line.label}',
     series.format_value(float(level)), palette.REFERENCE)
    for line, level in lines
  ]  # fmt: skip
  texts = [
    textwrap.fill(f'{name}  {end}'.strip(), 34) for _, _, name, end, _ in entries
  ]
  gaps = [LINE_HEIGHT * (0.3 + len(text.splitlines())) for text in texts]
  if sum(gaps) > TALLEST:
    below(axis.figure, {None: found}, chosen, lines, limits)
    return
  heights = [_share(axis, level) for _, level, *_ in entries]
  places = _inside(labels.spread(heights, gaps), gaps)
  left, right = axis.get_xlim()
  for entry, text, height, place in zip(entries, texts, heights, places, strict=True):
    x, level, _, _, color = entry
    inside = 0 < height < 1
    start = (right if x is None else x, level) if inside else (right, height)
    # A long way through the axes must not look like a part of the curve.
    is_long = inside and x is not None and x < right - 0.1 * (right - left)
    style = (0, (1, 3)) if is_long else '-'
    axis.annotate(
      text, xy=start, xycoords='data' if inside else ('data', 'axes fraction'),
      xytext=(1.03, place), textcoords='axes fraction', va='center',
      color=palette.INK, fontsize=10, annotation_clip=False,
      arrowprops={'arrowstyle': '-', 'color': color, 'linewidth': 1.0,
                  'linestyle': style, 'alpha': 0.7, 'shrinkA': 0,
                  'shrinkB': 2, 'relpos': (0, 0.5)},
    )  # fmt: skip


def below(canvas, panels, chosen, lines, limits, arrows=DOWN_UP):
  """Adds one legend under all panels.

  `limits` are those of the axis of `lines`; `arrows` point below and above them.
  """
  from matplotlib.lines import Line2D

  found = [one for each in panels.values() for one in each]
  keys, variants = {}, {}
  for one in found:
    style = chosen[one.key, one.variant]
    keys.setdefault(one.key_label, style)
    variants.setdefault(one.variant_label, style)
  both = len(variants) > 1  # colours say one thing, line styles the other
  shown: dict[str, Any] = {
    name: (color, '-', None) if both else (color, style, marker)
    for name, (color, style, marker) in keys.items()
    if name
  }
  if both:
    grey = palette.REFERENCE
    shown |= {name: (grey, *style) for name, (_, *style) in variants.items()}
  handles = [
    Line2D([], [], color=color, linestyle=style, marker=marker, label=name)
    for name, (color, style, marker) in shown.items()
  ] + [
    Line2D([], [], color=palette.REFERENCE, linestyle=':',
           label=f'{_arrow(level, limits, arrows)}{line.label}'
                 f'  {series.format_value(level)}')
    for line, level in lines
  ]  # fmt: skip
  if not handles:
    return
  if len(handles) > MAX_IN_LEGEND:
    more = f'and {len(handles) - MAX_IN_LEGEND} more'
    handles = [*handles[:MAX_IN_LEGEND], Line2D([], [], linestyle='none', label=more)]
  longest = max(len(str(handle.get_label())) for handle in handles)
  columns = int(canvas.get_figwidth() / (LETTER_INCHES * longest + 0.5))
  columns = max(1, min(columns, len(handles)))
  canvas.legend(handles=handles, loc='outside lower left', ncols=columns)
  canvas.set_figheight(canvas.get_figheight() + 0.22 * -(-len(handles) // columns))


def _arrow(level, limits, arrows=DOWN_UP):
  """Returns an arrow to a line that is outside of the axis."""
  low, high = limits
  return '' if low <= level <= high else f'{arrows[int(level > high)]} '


def _inside(places, gaps):
  """Returns `places` moved together, so that the lowest stays beside the axes."""
  lowest = min(place - gap / 2 for place, gap in zip(places, gaps, strict=True))
  return places + max(0.0, -0.02 - lowest)


def _share(axis, level):
  """Returns how far up the axes `level` is, between 0 and 1."""
  pixels = axis.transData.transform((axis.get_xlim()[1], level))
  return float(min(1, max(0, axis.transAxes.inverted().transform(pixels)[1])))
