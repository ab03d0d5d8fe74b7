"""Tables of any format, read within limits: CSV, Parquet, Arrow, JSON."""
