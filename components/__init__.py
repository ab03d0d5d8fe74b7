"""The steps and the tasks of the pipeline: plain functions and classes, in → out, testable alone."""
