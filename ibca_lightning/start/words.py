"""Words and names by which `ibca init` knows a column: one place to add those of your clinic or language."""

import re


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split("|"))


# A word of a cell, in lower case.
ABSENT = _words(
    "absent|none|no|normal|healthy|negative|neg|nothing|nil|unremarkable|no finding|no findings|no lesion|no disease",
    "no abnormality|without finding|not present|0|0.0|-|kein|keine|keiner|nein|ohne befund|o.b.|unauffällig|gesund",
    "nicht vorhanden|negativ|nee|nej|aucun|aucune|non|sain|négatif|ninguno|ninguna|sano|negativo|nessuno|assente|não",
    "nie|brak|正常|无",
)
UNSURE = _words(
    "unsure|uncertain|unclear|unknown|not sure|possible|possibly|maybe|equivocal|indeterminate|ungradable|?",
    "unklar|unbekannt|incertain|incierto|不确定",
)
PRESENT = _words(
    "x|✓|✔|+|ja|j|vorhanden|positiv|oui|présent|positif|si|sí|sì|presente|positivo|sim|tak|seen|found|有|是"
)
MARKS = _words(
    "x|✓|✔|+|1|1.0|yes|y|true|ja|j|oui|si|sí|sì|sim|tak|present|vorhanden|positive|positiv"
)  # alone, beside blanks
NO = re.compile(r"(?i)(no|without|keine?|ohne|sans|sin|senza) \w")  # what a word of absence begins with
SIDES = _words("l|r|left|right|od|os|links|rechts|gauche|droite|frontal|lateral|ap|pa")
SEXES = _words("m|f|w|d|h|male|female|man|woman|männlich|weiblich|homme|femme|hombre|mujer|diverse|other")


def _named(*words: str) -> re.Pattern[str]:
    """A name that is, begins or ends with one of some words, or holds it between marks."""
    return re.compile(rf"(?:^|[^a-z])(?:{'|'.join(words)})(?:$|[^a-z])", re.I)


IMAGE = _named("images?", "img", "files?", "filename", "path", "pictures?", "photos?", "fundus", "dcm", "dicom", "png")
DATE = _named("dates?", "time", "timestamp", "year", "dob", "birth", "datum", "acquired", "created")
SEX = _named("sex", "gender", "geschlecht", "sexe", "sexo")
AGE = _named("age", "alter", "edad", "years")
SUBGROUP = _named(
    "sites?", "hospitals?", "cent(?:er|re)s?", "clinics?", "institution", "device", "camera", "scanner", "vendor",
    "manufacturer", "model", "machine", "ethnicity", "race", "fitzpatrick", "skin ?type", "eye", "side", "laterality",
    "view", "position", "location", "localization", "country", "seite", "auge", "klinik", "ger[äa]e?t", "zentrum",
    "standort", "lokalisation",
)  # fmt: skip
LABEL = _named(
    "labels?", "findings?", "diagnos[ie]s", "dx", "disease", "diseases", "pathology", "class", "category", "condition",
    "conditions", "befund", "diagnose", "target",
)  # fmt: skip
COUNT = _named("n", "num", "number", "count", "counts", "anzahl", "nombre")
GRADE = _named("grade", "grading", "stage", "severity", "score", "level", "birads", "bi-rads", "icdr")
NOTES = _named(
    "notes?", "comments?", "remarks?", "report", "text", "description", "bemerkung", "freetext", "url", "hash"
)
NO_FINDING = _named(
    "quality", "gradable", "usable", "valid", "train", "fold", "excluded?", "include", "smok(?:er|ing)", "dead",
    "death", "died", "survival", "treated", "treatment", "medication", "checked", "reviewed",
    "(?:dx|diagnosis|diagnostic) (?:type|method|source)", "confirm(?:ed|ation)",
)  # fmt: skip


def spaced(name: str) -> str:
    """Return a column's name in words: `PatientID` and `patient_id` as `patient id`."""
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").lower().split())
