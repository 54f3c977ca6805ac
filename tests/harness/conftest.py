"""A folder of small sets in the form of the real ones, and a run to ask."""

import json

import pytest

from gpt_jax.harness import choice_tasks

PIQA = [
  {'goal': 'open a jar', 'sol1': 'turn the lid', 'sol2': 'turn the lid of the moon'},
  {'goal': 'boil water', 'sol1': 'freeze it', 'sol2': 'heat it'},
  {'goal': 'be dry', 'sol1': 'take an umbrella', 'sol2': 'swim'},
]


@pytest.fixture(scope='session')
def data_dir(tmp_path_factory):
  """Returns a folder with a few records of every set."""
  root = tmp_path_factory.mktemp('sets')

  def write(name, text):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding='utf-8')

  write('piqa/valid.jsonl', '\n'.join(map(json.dumps, PIQA)))
  write('piqa/valid-labels.lst', '0\n1\n0\n')
  for paradigm in choice_tasks.BLIMP:
    pairs = [('She sees herself.', 'She sees itself.'), ('He goes.', 'He go.')]
    records = [{'sentence_good': good, 'sentence_bad': bad} for good, bad in pairs]
    write(f'blimp/{paradigm}.jsonl', '\n'.join(map(json.dumps, records)))
  write('sst2/dev.tsv', 'a fine film\t1\na bad film\t0\n')
  write(
    'glue_rte/dev.tsv',
    'index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tIt is wet.\tentailment\n'
    '1\tIt rains.\tIt is dry.\tnot_entailment\n',
  )
  write('ag_news/test.csv', '"3","Shares rise","Up\\again"\n"2","Cup final","2:1"\n')
  write('chnsenticorp_zh/dev.tsv', '很好\tpositive\n不好\tnegative\n')
  answers = [{'text': 'rain', 'answer_start': 4}, {'text': 'water', 'answer_start': 12}]
  asked = {'id': '1', 'question': 'What falls?', 'answers': answers}
  article = {'paragraphs': [{'context': 'The rain is water.', 'qas': [asked]}]}
  write('squad/squad_v1.1_dev_subset.en.json', json.dumps({'data': [article]}))
  write(
    'wikitext-2/test.txt',
    ' \n = One = \n \n Some words here . \n'
    ' = = Part = = \n More . \n = Two = \n Words .\n',
  )
  return root
