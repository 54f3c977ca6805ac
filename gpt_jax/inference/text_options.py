"""All that can be asked for beside a prompt, and what of it cannot be, told at once."""

import dataclasses
import difflib
import math
from typing import Any

from gpt_jax.core.errors import ConfigError, Problem, require_none
from gpt_jax.inference import token_log_probs
from gpt_jax.inference.grammar import GRAMMARS
from gpt_jax.inference.request import each
from gpt_jax.inference.settings import Sampling, is_number, is_whole

MAX_SAMPLES = 1024
"""Texts of one prompt, and beams."""
COLUMNS = (
  'max_new_tokens', 'temperature', 'top_k', 'top_p', 'min_p', 'typical_p',
  'repetition_penalty', 'presence_penalty', 'frequency_penalty', 'logit_bias', 'seed',
  'adapter',
)  # fmt: skip
"""One value for all prompts, or a list of one for each."""
DRAWING = ('temperature', 'top_k', 'top_p', 'min_p', 'typical_p')
BEYOND = ('error', 'slide')


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextOptions:
  """None is the value of the run's config, section `inference`, where it has one."""

  max_new_tokens: Any = None
  """A text may end before. Left out, the config's, or what the positions leave."""
  temperature: Any = None
  """0 takes the likeliest token each time."""
  top_k: Any = None
  """Draws from the k likeliest tokens; 0 is all of them."""
  top_p: Any = None
  """Draws from the likeliest tokens that hold this share of probability."""
  min_p: Any = None
  """Draws from the tokens at least this many times as likely as the likeliest."""
  typical_p: Any = None
  """Draws from the tokens whose surprise is nearest the entropy, with this share."""
  repetition_penalty: Any = None
  """Above 1: ids of prompt and text become less likely."""
  presence_penalty: Any = None
  """Above 0: ids that were written become less likely."""
  frequency_penalty: Any = None
  """The same, as often as they were written."""
  logit_bias: Any = None
  """{id: number added to its logit}."""
  stop: Any = ()
  """A string, or several, that end the text and are no part of it."""
  stop_tokens: Any = ()
  """A special token by its name, or several, that end the text like the end token."""
  banned: Any = ()
  """A string, or several, that never come about."""
  adapter: Any = None
  """Which of several adapters that were loaded writes it; None: the base."""
  seed: Any = 0
  """Decides the text of a prompt, whatever else is in the list."""
  n: int = 1
  """Texts of each prompt, with the seeds `seed`, `seed + 1`, ...; of beams the best."""
  best_of: int | None = None
  """Writes as many and returns the n of the highest log-probability per token."""
  beams: int = 1
  """Above 1: beam search, as transformers has it; nothing is drawn."""
  length_penalty: float | None = None
  """Beams are compared by log-probability / tokens ** length_penalty; None is 1."""
  early_stopping: Any = None
  """Of beams; True: ends once `beams` texts have ended; None is False, a guess whether
  a better one can come; 'never': until none can."""
  logprobs: int | None = None
  """Log-probabilities of the written and of so many likeliest tokens."""
  echo: bool = False
  """The text begins with the prompt."""
  regex: str | None = None
  """An expression that the whole text matches; or json_schema: a dict, or its JSON, or
  choices: a list of texts. The text is complete at max_new_tokens."""
  json_schema: Any = None
  choices: Any = None
  beyond_positions: str | None = None
  """'error': texts that outgrow learned positions are refused; 'slide': they go on from
  their last part."""

  @classmethod
  def of(cls, options):
    """Returns the TextOptions of a dict. Raises ConfigError for what they cannot be."""
    names = [field.name for field in dataclasses.fields(cls)]
    for name in options:
      if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f'did you mean {near[0]}?' if near else f'expected {", ".join(names)}.'
        raise ConfigError(f'{name}: no such option; {hint}')
    found = cls(**options)
    require_none([*_problems(found)])
    return found

  def __post_init__(self):
    for name in ('stop', 'stop_tokens', 'banned'):
      value = getattr(self, name)
      strings = (value,) if isinstance(value, str) else tuple(value or ())
      object.__setattr__(self, name, strings)

  @property
  def grammar(self):
    """What a grammar is made of: {setting: value}."""
    return {name: getattr(self, name) for name in GRAMMARS}

  @property
  def num_written(self):
    """How many texts of each prompt are written, of beams one at a time."""
    return 1 if self.beams > 1 else self.best_of or self.n

  @property
  def num_log_probs(self):
    """What a Request has to ask for."""
    if self.logprobs is None and self.num_written > self.n:
      return 0
    return self.logprobs

  def columns(self, count, defaults):
    """Returns {name: values of `count` prompts}; `defaults` is an InferenceConfig."""
    columns = {}
    for name in COLUMNS:
      values = each(name, getattr(self, name), count)
      default = () if name == 'logit_bias' else getattr(defaults, name, None)
      columns[name] = [default if value is None else value for value in values]
    # What was asked for goes before what the config says of drawing.
    if self.beams > 1:
      columns['temperature'] = [0.0] * count
    if self.typical_p is None:
      pairs = zip(columns['typical_p'], columns['temperature'], strict=True)
      columns['typical_p'] = [1.0 if t == 0 else p for p, t in pairs]
    temperatures = columns['temperature']
    if self.num_written > 1 and self.beams == 1 and 0 in temperatures:
      name = 'n' if self.best_of is None else 'best_of'
      raise ConfigError(
        f'{name}={self.num_written} with temperature=0: greedy texts of one prompt are'
        ' all the same; set a temperature, or beams.'
      )
    return columns

  def samplings(self, columns):
    """Returns the Sampling of each prompt."""
    names = [field.name for field in dataclasses.fields(Sampling)]
    rows = zip(*(columns[name] for name in names), strict=True)
    return [Sampling(**dict(zip(names, row, strict=True))) for row in rows]


