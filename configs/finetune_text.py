"""Fine-tuning of models that write: recipes of `configs/finetune.py`.

  gpt-jax train --config=configs/finetune.py:multi30k \
    --config.data.data_dir=DATA --workdir=runs/multi30k

What all recipes of both files have in common is `fine_tuning`.
"""


def get_config(recipe=''):
  from gpt_jax.configs import finetune

  return finetune.get_config(recipe)


def dialogsum(config):
  """Summaries of dialogues in English; DialogSum (arXiv:2105.06762).

  gpt-jax train --config=configs/finetune.py:dialogsum --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/dialogsum

  MODEL writes text. The files at hand are the development and test sets: the first is
  divided 85 : 15 by a hash, the test has three references each. Gemma 3 270M, its last
  6 layers (optimizer.train_last_layers) in one epoch of batches of 8, 18 minutes on 2
  CPU cores beside other work, on 100 dialogues of the test: ROUGE-1 / 2 / L of 0.383 /
  0.141 / 0.316 where it had 0.170 / 0.032 / 0.146 before, and the first three lines
  have 0.323 / 0.107 / 0.248. Published figures are of training on all 12,460 dialogues,
  which are not at hand: not comparable with 434.

  Prompts of articles, with summaries as completions (P3, arXiv:2202.01279):

  gpt-jax train --config=configs/finetune.py:dialogsum --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/p3 --config.task.reader=p3 \
    --config.task.files="{'all': 'p3_summ/gigaword_TLDR.jsonl'}" \
    --config.task.options.template='{source}' \
    --config.task.options.target='{targets}'
  """
  _writes(config, 'summarization')
  config.task.files = {
    'train+validation': 'dialogsum/dialogsum.dev.jsonl',
    'test': 'dialogsum/dialogsum.test.jsonl',
  }
  config.task.reader = 'dialogsum'
  config.task.options = dict(template='summarize-dialogue-en', max_new_tokens=80)
  config.data.seq_len = 512


def multi30k(config):
  """Captions of photographs from English to German; Multi30k (arXiv:1605.00459).

  gpt-jax train --config=configs/finetune.py:multi30k \
    --config.data.data_dir=DATA --workdir=runs/multi30k

  From scratch: a small decoder, and a BPE learned from the training pairs of both
  languages. 5 epochs in float32, 2 CPU cores, 27 minutes beside other work: BLEU 30.2,
  chrF 55.1 on the 2016 test.

  From English to Chinese, sentences of Tatoeba, divided 70 : 15 : 15 by a hash:

  gpt-jax train --config=configs/finetune.py:multi30k \
    --config.data.data_dir=DATA --workdir=runs/tatoeba --config.task.reader=tsv \
    --config.task.files="{'all': 'tatoeba_en_zh/cmn.txt'}" \
    --config.task.columns="{'source': '0', 'targets': '1'}" \
    --config.task.options.template=translate-en-zh --config.task.options.tokenize=zh
  """
  _writes(config, 'translation')
  _from_scratch(config)
  folder = 'multi30k_en_de'
  config.task.files = {
    split: [f'{folder}/{name}.{language}.gz' for language in ('en', 'de')]
    for split, name in (
      ('train', 'train'),
      ('validation', 'val'),
      ('test', 'test_2016_flickr'),
    )
  }
  config.task.reader = 'parallel'
  config.task.options = dict(template='translate-en-de', max_new_tokens=64)
  config.tokenizer.vocab_size = 4096
  config.data.seq_len = 160
  config.train.epochs = 10.0
  config.train.batch_size = 64


def alpaca(config):
  """Replies to instructions; supervised fine-tuning as of Alpaca and InstructGPT.

  gpt-jax train --config=configs/finetune.py:alpaca --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/alpaca

  Taori et al., 2023 (github.com/tatsu-lab/stanford_alpaca); arXiv:2203.02155. 1,999
  instructions, divided 70 : 15 : 15 by a hash. Replies alone bear loss.
  WORKDIR/samples.md has replies beside those of the set. Gemma 3 270M, its last 6
  layers and 600 conversations in one epoch, 23 minutes on 2 CPU cores beside other
  work: reply perplexity 5.56 where it had 5.97 before, ROUGE-L 0.169 and 0.119; nothing
  comparable is published for these subsets. Pretrained models know no ChatML: with
  --config.task.options.template=plain and a rate of 2e-4 its replies are better,
  ROUGE-L 0.216 (`docs/finetuning_results.md`). Instruct models have a format of their
  own: --config.task.options.template=tokenizer.
  """
  _writes(config, 'dialogue')
  config.task.files = dict(
    all=['alpaca/alpaca_data_1k.json', 'alpaca/alpaca_en_demo.json']
  )
  config.task.reader = 'alpaca'
  config.task.options = dict(template='chatml', max_new_tokens=128)
  config.data.seq_len = 512
  config.optimizer.learning_rate = 2e-5


def domain(config):
  """Books, after whatever MODEL was pretrained on: loss on all tokens.

  gpt-jax train --config=configs/finetune.py:domain --config.init_from=MODEL \
    --config.data.data_dir=DATA --workdir=runs/domain

  Three novels train (two of Austen's, one of Burgess's), Bryant's stories choose the
  step, Chesterton is the test: other authors, so what falls is the loss of old prose.
  Cost and bits per byte are not measured by us yet; nothing comparable is published.
  Lines of a file as texts: --config.task.reader=lines.
  """
  _writes(config, 'generation')
  folder = 'gutenberg'
  config.task.files = dict(
    train=[
      f'{folder}/{name}.txt'
      for name in ('austen-emma', 'austen-persuasion', 'burgess-busterbrown')
    ],
    validation=f'{folder}/bryant-stories.txt',
    test=f'{folder}/chesterton-brown.txt',
  )
  config.task.reader = 'text'
  config.data.seq_len = 512


def fine_tuning(config, task, metric):
  """Sets what all recipes have in common; `metric` chooses the step."""
  config.task.name = task
  config.init.model = 'keep'
  config.init.transform = 'for_task'
  config.model.scan_layers = False  # few layers: faster, and frozen one by one
  config.schedule.name = 'linear'
  config.schedule.final_fraction = 0.0
  config.schedule.warmup_fraction = 0.1
  config.train.steps = None
  config.train.epochs = 3.0
  config.eval.every_epochs = 0.5
  config.checkpoint.every_epochs = 0.5
  config.checkpoint.best_metric = f'validation/{metric}'
  config.early_stopping.patience = 3
  config.logging.sample_prompts = ()


def _writes(config, task):
  """Settings of a model that learns to write an answer; the loss chooses the step."""
  fine_tuning(config, task, 'loss')
  config.objective.name = 'causal_lm'
  config.optimizer.learning_rate = 5e-5
  config.optimizer.weight_decay = 0.01
  config.train.batch_size = 16
  config.eval.every_epochs = 1.0
  config.checkpoint.every_epochs = 1.0
  config.inference.slots = 64


def _from_scratch(config):
  """Settings of a small model of its own, for sets that are enough to learn from."""
  config.init.model = 'own'
  config.tokenizer.name = 'bpe'
  config.model.num_layers = 4
  config.model.d_model = 192
  config.model.num_heads = 6
  config.model.position = 'rope'
  config.model.norm = 'rmsnorm'
  config.model.bias = False
  config.model.dropout = 0.1
  config.model.dtype = 'bfloat16'
  config.optimizer.learning_rate = 2e-3
  config.optimizer.weight_decay = 0.1


RECIPES = {
  'dialogsum': dialogsum,
  'multi30k': multi30k,
  'alpaca': alpaca,
  'domain': domain,
}
