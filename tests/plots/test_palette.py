"""Colours that any eye tells apart, on light and on dark pages."""

import itertools

import numpy as np
import pytest

from gpt_jax.plots import palette

# Machado, Oliveira, Fernandes 2009, severity 1: what linear RGB looks like.
SEEN_BY = {
  'most people': np.eye(3),
  'protanopes': [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  'deuteranopes': [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
  ],
  'tritanopes': [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.303900],
  ],
}
XYZ = np.array(
  [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
  ]
)


def linear(color):
  values = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
  return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
  x, y, z = XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
  f = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
  return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one, other):
  """Returns the ratio of the Web Content Accessibility Guidelines."""
  high, low = sorted((XYZ[1] @ linear(c) for c in (one, other)), reverse=True)
  return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize('eyes', SEEN_BY)
@pytest.mark.parametrize(
  'colors, least', [(palette.SERIES, 20), (palette.DARK_SERIES, 15)]
)
def test_any_two_colors_differ_for_all_eyes(colors, least, eyes):
  seen = [lab(np.array(SEEN_BY[eyes]) @ linear(color)) for color in colors]
  pairs = itertools.combinations(seen, 2)
  assert min(np.linalg.norm(a - b) for a, b in pairs) > least


@pytest.mark.parametrize('color', palette.DARK)
def test_colors_stand_out_on_both_pages(color):
  if color in (palette.PAPER, palette.GRID):
    return
  text = color in (palette.INK, palette.MUTED)
  least = 4.5 if text else 3.0 if color not in palette.ORDERED else 1.9
  assert contrast(color, palette.PAPER) > least
  assert contrast(palette.DARK[color], palette.DARK[palette.PAPER]) > least


def test_a_number_beyond_the_colors_has_another_line():
  assert len({palette.of_number(i) for i in range(24)}) == 24


def test_ordered_colors_are_distinct():
  assert len(set(palette.of_ordered(8))) == 8
  assert len(palette.of_ordered(1)) == 1


def test_only_colors_with_a_dark_form_become_variables():
  svg = f'<path style="fill: {palette.INK}"/><path style="stroke: #123456"/>'
  shown = palette.with_variables(svg)
  name = f'--c-{palette.INK[1:]}'
  assert shown == f'<path style="fill: var({name})"/><path style="stroke: #123456"/>'
  assert f'{name}:{palette.INK};' in palette.variables(dark=False)
  assert f'{name}:{palette.DARK[palette.INK]};' in palette.variables(dark=True)
