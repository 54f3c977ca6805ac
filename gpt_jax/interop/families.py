"""Every family of models by its model_type, and which of them a config.json is."""

from gpt_jax.core.errors import CheckpointError
from gpt_jax.core.registry import nearest
from gpt_jax.interop import (
  bert,
  distilbert,
  gemma,
  gpt2,
  gpt_neox,
  llama,
  mistral,
  qwen,
)

FAMILIES = {
  family.name: family
  for family in (
    gpt2.FAMILY,
    gpt_neox.FAMILY,
    llama.FAMILY,
    mistral.FAMILY,
    qwen.QWEN2,
    qwen.QWEN3,
    gemma.GEMMA2,
    gemma.GEMMA3,
    bert.FAMILY,
    distilbert.FAMILY,
  )
}
"""A new family is a file with a `Family`, and its name here."""


def find(values, place):
  """Returns the Family of a config.json; CheckpointError for one that is not ours."""
  model_type = values.get('model_type')
  given = values.get('architectures')
  given = given if isinstance(given, list) else []
  names = [name for name in given if isinstance(name, str)]
  known = {name: one for one in FAMILIES.values() for name in one.architectures}
  family = FAMILIES.get(str(model_type))
  if family is None and model_type is None and names and names[0] in known:
    family = known[names[0]]
  if family is None and 'text_config' in values:
    raise CheckpointError(
      f'{place}: model_type={model_type!r} reads images or sound beside text; only'
      ' models of text are supported, such as gemma3_text (gemma-3-270m, gemma-3-1b).'
    )
  if family is None:
    hint = nearest(str(model_type), FAMILIES)
    raise CheckpointError(
      f'{place}: model_type={model_type!r} is not supported; supported are'
      f' {", ".join(FAMILIES)}' + (f'. The nearest one is {hint!r}.' if hint else '.')
    )
  if names and not set(names) & set(family.architectures):
    hint = nearest(names[0], family.architectures) or family.architectures[0]
    raise CheckpointError(
      f'{place}: architectures={given}: not supported; of {family.name} there are'
      f' {", ".join(family.architectures)}. The nearest one is {hint}.'
    )
  return family
