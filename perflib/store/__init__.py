"""What a run leaves on disk, and how it is read, compacted, cached, and kept under a name."""
