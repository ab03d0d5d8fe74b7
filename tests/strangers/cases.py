"""Other people's data, case by case, with what is right for each: `python -m tests.strangers` shows them in a table."""

from tests.strangers import data, hostile

CASES = (*data.CASES, *hostile.CASES)
