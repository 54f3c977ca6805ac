"""`gpt-jax eval --tasks`: benchmarks by our scorer, or by lm-evaluation-harness."""

import json
import math

from gpt_jax.commands import eval_bias
from gpt_jax.core.errors import ConfigError


def add_arguments(parser):
  group = parser.add_argument_group(
    'tasks of public benchmarks, instead of held-out splits'
  )
  group.add_argument(
    '--tasks',
    metavar='NAME,...',
    help='piqa, blimp, sst2, rte, ag_news, chnsenticorp: local sets, by our scorer;'
    ' NAME_local: the same, squad_local and wikitext_local by lm-evaluation-harness'
    ' (extra [lm-eval]), as all other names: its own tasks; bias, bias_en, bias_zh:'
    ' stereotypes in pairs of sentences',
  )
  group.add_argument(
    '--limit', type=int, metavar='N', help='the first N questions of each task'
  )
  group.add_argument(
    '--num_fewshot', type=int, metavar='K', help='of the harness: examples before each'
  )
  group.add_argument(
    '--data_dir', metavar='DIR', help='of local sets; default: GPT_JAX_DATA, then .'
  )
  eval_bias.add_arguments(group)


def run(args, overrides):
  """Scores a run on tasks, prints a table and saves WORKDIR/tasks.json."""
  import gpt_jax
  from gpt_jax.harness import choice_tasks
  from gpt_jax.workdir import files
  from gpt_jax.workdir.paths import Workdir

  names = [name.strip() for name in args.tasks.split(',') if name.strip()]
  names = [each for name in names for each in choice_tasks.GROUPS.get(name, [name])]
  if not names:
    raise ConfigError('--tasks is empty: expected such as --tasks=piqa,blimp.')
  if args.limit is not None and args.limit < 1:
    raise ConfigError(f'--limit={args.limit}: expected at least 1 question.')
  languages = eval_bias.languages(names)
  names = [name for name in names if name not in eval_bias.NAMES]
  ours = [name for name in names if name in choice_tasks.TASKS]
  others = [name for name in names if name not in choice_tasks.TASKS]
  if ours and args.num_fewshot:
    raise ConfigError(
      f'--num_fewshot: {", ".join(ours)} are asked without examples; with them by'
      ' lm-evaluation-harness: --tasks=' + ','.join(f'{name}_local' for name in ours)
    )
  # What cannot be read is said before the model is loaded.
  asked = {
    name: choice_tasks.questions(name, args.data_dir, args.limit) for name in ours
  }
  manager = None
  if others:
    from gpt_jax.harness import lm_eval_run

    manager = lm_eval_run.task_manager(args.data_dir)
    lm_eval_run.require_known(others, manager)
  classify = eval_bias.open_classifier(args, languages)
  trained = gpt_jax.load(args.workdir, step=args.step, overrides=overrides)
  results = {name: _score(trained, name, asked[name]) for name in ours}
  if others:
    from gpt_jax.harness import lm_eval_run

    found = lm_eval_run.evaluate(
      trained, others, manager, limit=args.limit, num_fewshot=args.num_fewshot
    )
    results |= lm_eval_run.by_task(found)
  if results:
    _show(results, trained.step)
  samples = {}
  if languages:
    found, samples = eval_bias.run(trained, languages, args.limit, classify)
    eval_bias.show(found, trained.step)
    results |= found
  workdir = Workdir(args.workdir)
  if workdir.config.exists():  # not beside the files of a pretrained model
    files.write_json(workdir.tasks, {'step': trained.step, 'tasks': results})
    eval_bias.save(workdir, samples)
  if args.json:
    print(json.dumps(results))


def _score(trained, name, asked):
  from gpt_jax.corpus import progress_bar
  from gpt_jax.harness import choice_tasks

  total, done = sum(len(question.choices) for question in asked), 0
  with progress_bar.show() as show:

    def advance(count):
      nonlocal done
      done += count
      show(done, total, name)

    show(0, total, name)
    scores = choice_tasks.score(trained, name, asked, advance)
  return choice_tasks.metrics(asked, scores)


def _show(results, step):
  from gpt_jax.tracking import console

  rows = []
  for task, metrics in results.items():
    for name, value in metrics.items():
      if name.endswith('_stderr') or name in ('questions', 'sample_len'):
        continue
      error = metrics.get(f'{name}_stderr', math.nan)
      shown = '' if math.isnan(error) else f'± {console.number(error)}'
      count = metrics.get('questions', metrics.get('sample_len', ''))
      rows.append((task, name, console.number(value), shown, str(count)))
  columns = ('task', 'metric', 'value', 'standard error', 'questions')
  console.table(f'tasks at step {step}', columns, rows)
