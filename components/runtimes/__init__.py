"""What executes an artifact, one file an engine behind one small surface (`protocol`), each registered by name."""
