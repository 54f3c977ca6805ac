"""A real BERT, all-MiniLM-L6-v2: its ids, its stream, its vectors of sentences."""

import json
import math
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers as library

import gpt_jax
from gpt_jax import cli
from gpt_jax.attention import masks
from gpt_jax.core import pytree
from tests.interop import encoders_of_torch as encoders
from tests.interop import oracle, varied_texts
from tests.tiny_runs import ROOT

pytestmark = pytest.mark.slow

SENTENCES = [
  'A man is eating food.',
  'A man is eating a piece of bread.',
  'The girl is carrying a baby.',
  'Ein Café in Zürich – naïve façades!',
  '北京是中国的首都。',
  'Cheetahs 🐆 run behind their prey, 60 mph…',
  'ok',
  'A longer one, of several parts, which says in many more words than it needs that'
  ' rows of other lengths are padded differently, and that nobody sees the padding.',
]
LONG = 'Word ' * 700  # more than 512 tokens


@pytest.fixture(scope='module')
def run(minilm, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('minilm') / 'run'
  assert cli.main(['import', str(minilm), f'--workdir={workdir}']) == 0
  return gpt_jax.load(workdir)


def framed(minilm):
  """Returns the tokenizer of the folder as its own library uses it."""
  model = library.Tokenizer.from_file(str(minilm / 'tokenizer.json'))
  model.no_padding()
  model.enable_truncation(512)
  return model


def test_texts_become_the_ids_of_their_own_library(minilm, run):
  texts = [*SENTENCES, LONG, *varied_texts.make(100)]
  found = run._encoder.encode(texts)
  for ids, wanted in zip(found, framed(minilm).encode_batch(texts), strict=True):
    assert ids.tolist() == wanted.ids
  assert max(map(len, found)) == 512


def test_it_has_its_published_parameters(run):
  assert pytree.count(run.params) == 22_713_216
  assert run.config.data.begin_token == '[CLS]'


def test_streams_and_vectors_are_those_of_transformers(minilm, run):
  torch, transformers = oracle.libraries()
  rows = [one.ids for one in framed(minilm).encode_batch(SENTENCES)]
  lengths_B = np.array([len(ids) for ids in rows])
  tokens_BT = np.zeros((len(rows), max(lengths_B)), np.int32)
  for i, ids in enumerate(rows):
    tokens_BT[i, : len(ids)] = ids
  is_real_BT = np.arange(max(lengths_B)) < lengths_B[:, None]
  model = transformers.AutoModel.from_pretrained(minilm).eval()
  with torch.no_grad():
    found = model(torch.tensor(tokens_BT).long(), torch.tensor(is_real_BT).long())
  theirs_BTD = found.last_hidden_state.numpy()
  mask = masks.bidirectional(jnp.asarray(is_real_BT, jnp.int32))
  x_BTD, _ = run.model.apply({'params': run.params}, tokens_BT, mask)
  ours_BTD = np.asarray(x_BTD)
  assert np.abs(ours_BTD - theirs_BTD)[is_real_BT].max() <= 1e-4

  weights_BT1 = is_real_BT[..., None] / lengths_B[:, None, None]
  means_BD = (theirs_BTD * weights_BT1).sum(1)
  vectors_BD = run.embed(SENTENCES, normalize=False)
  assert np.abs(vectors_BD - means_BD).max() <= 1e-4
  unit_BD = means_BD / np.linalg.norm(means_BD, axis=1, keepdims=True)
  assert np.abs(run.embed(SENTENCES) - unit_BD).max() <= 1e-4
  pooled_BD = run.embed(SENTENCES, pooling='pooler', normalize=False)
  assert np.abs(pooled_BD - found.pooler_output.numpy()).max() <= 1e-4


def test_sentences_that_mean_the_same_are_nearest(run):
  pairs = [
    ('A man is eating food.', 'Someone is having a meal.'),
    ('The stock market fell sharply today.', 'Shares dropped steeply.'),
    ('How do I reset my password?', 'I forgot my login credentials.'),
  ]
  ones, others = run.embed([a for a, _ in pairs]), run.embed([b for _, b in pairs])
  assert (ones @ others.T).argmax(1).tolist() == [0, 1, 2]


def test_it_goes_out_as_it_came(minilm, run, tmp_path):
  workdir, out = tmp_path / 'run', tmp_path / 'out'
  assert cli.main(['import', str(minilm), f'--workdir={workdir}']) == 0
  assert cli.main(['export', f'--workdir={workdir}', f'--out={out}']) == 0
  came, went = encoders.bytes_of(minilm), encoders.bytes_of(out)
  assert came == went
  values = json.loads((out / 'config.json').read_text())
  assert values['architectures'] == ['BertModel'] and values['model_type'] == 'bert'
  np.testing.assert_array_equal(
    gpt_jax.load(out).embed(SENTENCES[:3]), run.embed(SENTENCES[:3])
  )


TUNING = (
  '--config.init.rules=[{"rename": ("^pooler/dense/", "task_head/pooler_")},'
  ' {"fresh": "^task_head/out/"}]',
  '--config.model.pooler=False', '--config.objective.name=class_labels',
  '--config.objective.head=mlp', '--config.objective.options.attention=bidirectional',
  '--config.objective.options.pooling=first', '--config.data.source=jsonl',
  '--config.data.label_field=label', '--config.data.num_labels=2',
  '--config.data.packing=first_fit', '--config.data.seq_len=64',
  '--config.train.batch_size=8', '--config.train.steps=20',
  '--config.logging.figures=False', '--config.logging.tensorboard=False',
  '--config.schedule.warmup_steps=3', '--config.optimizer.learning_rate=2e-4',
  '--config.eval.every_steps=0', '--config.eval.max_batches=4',
)  # fmt: skip
"""Flags that put a classifier on an encoder, in docs/interop.md as well."""


def test_sentiment_is_learned_from_a_few_hundred_reviews(
  run, minilm, shared_data, tmp_path
):
  for split, name in (('train', 'train'), ('dev', 'validation')):
    lines = (shared_data / 'sst2' / f'{split}.tsv').read_text().splitlines()
    with open(tmp_path / f'{name}.jsonl', 'w') as file:
      for text, label in (line.rsplit('\t', 1) for line in lines):
        file.write(json.dumps({'text': text, 'label': int(label)}) + '\n')
  imported, tuned = tmp_path / 'run', tmp_path / 'tuned'
  assert cli.main(['import', str(minilm), f'--workdir={imported}']) == 0
  flags = [f'--config={imported}', f'--config.init_from={minilm}', *TUNING]
  flags += [f'--config.data.path={tmp_path}/*.jsonl', f'--workdir={tuned}']
  # A process of its own: here are eight devices, with the parameters on each.
  command = [sys.executable, '-m', 'gpt_jax', 'train', *flags]
  subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {'XLA_FLAGS': ''})
  found = [json.loads(line) for line in open(tuned / 'metrics.jsonl')]
  last = [line for line in found if 'validation/accuracy' in line][-1]
  # Three standard errors above chance; about 0.75 is reached.
  least = 0.5 + 3 * 0.5 / math.sqrt(last['validation/documents'])
  assert last['validation/accuracy'] > least
