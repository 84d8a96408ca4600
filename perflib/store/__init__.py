"""The files of a run: how they are written, read, compacted, cached, and copied to baselines and object stores."""
