"""The words of series and files, in several languages: contrasts, kinds that are not used, parts of the body."""

from __future__ import annotations

import re
import unicodedata

CONTRAST_WORDS: tuple[tuple[str, str, str], ...] = (
    ("adc", r"adc|apparent diff\w*|coeff?icient\w* de diff\w*", "ADC"),
    ("dwi", r"dwi\w*|dw|dti\w*|diff\w*|trace\w*|ep2d diff\w*|resolve|isodwi|b ?1000|hardi|dsi", "diffusion"),
    ("flair", r"\w*flair\w*|fla|dark ?fl\w*|darkfluid", "FLAIR"),
    ("t1", r"[sec3d]{0,2}t1\w*|3d t1\w*|\w*mp2? ?rage\w*|f?spgr|bravo|ir fspgr|mpr t1|tfl3d\w*", "T1"),
    ("t2", r"[sec3d]{0,2}t2\w*|3d t2\w*", "T2"),
)
"""(contrast, words, how it is told): what a series in use is called."""

OTHER_KINDS: tuple[tuple[str, str], ...] = (
    (r"locali[sz]er|lokali\w*|scout|survey|topogram\w*|scanogram\w*|3 plane|three plane|localizador", "a localizer"),
    (r"swi|swan|venobold|t2 ?\*|t2 ?star\w*|t2starw?|hemo\w*|haemo\w*|susceptibility|qsm|r2 ?\*|r2 ?star\w*",
     "susceptibility (T2*)"),
    (r"perf\w*|pwi|dsc|dce|\w*asl|r?cbf|r?cbv|mtt|ttp|tmax|ctp|ktrans", "perfusion"),
    (r"bold|fmri|resting|rest state|ep2d_bold", "functional imaging"),
    (r"tof|mra|mrv|\w*angio\w*|venogr\w*|pc3d|pca", "angiography"),
    (r"mip|minip|projection|projektion|vr[td]?|volume rendering", "a projection"),
    (r"subtract\w*|subtrakt\w*|sub(?! ?\d)|diff?erence|soustr\w*|resta|dsa", "a difference image"),
    (r"[ft]?a map|fa|md|rd|ra|fractional|tensor|eadc|exp adc|exponential\w*|colou?r|colfa|ivim|kurtosis|dki|"
     r"calc\w*|computed|synth\w* b|cb ?\d+|c ?dwi", "a map of diffusion"),
    (r"t1 ?maps?\w*|t2 ?maps?\w*|maps?|mapping|molli|t1 ?rho\w*|t2 ?rho\w*|relax\w*|symri|magic"
     r"|mp2rage .*t1 ?images|qt[12]|"
     r"quanti\w*", "a map of relaxation"),
    (r"synth\w*|pred\w*|generated|fake|simulated|pseudo\w*|virtual|inpaint\w*|reconstructed t[12]|super ?res\w*|"
     r"cyclegan|pix2pix|gan|diffusion model|hallucinat\w*|filled|filling", "made by a model"),
    (r"inv ?[12]|uni|uni den|uniden", "a part of an MP2RAGE"),
    (r"pd|pdw?|proton\w*|dp|rho|densite", "proton density"),
    (r"stir|fat ?sat inversion|(?<![0-9] )dir(?! ?[0-9])|double inversion|psir|wmn|white matter null\w*|fgatir|mtr?|"
     r"magneti[sz]ation transfer", "another preparation"),
    (r"ciss|fiesta\w*|bffe|balanced|trufi\w*|true ?fisp", "a balanced sequence"),
    (r"field ?map\w*|b0 ?map|b1 ?map\w*|phase\w*(?! ?enc)|pha|ph|gre field|real|imag|imaginary|complex",
     "a field map, phase or complex image"),
    (r"(?<!no )fat(?! ?s)|fett(?! ?[gs])|graisse|grasa|grasso|gordura|fat only|fat fraction|pdff|in ?phase"
     r"|out ?phase|opp?(?:osed)? ?phase|"
     r"opp|inphase|outphase|dixon f|fat img|fatfrac\w*|ff|dixon(?: \w+)* (?:f|ip|op|in|opp"
     r"|fat)", "a part of a Dixon image"),
    (r"mrs|svs|csi|spectro\w*", "spectroscopy"),
    (r"pve\w*|prob\w*|tpm|gm|wm|csf|gr[ae]y ?matter|white ?matter|tissue\w*|firstseg|pveseg|mixeltype|aseg|aparc\w*|"
     r"c[1-6]|[mw]{1,3}c[1-6]|rc[1-6]|curv\w*|thick\w*|sulc\w*|parc\w*", "a map of tissues"),
    (r"jac\w*|logjac\w*|\w*warp(?!ed)\w*|deform\w*|disp|displ\w*|xfm|transform\w*|trafo|velocity|iy|"
     r"warpcoef\w*|inverse ?warp", "a movement, not an image"),
    (r"bias ?field|biasfield|sensitivity|coil ?(?:map|sens)\w*|noise ?map|g ?factor|snr|residuals?|stdev|sd"
     r"|variance|error|"
     r"uncertainty|entropy|z ?score map|tstat|zstat|pval\w*|heat ?map|saliency|ratio|histogram|edges?|"
     r"distance|skeleton|sum", "a measure made of images"),
    (r"screen ?save\w*|screenshot|dose report|patient protocol|report|summary|mosaic|collage|thumbnail|preview",
     "a picture of a screen or a report"),
)  # fmt: skip
"""(words, what they say): kinds of images that no model here uses, in the spellings of several vendors and programs."""

