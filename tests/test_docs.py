"""What the documents say holds: commands parse, links and paths exist."""

import ast
import dataclasses
import pathlib
import re
import shlex

import pytest

import gpt_jax
from configs import base
from gpt_jax import api, cli
from gpt_jax.config import load
from gpt_jax.config.files import find, load_file
from gpt_jax.program import inherit, inherit_adapter, setup
from tests.test_import_levels import LEVEL_OF

ROOT = pathlib.Path(__file__).parents[1]
PRETRAINED = setup.resolve(base.get_config(), {'data.seq_len': 2048})
ADAPTED = setup.resolve(base.get_config(), {'init_from': 'base', 'peft.name': 'lora'})
PAGES = sorted(
  path
  for pattern in ('*.md', 'docs/**/*.md', 'experiments/*.md', 'launch/*.md')
  for path in ROOT.glob(pattern)
)
README = ROOT / 'README.md'
ARCHITECTURE = ROOT / 'docs' / 'architecture.md'
# Folders that a reader makes; and what a run leaves in its workdir.
MADE_BY_USERS = ('my_ideas', 'runs', 'build')
PLACES = ('', 'gpt_jax')  # where a path in the text may begin


def name_of(path):
  return str(path.relative_to(ROOT))


def prose(page):
  """Returns the text of `page` without its HTML comments."""
  return re.sub(r'<!--.*?-->', '', page.read_text(), flags=re.DOTALL)


def blocks(page, language):
  """Returns the contents of the fenced blocks of `language` ('' has no name)."""
  fenced = rf'^```{language}\n(.*?)^```$'
  return re.findall(fenced, prose(page), flags=re.DOTALL | re.MULTILINE)


def command_lines(page):
  """Returns the shell lines of `page`, continued lines joined, comments dropped."""
  text = '\n'.join(blocks(page, 'sh')).replace('\\\n', ' ')
  for variable, first in re.findall(r'^for (\w+) in (\S+)', text, flags=re.MULTILINE):
    text = text.replace(f'${variable}', first)
  lines = [shlex.split(line, comments=True) for line in text.splitlines()]
  return [words for words in lines if words]


def docstring_commands(path):
  """Returns the gpt-jax lines in the docstring of a module, continued lines joined."""
  text = ast.get_docstring(ast.parse(path.read_text())).replace('\\\n', ' ')
  lines = [line.strip() for line in text.splitlines()]
  return [shlex.split(line) for line in lines if line.startswith('gpt-jax ')]


CODE_WITH_COMMANDS = [
  *sorted((ROOT / 'configs').glob('*.py')),
  *sorted((ROOT / 'gpt_jax' / 'commands').glob('*_command.py')),
]
COMMANDS = [words for page in PAGES for words in command_lines(page)]
COMMANDS += [words for path in CODE_WITH_COMMANDS for words in docstring_commands(path)]


def arguments_of_ours(words):
  """Returns what `words` give to gpt-jax, or None when they call something else."""
  words = [word for word in words if not re.fullmatch(r'[A-Z_]+=.*', word)]
  program = pathlib.Path(words[0]).name if words else ''
  if program == 'gpt-jax':
    return words[1:]
  if program == 'python' and words[1:3] == ['-m', 'gpt_jax']:
    return words[3:]
  return None


def readme_tree():
  """Returns the paths that the annotated tree of the README names."""
  (tree,) = [text for text in blocks(README, 'text') if 'setup.py' in text]
  paths, parents = [], []
  for line in tree.splitlines():
    depth = (len(line) - len(line.lstrip())) // 2
    names = re.split(r'  +', line.strip())[0].split()
    parents = parents[:depth]
    paths += ['/'.join([*parents, name.rstrip('/')]) for name in names]
    if names[-1].endswith('/'):
      parents.append(names[-1].rstrip('/'))
  return paths


def test_there_are_documents_and_commands_to_check():
  assert len(PAGES) > 8
  assert len(COMMANDS) > 20


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page):
  targets = re.findall(r'\]\(([^)\s]+)\)', prose(page))
  local = [t.split('#')[0] for t in targets if not re.match(r'[a-z]+:|#', t)]
  assert [t for t in local if not (page.parent / t).exists()] == []


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_within_a_page_lead_to_its_headings(page):
  headings = re.findall(r'^#+ +(.*)$', prose(page), flags=re.MULTILINE)
  # As GitHub and others make anchors: words and hyphens, in lower case.
  anchors = {re.sub(r'[^\w\- ]', '', h).lower().replace(' ', '-') for h in headings}
  targets = set(re.findall(r'\]\(#([^)\s]+)\)', prose(page)))
  assert targets - anchors == set()


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_paths_in_the_text_exist(page):
  if page.parent.name == 'decisions' or page.name == 'LOG.md':
    return  # a record of its day
  named = re.findall(r'`([\w./-]+(?:\.py|\.md|\.toml|/))`', prose(page))
  named = [path for path in named if path.split('/')[0] not in MADE_BY_USERS]
  named = [path for path in named if 'NAME' not in path]
  missing = [
    path
    for path in named
    if '/' in path.rstrip('/')
    and not any((ROOT / place / path).exists() for place in PLACES)
  ]
  assert missing == []


