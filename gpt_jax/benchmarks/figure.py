"""A bench drawn as a PNG: shares of the peaks, attention, ratios, costs of methods."""

import pathlib

from gpt_jax.tracking import labels

OURS, PEER, FAINT = '#1f4e79', '#c98a00', '0.8'
KERNEL_COLORS = ('#1f4e79', '#d1495b', '#2e8b57', '#8e5ea2', '#c98a00', '#3a9fbf')


def save(report, path):
  """Draws a BenchReport and returns `path`; makes its folder if needed."""
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  draw(report).savefig(path, dpi=150)
  return path


def draw(report):
  """Returns the figure of a BenchReport, with a panel for each kind of result."""
  # Without pyplot, which keeps every figure alive and looks for a display.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  panels = [
    (draw_panel, content)
    for draw_panel, content in (
      (_draw_shares, _shares(report)),
      (_draw_attention, _attention(report)),
      (_draw_ratios, _ratios_to_peer(report)),
      (_draw_memory, report.peft),
      (_draw_ratios, _ratios_to_full(report)),
    )
    if content
  ]
  count = max(1, len(panels))
  height = max(4.4, 0.4 * len(report.peft))
  figure = Figure(figsize=(5.6 * count, height), layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots(1, count, squeeze=False)[0]
  for axis, (draw_panel, content) in zip(axes, panels, strict=False):
    axis.spines[['top', 'right']].set_visible(False)
    axis.set_axisbelow(True)
    draw_panel(axis, content)
  figure.suptitle(_title(report), x=0.01, ha='left', fontsize=11)
  return figure


def _title(report):
  run, device = report.run, report.device
  return (
    f'{run["parameters"] / 1e6:,.1f} M parameters, {run["batch_size"]} x'
    f' {run["seq_len"]} tokens, {run["dtype"]}, on {device["count"]} {device["kind"]};'
    f' medians of {report.rounds} rounds'
  )


def _shares(report):
  rows = []
  for name, case in report.cases.items():
    if name in ('matmul', 'copy') or name.startswith('attention/'):
      continue
    if case.mfu is not None:
      rows.append((name, case.mfu, 'matmul peak'))
    elif case.bandwidth_share is not None:
      rows.append((name, case.bandwidth_share, 'copy peak'))
  return rows


def _draw_shares(axis, rows):
  labels = [f'{name}\nof {peak}' for name, _, peak in rows]
  places = range(len(rows))
  axis.barh(places, [1.0] * len(rows), color='0.94', height=0.62)
  axis.barh(places, [share for _, share, _ in rows], color=OURS, height=0.62)
  for place, (_, share, _) in zip(places, rows, strict=True):
    axis.text(share + 0.015, place, f'{share:.1%}', va='center', fontsize=9)
  axis.set_yticks(list(places), labels, fontsize=8.5)
  axis.invert_yaxis()
  axis.set_xlim(0, max(1.0, *(1.12 * share for _, share, _ in rows)))
  axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ['0', '25 %', '50 %', '75 %', '100 %'])
  axis.set_title('share of the peaks of the same bench', loc='left', fontsize=10)


def _attention(report):
  """Returns `{kernel: [(length, TFLOP/s)]}` of forward and backward together."""
  lines = {}
  for name, case in report.cases.items():
    parts = name.split('/')
    if parts[0] == 'attention' and parts[3] == 'both':
      lines.setdefault(parts[1], []).append((int(parts[2]), case.tflops))
  return {kernel: sorted(points) for kernel, points in lines.items()}


