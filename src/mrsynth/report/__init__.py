"""The report of a run: files in, one HTML file out, and the pictures for other pages."""

from __future__ import annotations

from mrsynth.report.pictures import learning_curves, panel_png
from mrsynth.report.run import build_report, is_page, overview_png

__all__ = ["build_report", "is_page", "learning_curves", "overview_png", "panel_png"]