def texts_of(prompts):
  """Returns prompts as a list of texts; raises ConfigError for anything else."""
  texts, wrong = prompts, [prompts]
  if not isinstance(prompts, bytes) and hasattr(prompts, '__iter__'):
    texts = list(prompts)  # read more than once
    wrong = [text for text in texts if not isinstance(text, str)]
  if wrong:
    raise ConfigError(
      f'prompts: expected a text (str) or a list of texts, not {str(wrong[0])[:40]}'
      f' ({type(wrong[0]).__name__}).'
    )
  return texts


def _problems(options):
  yield from _string_problems(options)
  for name in ('n', 'best_of', 'beams'):
    value = getattr(options, name)
    if value is not None and not (is_whole(value) and 1 <= value <= MAX_SAMPLES):
      yield Problem(name, f'={value!r}: expected a number from 1 to {MAX_SAMPLES}')
      return
  if options.best_of is not None and options.best_of < options.n:
    yield Problem(
      'best_of', f'={options.best_of}: expected at least n={options.n}, of which it is'
      ' the best',
    )  # fmt: skip
  value = options.logprobs
  if value is not None and not (is_whole(value) and 0 <= value <= token_log_probs.MOST):
    yield Problem(
      'logprobs',
      f'={value!r}: expected 0 (of the written token alone) to {token_log_probs.MOST}'
      ' likeliest tokens',
    )
  if options.beyond_positions not in (None, *BEYOND):
    yield Problem(
      'beyond_positions',
      f'={options.beyond_positions!r}: expected {" or ".join(BEYOND)}',
    )
  yield from _beam_problems(options)
  yield from _grammar_problems(options)


def _grammar_problems(options):
  asked = [name for name, value in options.grammar.items() if value is not None]
  if len(asked) > 1:
    yield Problem(
      asked[0], f' and {" and ".join(asked[1:])}: a text follows one of them; set one'
    )
  others = [name for name in ('stop', 'banned') if getattr(options, name)]
  others += ['beams'] if options.beams > 1 else []
  if asked and others:
    yield Problem(
      others[0], f': not with {asked[0]}, which says what a text is and where it ends'
    )


def _string_problems(options):
  for name in ('stop', 'stop_tokens', 'banned'):
    for string in getattr(options, name):
      if not isinstance(string, str) or not string:
        yield Problem(
          name,
          f'={string!r}: expected texts of at least one character; an empty one would'
          ' be everywhere',
        )
        return
  for stop in options.stop:
    for banned in options.banned:
      if banned in stop:
        yield Problem(
          'stop', f'={stop!r} can never come, since banned={banned!r} is part of it'
        )


def _beam_problems(options):
  if options.length_penalty is not None and not (
    is_number(options.length_penalty) and math.isfinite(options.length_penalty)
  ):
    yield Problem(
      'length_penalty', f'={options.length_penalty!r}: expected a number, 1 as usual'
    )
  if options.early_stopping not in (None, True, False, 'never'):
    yield Problem(
      'early_stopping', f'={options.early_stopping!r}: expected True, False or "never"'
    )
  if options.beams == 1:
    for name in ('length_penalty', 'early_stopping'):
      if getattr(options, name) is not None:
        yield Problem(name, f'={getattr(options, name)!r}: of beams; set beams above 1')
    return
  if options.n > options.beams:
    yield Problem('n', f'={options.n}: expected at most beams={options.beams}')
  if options.best_of is not None:
    yield Problem(
      'best_of', f'={options.best_of} with beams={options.beams}: beams are the best'
      ' already; set one of them',
    )  # fmt: skip
  for name in DRAWING:
    value = getattr(options, name)
    values = value if isinstance(value, list) else [value]
    off = {'top_k': 0, 'top_p': 1, 'min_p': 0, 'typical_p': 1}.get(name, 0)
    if any(each_value not in (None, off) for each_value in values):
      yield Problem(
        name, f'={value!r} with beams={options.beams}: beam search draws nothing; leave'
        f' out {name}, or beams',
      )  # fmt: skip
