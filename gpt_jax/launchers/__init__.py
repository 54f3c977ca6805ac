"""Starting a run as several processes, and starting it again when one dies."""
