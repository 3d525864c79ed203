"""Nightly exports and reports from Lucca Timesheet, for many clients at once."""

__version__ = "0.1.0"