CT_OTHER_KINDS = (
    r"cta|ctv|cct?a|angio\w*|arter\w*|art|ven\w*|portal\w*|delay\w*|phase ?\d|perf\w*|ctp|mono\w*|kev|iodine|jod|vnc|"
    r"virtual\w*|dual ?energy|spectral|z ?eff|bone ?(?:map|removal)|bolus\w*|monitoring|smart ?prep|premonitor\w*|"
    r"test ?bolus|care ?bolus|dose (?:report|info\w*)|plan\w*"
)
"""Words of CT series that are no native head CT."""

HEAD_WORDS = (
    r"head\w*|brain\w*|skull|neuro\w*|kopf\w*|schadel\w*|hirn\w*|gehirn\w*|tete|crane\w*|cerveau|encephale|cabeza|craneo"
    r"|cerebr\w*|testa|cranio\w*|crani[ou]m?|encefalo|cabeca|hoofd|hersen\w*|schedel|mozg\w*|glow\w*|hjarn\w*|hjern\w*"
    r"|hovede|huvud|whole ?body|intracran\w*|cerebell\w*|stroke|cct|ccm|голов\w*|мозг\w*"
)
"""The head and the brain, in several languages."""

NO_PART = r"mr|ct|unknown|other|unspecified|none|na|n a|not specified"
"""What BodyPartExamined (0018,0015) holds where nobody filled it in."""

BODY_WORDS = (
    r"[chtlb]s?ws|\w*spine|spin\w*|\w*cervical\w*|lumbar\w*|lumbal\w*|dorsal|sacr\w*|wirbel\w*|colonn?[ae]|columna|rachis"
    r"|myelo\w*|hals|neck|cou|cuello|collo|pescoco|nek|carotid\w*|karotid\w*|chest|thora\w*|torax|torace|brust\w*|abdom\w*"
    r"|addome|bauch\w*|buik|pelvi\w*|becken|bassin|bacino|liver|leber|foie|higado|fegato|figado|lever|kidney\w*|renal"
    r"|niere\w*|heart|cardi\w*|coronar(?:y|ies)|herz\w*|coeur|corazon|cuore|coracao|hart|lung\w*|pulmon\w*|poumon\w*"
    r"|polmon\w*|knee|knie|genou|rodilla|ginocchio|joelho|hip|huft\w*|hanche|cadera|anca|quadril|heup|shoulder|schulter"
    r"|epaule|hombro|spalla|ombro|schouder|ankle|sprung\w*|cheville|tobillo|caviglia|foot|feet|fuss|pied|pie|piede|hand"
    r"|main|mano|wrist|handgelenk|poignet|muneca|polso|elbow|ellenbogen|coude|codo|gomito|femur|thigh|tibia|calf|wade"
    r"|leg|arm|humerus|forearm|extremit\w*|joint|breast\w*|mamma\w*|sein|prostat\w*|uter\w*|rectum|rectal|bowel|enterogr\w*"
    r"|mrcp|pancrea\w*|spleen|bladder|aort\w*|testis|scrotum|ovar\w*|plexus|phantom|qa"
)
"""Parts of the body that are not the head."""

HEAD_PART_WORDS = (
    r"orbit\w*|pituitar\w*|hypophys\w*|hipofis\w*|ipofisi|sella\w*|iac|iacs|cpa|inner ear|innenohr"
    r"|temporal bone|felsenbein"
    r"|petrous|mastoid\w*|tmj|sinus\w*|nnh|face|facial|maxill\w*|mandib\w*|dental|nasopharyn\w*|parotid\w*|tongue"
)
"""Small parts of the head, which are scanned alone."""


def normalise(text: str) -> str:
    """Return a text in lower case, without accents, with single spaces for all but letters, digits and + * %."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).lower())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return re.sub(r"(?:[^\w+*%]|_)+", " ", plain).strip()


def says(pattern: str, text: str) -> str | None:
    """Return the words of a normalised text that match a pattern as whole words, None where none do.

    Args:
        pattern: A regular expression; a space stands for one between words.
        text: What `normalise` returns.
    """
    match = re.search(rf"(?:^|(?<= ))(?:{pattern})(?= |$)", text)
    return match.group() if match else None


def other_kind(text: str) -> tuple[str, str] | None:
    """Return (the word, what it says) of a normalised text that names a kind of image which is not used, or None."""
    for pattern, what in OTHER_KINDS:
        if word := says(pattern, text):
            return word, what
    return None
