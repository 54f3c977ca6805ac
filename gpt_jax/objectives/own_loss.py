"""What a loss of an objective's own leaves out of the settings of cross-entropy."""

from gpt_jax.core.errors import Problem


def problems(config):
  """Returns the Problems of settings that only losses over classes have."""
  name, found = config.objective.name, []
  for field in ('label_smoothing', 'z_loss'):
    if value := getattr(config.objective, field):
      text = f'={value:g}: the loss of {name} has none; set 0'
      found.append(Problem(f'objective.{field}', text))
  if config.eval.metrics:
    text = f'={tuple(config.eval.metrics)}: compare classes, and {name} predicts none;'
    found.append(Problem('eval.metrics', f'{text} set ()'))
  return found


def problems_of_texts(config):
  """Returns `problems`, and that of texts whose value has no end token to stand on."""
  found = problems(config)
  if not config.data.append_eos:
    text = f'=False: the place of the end token carries what {config.objective.name}'
    found.append(Problem('data.append_eos', text + ' learns; set True'))
  return found
