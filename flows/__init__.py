"""What runs, in which order: Prefect flows over the components, and the `convoy` command."""
