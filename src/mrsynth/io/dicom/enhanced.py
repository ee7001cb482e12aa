"""A synthetic series as one file of Enhanced MR Image Storage: what all slices share, and each slice's own."""

from __future__ import annotations

from datetime import datetime

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage

from mrsynth.io.dicom.derived import code, derived_uid
from mrsynth.io.dicom.sheet import Sheet, ds, measures, real_world_values, references

STACK = "1"

IN_GROUPS = ("RealWorldValueMappingSequence", "DerivationCodeSequence", "DerivationDescription")
"""What enhanced images say in their functional groups alone."""

IMAGE_TYPE = ("DERIVED", "PRIMARY", "OTHER", "SYNTHETIC")
"""Of image and frames; an enhanced image is PRIMARY, whatever it is (PS3.3 C.8.16.1.2), and its type has four words."""


def enhanced(sheet: Sheet) -> Dataset:
    """Return the data set of a whole series (PS3.3 A.36.2); being derived, it says nothing of an acquisition.

    Its ContentDate is that of its writing: the standard asks for one, so that two runs differ in these bytes, not in
    their UIDs.
    """
    data = sheet.common
    now = datetime.now()
    data.SOPClassUID = EnhancedMRImageStorage
    data.SOPInstanceUID = derived_uid(data.SeriesInstanceUID, "enhanced")
    data.ImageType, data.InstanceNumber = list(IMAGE_TYPE), 1
    data.ContentDate, data.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    data.NumberOfFrames = len(sheet.frames)
    data.ContentQualification, data.PresentationLUTShape = "RESEARCH", "IDENTITY"
    data.LossyImageCompression = data.get("LossyImageCompression", "00")
    # dciodvfy wants an agency of derived images too; no gradient was switched, so none watched over it.
    data.DeviceSerialNumber, data.ApplicableSafetyStandardAgency = "none", "NONE"
    for keyword, value in _kind().items():
        setattr(data, keyword, value)
    data.AcquisitionContextSequence = Sequence([])
    organisation = derived_uid(data.SeriesInstanceUID, "dimensions")
    data.DimensionOrganizationSequence = Sequence([_item(DimensionOrganizationUID=organisation)])
    data.DimensionIndexSequence = Sequence(
        [
            _item(
                DimensionOrganizationUID=organisation,
                DimensionIndexPointer=tag_for_keyword(keyword),
                FunctionalGroupPointer=tag_for_keyword("FrameContentSequence"),
            )
            for keyword in ("StackID", "InStackPositionNumber")
        ]
    )
    data.SharedFunctionalGroupsSequence = Sequence([_shared(sheet)])
    data.PerFrameFunctionalGroupsSequence = Sequence([_own(sheet, k) for k in range(len(sheet.frames))])
    if evidence := _evidence(sheet):
        data.SourceImageEvidenceSequence = evidence
    for keyword in IN_GROUPS:
        del data[keyword]
    data.PixelData = sheet.stored.astype("<u2", copy=False).tobytes()
    data["PixelData"].VR = "OW"
    return data


def _evidence(sheet: Sheet) -> Sequence:
    """Return every image of the scan that a frame was made of, below its series and study."""
    images = {}
    for k in range(len(sheet.frames)):
        for source in references(sheet, k):
            uids = source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID
            images[uids] = _item(ReferencedSOPClassUID=uids[0], ReferencedSOPInstanceUID=uids[1])
    if not images:
        return Sequence()
    series = _item(SeriesInstanceUID=sheet.frames[0].series.uid, ReferencedSOPSequence=Sequence(images.values()))
    study = _item(StudyInstanceUID=sheet.common.StudyInstanceUID, ReferencedSeriesSequence=Sequence([series]))
    return Sequence([study])


def _kind() -> dict[str, str]:
    """Return the Common CT/MR and PET Image Description that image and frames have (PS3.3 C.8.16.2)."""
    return {
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "ComplexImageComponent": "MAGNITUDE",
        "AcquisitionContrast": "UNKNOWN",
    }


def _shared(sheet: Sheet) -> Dataset:
    """Return the functional groups that all frames share."""
    low, high = sheet.window
    group = Dataset()
    group.PixelMeasuresSequence = Sequence([_item(**measures(sheet.frames))])
    orientation = [ds(x) for x in sheet.frames[0].orientation]
    group.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=orientation)])
    brain = _item(FrameLaterality="U", AnatomicRegionSequence=code("12738006", "SCT", "Brain"))
    group.FrameAnatomySequence = Sequence([brain])
    group.MRImageFrameTypeSequence = Sequence([_item(FrameType=list(IMAGE_TYPE), **_kind())])
    identity = _item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")
    group.PixelValueTransformationSequence = Sequence([identity])
    window = _item(WindowCenter=ds((low + high + 1) / 2), WindowWidth=ds(high - low + 1))
    group.FrameVOILUTSequence = Sequence([window])
    group.RealWorldValueMappingSequence = real_world_values(sheet)
    return group


def _own(sheet: Sheet, k: int) -> Dataset:
    """Return the functional groups of frame k."""
    group = Dataset()
    content = _item(StackID=STACK, InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1])
    group.FrameContentSequence = Sequence([content])
    position = [ds(x) for x in sheet.frames[k].position]
    group.PlanePositionSequence = Sequence([_item(ImagePositionPatient=position)])
    derivation = _item(
        DerivationDescription=sheet.common.DerivationDescription,
        DerivationCodeSequence=sheet.common.DerivationCodeSequence,
    )
    if sources := references(sheet, k):
        derivation.SourceImageSequence = sources
    group.DerivationImageSequence = Sequence([derivation])
    return group


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
