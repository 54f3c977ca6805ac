"""Pretrained models of others, in and out: Hugging Face folders and GGUF files.

`families` lists the kinds of models; each is a file with the meaning of its config.json
and the names of its tensors. `folder.open_folder` reads one as a run is read.
"""
