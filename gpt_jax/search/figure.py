"""The figure of a search: its history, what matters, and each field by itself."""

import warnings

from gpt_jax.plots import figures, palette
from gpt_jax.search import space, trial_run

MIN_TRIALS = 4  # that came to their end, before importances say anything
MAX_SLICES = 6  # fields with a panel of their own
MARKERS = {
  trial_run.COMPLETE: dict(marker='o', color=palette.SERIES[0], label='complete'),
  trial_run.PRUNED: dict(
    marker='o', facecolors='none', edgecolors=palette.MUTED, label='pruned'
  ),
}


def importances(found):
  """Returns `{field: share}` by PED-ANOVA, the largest first; {} for too few trials.

  Watanabe et al. 2023, arXiv:2304.10255: which fields decide whether a trial is among
  the better ones. Shares add up to 1.
  """
  optuna = space.import_optuna()
  state = optuna.trial.TrialState.COMPLETE
  finished = found.study.get_trials(deepcopy=False, states=(state,))
  if len(finished) < MIN_TRIALS or len({one.value for one in finished}) < 2:
    return {}
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # that the evaluator is experimental
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    shares = optuna.importance.get_param_importances(found.study, evaluator=evaluator)
  return {field: float(share) for field, share in shares.items()}


def save(found, listed, folder):
  """Returns the paths of FOLDER/search.svg and .png."""
  import matplotlib

  paths = [folder / 'search.svg', folder / 'search.png']
  with matplotlib.rc_context(figures.STYLE):
    canvas = draw(found, listed)
    canvas.savefig(paths[0], metadata=dict.fromkeys(('Creator', 'Date')))
    canvas.savefig(paths[1], dpi=150, metadata={'Software': None})
  return paths


def draw(found, listed):
  """Returns a matplotlib figure of `listed`, the result of `outputs.trials`."""
  from matplotlib.figure import Figure

  slices = found.space[:MAX_SLICES]
  columns = 2 if len(slices) in (1, 2, 4) else 3
  rows = 1 + -(-len(slices) // columns)
  canvas = Figure(figsize=(4 * columns, 3.2 * rows), layout='constrained')
  grid = canvas.add_gridspec(rows, columns)
  shares = importances(found)
  has_shares = len(shares) > 1
  history = canvas.add_subplot(grid[0, : columns - has_shares])
  _draw_history(history, found, listed)
  if has_shares:
    _draw_importances(canvas.add_subplot(grid[0, columns - 1]), shares)
  for i, dimension in enumerate(slices):
    axis = canvas.add_subplot(grid[1 + i // columns, i % columns])
    _draw_slice(axis, found, dimension, listed)
  return canvas


def _draw_history(axis, found, listed):
  _scatter(axis, listed, lambda one: one['trial'])
  better = max if found.experiment.higher_is_better else min
  x, best = [], []
  for one in sorted(listed, key=lambda one: one['trial']):
    if one['state'] == trial_run.COMPLETE:
      x.append(one['trial'])
      best.append(better([one['value'], *best[-1:]]))
  axis.step(x, best, where='post', color=palette.SERIES[1], label='best so far')
  for state, color in ((trial_run.DIVERGED, 'x'), (trial_run.FAILED, '|')):
    places = [one['trial'] for one in listed if one['state'] == state]
    if places:
      axis.plot(
        places, [0.98] * len(places), color, color=palette.MUTED, label=state,
        transform=axis.get_xaxis_transform(),
      )  # fmt: skip
  axis.set_xlabel('trial')
  axis.set_ylabel(found.metric)
  axis.xaxis.get_major_locator().set_params(integer=True)
  _limit(axis, found, listed)
  axis.legend()


def _draw_importances(axis, shares):
  names = list(shares)[::-1][-8:]
  axis.barh(
    [name.rpartition('.')[2] for name in names],
    [shares[name] for name in names],
    color=palette.SERIES[0],
  )
  axis.set_xlabel('importance (PED-ANOVA)')
  axis.grid(axis='y', visible=False)


def _draw_slice(axis, found, dimension, listed):
  field = dimension.field
  names = [str(choice) for choice in dimension.choices]
  if names:
    axis.set_xticks(range(len(names)), names)
    axis.margins(x=0.2)

  def place(one):
    value = one['values'][field]
    return names.index(str(value)) if names else value

  _scatter(axis, [one for one in listed if field in one['values']], place)
  if dimension.log:
    axis.set_xscale('log')
  axis.set_xlabel(field)
  axis.set_ylabel(found.metric)
  _limit(axis, found, listed)


def _scatter(axis, listed, place):
  for state, style in MARKERS.items():
    shown = [
      one for one in listed if one['state'] == state and one['value'] is not None
    ]
    axis.scatter(
      [place(one) for one in shown], [one['value'] for one in shown], **style
    )


def _limit(axis, found, listed):
  """Leaves out values far worse than the rest, such as of nearly diverged runs."""
  values = sorted(one['value'] for one in listed if one['value'] is not None)
  if len(values) < MIN_TRIALS:
    return
  spread = abs(values[len(values) // 2] - values[0]) or abs(values[0]) * 0.1
  if found.experiment.higher_is_better:
    spread = values[-1] - values[len(values) // 2] or abs(values[-1]) * 0.1
    axis.set_ylim(max(values[0] - 0.2 * spread, values[-1] - 4 * spread), None)
  else:
    axis.set_ylim(None, min(values[-1] + 0.2 * spread, values[0] + 4 * spread))
