"""A plan drawn: the FLOP/s of each op, and where the time of a step goes.

Left a roofline (Williams et al., 2009): FLOP/s against FLOPs for each byte of HBM,
under the chip's two limits. A dot is an instruction with a matmul or an attention
kernel, its area the time it takes in a step. Right that time by class, with the time
that its bytes alone would take.
"""

import collections
import textwrap

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.hlo import parser, types

COLORS = {
  types.MATMUL: '#1f4e79',
  types.KERNEL: '#d1495b',
  types.ELEMENTWISE: '#c98a00',
  types.DATA_MOVEMENT: '#8e8e8e',
}
NETWORK_COLOR = '#2e8b57'
_LABELLED = 4
_ENOUGH = 28.0
# Where a number may stand, in pixels from its dot: the first that is free.
_AROUND = [
  np.array([radius * np.cos(angle), radius * np.sin(angle)])
  for radius in (34, 50, 70)
  for angle in np.radians([-90, -45, -135, 0, 180, 45, 135, 90])
]


def draw(compiled, topology, path):
  """Draws a plan.Compiled as a PNG; ConfigError where no times are estimated."""
  if topology.chip is None:
    raise ConfigError(
      f'--figure: the compiler of {topology.name} estimates no times; plan for a TPU.'
    )
  if compiled.costs is None:
    raise ConfigError('--figure: the step does not fit, so there is nothing to draw.')
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=(11, 4.6), layout='constrained')
  FigureCanvasAgg(figure)
  left, right = figure.subplots(1, 2, width_ratios=[1.45, 1])
  _roofline(left, compiled.costs, topology.chip)
  _times(right, compiled.plan, topology.chip)
  plan = compiled.plan
  figure.suptitle(
    f'{plan.topology}, {plan.tokens_per_step:,} tokens a step: at best'
    f' {plan.time.step_ms_bound:,.1f} ms, MFU {plan.time.mfu_bound:.1%}',
    fontsize=11,
  )
  figure.savefig(path, dpi=150)


def points(costs, chip):
  """Returns (label, class, FLOPs per byte, FLOP/s, ms in a step), longest first."""
  found = []
  for op, count in costs.ops:
    if op.flops and op.cycles:
      seconds = op.cycles / chip.clock_hz
      intensity = op.flops / max(op.hbm_bytes, 1)
      name, rate = parser.label(op.op_name) or op.name, op.flops / seconds
      found.append((name, op.kind, intensity, rate, 1e3 * count * seconds))
  return sorted(found, key=lambda point: -point[-1])


def _roofline(axis, costs, chip):
  found = points(costs, chip)
  ridge = chip.peak_flops / chip.hbm_bandwidth
  low = min([ridge / 30] + [point[2] for point in found]) / 2
  # On-chip memory lets a matmul move no byte at all: those are at the right edge.
  high = ridge * 300
  bounds = np.geomspace(low, high, 100)
  roof = np.minimum(chip.peak_flops, bounds * chip.hbm_bandwidth)
  axis.loglog(bounds, roof / 1e12, color='0.25', linewidth=1.4)
  axis.axvline(ridge, color='0.75', linewidth=0.8, linestyle=':')
  total = sum(point[-1] for point in found) or 1.0
  for kind in (types.MATMUL, types.KERNEL):
    chosen = [point for point in found if point[1] == kind]
    if chosen:
      axis.scatter(
        [min(point[2], high / 1.5) for point in chosen],
        [point[3] / 1e12 for point in chosen],
        s=[6 + 900 * point[4] / total for point in chosen],
        color=COLORS[kind], alpha=0.5, linewidths=0.5, edgecolors='white',
        label=f'{kind}s',
      )  # fmt: skip
  _list_longest(axis, found[:_LABELLED])
  if any(point[2] > high / 1.5 for point in found):
    axis.text(
      high / 1.5, chip.peak_flops / 1e12 * 1.25, 'no HBM traffic', fontsize=8,
      ha='right', color='0.4',
    )  # fmt: skip
  # A decade of space below the slowest for the list.
  slowest = min([chip.peak_flops / 30] + [point[3] for point in found]) / 1e12
  axis.set_ylim(slowest / 14, chip.peak_flops / 1e12 * 1.9)
  axis.set_xlim(low, high)
  axis.set_xlabel('FLOPs for each byte of HBM')
  axis.set_ylabel('TFLOP/s')
  axis.set_title(
    f'{chip.name}: {chip.peak_flops / 1e12:.0f} TFLOP/s,'
    f' {chip.hbm_bandwidth / 1e12:.2f} TB/s',
    loc='left', fontsize=9.5,
  )  # fmt: skip
  legend = axis.legend(loc='upper left', fontsize=8, frameon=False)
  for handle in legend.legend_handles:
    handle.set_sizes([40])
  _clean(axis)
  _number(axis, found, high / 1.5)


