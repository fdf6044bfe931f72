"""Curation: a folder of raw scans becomes a set of people, each scan judged against what a good scan shows."""
