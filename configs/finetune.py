"""Fine-tuning a pretrained model: `:RECIPE` names a task and its data.

Each recipe is a function below, with its command, cost, expected score and the source
of that. MODEL is a workdir, a folder as Hugging Face's libraries write it, or a GGUF
file; DATA is the folder of the data sets (or set GPT_JAX_DATA).

  gpt-jax train --config=configs/finetune.py:sst2 --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/sst2

Without a recipe it is where configs of pretrained models start: a short training on
text of yours, with the small model of `configs/base.py` and no weights to start from:

  gpt-jax train --config=configs/finetune.py --workdir=runs/mine \
    --config.tokenizer.name=byte --config.data.path='texts/*.txt'
"""

from gpt_jax.configs.finetune_text import fine_tuning

from gpt_jax.configs import base, finetune_text
from gpt_jax.core.registry import choose


def get_config(recipe=''):
  config = base.get_config()
  if recipe:
    choose(RECIPES, recipe, 'configs/finetune.py')(config)
    return config
  config.model.dtype = 'bfloat16'

  config.data.source = 'text'
  config.data.seq_len = 1024
  config.tokenizer.name = 'json'  # that of init_from

  config.optimizer.learning_rate = 1e-5
  config.optimizer.weight_decay = 0.0
  config.schedule.warmup_steps = 50
  config.train.steps = 1000
  config.train.batch_size = 64

  config.parallel.mesh = dict(data=-1, fsdp=-1, sequence=1, tensor=1, expert=1)
  config.eval.max_batches = 20
  return config


def sst2(config):
  """Sentiment of film reviews, two classes; SST-2 (arXiv:1804.07461).

  gpt-jax train --config=configs/finetune.py:sst2 --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/sst2

  A MiniLM of 6 layers, 2 CPU cores, 16 minutes beside other work: test accuracy 0.894.
  Encoders of its size have about 0.91 on the development set with the 67,349 phrases of
  GLUE, of which these 6,920 sentences are a part; TF-IDF with logistic regression has
  0.813.
  """
  _labels(config, 'classification', 'class_labels', 'accuracy')
  config.task.files = _files('sst2/train.tsv', 'sst2/dev.tsv', 'sst2/test.tsv')
  config.task.columns = dict(text='0', label='1')
  config.data.seq_len = 64


def sst2_prompt(config):
  """Sentiment of film reviews by a language model, words in place of a task head.

  gpt-jax train --config=configs/finetune.py:sst2_prompt --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/sst2_prompt

  MODEL writes text (Gemma, GPT-2). --config.task.options.shots=8 puts solved examples
  before each prompt; longer prompts need --config.data.seq_len=512. Gemma 3 270M
  without training (`gpt-jax eval` with this --config, 400 sentences of the test set,
  standard error 0.024): 0.485, which calls all of them positive; 0.673 calibrated
  (task.options.calibrate); 0.708 calibrated after 4 examples. 2 to 9 minutes beside
  other work. Training is not measured by us yet.
  """
  fine_tuning(config, 'prompt_classification', 'accuracy')
  config.checkpoint.best_mode = 'max'
  config.task.files = _files('sst2/train.tsv', 'sst2/dev.tsv', 'sst2/test.tsv')
  config.task.columns = dict(text='0', label='1')
  config.task.options = dict(template='sentiment-en')
  config.data.seq_len = 96
  config.optimizer.learning_rate = 1e-5
  config.optimizer.weight_decay = 0.0
  config.train.batch_size = 32


def rte(config):
  """Whether a sentence follows from a text, two classes; GLUE's RTE (arXiv:1804.07461).

  gpt-jax train --config=configs/finetune.py:rte --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/rte

  GLUE keeps the labels of its test set: the development set of 277 pairs is the test,
  and 15 % of the training set, by a hash, choose the step. A MiniLM of 6 layers, 2 CPU
  cores, 6 minutes: 0.552; with --config.optimizer.learning_rate=1e-4, batches of 16 and
  6 epochs, 10 minutes, 0.560. The majority has 0.527, a standard error is 0.03.
  """
  _labels(config, 'pairs', 'class_labels', 'accuracy')
  config.task.files = {
    'train+validation': 'glue_rte/train.tsv',
    'test': 'glue_rte/dev.tsv',
  }
  config.task.reader = 'tsv_header'
  config.task.columns = dict(text='sentence1', text_b='sentence2', label='label')
  config.task.label_names = ('not_entailment', 'entailment')  # f1 is of the second
  config.data.seq_len = 256


