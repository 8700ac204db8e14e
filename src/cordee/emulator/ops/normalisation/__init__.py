"""Normalisations: RMS, layer, group and batch, alone and fused with their neighbours."""

from cordee.emulator.ops.normalisation import batch as batch
from cordee.emulator.ops.normalisation import group as group
from cordee.emulator.ops.normalisation import layer as layer
from cordee.emulator.ops.normalisation import rms as rms
from cordee.emulator.ops.normalisation import rms_quantised as rms_quantised
