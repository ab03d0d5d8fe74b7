"""Formulas of quality under sample weights: pure functions of arrays that know neither tasks nor files."""
