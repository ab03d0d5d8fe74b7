"""How answers are written where a version is served: a file for each way.

The file lies beside the model in every version and runs where Convoy was never installed, so it imports nothing of it:
`OUTPUTS` are those of the graph that it reads, `COLUMNS` what it writes, name → type in the signature (`string`,
`double`, `list of string`, `list of double`, `list of entity`, and `strings`, `doubles`, maps from names to them), and
`write` makes a row of them.
"""
