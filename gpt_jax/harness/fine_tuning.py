"""Fine-tuning of a BERT beside the same in PyTorch: same weights, rows, settings.

  python -m gpt_jax.harness.fine_tuning MODEL --seeds=3 --max_examples=2048

MODEL is a folder with a BERT; the recipe is `sst2` of configs/finetune.py, whose data
GPT_JAX_DATA has. Both read the same rows in the same order and padding, in float32,
with AdamW, clipping, warm-up, decay and dropout alike, and begin with a fresh head.
Runs alternate. A step counts with the median of the steps of its width, so that
compilation and pauses do not. Printed: test accuracy of the last step, of each seed,
and how many times ours is as fast.
"""

import argparse
import collections
import functools
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np

from gpt_jax.benchmarks import torch_gpt2
from gpt_jax.config.files import load_file
from gpt_jax.program import epochs, setup, task_data
from gpt_jax.train import loop

RECIPE = 'configs/finetune.py:sst2'


def main(arguments=None):
  parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
  parser.add_argument('model')
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--max_examples', type=int, default=2048)
  parser.add_argument('--epochs', type=float, default=2.0)
  parser.add_argument('--learning_rate', type=float, default=5e-5)
  args = parser.parse_args(arguments)
  torch_gpt2.require_packages()
  rows = []
  for seed in range(args.seeds):
    with tempfile.TemporaryDirectory() as folder:
      config = make_config(args, seed)
      ours = run_ours(config, pathlib.Path(folder) / 'run')
      theirs = run_theirs(config, pathlib.Path(folder) / 'peer')
    rows.append(dict(seed=seed, ours=ours, theirs=theirs))
    print(json.dumps(rows[-1]), flush=True)
  print(json.dumps(summary(rows)))


def make_config(args, seed):
  """Returns the recipe's Config, evaluated and saved at its end only."""
  overrides = {
    'init_from': args.model, 'seed': seed, 'task.max_examples': args.max_examples,
    'train.epochs': args.epochs, 'eval.every_epochs': None, 'eval.every_steps': 0,
    'checkpoint.every_epochs': None, 'checkpoint.every_steps': 0,
    'early_stopping.patience': 0, 'logging.tensorboard': False,
    'logging.figures': False, 'optimizer.learning_rate': args.learning_rate,
    'eval.sets': {'validation': {'split': 'test'}},
  }  # fmt: skip
  return task_data.complete(setup.resolve(load_file(RECIPE), overrides))


def run_ours(config, workdir):
  """Returns {accuracy, seconds} of our training."""
  steps = StepTimes()
  loop.train(config, workdir, quiet=True, extra_hooks=[steps])
  found = json.loads((workdir / 'eval.json').read_text())
  return dict(accuracy=found['validation']['accuracy'], seconds=steps.seconds())


def run_theirs(config, workdir):
  """Returns {accuracy, seconds} of the same training in PyTorch."""
  import torch

  tokenizer = setup.open_tokenizer(config, workdir)
  data = task_data.open_training_data(config, tokenizer)
  config = epochs.fill_in(config, data)
  torch.manual_seed(config.seed)
  torch.set_num_threads(torch_gpt2.threads())
  model = _classifier(config)
  optimizer, schedule = _optimizer(config, model)
  steps, size = StepTimes(), config.train.batch_size
  model.train()
  for step in range(config.train.steps):
    batch = _batch(data, range(step * size, (step + 1) * size))
    optimizer.zero_grad(set_to_none=True)
    logits, labels = model(batch)
    torch.nn.functional.cross_entropy(logits, labels).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip_norm)
    optimizer.step()
    schedule.step()
    steps.add(batch['tokens'].shape[1])
  seconds = steps.seconds()
  (held_out,) = task_data.open_eval_sets(config, tokenizer).values()
  return dict(accuracy=_accuracy(model.eval(), held_out), seconds=seconds)


class StepTimes:
  """Seconds of the steps by the width of their rows; also a hook of a run."""

  def __init__(self):
    self._of_width, self._last = collections.defaultdict(list), time.monotonic()

  def is_due(self, session, progress):
    self.add(progress.batch['tokens'].shape[1])
    return False

  def add(self, width):
    now = time.monotonic()
    self._of_width[width].append(now - self._last)
    self._last = now

  def seconds(self):
    """Returns the seconds of all steps, each the median of those of its width."""
    return sum(
      statistics.median(times) * len(times) for times in self._of_width.values()
    )


def _classifier(config):
  """Returns a BERT with a linear layer over the mean of its stream, in PyTorch."""
  import torch
  import transformers

  class Classifier(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.bert = transformers.BertModel.from_pretrained(
        config.init_from, add_pooling_layer=False,
        hidden_dropout_prob=config.model.residual_dropout,
        attention_probs_dropout_prob=config.model.attention_dropout,
      )  # fmt: skip
      count = len(config.task.label_names)
      self.head = torch.nn.Linear(self.bert.config.hidden_size, count)
      torch.nn.init.normal_(self.head.weight, std=config.model.init_std)
      torch.nn.init.zeros_(self.head.bias)

    def forward(self, batch):
      labels_BN = torch.from_numpy(batch['labels'])
      has_label_B = (labels_BN >= 0).any(1)
      ids_BN, seen_BN = (
        torch.from_numpy(batch[name])[has_label_B].long()
        for name in ('tokens', 'segments')
      )
      stream_BND = self.bert(input_ids=ids_BN, attention_mask=seen_BN)[0]
      # Ours pools all tokens of a text but its end token.
      pooled_BN1 = (seen_BN.cumsum(1) < seen_BN.sum(1, keepdim=True))[..., None]
      mean_BD = (stream_BND * pooled_BN1).sum(1) / pooled_BN1.sum(1)
      return self.head(mean_BD), labels_BN[has_label_B].max(1).values.long()

  return Classifier()


def _optimizer(config, model):
  import torch

  cfg, total = config.optimizer, config.train.steps
  groups = [
    dict(
      params=[p for p in model.parameters() if (p.ndim > 1) == decays],
      weight_decay=cfg.weight_decay * decays,
    )
    for decays in (True, False)
  ]
  optimizer = torch.optim.AdamW(
    groups, lr=cfg.learning_rate, betas=(cfg.b1, cfg.b2), eps=cfg.eps, fused=True
  )
  warmup = int(config.schedule.warmup_fraction * total)

  def rate(step):
    done = (step + 1) / max(warmup, 1)
    return done if done < 1 else (total - step) / (total - warmup)

  return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def _batch(data, numbers):
  samples, count = [data.sample(n) for n in numbers], data.columns(numbers)
  return {name: np.stack([one[name][:count] for one in samples]) for name in samples[0]}


def _accuracy(model, data, size=64):
  import torch

  right = 0
  with torch.inference_mode():
    for start in range(0, len(data), size):
      batch = _batch(data, range(start, min(start + size, len(data))))
      logits, labels = model(batch)
      right += int((logits.argmax(1) == labels).sum())
  return right / len(data)


def summary(rows):
  """Returns means and standard deviations of accuracy, and the ratio of seconds."""
  found = {}
  for who in ('ours', 'theirs'):
    values = [row[who]['accuracy'] for row in rows]
    found[f'{who}_accuracy'] = statistics.mean(values)
    found[f'{who}_deviation'] = statistics.stdev(values) if len(values) > 1 else 0.0
  total = functools.partial(_total, rows)
  return found | {'times_as_fast': total('theirs') / total('ours')}


def _total(rows, who):
  return sum(row[who]['seconds'] for row in rows)


if __name__ == '__main__':
  main()
