"""The one package of Great Expectations: is this data valid?"""
