"""Pages for people: one HTML file each that needs no network, and the look they share."""

from cordee.core.pages.page import environment, save

__all__ = ["environment", "save"]
