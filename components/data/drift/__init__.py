"""The one package of Evidently: is this still the data that the production model was trained on?"""
