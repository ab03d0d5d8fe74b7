"""The steps and the tasks of the line: plain functions and classes, in → out, testable alone."""