def _draw_attention(axis, lines):
  # A label stands at the last length at all, where close ones are moved apart.
  longest = max(length for points in lines.values() for length, _ in points)
  highest = max(rate for points in lines.values() for _, rate in points)
  places = labels.spread([points[-1][1] for points in lines.values()], 0.05 * highest)
  for i, (kernel, points) in enumerate(lines.items()):
    lengths, rates = zip(*points, strict=True)
    color = KERNEL_COLORS[i % len(KERNEL_COLORS)]
    axis.plot(lengths, rates, color=color, marker='o', markersize=5, linewidth=1.6)
    axis.annotate(
      kernel, (lengths[-1], rates[-1]), xytext=(longest * 1.1, places[i]),
      textcoords='data', color=color, fontsize=9, va='center', annotation_clip=False,
      arrowprops=dict(arrowstyle='-', color=color, linewidth=0.6),
    )  # fmt: skip
  lengths = sorted({length for points in lines.values() for length, _ in points})
  axis.set_xscale('log', base=2)
  axis.set_xticks(lengths, [f'{length:,}' for length in lengths])
  axis.minorticks_off()
  axis.set_ylim(0, 1.08 * highest)
  axis.grid(color='0.92', linewidth=0.8)
  axis.set_xlabel('sequence length')
  axis.set_title('attention, forward and backward, TFLOP/s', loc='left', fontsize=10)


def _ratios_to_peer(report):
  """Returns what `_draw_ratios` takes, None where there is nothing."""
  if not report.ratios:
    return None
  title = f'time over that of transformers, {report.peer["dtype"]}'
  return report.ratios, title, 'below 1: gpt_jax is faster'


def _ratios_to_full(report):
  ratios = {label: each['step_ratio'] for label, each in report.peft.items()}
  ratios = {label: ratio for label, ratio in ratios.items() if ratio}
  if not ratios:
    return None
  return ratios, 'time of a step over that of full fine-tuning', 'below 1: faster'


def _draw_memory(axis, costs):
  """Draws what a step of each way of fine-tuning needs: state, then temporaries."""
  places = range(len(costs))
  state = [each['state_gib'] for each in costs.values()]
  beside = [each['temporaries_gib'] for each in costs.values()]
  axis.barh(places, state, color=OURS, height=0.62, label='state and batch')
  axis.barh(places, beside, left=state, color=PEER, height=0.62, label='temporaries')
  for place, (kept, more) in enumerate(zip(state, beside, strict=True)):
    axis.annotate(
      f'{kept + more:.3g}', (kept + more, place), xytext=(4, 0),
      textcoords='offset points', va='center', fontsize=9,
    )  # fmt: skip
  axis.set_yticks(list(places), list(costs), fontsize=9)
  axis.invert_yaxis()
  axis.set_xlim(0, 1.15 * max(a + b for a, b in zip(state, beside, strict=True)))
  below = (0.5, -0.06)
  axis.legend(
    frameon=False, fontsize=9, ncols=2, loc='upper center', bbox_to_anchor=below
  )
  axis.set_title('memory of a training step, GiB', loc='left', fontsize=10)


def _draw_ratios(axis, content):
  from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

  ratios, title, meaning = content
  for place, ratio in enumerate(ratios.values()):
    color = OURS if ratio['median'] <= 1 else PEER
    axis.plot([1.0, ratio['median']], [place, place], color=FAINT, linewidth=1.2)
    axis.plot([ratio['low'], ratio['high']], [place, place], color=color, linewidth=4)
    axis.plot(ratio['median'], place, color=color, marker='o', markersize=9)
    axis.annotate(
      f'{ratio["median"]:.2f}', (ratio['median'], place), xytext=(0, 10),
      textcoords='offset points', ha='center', fontsize=9,
    )  # fmt: skip
  axis.axvline(1.0, color='0.4', linestyle=':', linewidth=1.2)
  axis.set_yticks(range(len(ratios)), list(ratios), fontsize=9)
  axis.set_ylim(len(ratios) - 0.5, -0.7)
  # Logarithmic: half the time is as far from 1 as twice the time.
  axis.set_xscale('log', base=2)
  ends = [ratio[end] for ratio in ratios.values() for end in ('low', 'high')]
  axis.set_xlim(min(0.5, *ends) / 1.2, max(2.0, *ends) * 1.2)
  axis.xaxis.set_major_locator(LogLocator(base=2))
  axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f'{x:g}'))
  axis.xaxis.set_minor_formatter(NullFormatter())
  axis.set_xlabel(f'{meaning} (lines: quartiles)')
  axis.set_title(title, loc='left', fontsize=10)
