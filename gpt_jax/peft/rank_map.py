"""The ranks that a method chose, layer by layer: a table, its metrics, a picture."""

import numpy as np

from gpt_jax.optimizers import depths
from gpt_jax.storage.places import place


def by_layer(ranks):
  """Returns {target: {layer: rank}} of `Adapter.ranks`; a target such as 'mlp/up'."""
  cycle, table = depths.cycle_length(ranks), {}
  for path, values in ranks.items():
    found = depths.place(path)
    assert found, path  # linear maps are those of layers
    _, _, target = path.partition(f'block_{found.block}/')
    for i, rank in enumerate(values):
      group = i if found.group is None else found.group
      table.setdefault(target, {})[group * cycle + found.block] = int(rank)
  return {target: dict(sorted(ranks.items())) for target, ranks in table.items()}


def metrics(table):
  """Returns {'ranks/TARGET/layer_N': rank} of a table of `by_layer`."""
  return {
    f'ranks/{target}/layer_{layer}': float(rank)
    for target, ranks in table.items()
    for layer, rank in ranks.items()
  }


def draw(table, title=''):
  """Returns the figure of a table: a line for each layer, a column for each target."""
  # Without pyplot, which keeps every figure alive and looks for a display.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  layers = sorted({layer for ranks in table.values() for layer in ranks})
  values_LC = np.array(
    [[ranks.get(layer, np.nan) for ranks in table.values()] for layer in layers]
  )
  size = 2 + 0.9 * len(table), 1.6 + 0.4 * len(layers)
  figure = Figure(figsize=size, layout='constrained')
  FigureCanvasAgg(figure)
  axis = figure.subplots()
  image = axis.imshow(values_LC, cmap='viridis', vmin=0, aspect='auto')
  axis.set_xticks(range(len(table)), [target.replace('/', '\n') for target in table])
  axis.set_yticks(range(len(layers)), [str(layer + 1) for layer in layers])
  axis.set_ylabel('layer')
  axis.set_title(title, loc='left', fontsize=11)
  for (i, j), rank in np.ndenumerate(values_LC):
    if np.isfinite(rank):
      color = 'black' if rank > 0.6 * np.nanmax(values_LC) else 'white'
      axis.text(j, i, f'{rank:.0f}', ha='center', va='center', color=color)
  figure.colorbar(image, ax=axis, label='rank')
  return figure


def save(table, out_path, title=''):
  """Returns `out_path` after drawing a table of `by_layer` there, as PNG."""
  out_path = place(out_path)
  out_path.parent.mkdir(parents=True, exist_ok=True)
  with out_path.open('wb') as file:
    draw(table, title).savefig(file, dpi=150, format='png')
  return out_path
