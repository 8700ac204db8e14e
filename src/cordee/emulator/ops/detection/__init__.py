"""Boxes and regions: overlaps, suppression, codes, anchors and pooling of object detectors."""

from cordee.emulator.ops.detection import anchors, coding, overlap, pooling, rotated, suppression

__all__ = ["anchors", "coding", "overlap", "pooling", "rotated", "suppression"]
