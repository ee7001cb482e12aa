"""The report of a run: files in, one HTML file out, and the pictures for other pages."""

from __future__ import annotations

from mrsynth.report.figures import learning_curves
from mrsynth.report.page import build_report, overview_png
from mrsynth.report.panels import panel_png

__all__ = ["build_report", "learning_curves", "overview_png", "panel_png"]
