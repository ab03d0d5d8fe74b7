"""The pipeline's servers on one machine without containers: what `infra/servers.py` is made of."""
