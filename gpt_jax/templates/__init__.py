"""What a task's examples are written as: prompts, prompts with examples, conversations.

`prompts.py` is the one to read first: templates by name, from the .yaml files, one for
each family of tasks; `template.py` fills one in, `printed.py` says how fields look as
text, `shots.py` puts solved examples before a prompt. `chat.py` turns messages into the
parts of a document; `jinja_chat.py` has the formats, the built-in ones in .jinja files.
A new prompt is an entry of a .yaml file, a new format of chats a .jinja file.
"""
