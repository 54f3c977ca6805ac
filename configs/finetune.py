"""Fine-tuning: a pretrained model, a task and its data; `:TASK` picks the recipe.

  gpt-jax train --config=configs/finetune.py:sst2 --workdir=runs/sst2 \
    --config.init_from=MODEL --config.data.data_dir=DATA

stub
"""

from gpt_jax.configs import base


def get_config(task=''):
  config = base.get_config()
  if task:
    with config.unlocked():
      _finetune(config)
      TASKS[task](config)
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


def _finetune(config):
  config.init.model = 'keep'
  config.init.transform = 'for_task'
  config.model.dropout = 0.1
  config.model.scan_layers = False
  config.model.head = 'none'
  config.data.packing = 'pad'
  config.optimizer.learning_rate = 5e-5
  config.optimizer.b2 = 0.999
  config.optimizer.weight_decay = 0.01
  config.schedule.name = 'linear'
  config.schedule.final_fraction = 0.0
  config.schedule.warmup_fraction = 0.1
  config.train.steps = None
  config.train.epochs = 3.0
  config.train.batch_size = 32
  config.eval.every_epochs = 0.5
  config.checkpoint.every_epochs = 0.5
  config.checkpoint.best_mode = 'max'
  config.early_stopping.patience = 3


def sst2(config):
  config.task.name = 'classification'
  config.objective.name = 'class_labels'
  config.task.files = dict(train='sst2/train.tsv', validation='sst2/dev.tsv', test='sst2/test.tsv')
  config.task.columns = dict(text='0', label='1')
  config.checkpoint.best_metric = 'validation/accuracy'
  config.data.seq_len = 64

TASKS = dict(sst2=sst2)