def conll2003(config):
  """Persons, places, organizations and others in news; CoNLL-2003 (arXiv:cs/0306050).

  gpt-jax train --config=configs/finetune.py:conll2003 --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/conll2003

  A MiniLM of 6 layers at --config.optimizer.learning_rate=2e-4, 2 CPU cores, 12 minutes
  beside other work: entity F1 0.863 on the test set, 0.910 on the development set. The
  most frequent tag of each word has 0.564. BERT-base has 0.924 (arXiv:1810.04805,
  table 7), with the case of letters, which MiniLM does not read.
  """
  _tags(config)
  config.task.files = _files(
    'conll2003/train.txt', 'conll2003/dev.txt', 'conll2003/test.txt'
  )
  config.task.reader = 'conll'
  config.data.seq_len = 128


def semeval(config):
  """Relations of two nominals, 9 and their directions, or Other; SemEval-2010 task 8.

  gpt-jax train --config=configs/finetune.py:semeval --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/semeval

  A MiniLM of 6 layers with --config.optimizer.learning_rate=2e-4 and
  --config.train.epochs=5, 2 CPU cores, 10 minutes beside other work: 0.844 on the test
  set. R-BERT, with BERT-large, has 0.893 (arXiv:1905.08284, table 1).
  Hendrickx et al., 2010 (aclanthology.org/S10-1006). There is no development set: 15 %
  of the training set, by a hash, choose the step, by the official macro-F1.
  """
  _labels(config, 'relations', 'class_labels', 'macro_f1')
  folder = 'semeval2010_task8'
  config.task.files = {
    'train+validation': f'{folder}/TRAIN_FILE.TXT',
    'test': f'{folder}/TEST_FILE_FULL.TXT',
  }
  config.task.reader = 'semeval'
  config.task.label_names = _SEMEVAL  # one of them has a single example in training
  config.objective.options = dict(pooling='marked')
  config.data.seq_len = 128


def resume_ner(config):
  """Names, posts, schools and others in Chinese curricula vitae (arXiv:1805.02023).

  gpt-jax train --config=configs/finetune.py:resume_ner \
    --config.data.data_dir=DATA --workdir=runs/resume_ner

  A word is a character. A small encoder from scratch, 2 idle CPU cores, 2 minutes: F1
  0.857 on the test set; the most frequent tag of each character has 0.236. One that
  knows Chinese should be better: --config.init.model=keep, --config.init_from=MODEL and
  --config.optimizer.learning_rate=5e-5.
  """
  _tags(config)
  _from_scratch(config)
  folder = 'resume_ner_zh'
  config.task.files = _files(
    f'{folder}/train.char.bmes', f'{folder}/dev.char.bmes', f'{folder}/test.char.bmes'
  )
  config.task.reader = 'char_tags'
  config.data.seq_len = 192


def chnsenticorp(config):
  """Sentiment of Chinese reviews of hotels, books and computers (ChnSentiCorp).

  gpt-jax train --config=configs/finetune.py:chnsenticorp \
    --config.data.data_dir=DATA --workdir=runs/chnsenticorp

  A small encoder from scratch, or a pretrained one as in resume_ner. Three epochs on 2
  CPU cores, 3 minutes: accuracy 0.891; TF-IDF with logistic regression has 0.916.
  The test file has no labels: the development set is the test, 15 % of the training set
  choose the step. A quarter of the development set are copies of training reviews,
  which is said at the start: scores are too high by what is remembered.
  """
  _labels(config, 'classification', 'class_labels', 'accuracy')
  _from_scratch(config)
  folder = 'chnsenticorp_zh'
  config.task.files = {
    'train+validation': f'{folder}/train.tsv',
    'test': f'{folder}/dev.tsv',
  }
  config.task.columns = dict(text='0', label='1')
  config.objective.options = dict(attention='bidirectional', pooling='mean')
  config.data.seq_len = 192


