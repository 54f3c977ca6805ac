"""Recommends items: candidates by popularity and vectors, ranked by a text model.

train     writes examples of the ratings below --data, fine-tunes a model on them by the
          recipe `finetune.py:movielens` (--init_from; any --config. field), one for
          each of --seeds, and embeds the items' texts by the same pretrained model
evaluate  ranks the whole catalogue for held-out ratings, known users and new ones, by
          each method, and says whether the text model is better; evaluation.json,
          figure.svg and figure.png
for       prints the best items for --user=ID, or for a new user given by --likes

The data are a folder as MovieLens has it: movies.csv, ratings.csv, perhaps tags.csv.

examples:
  gpt-jax recommend train --data=movielens_small --out=runs/films \\
      --init_from=runs/minilm
  gpt-jax recommend evaluate --out=runs/films
  gpt-jax recommend for --out=runs/films --user=12 --top=5
  gpt-jax recommend for --out=runs/films --likes="Toy Story (1995)" --likes="Up (2009)"
"""

import dataclasses
import json
import os

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.workdir import files

RECIPE = 'finetune.py:movielens'
SEQ_LEN = 96


def add_arguments(parser):
  parser.add_argument('action', choices=ACTIONS, help='see above')
  parser.add_argument(
    '--out', required=True, type=flags.local_path, metavar='DIR',
    help='the folder of the recommender',
  )  # fmt: skip
  flags.add_config_overrides(parser)
  flags.add_json(parser)
  group = parser.add_argument_group('train')
  group.add_argument('--data', metavar='DIR', help='below GPT_JAX_DATA, or a path')
  group.add_argument('--init_from', metavar='MODEL', help='a pretrained encoder')
  group.add_argument(
    '--seeds', type=int, default=1, metavar='N', help='text models; default: 1'
  )
  group.add_argument(
    '--likes_learned', type=int, default=2000, metavar='N',
    help='liked items to learn from, each with 3 that were not; default: 2000',
  )  # fmt: skip
  group = parser.add_argument_group('evaluate')
  group.add_argument(
    '--users', type=int, default=150, metavar='N',
    help='of each group at most, drawn once; default: 150',
  )  # fmt: skip
  group.add_argument(
    '--candidates', type=int, default=100, metavar='N',
    help='that the text model orders for a user; default: 100',
  )  # fmt: skip
  group = parser.add_argument_group('for')
  group.add_argument('--user', metavar='ID', help='one of ratings.csv')
  group.add_argument(
    '--likes', action='append', default=[], metavar='TITLE', help='may be repeated'
  )
  group.add_argument('--top', type=int, default=10, metavar='N', help='default: 10')
  group.add_argument(
    '--method', metavar='NAME',
    help='default: the best on the validation, as evaluate found, else the text model',
  )  # fmt: skip


def run(args, overrides):
  if args.action != 'train':
    flags.refuse_overrides(overrides)
  ACTIONS[args.action](args, overrides)


def _train(args, overrides):
  for name in ('data', 'init_from'):
    if not getattr(args, name):
      raise ConfigError(f'recommend train: --{name} is missing; see --help.')
  for name in ('seeds', 'likes_learned'):
    if getattr(args, name) < 1:
      raise ConfigError(f'--{name}={getattr(args, name)}: expected 1 or more.')
  files.check_writable(args.out)
  flags.enable_compilation_cache()
  from gpt_jax.recommend import catalogue, split
  from gpt_jax.recommend.store import Store

  items = catalogue.load(args.data, overrides.get('data.data_dir', ''))
  parts, store = split.divide(items), Store(args.out)
  files.check_writable(store.examples('train').parent)
  settings = dict(
    data=os.path.abspath(items.folder), init_from=args.init_from,
    likes_learned=args.likes_learned,
  )  # fmt: skip
  if store.is_begun():
    _refuse_changes(args.out, store.settings(), settings)
  else:
    _embed(args, items, parts, store)
    _write_examples(args, items, parts, store)
  for seed in range(args.seeds + 1):
    # Those that are trained to the end, of this start or an earlier one.
    store.write_settings(settings | dict(seeds=list(range(seed))))
    if seed < args.seeds:
      _train_text(args, overrides, store, seed)
  print(f'next: gpt-jax recommend evaluate --out={args.out}')


