"""How an item of arrays is written: as Orbax does, then digested by who wrote it."""

import dataclasses
from typing import Any

import jax
import orbax.checkpoint as ocp

from gpt_jax import checkpoint_digests


class DigestingHandler(ocp.StandardCheckpointHandler):
  """Orbax's handler of trees; each process also digests the files that it wrote."""

  async def async_save(self, directory, *args, **kwargs):
    written = await super().async_save(directory, *args, **kwargs)
    return [_Digested(written or [], getattr(directory, 'path', directory))]


@ocp.args.register_with_handler(DigestingHandler, for_save=True)
@dataclasses.dataclass
class Save(ocp.args.StandardSave):
  """A tree of arrays to be saved with its digests."""


@ocp.args.register_with_handler(DigestingHandler, for_restore=True)
@dataclasses.dataclass
class Restore(ocp.args.StandardRestore):
  """A tree of ShapeDtypeStructs to be restored."""


@dataclasses.dataclass
class _Digested:
  """Done (see orbax.checkpoint.future) once all is `written` and digested."""

  written: list[Any]
  directory: Any

  def result(self, timeout=None):
    for future in self.written:
      future.result(timeout)
    checkpoint_digests.write_part(self.directory, jax.process_index())