def _from_scratch(config):
  """A small encoder, where no pretrained model is named.

  Its tokenizer is learned from the training texts: frequent characters are one token,
  and those that it has not seen are bytes, where `char` would know nothing of them.
  """
  config.tokenizer.name = 'bpe'
  config.tokenizer.vocab_size = 4096
  config.init.model = 'own'
  config.model.dropout = 0.1
  config.model.num_layers = 3
  config.model.d_model = 192
  config.model.num_heads = 6
  config.model.position = 'rope'
  config.optimizer.learning_rate = 1e-3
  config.train.epochs = 5.0


def _tags(config):
  """Settings of a tagger; long sentences are read in windows that overlap by half."""
  _labels(config, 'ner', 'token_labels', 'f1')
  config.task.too_long = 'window'
  config.task.window_stride = 64


def squad(config):
  """Spans of a paragraph that answer questions; SQuAD 1.1 (arXiv:1606.05250).

  gpt-jax train --config=configs/finetune.py:squad --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/squad

  The files are the 48 articles of XQuAD (arXiv:1910.11856, from SQuAD's development
  set), divided by article: 692 questions to learn from. A MiniLM of 6 layers at
  --config.optimizer.learning_rate=1e-4, 2 CPU cores, 29 minutes beside other work: F1
  0.429, EM 0.310 on the test articles; the sentence nearest to the question has F1
  0.151. BERT-base has F1 88.5, EM 80.8 after 88 thousand (arXiv:1810.04805, table 2);
  no figure is published for this split. In Chinese: squad_v1.1_dev_subset.zh.json.
  """
  _labels(config, 'qa', 'span_labels', 'f1')
  config.task.files = dict(all='squad/squad_v1.1_dev_subset.en.json')
  config.task.reader = 'squad'
  config.task.too_long = 'window'
  config.task.window_stride = 128
  config.data.seq_len = 384
  config.optimizer.learning_rate = 3e-5
  config.train.epochs = 10.0  # 3 of the whole set
  config.train.grad_accum = 4  # a step of a MiniLM takes 2 GiB in place of 8


def generative_squad(config):
  """Answers of a language model in its own words, to the questions of `squad`.

  gpt-jax train --config=configs/finetune.py:generative_squad \
    --config.init_from=MODEL --config.data.data_dir=DATA --workdir=runs/gen_squad

  MODEL writes text: GPT-2, a Llama. Not measured by us yet.
  """
  _text(config, 'generative_qa', 'loss')
  config.checkpoint.best_mode = 'min'  # texts are written at the end only
  config.task.files = dict(all='squad/squad_v1.1_dev_subset.en.json')
  config.task.reader = 'squad'
  config.data.seq_len = 512


def piqa(config):
  """Which of two ways leads to a goal; PIQA (arXiv:1911.11641).

  gpt-jax train --config=configs/finetune.py:piqa --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/piqa

  The validation set, divided by question: 1,254 to learn from. Without training Gemma 3
  270M has 0.695 on the 298 questions of the test part, 0.708 without the division by
  length (`gpt-jax eval` with this --config, 4 minutes beside other work); its model
  card has 0.677 for all questions, chance 0.5. Its last 6
  layers trained for one epoch, 5 minutes: 0.701 by length, 0.701 without.
  BLiMP takes the same task: `gpt_jax/tasks/choice.py`.
  """
  _text(config, 'choice', 'accuracy_norm')
  config.task.files = dict(all=('piqa/valid.jsonl', 'piqa/valid-labels.lst'))
  config.task.reader = 'piqa'
  config.task.options = dict(template='Question: {prompt}\nAnswer:')
  config.data.seq_len = 256
  config.checkpoint.best_mode = 'max'