def _refuse_changes(out, old, new):
  for name, value in new.items():
    if old.get(name) != value:
      raise ConfigError(
        f'--out={out}: was begun with {name}={old.get(name)!r}, now {value!r}; give the'
        ' same, or another --out.'
      )


def _embed(args, items, parts, store):
  import gpt_jax
  from gpt_jax.tracking import console

  encoder = gpt_jax.load(args.init_from)
  texts = items.long_texts(parts.rated)
  store.write_vectors(
    encoder.embed(
      texts, progress=lambda them, total: console.progress(them, 'embedding', total)
    )
  )


def _write_examples(args, items, parts, store):
  from gpt_jax.recommend import examples
  from gpt_jax.recommend.recommender import Recommender
  from gpt_jax.tracking import console

  vectors_ID = store.read_vectors(len(items))
  made = Recommender(items, list(parts.train.values()), vectors_ID=vectors_ID)
  sets = dict(train=list(examples.moments(parts)), validation=parts.validation)
  limits = dict(train=args.likes_learned, validation=max(1, args.likes_learned // 8))
  for seed, (name, cases) in enumerate(sets.items()):
    if not cases:
      raise DataError(f'{items.folder}: no ratings left for the {name} set; too few.')
    count = examples.write(
      store.examples(name), items, cases, made.stage, limit=limits[name], seed=seed,
      progress=lambda them, name=name: console.progress(them, f'{name} examples'),
    )  # fmt: skip
    print(f'{store.examples(name)}: {count:,} examples')


def _train_text(args, overrides, store, seed):
  from gpt_jax.config.files import load_file
  from gpt_jax.program import setup
  from gpt_jax.train import loop
  from gpt_jax.workdir.paths import Workdir

  sets = {name: str(store.examples(name)) for name in ('train', 'validation')}
  own = {
    'init_from': args.init_from, 'task.files': sets, 'task.reader': 'jsonl',
    'data.seq_len': SEQ_LEN, 'seed': seed, 'data.seed': seed, 'train.epochs': 1,
    'eval.every_epochs': 1, 'checkpoint.every_epochs': 1,
    'optimizer.learning_rate': 1e-4,
  }  # fmt: skip
  workdir = store.text(seed)
  saved = Workdir(workdir).read_config()
  config = setup.resolve(load_file(RECIPE), own | overrides, saved=saved)
  loop.train(config, workdir)


def _evaluate(args, overrides):
  del overrides
  for name in ('users', 'candidates'):
    if getattr(args, name) < 1:
      raise ConfigError(f'--{name}={getattr(args, name)}: expected 1 or more.')
  flags.enable_compilation_cache()
  from gpt_jax.plots import recommend_figures
  from gpt_jax.recommend import comparison, split
  from gpt_jax.recommend.store import Store

  store = Store(args.out)
  items, settings = _opened(store)
  _require_count('--candidates', args.candidates, items)
  parts = split.divide(items)
  histories, rare = list(parts.train.values()), comparison.rare_items(parts, len(items))
  made = [
    _recommender(store, items, histories, seed, args.candidates)
    for seed in settings['seeds']
  ]
  groups = {}
  for name, cases in comparison.groups_of(parts, args.users).items():
    orders = [one.orders(cases, progress=_progress(name)) for one in made]
    groups[name] = comparison.compare(orders, cases, rare, args.candidates)
  _show(groups)
  chosen = comparison.best_method(
    groups.get(comparison.VALIDATION, [*groups.values()][0])
  )
  found = dict(
    seeds=settings['seeds'], candidates=args.candidates, chosen=chosen,
    groups={name: dataclasses.asdict(one) for name, one in groups.items()},
  )  # fmt: skip
  files.write_json(store.evaluation, found)
  figure = recommend_figures.save(groups, store.folder)
  print(f'best on the validation, and used by `for`: {chosen}')
  print(f'{store.evaluation}, {figure}')
  if args.json:
    print(json.dumps(found))


def _show(groups):
  from gpt_jax.recommend.evaluation import METRICS
  from gpt_jax.tracking import console

  for name, group in groups.items():
    rows = [
      (method, *(_number(scores[one]) for one in METRICS),
       *([_number(group.rare[method]['auc'])] if group.rare else []))
      for method, scores in group.methods.items()
    ]  # fmt: skip
    rare = (f'auc, rare items ({group.rare_users} users)',) if group.rare else ()
    title = f'{name}: {group.users} users, the whole catalogue ranked'
    console.table(title, ('method', *METRICS, *rare), rows)
    print(f'  among the candidates: {group.candidate_recall:.1%} of what is relevant')
    for line in group.verdicts:
      print(f'  {line}')


def _number(pair):
  mean, deviation = pair
  return f'{mean:.4f}' + (f' ± {deviation:.4f}' if deviation else '')


def _for(args, overrides):
  del overrides
  if (args.user is None) == (not args.likes):
    raise ConfigError('recommend for: give --user=ID or --likes=TITLE, and not both.')
  flags.enable_compilation_cache()
  from gpt_jax.recommend import recommender
  from gpt_jax.recommend.store import Store
  from gpt_jax.tracking import console

  store = Store(args.out)
  items, settings = _opened(store)
  _require_count('--top', args.top, items)
  case = _case(args, items)
  method = args.method or store.chosen() or recommender.TEXT
  histories = [history for user in items.by_user if (history := _likes(items, user))]
  seed = settings['seeds'][0] if method in recommender.WITH_TEXT else None
  made = _recommender(store, items, histories, seed, max(args.top, 100))
  rows = made.recommend(case, method, args.top)
  table = [(i, items.titles[row], items.genres[row]) for i, row in enumerate(rows, 1)]
  title = f'by {method}, after {len(case.history)} liked'
  console.table(title, ('', 'title', 'genres'), table)
  if args.json:
    found = dict(method=method, items=[items.ids[row] for row in rows])
    found['titles'] = [items.titles[row] for row in rows]
    print(json.dumps(found, ensure_ascii=False))


def _case(args, items):
  from gpt_jax.recommend import split

  if args.user is None:
    rows = tuple(dict.fromkeys(items.find(title) for title in args.likes))
    return split.Case('', rows, frozenset(rows), frozenset())
  ratings = items.ratings_of(args.user)
  history = _likes(items, str(args.user))
  if not history:
    raise DataError(
      f'--user={args.user}: has rated {len(ratings)} items and none {split.LIKED:g} or'
      ' more, so that nothing is known to be liked; give titles: --likes="...".'
    )
  return split.Case(
    str(args.user), history, frozenset(one.row for one in ratings), frozenset()
  )


def _likes(items, user):
  from gpt_jax.recommend import split

  return tuple(one.row for one in items.by_user[user] if one.stars >= split.LIKED)


def _opened(store):
  from gpt_jax.recommend import catalogue

  settings = store.settings()
  if not settings['seeds']:
    raise DataError(
      f'--out={store.folder}: its text model has not been trained to the end; start'
      ' `gpt-jax recommend train` with the same flags again.'
    )
  return catalogue.load(settings['data']), settings


def _require_count(flag, count, items):
  if not 1 <= count <= len(items):
    raise ConfigError(
      f'{flag}={count}: expected 1 to {len(items):,}, the items of the catalogue.'
    )


def _recommender(store, items, histories, seed, count):
  """Returns the Recommender with the text model of `seed`, None: without one."""
  from gpt_jax.recommend.ranker import Ranker
  from gpt_jax.recommend.recommender import Recommender

  ranker = None
  if seed is not None:
    import gpt_jax

    ranker = Ranker(gpt_jax.load(store.text(seed)), items)
  return Recommender(
    items, histories, vectors_ID=store.read_vectors(len(items)), ranker=ranker,
    seed=seed or 0, count=count,
  )  # fmt: skip


def _progress(name):
  from gpt_jax.tracking import console

  return lambda them, label, total: console.progress(them, f'{name}: {label}', total)


ACTIONS = {'train': _train, 'evaluate': _evaluate, 'for': _for}
"""name -> `(args, overrides)`."""
