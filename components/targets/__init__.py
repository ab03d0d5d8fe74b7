"""What the answer to a sample is, as data: a file for each kind, without PyTorch.

A kind says how its column is stored, counted, renamed, fitted to the picture, drawn and compared, so that no room of
data asks which kind it has before it. What is *learnt* of it is the task's (`components.tasks`).
"""