def _list_longest(axis, longest):
  """Lists these points in the lower right corner, in the colors of their dots."""
  for row, (label, kind, _, _, ms) in enumerate(reversed(longest)):
    number = len(longest) - row
    text = f'{textwrap.shorten(label, 60, placeholder="")}  {ms:,.1f} ms'
    height = 0.03 + 0.05 * row
    axis.text(
      0.98, height, f'{text}   {number}', transform=axis.transAxes, fontsize=8,
      ha='right', va='bottom', color=COLORS[kind], fontweight='bold',
    )  # fmt: skip


def _number(axis, found, right):
  """Writes the numbers of the list beside their dots, each with a line to its own."""
  # Call it last: places are compared in pixels, and those follow from the limits.
  spots = [(min(point[2], right), point[3] / 1e12) for point in found]
  taken = [axis.transData.transform(spot) for spot in spots]
  places = collections.defaultdict(list)  # equal layers have one spot
  for number, spot in enumerate(spots[:_LABELLED], start=1):
    places[tuple(np.round(10 * np.log10(spot)))].append((number, spot))
  for members in places.values():
    color = COLORS[found[members[0][0] - 1][1]]
    at = axis.transData.transform(members[0][1])
    offset = max(_AROUND, key=lambda each: _distance(at + each, taken))
    taken.append(at + offset)
    axis.annotate(
      ', '.join(str(number) for number, _ in members), members[0][1],
      xytext=offset, textcoords='offset pixels', fontsize=8.5, fontweight='bold',
      color=color, ha='center', va='center',
      bbox=dict(boxstyle='circle,pad=0.15', facecolor='white', edgecolor=color),
      arrowprops=dict(arrowstyle='-', color=color, linewidth=0.9, shrinkA=0),
    )  # fmt: skip


def _distance(place, taken):
  """Returns the distance to the nearest of `taken`, in pixels, _ENOUGH at most."""
  return min(_ENOUGH, *(float(np.hypot(*(place - other))) for other in taken))


def _times(axis, plan, chip):
  classes = sorted(plan.time.classes, key=lambda each: each.ms)
  exposed = plan.network.exposed_network_ms
  hidden = plan.network.network_ms - exposed
  names = ['network, hidden', 'network, exposed'] + [each.kind for each in classes]
  values = [hidden, exposed] + [each.ms for each in classes]
  colors = [NETWORK_COLOR] * 2 + [COLORS[each.kind] for each in classes]
  bars = axis.barh(names, values, height=0.65, color=colors, alpha=0.8)
  bars[0].set_alpha(0.3)
  bytes_ms = [1e3 * each.hbm_gib * 2**30 / chip.hbm_bandwidth for each in classes]
  marks = [0.0, 0.0, *bytes_ms]
  axis.scatter(
    bytes_ms, range(2, len(marks)), marker='|', s=260, color='black', zorder=3
  )
  longest = max(values + marks + [1e-9])
  for place, value in enumerate(values):
    end = max(value, marks[place]) + 0.02 * longest
    axis.text(end, place, f'{value:,.1f}', va='center', fontsize=8)
  axis.set_xlim(0, 1.15 * longest)
  axis.set_xlabel('ms of a step;  |  what its bytes alone would take')
  axis.set_title('time by class', loc='left', fontsize=9.5)
  _clean(axis)
  axis.grid(axis='y', visible=False)


def _clean(axis):
  axis.spines[['top', 'right']].set_visible(False)
  axis.grid(color='0.92', linewidth=0.8)
  axis.set_axisbelow(True)