def movielens(config):
  """Films that a user will like after those before; MovieLens (doi 10.1145/2827872).

  gpt-jax train --config=configs/finetune.py:movielens --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/movielens

  Each user's ratings in time, the first 70 % to learn from: the baselines need users
  and films that they know. No figure is published for this split; popularity and
  matrix factorization are beside the scores. A MiniLM of 6 layers, rate 1e-4, 12,000 of
  the 48,487 ratings in one epoch, 16 minutes on 2 CPU cores beside other work: AUC
  0.545 on 2,500 ratings of the test, popularity 0.603, matrix factorization 0.745,
  which know users and films where this reads titles.
  """
  _labels(config, 'recommendation', 'class_labels', 'auc')
  config.task.files = dict(by_time='movielens_small')
  config.task.reader = 'movielens'
  config.task.too_long = 'truncate_left'  # the last films say most
  config.data.seq_len = 128
  config.train.batch_size = 64


def stsb(config):
  """How alike two sentences are, 0 to 5; STS-B in GLUE (arXiv:1804.07461).

  gpt-jax train --config=configs/finetune.py:stsb --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/stsb

  The files are GLUE's own, with a header line. BERT-base has a Spearman correlation of
  0.858 on GLUE's test set (arXiv:1810.04805, table 1). Not tried by us.
  """
  _labels(config, 'regression', 'regression', 'pearson')
  config.task.files = _files('stsb/train.tsv', 'stsb/dev.tsv')
  config.task.reader = 'tsv_header'
  config.task.columns = dict(text='sentence1', text_b='sentence2', label='score')
  config.data.seq_len = 128


def preference(config):
  """Rewards of answers, from pairs of which one is preferred (arXiv:2203.02155).

  gpt-jax train --config=configs/finetune.py:preference --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/reward

  A demonstration of 300 pairs, too few for a figure to mean much. Not
  measured by us yet.
  """
  _labels(config, 'preference', 'reward', 'accuracy')
  config.task.files = dict(all='preference/dpo_en_demo.json')
  config.task.reader = 'sharegpt'
  config.task.too_long = 'truncate_left'
  config.data.seq_len = 512  # of both texts of a pair
  config.train.batch_size = 16


def _text(config, task, metric):
  """Settings of a language model that goes on writing or scoring text."""
  fine_tuning(config, task, metric)
  config.checkpoint.best_mode = 'max'
  config.objective.name = 'causal_lm'
  config.optimizer.learning_rate = 2e-5
  config.optimizer.b2 = 0.999
  config.optimizer.weight_decay = 0.01
  config.train.batch_size = 16


def _labels(config, task, objective, metric):
  """Settings of a task head on an encoder or decoder; `metric` chooses the step.

  Batch, rate, epochs and warm-up are those of BERT (arXiv:1810.04805, appendix A.3).
  """
  fine_tuning(config, task, metric)
  config.objective.name = objective
  config.checkpoint.best_mode = 'max'
  config.model.head = 'none'
  config.optimizer.learning_rate = 5e-5
  config.optimizer.b2 = 0.999
  config.optimizer.weight_decay = 0.01
  config.train.batch_size = 32


def _files(train, validation, test=None):
  files = dict(train=train, validation=validation)
  return files if test is None else dict(files, test=test)


_SEMEVAL = (
  *(
    f'{relation}({direction})'
    for relation in (
      'Cause-Effect', 'Component-Whole', 'Content-Container', 'Entity-Destination',
      'Entity-Origin', 'Instrument-Agency', 'Member-Collection', 'Message-Topic',
      'Product-Producer',
    )
    for direction in ('e1,e2', 'e2,e1')
  ),
  'Other',
)  # fmt: skip

RECIPES = {
  'sst2': sst2,
  'sst2_prompt': sst2_prompt,
  'rte': rte,
  'conll2003': conll2003,
  'resume_ner': resume_ner,
  'chnsenticorp': chnsenticorp,
  'semeval': semeval,
  'squad': squad,
  'generative_squad': generative_squad,
  'piqa': piqa,
  'movielens': movielens,
  'stsb': stsb,
  'preference': preference,
} | finetune_text.RECIPES
