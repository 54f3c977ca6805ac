"""What a text has to be: a choice, the match of an expression, JSON of a schema."""

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.choice_guide import Choices
from gpt_jax.inference.json_guide import JsonSchema
from gpt_jax.inference.regex_guide import Regex

GRAMMARS = {'regex': Regex, 'json_schema': JsonSchema, 'choices': Choices}
"""Setting -> `(value, max_new_tokens, tokenizer)`, a GuideMaker.

Texts are complete at the limit. ConfigError for what cannot be read, has parts that are
not supported, or no text within the limit.
"""


def make(settings, max_new_tokens, tokenizer):
  """Returns the GuideMakers of `{setting: value}`, none where all values are None."""
  asked = {name: value for name, value in settings.items() if value is not None}
  if len(asked) > 1:
    raise ConfigError(
      f'{" and ".join(asked)}: expected one of them; a text follows one grammar.'
    )
  return tuple(
    GRAMMARS[name](value, max_new_tokens, tokenizer) for name, value in asked.items()
  )
