"""Colours of figures, each with its counterpart on a dark page.

Any two of SERIES differ for normal and for colour-blind eyes (CIELAB distance above 20
under the simulations of Machado et al. 2009); all have a contrast above 3 to the page.
"""

import re

INK = '#1b2330'  # titles, labels
MUTED = '#5a6472'  # axes, notes
GRID = '#e4e7eb'
REFERENCE = '#707a88'
PAPER = '#ffffff'

SERIES = ('#17506e', '#e8590c', '#2b9a73', '#d65db1', '#5c3d0c', '#7b4dea')
DARK_SERIES = ('#a5d3f8', '#e0622f', '#28b886', '#e668cf', '#f3dd9b', '#8f6bf5')
LINE_STYLES = ('-', '--', '-.', (0, (1, 1.2)))
MARKERS = ('o', 's', '^', 'D', 'v', 'P')

ORDERED_STEPS = 16

# Viridis (van der Walt, Smith), a perceptually even scale, at 16 levels; a page of each
# kind leaves out the end that it would swallow.
ORDERED = (
  '#440154', '#481467', '#482576', '#463480', '#414487', '#3b528b', '#355f8d',
  '#2f6c8e', '#2a788e', '#25848e', '#21918c', '#1e9c89', '#22a884', '#2fb47c',
  '#44bf70', '#5ec962',
)  # fmt: skip
DARK_ORDERED = (
  '#4a7fb5', '#458bb5', '#4096b3', '#3ba1b0', '#38abab', '#38b5a4', '#3dbe9b',
  '#48c790', '#58cf84', '#6cd676', '#82dc66', '#99e156', '#b1e548', '#c9e83e',
  '#e0eb3a', '#f5ee45',
)  # fmt: skip

DARK = {
  INK: '#e8ebef', MUTED: '#a3acb8', GRID: '#2b323c', REFERENCE: '#8b95a3',
  PAPER: '#14181d',
  **dict(zip(SERIES, DARK_SERIES, strict=True)),
  **dict(zip(ORDERED, DARK_ORDERED, strict=True)),
}  # fmt: skip
"""Colour of a figure -> the one that stands for it on a dark page."""


def of_number(index):
  """Returns (colour, line style, marker) of the series with this number, from 0."""
  style = LINE_STYLES[index // len(SERIES) % len(LINE_STYLES)]
  marker = MARKERS[(index + index // len(SERIES)) % len(MARKERS)]
  return SERIES[index % len(SERIES)], style, marker


def of_ordered(count):
  """Returns `count` colours for values in their order, dark to light."""
  last = max(count - 1, 1)
  return [ORDERED[round(i * (ORDERED_STEPS - 1) / last)] for i in range(count)]


def with_variables(svg):
  """Returns `svg` with CSS variables in place of the colours that have a dark form."""
  names = {color: f'var({_variable(color)})' for color in DARK}
  return re.sub(r'#[0-9a-f]{6}\b', lambda m: names.get(m[0], m[0]), svg)


def variables(*, dark):
  """Returns the CSS declarations of the variables of `with_variables`."""
  pairs = ((color, DARK[color] if dark else color) for color in DARK)
  return ''.join(f'{_variable(color)}:{shown};' for color, shown in pairs)


def _variable(color):
  return f'--c-{color[1:]}'
