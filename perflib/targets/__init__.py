"""How one request is made: a target kind is one class, found by the entry point group `perflib.targets`."""
