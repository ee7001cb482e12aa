"""Which mask a name speaks of: of the brain, of lesions, of enhancement, or one that nothing here uses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mrsynth.index.evidence import CERTAIN, DOUBT, OTHER, TAG, WORD, Vote
from mrsynth.index.words import normalise, says

MASK = (
    r"masks?|msk|seg|segm|segs|segmentations?|segmented|labels?|lab|rois?|voi|contours?|annotations?|gt"
    r"|gold standard|delin\w*"
)
"""Words for a mask or labels of whatever kind."""

BRAIN = r"brain|skull ?strip\w*|brainmask|brain ?mask|bet|icv|intracranial|hirn\w*|cerveau|cerebro"
LESION = (
    r"lesions?|les|tumou?rs?|tumou?r\w*seg|gtv\w*|ctv|glioma\w*|gbm|stroke|infarcts?|isch?aemi\w*|ischemi\w*|wmh\w*"
    r"|wm ?lesions?|wml|plaques?|ms|mslesions?"
    r"|metastas\w*|mets?|core|oedema|edema|peritumou?ral|whole|multiclass|gold standard|haemorrh\w*|hemorrh\w*"
    r"|hematoma|bleed\w*|abnormal\w*"
    r"|patholog\w*|cavity|resection|lasion\w*|lesao|lesione|lesiones"
)
ENHANCING = r"enhancing|enhancement|et|etc"
OTHER_MASK = (
    r"error|uncertainty|entropy|gm|wm|csf|gr[ae]y|white|tissues?|parenchyma\w*|ventric\w*|cortex|cortical|subcort\w*|hippocamp\w*|thalam\w*|cerebell\w*|brainstem"
    r"|aparc\w*|aseg\w*|parc\w*|regions?|lobes?|atlas|nuclei|vessels?|arter\w*|vein\w*|skull|skullmask|head|face|deface\w*|fov|air|background|bg|bone"
    r"|scalp|skin|eyes?|orbits?|nerves?|tracts?|bundles?|dilated|eroded|edge|contralateral|control|roi ?box|box"
    r"|bbox|nawm|pve\w*|prob\w*|synthseg"
    r"|fast|first|freesurfer|wmparc|dkt|hemi\w*|left|right|lh|rh|midline|fat|muscle|tongue|organ\w*|liver|lung\w*|body"
)
KNOWN = (
    r"t1\w*|t2\w*|flair|fla|dwi|adc|ct|mprage|ce|c|gd|post|pre|manual|auto\w*|final|rater\w*|expert|consensus|truth|ground|image|img|scan"
    r"|mni|reg|bin|binary|native|space|in|to|of|the|nii|new|corrected|edited|raw|orig"
)
"""Words beside a general word for masks that say nothing of what it shows."""


def names_a_mask(words: Sequence[str], behind: int) -> bool:
    """Say whether the words of a name speak of a mask, and not of an image.

    Args:
        words: The words of the name.
        behind: Where those begin that stand behind the last contrast; before it a lesion may be that of the study's
            name.
    """
    if says(f"{MASK}|brainmask", normalise(" ".join(words))):
        return True
    rest = normalise(" ".join(words[behind:]))
    return bool(
        says("lesions?|gtv\\w*|enhancing|wmh\\w*|tumou?rs?|tumou?r ?\\w*seg|tumou?r core|infarcts?|plaques?", rest)
    )


def is_mask_word(text: str) -> bool:
    """Say whether a word of a name belongs to what it says of a mask, and not to the patient's name."""
    plain = normalise(text)
    known = f"{MASK}|{BRAIN}|{LESION}|{ENHANCING}|{OTHER_MASK}|{KNOWN}"
    return not re.search(r"\d{2}", plain) and re.fullmatch(known, plain) is not None


def mask_votes(stem: str) -> Iterator[Vote]:
    """Yield which mask a name speaks of.

    Args:
        stem: The file's name without its suffix, or a BIDS label.
    """
    plain = normalise(stem)
    # What belongs to a patient or a data set says nothing of the mask.
    plain = re.sub(
        r"(?:^| )(?:\w*\d{2,}\w*|sub \w+|ses \w+|brats\w*(?: gli| ped| met| men| ssa)?|tcga|isles\w*|train\w*)(?= |$)",
        "",
        plain,
    )
    lesion, brain, enhancing, other = (says(words, plain) for words in (LESION, BRAIN, ENHANCING, OTHER_MASK))
    general = says(MASK, plain)
    if filled := says(r"filled|filling|inpaint\w*", plain):
        yield Vote(OTHER, CERTAIN, f"its name says {filled}: no longer as it was acquired")
        return
    if other and not lesion:
        yield Vote(OTHER, CERTAIN, f"its name says {other}: a mask of no use here")
        return
    if lesion:
        yield Vote("lesion", TAG, f"its name says {lesion}")
    if enhancing:
        yield Vote("enhancing", TAG, f"its name says {enhancing}")
    if brain and not lesion:
        if says(r"seg\w*|labels?", plain) and not says(r"masks?|msk|brainmask", plain):
            yield Vote(
                DOUBT, TAG, f"its name says {brain} and {general}: a brain mask, or labels of tissues? Rename it"
            )
        else:
            yield Vote("brain", TAG, f"its name says {brain}" + (f" {general}" if general and general != brain else ""))
    if other and lesion:
        yield Vote(DOUBT, WORD, f"its name says {other} too: of what?")
    if lesion or brain or enhancing:
        return
    if says(r"masks?", plain):
        yield Vote("brain", TAG, "its name says mask")
    elif general:
        yield Vote("lesion", TAG, f"its name says {general}")
    unknown = [w for w in plain.split(" ") if w and not re.fullmatch(rf"{MASK}|{KNOWN}|\w*\d\w*", w)]
    if unknown and general and plain.split(" ").index(unknown[-1]) == plain.split(" ").index(general.split(" ")[0]) - 1:
        yield Vote(DOUBT, WORD, f"'{unknown[-1]}' is not known here: a mask of what?")
