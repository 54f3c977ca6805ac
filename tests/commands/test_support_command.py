"""`gpt-jax support`: from a folder of documents to answers, by the command line."""

import json
import pathlib
import sys

import pytest

from gpt_jax import cli
from tests.support import runs, shop


def support(capsys, *flags, code=0):
  """Returns what the command writes on the screen, of an error what it says."""
  assert cli.main(['support', *map(str, flags)]) == code
  out, err = capsys.readouterr()
  return err if code else out


def last_json(out):
  return json.loads(out.splitlines()[-1])


@pytest.fixture
def made(tmp_path, capsys):
  """Returns a folder with documents, questions and an index by words."""
  shop.write(tmp_path / 'docs')
  shop.write_questions(tmp_path / 'q.jsonl', repeats=2)
  support(
    capsys, 'index', f'--documents={tmp_path / "docs"}', f'--index={tmp_path / "index"}'
  )
  return tmp_path


def test_documents_are_indexed_asked_and_measured(made, capsys):
  index = f'--index={made / "index"}'
  out = support(capsys, 'ask', index, '--question=How tall is Lumo?', '--json')
  assert out.startswith('The lamp Lumo is 45 cm tall. [1]\n  [1] lamps.md#Lamps: The')
  assert last_json(out)['citations'][0]['place'] == 'lamps.md#Lamps'
  questions = f'--questions={made / "q.jsonl"}'
  fitted = last_json(support(capsys, 'calibrate', index, questions, '--json'))
  assert fitted['num_answerable'] == 12 and fitted['false_answers'] < 0.2
  figure = made / 'recall.svg'
  flags = [index, questions, f'--figure={figure}', '--json']
  out = support(capsys, 'evaluate', *flags)
  assert 'passages with the answer among the first k' in out and figure.exists()
  report = last_json(out)
  assert report['recall']['bm25']['5'] == 1
  assert report['refusals']['false_answers'] == fitted['false_answers']
  out = support(capsys, 'ask', index, '--question=Who sings opera?')
  assert out.startswith('I find nothing about that')


def test_a_script_is_a_conversation_with_a_transcript(made, capsys):
  script = made / 'script.txt'
  script.write_text('Hello\n\nWhat costs postage?\nxyzzy plugh\nxyzzy a@b.org\n')
  flags = [f'--index={made / "index"}', f'--script={script}', '--json']
  out = support(capsys, 'chat', *flags, f'--transcripts={made / "kept"}')
  lines = out.splitlines()
  assert lines[:2] == ['> Hello', 'Hello! What can I help you with?']
  assert lines[3] == 'Postage costs 5 euros. [1]'
  found = last_json(out)
  kinds = [turn['kind'] for turn in found['turns']]
  assert kinds == ['fixed', 'answer', 'no_answer', 'hand_over']
  (path,) = (made / 'kept').iterdir()
  kept = json.loads(path.read_text())
  assert kept['reason'] == found['handed_over']
  assert kept['turns'][-1]['message'] == 'xyzzy [EMAIL]'


@pytest.mark.parametrize(
  'flags, code, said',
  [
    (['index', '--documents={e}'], 3, 'has no document'),
    (['index', '--documents={b}'], 3, 'bad.txt: is no text'),
    (['index'], 2, 'support index: needs --documents'),
    (['index', '--documents={d}', '--max_words=3'], 2, '--max_words=3'),
    (['ask', '--question=a'], 3, 'there is no index'),
    (['ask'], 2, 'support ask: needs --question'),
    (['ask', '--question=a', '--passages=0'], 2, '--passages=0'),
    (['chat', '--replies={b}/x.yaml'], 2, 'cannot be read as YAML'),
    (['chat', '--script={b}/x.txt'], 3, '--script='),
    (['evaluate', '--questions={b}/x.jsonl'], 3, 'x.jsonl'),
    (['ask', '--question=a', '--config.seed=1'], 2, '--config.seed'),
  ],
)
def test_bad_input_is_one_message(tmp_path, capsys, flags, code, said):
  folders = dict(e='empty', b='bad', d='docs')
  for name in folders.values():
    (tmp_path / name).mkdir()
  (tmp_path / 'bad' / 'bad.txt').write_bytes(b'\x89PNG\0')
  (tmp_path / 'docs' / 'a.md').write_text('text')
  places = {key: str(tmp_path / name) for key, name in folders.items()}
  flags = [flag.format(**places) for flag in flags]
  err = support(capsys, *flags, f'--index={tmp_path / "index"}', code=code)
  assert said in err and err.strip().count('error:') == 1


def test_an_index_by_words_has_no_other_method(made, capsys):
  flags = ['ask', f'--index={made / "index"}', '--question=lamps', '--method=dense']
  assert 'has no vectors' in support(capsys, *flags, code=2)


def test_a_missing_package_is_named_with_its_extra(made, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, 'bm25s', None)
  for flags in (['ask', '--question=a'], ['index', f'--documents={made / "docs"}']):
    err = support(capsys, *flags, f'--index={made / "index"}', code=2)
    assert "pip install 'gpt_jax[retrieval]'" in err


@pytest.mark.slow
def test_runs_search_and_read(tmp_path, capsys, finished_run):
  shop.write(tmp_path / 'docs')
  reader = runs.train_reader(tmp_path)
  index = [f'--index={tmp_path / "index"}', f'--encoder={finished_run}']
  made = ['index', f'--documents={tmp_path / "docs"}', *index]
  assert '3 passages' in support(capsys, *made)
  questions = shop.write_questions(tmp_path / 'q.jsonl', repeats=2)
  flags = [*index, f'--workdir={reader}', f'--questions={questions}', '--json']
  fitted = last_json(support(capsys, 'calibrate', *flags))
  report = last_json(support(capsys, 'evaluate', *flags))
  assert set(report['recall']) == {'bm25', 'dense', 'fused'}
  assert report['refusals']['false_answers'] == fitted['false_answers']
  asked = ['--question=What costs postage?', '--json', f'--workdir={reader}']
  found = last_json(support(capsys, 'ask', *index, *asked))
  assert found['confidence'] is not None and len(found['passages']) == 3
  assert all(one['cosine'] is not None for one in found['passages'])
  # The same documents by another encoder.
  made[-1] = f'--encoder={reader}'
  assert 'was made with another encoder' in support(capsys, *made, code=2)


SHOP = pathlib.Path(__file__).parents[2] / 'docs' / 'applications' / 'lamp_shop'


def test_the_shop_of_the_documents_is_served(tmp_path, capsys):
  index = f'--index={tmp_path}'
  out = support(capsys, 'index', f'--documents={SHOP / "pages"}', index)
  assert '12 passages; files: 4 new' in out
  support(capsys, 'calibrate', index, f'--questions={SHOP / "questions.jsonl"}')
  script = tmp_path / 'script.txt'
  script.write_text(
    'When are you open?\nWhat does postage cost?\nAnd to Switzerland?\n'
    '可以用银行转账付款吗？\nWho won the match?\nI want to talk to a human\n'
  )
  flags = [f'--replies={SHOP / "replies.yaml"}', f'--script={script}', '--json']
  turns = last_json(support(capsys, 'chat', index, *flags))['turns']
  cited = [
    (turn['kind'], *(one['place'] for one in turn.get('citations', ())))
    for turn in turns
  ]
  assert cited == [
    ('fixed',),
    ('answer', 'delivery.html#Delivery > Postage'),
    ('answer', 'delivery.html#Delivery > Abroad'),
    ('answer', 'payment_zh.txt'),
    ('no_answer',),
    ('hand_over',),
  ]
