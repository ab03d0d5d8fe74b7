"""The one room of Evidently: is this still the data that the production model was trained on?"""
