"""Stands in for what scripts import from AWS's XGBoost image: reading CSV and LIBSVM."""
