"""MLflow as the memory of a project: its database, its files, and where these lie now."""
