"""Where data comes from: one file a kind, each `read(source, project) -> SourceData`.

A source gives encoded images as they are published; it neither judges, resizes nor splits.
"""
