"""The codes that leave the house, each taken from a source that was checked.

SNOMED CT codes come from tx.fhir.org, DICOM PS3.16 (CID 4029, 4405, 6030, 3810) and NCBI MedGen.
A lesion for which only one unchecked source gives a SNOMED CT code has none here: a missing code is
safer than a wrong one. ICD-10-CM is the edition of April 2026. The seven classes are groups and not
diagnoses, so they have a code system of their own.

This material includes SNOMED CT, used by permission of SNOMED International; it may be sent only
in a member territory or under an affiliate licence, hence the switch `snomed`. LOINC is copyright
Regenstrief Institute and free to use under its licence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

# The canonical names of what the project itself defines; they name, they need not resolve.
CANONICAL = "https://dermqueue.org/fhir"
LESION_CLASS_SYSTEM = f"{CANONICAL}/CodeSystem/lesion-class"
BODY_SITE_SYSTEM = f"{CANONICAL}/CodeSystem/body-site"
PLAN_SYSTEM = f"{CANONICAL}/CodeSystem/management-plan"
OBSERVATION_SYSTEM = f"{CANONICAL}/CodeSystem/observation"
CASE_IDENTIFIER_SYSTEM = f"{CANONICAL}/sid/case"
PATIENT_IDENTIFIER_SYSTEM = f"{CANONICAL}/sid/patient"
PRACTITIONER_IDENTIFIER_SYSTEM = f"{CANONICAL}/sid/practitioner"
ORGANIZATION_IDENTIFIER_SYSTEM = f"{CANONICAL}/sid/organization"

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
UCUM = "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"


@dataclass(frozen=True)
class Coding:
    system: str
    code: str
    display: str | None = None


@dataclass(frozen=True)
class Target:
    """One diagnosis inside a class; `icd10_prefix` recognises its codes by site."""

    icd10: Coding
    icd10_prefix: str
    snomed: Coding | None = None


@dataclass(frozen=True)
class LesionClass:
    """`equivalence` is that of the published concept map: `narrower` means several targets."""

    code: str
    display: str
    equivalence: Literal["equivalent", "narrower"]
    targets: tuple[Target, ...]

    @property
    def coding(self) -> Coding:
        return Coding(LESION_CLASS_SYSTEM, self.code, self.display)

    @property
    def default_target(self) -> Target | None:
        """None for a group of several diagnoses: there the reader alone can choose one."""
        return self.targets[0] if self.equivalence == "equivalent" else None


@dataclass(frozen=True)
class BodySite:
    """`snomed` is the site itself or, where no checked code exists, the region that holds it."""

    code: str
    text: str
    snomed: Coding

    @property
    def coding(self) -> Coding:
        return Coding(BODY_SITE_SYSTEM, self.code, self.text)


def _icd(code: str, display: str) -> Coding:
    return Coding(ICD10CM, code, display)


def _sct(code: str, display: str) -> Coding:
    return Coding(SNOMED, code, display)


_CLASSES = (
    LesionClass(
        "akiec",
        "Actinic keratosis or intraepithelial carcinoma",
        "narrower",
        (
            Target(
                _icd("L57.0", "Actinic keratosis"), "L57.0", _sct("201101007", "Actinic keratosis")
            ),
            Target(
                _icd("D04.9", "Carcinoma in situ of skin, unspecified"),
                "D04",
                _sct("254656002", "Bowen's disease of skin"),
            ),
        ),
    ),
    LesionClass(
        "bcc",
        "Basal cell carcinoma",
        "equivalent",
        (
            Target(
                _icd("C44.91", "Basal cell carcinoma of skin, unspecified"),
                "C44",
                _sct("254701007", "Basal cell carcinoma of skin"),
            ),
        ),
    ),
    LesionClass(
        "bkl",
        "Benign keratosis-like lesion",
        "narrower",
        (
            Target(
                _icd("L82.1", "Other seborrheic keratosis"),
                "L82",
                _sct("394726009", "Seborrheic keratosis"),
            ),
            Target(
                _icd("L81.4", "Other melanin hyperpigmentation"),
                "L81.4",
                _sct("72100002", "Solar lentigo"),
            ),
        ),
    ),
    LesionClass(
        "df",
        "Dermatofibroma",
        "equivalent",
        (Target(_icd("D23.9", "Other benign neoplasm of skin, unspecified"), "D23"),),
    ),
    LesionClass(
        "mel",
        "Melanoma",
        "equivalent",
        (
            Target(
                _icd("C43.9", "Malignant melanoma of skin, unspecified"),
                "C43",
                _sct("93655004", "Malignant melanoma of skin"),
            ),
            Target(
                _icd("D03.9", "Melanoma in situ, unspecified"),
                "D03",
                _sct("109266006", "Melanoma in situ of skin"),
            ),
        ),
    ),
    LesionClass(
        "nv",
        "Melanocytic nevus",
        "equivalent",
        (
            Target(
                _icd("D22.9", "Melanocytic nevi, unspecified"),
                "D22",
                _sct("400010006", "Melanocytic nevus of skin"),
            ),
        ),
    ),
    LesionClass(
        "vasc",
        "Vascular lesion",
        "narrower",
        (
            Target(
                _icd("D18.01", "Hemangioma of skin and subcutaneous tissue"),
                "D18.01",
                _sct("400210000", "Hemangioma"),
            ),
            Target(_icd("L98.0", "Pyogenic granuloma"), "L98.0"),
            Target(_icd("I78.1", "Nevus, non-neoplastic"), "I78.1"),
        ),
    ),
)
LESION_CLASSES: Mapping[str, LesionClass] = MappingProxyType({c.code: c for c in _CLASSES})

_SKIN = _sct("39937001", "Skin structure")
_FOOT = _sct("60496002", "Skin structure of foot")
_SITES = (
    BodySite("scalp", "scalp", _sct("43067004", "Skin structure of scalp")),
    BodySite("face", "face", _sct("73897004", "Skin structure of face")),
    BodySite("ear", "ear", _sct("1902009", "Skin structure of ear")),
    BodySite("neck", "neck", _sct("43081002", "Skin structure of neck")),
    BodySite("chest", "chest", _sct("74160004", "Skin structure of chest")),
    BodySite("abdomen", "abdomen", _sct("75093004", "Skin structure of abdomen")),
    BodySite("back", "back", _sct("66643007", "Skin structure of back")),
    BodySite("trunk", "trunk", _SKIN),
    BodySite(
        "upper_extremity", "upper extremity", _sct("371311000", "Skin structure of upper extremity")
    ),
    BodySite(
        "lower_extremity", "lower extremity", _sct("371304004", "Skin structure of lower extremity")
    ),
    BodySite("hand", "hand", _sct("33712006", "Skin structure of hand")),
    BodySite("palm", "palm of hand", _sct("70887009", "Skin structure of palm of hand")),
    BodySite("foot", "foot", _FOOT),
    BodySite("sole", "sole of foot", _FOOT),
    BodySite("buttock", "buttock", _sct("22180002", "Skin structure of buttock")),
    BodySite("nail", "nail", _SKIN),
    BodySite(
        "genitals",
        "external genitalia",
        _sct("60944009", "Skin structure of external genitalia"),
    ),
    BodySite("other", "other skin site", _SKIN),
)
BODY_SITES: Mapping[str, BodySite] = MappingProxyType({s.code: s for s in _SITES})

MANAGEMENT_PLANS: Mapping[str, Coding] = MappingProxyType(
    {
        code: Coding(PLAN_SYSTEM, code, display)
        for code, display in (
            ("benign_advice", "Benign: advice and no follow-up"),
            ("gp_plan", "Treatment plan for the general practitioner"),
            ("urgent_clinic", "Urgent appointment in the skin clinic"),
            ("biopsy", "Biopsy or excision"),
            ("in_person", "Examination in person"),
            ("second_opinion", "Second opinion"),
        )
    }
)

DERMATOLOGY_NOTE = Coding(LOINC, "34759-1", "Dermatology Note")
FINDINGS = Coding(LOINC, "59776-5", "Procedure findings Narrative")
IMAGE_DOCUMENT = Coding(LOINC, "72170-4", "Photographic image Unspecified body region Document")
RADIOLOGY_CATEGORY = Coding(LOINC, "LP29684-5", "Radiology")
DERMATOSCOPY = _sct("1237125003", "Optical dermatoscopy of skin")
IMAGING_SERVICE = Coding(f"{HL7}/v2-0074", "IMG", "Diagnostic Imaging")
CATEGORY_IMAGING = Coding(f"{HL7}/observation-category", "imaging", "Imaging")
CATEGORY_EXAM = Coding(f"{HL7}/observation-category", "exam", "Exam")
CLINICAL_NOTE = Coding(
    "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
    "clinical-note",
    "Clinical Note",
)
AI_ASSERTED = Coding(f"{HL7}/v3-ObservationValue", "AIAST", "Artificial Intelligence asserted")
AI_DEVICE = Coding(DCM, "123110", "Artificial Intelligence")
DERMOSCOPY_MODALITY = Coding(DCM, "DMS", "Dermoscopy")
CAMERA_MODALITY = Coding(DCM, "XC", "External-camera Photography")
IMAGE_MEDIA = Coding(f"{HL7}/media-type", "image", "Image")
LEGALLY_AUTHENTICATED = Coding(f"{HL7}/v3-DocumentCompletion", "LA", "legally authenticated")
AUTHOR = Coding(f"{HL7}/provenance-participant-type", "author", "Author")
ASSEMBLER = Coding(f"{HL7}/provenance-participant-type", "assembler", "Assembler")
AI_LESION_CLASS = Coding(OBSERVATION_SYSTEM, "ai-lesion-class", "AI lesion classification")
CONFIDENCE = Coding(OBSERVATION_SYSTEM, "diagnostic-confidence", "Diagnostic confidence")
PLAN = Coding(OBSERVATION_SYSTEM, "management-plan", "Management plan")

SENT_CODINGS: tuple[Coding, ...] = (
    *(t.icd10 for c in _CLASSES for t in c.targets),
    *(t.snomed for c in _CLASSES for t in c.targets if t.snomed),
    *(s.snomed for s in _SITES),
    *(DERMATOLOGY_NOTE, FINDINGS, IMAGE_DOCUMENT, RADIOLOGY_CATEGORY, DERMATOSCOPY),
    *(IMAGING_SERVICE, CATEGORY_IMAGING, CATEGORY_EXAM, CLINICAL_NOTE, AI_ASSERTED, AI_DEVICE),
    *(DERMOSCOPY_MODALITY, CAMERA_MODALITY, IMAGE_MEDIA, LEGALLY_AUTHENTICATED),
    *(AUTHOR, ASSEMBLER, AI_LESION_CLASS, CONFIDENCE, PLAN),
)


def diagnosis_codings(
    *, lesion_class: str | None, icd10: str | None, snomed: bool
) -> tuple[Coding, ...]:
    """Give the signed diagnosis as SNOMED CT (if allowed) and ICD-10-CM; empty if unknown.

    A given ICD-10-CM code wins over the class, because a class may hold several diagnoses.
    """
    known = LESION_CLASSES[lesion_class] if lesion_class is not None else None
    target = _target(known, icd10)
    codings: list[Coding] = []
    if snomed and target is not None and target.snomed is not None:
        codings.append(target.snomed)
    if icd10 is not None:
        codings.append(_named_icd10(icd10))
    elif target is not None:
        codings.append(target.icd10)
    return tuple(codings)


def class_of_code(icd10: str) -> str | None:
    """Which of the seven classes an ICD-10-CM code belongs to, if it belongs to one."""
    return next((c.code for c in _CLASSES for t in c.targets if _belongs(icd10, t)), None)


def _target(known: LesionClass | None, icd10: str | None) -> Target | None:
    if known is None:
        return None
    if icd10 is None:
        return known.default_target
    return next((t for t in known.targets if _belongs(icd10, t)), None)


def _belongs(icd10: str, target: Target) -> bool:
    # In C44 the fifth character tells the kind: 1 is basal cell, 2 squamous cell, 9 other.
    if target.icd10_prefix == "C44":
        return icd10.startswith("C44.") and icd10[5:6] == "1"
    return icd10.startswith(target.icd10_prefix)


def _named_icd10(code: str) -> Coding:
    named = (t.icd10 for c in _CLASSES for t in c.targets if t.icd10.code == code)
    return next(named, Coding(ICD10CM, code))


_VERHOEFF_PRODUCT = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
_VERHOEFF_SHIFT = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def is_snomed_concept_id(code: str) -> bool:
    """Length, the partition of a concept and Verhoeff's check digit (SNOMED CT TIG, appendix)."""
    shape = code.isascii() and code.isdecimal() and 6 <= len(code) <= 18
    if not shape or code.startswith("0") or code[-3:-1] not in {"00", "10"}:
        return False
    check = 0
    for position, digit in enumerate(reversed(code)):
        value = int(digit)
        for _ in range(position % 8):
            value = _VERHOEFF_SHIFT[value]
        check = _VERHOEFF_PRODUCT[check][value]
    return check == 0


def is_loinc_code(code: str) -> bool:
    """Mod 10 check digit of LOINC; for parts (LP) and answers (LA) the letters count as well."""
    stem, dash, check = code.rpartition("-")
    number = stem.removeprefix("LP").removeprefix("LA")
    digits = number + check
    if not dash or len(check) != 1 or not number or not (digits.isascii() and digits.isdecimal()):
        return False
    total = 0
    for position, character in enumerate(reversed(stem)):
        value = ord(character) - ord("0")
        total += 2 * value - value // 5 * 9 if position % 2 == 0 else value
    return (10 - total % 10) % 10 == int(check)