def test_every_path_of_the_annotated_tree_exists():
  assert [path for path in readme_tree() if not (ROOT / path).exists()] == []


def test_the_annotated_tree_shows_every_package():
  shown = set(readme_tree())
  packages = {
    f'gpt_jax/{path.name}'
    for path in (ROOT / 'gpt_jax').iterdir()
    if path.name != '__pycache__'
  }
  assert packages - shown == set()


def test_the_annotated_tree_fits_one_screen():
  (tree,) = [text for text in blocks(README, 'text') if 'setup.py' in text]
  assert len(tree.splitlines()) <= 40


def test_the_architecture_page_gives_each_package_its_level():
  (drawing,) = [text for text in blocks(ARCHITECTURE, 'text') if 'cli' in text]
  rows = re.findall(r'^ *(\d+) +(.*?)(?: {2,}|$)', drawing, flags=re.MULTILINE)
  level_of = {name.rstrip('/'): int(n) for n, names in rows for name in names.split()}
  packages = {path.stem for path in (ROOT / 'gpt_jax').iterdir()} - {'__pycache__'}
  assert level_of == {name: LEVEL_OF[name] for name in packages}


@pytest.mark.parametrize(
  'words', [words for words in COMMANDS if arguments_of_ours(words)], ids=' '.join
)
def test_commands_are_known_to_the_parser_and_the_config(words, my_ideas, monkeypatch):
  # Models that a reader has; here any will do.
  monkeypatch.setattr(inherit, 'source_config', lambda path: load.to_dict(PRETRAINED))
  monkeypatch.setattr(inherit_adapter, 'config_of', lambda path: load.to_dict(ADAPTED))
  argv, launched = cli.split_command(arguments_of_ours(words))
  if launched:
    assert cli._parser().parse_args(argv).command == 'launch'
    argv = launched
  argv, overrides = cli.split_overrides(argv)
  if '--help' in argv:
    return
  arguments = cli._parser().parse_args(argv)
  spec = getattr(arguments, 'config', None)
  is_ours = spec and find(spec.split(':')[0])
  values = load_file(spec) if is_ours else base.get_config()
  if arguments.command == 'eval':
    overrides |= {'checkpoint.keep_best': 0}  # as train/score_run.py does
  # The recipes of extending.md are imported in test_extending.py.
  setup.resolve(values, overrides, must_import=False)


def test_the_readme_names_every_config():
  text = prose(README)
  names = {name_of(path) for path in (ROOT / 'configs').glob('*.py')}
  assert [name for name in sorted(names) if name not in text] == []


def test_the_config_of_the_readme_can_be_used(tmp_path):
  (config,) = [text for text in blocks(README, 'python') if 'get_config' in text]
  (tmp_path / 'shown.py').write_text(config)
  values = load_file(str(tmp_path / 'shown.py'))
  setup.resolve(values)


def test_the_python_snippet_of_the_readme_uses_what_exists():
  (snippet,) = [text for text in blocks(README, 'python') if 'gpt_jax.load' in text]
  used = {
    node.attr
    for node in ast.walk(ast.parse(snippet))
    if isinstance(node, ast.Attribute) and getattr(node.value, 'id', '') == 'run'
  }
  known = {*dir(api.Run), *(field.name for field in dataclasses.fields(api.Run))}
  assert used and used <= known
  assert callable(gpt_jax.load)


def test_the_table_of_experiments_has_each_with_its_minutes():
  text = prose(ROOT / 'experiments' / 'README.md')
  shown = re.findall(r'^\| \[(\w+)\.py\].*\| (\d+) \|', text, flags=re.MULTILINE)
  stated = {}
  for path in sorted((ROOT / 'experiments').glob('*.py')):
    quick = re.search(r"'two CPU cores', minutes=(\d+)", path.read_text())
    stated[path.stem] = quick[1] if quick else None
  assert dict(shown) == stated


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_make_targets_and_extras_exist(page):
  makefile, setup = (ROOT / 'Makefile').read_text(), (ROOT / 'setup.py').read_text()
  extras = next(
    ast.literal_eval(node.value)
    for node in ast.parse(setup).body
    if isinstance(node, ast.Assign) and node.targets[0].id == 'EXTRAS'
  )
  for words in command_lines(page):
    if words[0] == 'make':
      targets = [word for word in words[1:] if '=' not in word]
      assert [t for t in targets if f'\n{t}:' not in makefile] == []
    for named in re.findall(r'\.\[([\w,]+)\]', ' '.join(words)):
      assert set(named.split(',')) <= set(extras)
