"""The one room of Great Expectations: is this data valid?"""
