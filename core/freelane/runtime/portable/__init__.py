"""Runs the user's train.py and predict.py on any provider: standard library only, Python >= 3.9.

This folder travels: it is copied next to the user's code and imports nothing but itself.
"""
