"""EVA: LoRA whose A starts at what its target reads, arXiv:2410.07170, section 3.2.

The columns of A are the leading right singular vectors of the inputs of the target over
the first batches of training: eigenvectors of their second moments, which are summed
here in place of the paper's incremental SVD. On each device that takes, for a moment,
2 x 4 bytes x the square of the input's width, for each target and layer: the sum, and
that of a batch. B = 0. Ranks are not redistributed (eq. 6).
"""

import numpy as np
import scipy.linalg

from gpt_jax.model import linear_inputs
from gpt_jax.peft.low_rank import LORA_A

MOMENT = 'eva_moment'


def begin(targets, ranks, num_batches):
  """Returns the function of `Adapter.begin`."""

  def start(leaves, observe):
    del leaves
    if observe is None:  # no training follows, and with B = 0 no output depends on A
      return {}
    measures = {MOMENT: linear_inputs.second_moment}
    moments = observe(linear_inputs.watching(targets, measures), num_batches)
    found = {}
    for linear in targets:
      a = leading(moments.pop(f'{linear.path}/{MOMENT}'), ranks[linear.path])
      shape = (*linear.stack, *linear.sizes(linear.contracted), ranks[linear.path])
      found[f'{linear.path}/{LORA_A}'] = a.reshape(shape)
    return found

  return start


def leading(moment, rank):
  """Returns the leading eigenvectors of [.., F, F] as columns, float32 [.., F, rank].

  The largest entry of each is positive, as their signs are arbitrary.
  """
  moment = np.asarray(moment, np.float32)
  *stack, width, _ = moment.shape
  found = [_leading(one, rank) for one in moment.reshape(-1, width, width)]
  return np.stack(found).reshape(*stack, width, rank)


def _leading(moment, rank):
  # One matrix in float64 at a time; all of its vectors would take six times as long.
  width = len(moment)
  _, vectors = scipy.linalg.eigh(
    moment.astype(np.float64), subset_by_index=(width - rank, width - 1)
  )
  vectors = vectors[:, ::-1]
  largest = np.abs(vectors).argmax(0)
  signs = np.sign(vectors[largest, range(rank)])
  return (vectors * signs).astype(np.float32)
