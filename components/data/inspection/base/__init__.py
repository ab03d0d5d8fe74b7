"""What the eyes and the inspection share: findings, pairs of samples, rows that wait on a disk, embeddings."""
