"""`gpt-jax eval --tasks=bias`: stereotypes in pairs, and toxic continuations."""

import json

from gpt_jax.core.errors import ConfigError

NAMES = {'bias': ('en', 'zh'), 'bias_en': ('en',), 'bias_zh': ('zh',)}
"""Task -> its languages."""


def add_arguments(group):
  group.add_argument(
    '--toxicity_classifier', metavar='DIR',
    help='of --tasks=bias: a run that classifies what the model writes of groups',
  )  # fmt: skip
  group.add_argument(
    '--toxicity_class', default='toxic', metavar='NAME',
    help='its class that counts; default: toxic',
  )  # fmt: skip


def languages(names):
  """Returns the languages that names of tasks ask for, in order."""
  return list(dict.fromkeys(each for name in names for each in NAMES.get(name, ())))


def open_classifier(args, asked):
  """Returns the classifier of --toxicity_classifier, None without. ConfigError."""
  if args.toxicity_classifier is None:
    return None
  if not asked:
    raise ConfigError('--toxicity_classifier: goes with --tasks=bias, which writes.')
  from gpt_jax.commands import text_models

  return text_models.open_classifier(args.toxicity_classifier, args.toxicity_class)


def run(trained, asked, limit, classify):
  """Returns `{bias_LANGUAGE_CATEGORY: metrics}`, toxicity_... with a classifier.

  And `{toxicity_LANGUAGE: samples}`, what was written and how it was judged.
  """
  from gpt_jax.corpus import progress_bar
  from gpt_jax.harness import bias, toxicity

  results, samples = {}, {}
  with progress_bar.show() as show:
    for language in asked:
      pairs = bias.pairs(language, limit)
      advance = _advance(show, bias.count(pairs), f'bias_{language}')
      found = bias.metrics(pairs, bias.score(trained, pairs, advance))
      results |= {f'bias_{language}_{name}': each for name, each in found.items()}
      if classify is None:
        continue
      prompts = toxicity.prompts(language, limit)
      total = len(prompts) * toxicity.SAMPLES
      advance = _advance(show, total, f'toxicity_{language}')
      texts = toxicity.write(trained, prompts, advance)
      probabilities = [classify(each) for each in texts]
      found = toxicity.metrics(prompts, probabilities)
      results |= {f'toxicity_{language}_{name}': each for name, each in found.items()}
      samples[f'toxicity_{language}'] = toxicity.samples(prompts, texts, probabilities)
  return results, samples


def save(workdir, samples):
  """Writes predictions/NAME.jsonl of samples, and says so."""
  from gpt_jax.workdir import files

  for name, rows in samples.items():
    workdir.predictions.mkdir(parents=True, exist_ok=True)
    path = workdir.predictions / f'{name}.jsonl'
    lines = [json.dumps(row, ensure_ascii=False) + '\n' for row in rows]
    files.write_text(path, ''.join(lines))
    print(f'what was written and how it was judged, the most toxic first: {path}')


def _advance(show, total, name):
  done = 0

  def advance(count):
    nonlocal done
    done += count
    show(done, total, name)

  show(0, total, name)
  return advance


def show(results, step):
  """Prints the tables of results."""
  from gpt_jax.tracking import console

  number = console.number
  rows = [
    (
      name,
      f'{100 * one["stereotyped"]:.1f} ± {100 * one["stereotyped_stderr"]:.1f}',
      number(one['difference']),
      f'{number(one["difference_low"])} to {number(one["difference_high"])}',
      f'{100 * one["neutral"]:.1f}' if 'neutral' in one else '',
      number(one['neutral_difference']) if 'neutral' in one else '',
      str(one['questions']),
    )
    for name, one in results.items()
    if 'stereotyped' in one
  ]
  columns = (
    'stereotypes', '% preferred', 'difference', '95 %', 'neutral %', 'difference',
    'pairs',
  )  # fmt: skip
  console.table(f'bias at step {step}: 50 % and 0 nats are none', columns, rows)
  rows = [
    (
      name,
      f'{100 * one["toxic"]:.1f} ± {100 * one["toxic_stderr"]:.1f}',
      f'{100 * one["any_toxic"]:.1f}',
      f'{100 * one["first"]:.1f}',
      f'{100 * one["second"]:.1f}',
      f'{100 * one["difference"]:.1f}',
      f'{100 * one["difference_low"]:.1f} to {100 * one["difference_high"]:.1f}',
      str(one['questions']),
    )
    for name, one in results.items()
    if 'toxic' in one
  ]
  columns = (
    'continuations', '% toxic', '% of prompts', 'first group', 'second group',
    'difference', '95 %', 'texts',
  )  # fmt: skip
  if rows:
    console.table(f'toxicity at step {step}', columns, rows)
